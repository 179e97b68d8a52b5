"""ABIDE against the truth, the estimators beside it and DADApy: `DADAPY_PYTHON=.../python python -m benchmarks.abide --json FILE`.

DADApy is no dependency: its answers come from a Python of their own that has `dadapy` (0.3.4 needs numpy 1), named by
DADAPY_PYTHON; without one the rows lack them. Every row is a cloud of 2000 points (1000 without noise): the truth, our
ABIDE with its neighborhoods, p-value and seconds, `mle`, `plateau` and `twonn`, and DADApy's `return_ids_kstar_binomial`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from gelora.geometry import ABIDE, ESTIMATORS, PointCloud, synthetic

_PEER = """
import contextlib, io, json, sys
import numpy as np
from dadapy import Data
answers = {}
for path in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        ids, _, kstars, p_values = Data(np.load(path), maxk=100, n_jobs=1).return_ids_kstar_binomial(n_iter=10)
    answers[path] = [float(ids[-1]), float(np.mean(kstars[-1])), float(p_values[-1])]
print(json.dumps(answers))
"""


def main() -> None:
    """Measure every cloud by ours and, where there is one, by the peer, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    options = parser.parse_args()
    drawn = clouds()
    peer = _peer({case: points for case, (_, points) in drawn.items()}, os.environ.get("DADAPY_PYTHON"))
    record.write("abide", [_row(case, truth, points, peer.get(case)) for case, (truth, points) in drawn.items()], options.json)


def clouds() -> dict[str, tuple[int, np.ndarray]]:
    """Dimension and points of every case."""
    found = {
        "sphere 2": (2, synthetic.sphere(1000, 2, 100, seed=1)),
        "swiss roll 2": (2, synthetic.swiss_roll(1000, 2, 100, seed=1)),
        "sphere 5": (5, synthetic.sphere(1000, 5, 100, seed=1)),
        "gaussian 8": (8, synthetic.gaussian(1000, 8, 100, seed=1)),
        "gaussian 20": (20, synthetic.gaussian(1000, 20, 100, seed=1)),
    }
    rng = np.random.default_rng(1)
    for deviation, width in ((0.002, 20), (0.005, 20), (0.005, 64), (0.01, 20), (0.01, 64)):
        plane = np.pad(rng.random((2000, 2)), ((0, 0), (0, width - 2)))
        found[f"plane 2, noise {deviation} in {width} coordinates"] = (2, plane + deviation * rng.standard_normal(plane.shape))
    found["log-normal density 3"] = (3, np.pad(np.exp(0.7 * rng.standard_normal((2000, 3))), ((0, 0), (0, 5))))
    squares = rng.random((2000, 2))
    squares[:1000] *= 0.1
    found["two densities 2"] = (2, np.pad(squares, ((0, 0), (0, 5))))
    return found


def _row(case: str, truth: int, points: np.ndarray, peer: list[float] | None) -> dict[str, Any]:
    started = time.process_time()
    ours = ABIDE(n_subsamples=0).fit(points)
    seconds = time.process_time() - started
    cloud = PointCloud(points)
    beside = {name: round(ESTIMATORS[name].make(20, 0).estimate(cloud).dimension_, 2) for name in ("twonn", "mle", "plateau")}
    row = {
        "case": case, "truth": truth, "ours": round(ours.dimension_, 4), "neighborhood": round(float(ours.neighborhoods_.mean()), 2),
        "p_value": float(f"{ours.p_value_:.3g}"), "seconds": round(seconds, 3), **beside, "unit": "dimension",
    }  # fmt: skip
    if peer is None:
        return row
    dimension, neighborhood, p_value = peer
    return row | {
        "peer": round(dimension, 4), "peer_name": "DADApy", "ratio": round(ours.dimension_ / dimension, 5),
        "peer_neighborhood": round(neighborhood, 2), "peer_p_value": float(f"{p_value:.3g}"),
    }  # fmt: skip


def _peer(points: dict[str, np.ndarray], python: str | None) -> dict[str, list[float]]:
    """Dimension, mean neighborhood and p-value by case; empty without a Python that has DADApy."""
    if not python:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {str(Path(folder) / f"{i}.npy"): case for i, case in enumerate(points)}
        for path, case in paths.items():
            np.save(path, points[case])
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        said = subprocess.run([python, "-c", _PEER, *paths], capture_output=True, text=True, check=True, env=environment).stdout
    return {paths[path]: answer for path, answer in json.loads(said.splitlines()[-1]).items()}


if __name__ == "__main__":
    main()
