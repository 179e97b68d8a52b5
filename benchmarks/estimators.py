"""Graph and estimators beside scikit-dimension, faiss, scikit-learn and DADApy: `python -m benchmarks.estimators`.

    python -m benchmarks.estimators --json FILE                 all parts, about 12 minutes on 2 cores
    python -m benchmarks.estimators --part graph --n 3000 --width 1024

Parts: "graph", the exact graph of 20 neighbors against flat searches; "five", {TwoNN, MLE, GRIDE, correlation, MiND}
against scikit-dimension's same five, in all and one by one; "shared", {TwoNN, MLE, GRIDE, MiND} from one cloud against
TwoNN alone; "danco", 13 layers with nothing kept from before. One process, calls of ours and of the peer in turn; a row
gives the best and the median of them. `ratio` is ours / peer by the medians, `ratio_of_best` by the best; the floor of
a graph is the float32 product of all pairs. Intervals by half-samples are off, since the peers give none. What is
timed is checked first: a wrong graph ends the script. DADApy needs numpy < 2: `--dadapy-python` names the Python of an
environment that has it, whose times are taken inside that process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from gelora.geometry import GRIDE, MLE, CorrelationDimension, DANCo, MiND, PointCloud, TwoNN, neighbor_graph, synthetic
from gelora.geometry.threads import n_threads

PARTS = ("graph", "shared", "five", "danco")
N_NEIGHBORS = 20
GRID = tuple((n, width) for width in (384, 768, 4096) for n in (1000, 5000, 10000))
KEY = (5000, 768)
DANCO_LAYERS = (20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8)  # the true dimension of each
DANCO_POINTS, DANCO_CAP = 1000, 100
DADAPY = """
import json, sys, time
import numpy as np
from dadapy import Data

def timed(name, work):
    started = time.perf_counter()
    answer = work()
    seconds.setdefault(name, []).append(time.perf_counter() - started)
    return answer

X, seconds, answers = np.load(sys.argv[1]), {}, {}
for _ in range(int(sys.argv[2])):
    timed("graph", lambda: Data(X, verbose=False).compute_distances(maxk=20))
    answers["twonn"] = float(timed("twonn", lambda: Data(X, verbose=False).compute_id_2NN())[0])
    answers["gride"] = float(timed("gride", lambda: Data(X, verbose=False).return_id_scaling_gride(range_max=4))[0][-1])
print(json.dumps({"seconds": seconds, "answers": answers}))
"""


def main() -> None:
    """Run the parts that were asked for and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--n", type=int, help="one number of points instead of the grid")
    parser.add_argument("--width", type=int, help="one width instead of the grid")
    parser.add_argument("--repeats", type=int, default=7, help="of each call; large cases take fewer")
    parser.add_argument("--all-danco-layers", action="store_true", help="time the peer's DANCo on 13 layers, not on one")
    parser.add_argument("--dadapy-python", help="Python of an environment with DADApy")
    parser.add_argument("--json")
    options = parser.parse_args()
    tell_every_blas_the_processor()
    warnings.simplefilter("ignore")  # of peers; ours gives none
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["GELORA_HOME"] = home  # nothing kept from before
        for part in options.part:
            rows += {"graph": graph_rows, "shared": shared_rows, "five": five_rows, "danco": danco_rows}[part](options)
    sys.argv = ["PYTHON" if given == options.dadapy_python else given for given in sys.argv]  # where it lies is nobody's business
    record.write("estimators", rows, options.json)


def tell_every_blas_the_processor() -> None:
    """Start again with OPENBLAS_CORETYPE where some library's OpenBLAS does not know this processor but numpy's does.

    A wheel with an old OpenBLAS falls back to kernels from 2004; the peer is to be timed at its best.
    """
    import faiss  # noqa: F401  loads its own OpenBLAS
    from threadpoolctl import threadpool_info

    kernels = {info["filepath"]: str(info.get("architecture")) for info in threadpool_info() if info.get("internal_api") == "openblas"}
    ours = next((kernel for path, kernel in kernels.items() if "numpy" in Path(path).parent.name), None)
    if ours and set(kernels.values()) != {ours} and "OPENBLAS_CORETYPE" not in os.environ:
        print(f"kernels {', '.join(sorted(set(kernels.values())))}: starting again with OPENBLAS_CORETYPE={ours}", flush=True)
        command = [sys.executable, "-m", "benchmarks.estimators", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"OPENBLAS_CORETYPE": ours})


def graph_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each size of the grid against each peer."""
    rows = []
    for n, width in sizes(options, GRID):
        X = points(n, width)
        graph = check(X)
        repeats = options.repeats if n * n * width < 3e10 else 2
        floor = best_of(lambda X=X: product_alone(X), repeats)
        for peer_name, search in (
            (f"faiss-cpu {version('faiss-cpu')} IndexFlatL2", flat),
            (f"scikit-learn {version('scikit-learn')} brute", brute),
        ):
            ours, peer = in_turn(lambda X=X: neighbor_graph(X, N_NEIGHBORS), lambda X=X, search=search: search(X), repeats)
            wrong = float(np.abs(search(X) / graph.distances - 1).max())
            rows.append(
                compared(f"k = {N_NEIGHBORS} graph, N {n}, D {width}", ours, peer, peer_name)
                | {"floor": round(floor, 4), "peer_largest_relative_error": wrong}
            )
        if search_as_installed := (n, width) == KEY and flat_as_installed(X, repeats):
            rows.append(
                compared(f"k = {N_NEIGHBORS} graph, N {n}, D {width}", ours, search_as_installed, "faiss-cpu, its own choice of kernel")
            )
        rows += [row | {"floor": round(floor, 4)} for row in dadapy_rows(X, options, {"graph": ours}, repeats)]
    return rows


def shared_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Four estimators from one cloud against TwoNN alone, from the points."""

    def four(X: np.ndarray) -> None:
        cloud = PointCloud(X)
        cloud.graph(N_NEIGHBORS)
        for estimator in (TwoNN(), MLE(), GRIDE(), MiND()):
            estimator.fit(cloud)

    rows = []
    for n, width in sizes(options, (KEY,)):
        X = points(n, width)
        ours, alone = in_turn(lambda X=X: four(X), lambda X=X: TwoNN().fit(X), 2 * options.repeats)
        rows.append(compared(f"TwoNN, MLE, GRIDE and MiND from one cloud, N {n}, D {width}", ours, alone, "TwoNN alone, ours"))
    return rows


def five_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same five estimators by scikit-dimension, each of which searches for itself, as its users call them."""
    import skdim

    ours_by = {"twonn": TwoNN(), "mle": MLE(), "gride": GRIDE(), "correlation": CorrelationDimension(n_subsamples=0), "mind": MiND()}
    theirs_by: dict[str, Callable[[np.ndarray], Any]] = {
        "twonn": lambda X: skdim.id.TwoNN().fit(X),
        "mle": lambda X: skdim.id.MLE().fit(X, n_neighbors=N_NEIGHBORS),
        "gride": lambda X: skdim.id.GRIDE(n1=2, n2=4).fit(X),
        "correlation": lambda X: skdim.id.CorrInt(k1=10, k2=20).fit(X),
        "mind": lambda X: skdim.id.MiND_ML(k=N_NEIGHBORS, D=100).fit(X),
    }
    peer_name = f"scikit-dimension {version('scikit-dimension')}"

    def together(X: np.ndarray) -> dict[str, float]:
        cloud = PointCloud(X)
        cloud.graph(N_NEIGHBORS)
        return {name: round(estimator.fit(cloud).dimension_, 2) for name, estimator in ours_by.items()}

    def theirs(X: np.ndarray) -> dict[str, float]:
        return {name: round(float(fit(X).dimension_), 2) for name, fit in theirs_by.items()}

    rows = []
    for n, width in sizes(options, (KEY,)):
        X = points(n, width)
        case = f"{{name}}, N {n}, D {width}"
        ours, peer = in_turn(lambda X=X: together(X), lambda X=X: theirs(X), max(2, options.repeats // 2))
        rows.append(
            compared(case.format(name="TwoNN, MLE, GRIDE, correlation and MiND"), ours, peer, peer_name)
            | {"dimensions": together(X), "peer_dimensions": theirs(X)}
        )
        alone: dict[str, list[float]] = {}
        for name, fit in theirs_by.items():
            alone[name], peer = in_turn(
                lambda X=X, name=name: ours_by[name].fit(X), lambda X=X, fit=fit: fit(X), max(2, options.repeats // 2)
            )
            rows.append(compared(case.format(name=f"{name} alone"), alone[name], peer, peer_name))
        rows += dadapy_rows(X, options, {name: alone[name] for name in ("twonn", "gride")}, max(2, options.repeats // 2))
    return rows


def danco_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """13 layers, ours from an empty cache; the peer calibrates again at each fit, so one layer stands for all unless told."""
    import skdim

    n, width = options.n or DANCO_POINTS, options.width or KEY[1]
    layers = [synthetic.gaussian(n, d, width, seed=d).astype(np.float32) for d in DANCO_LAYERS]
    started = time.perf_counter()
    ours = [DANCo(n_subsamples=0).fit(X).dimension_ for X in layers]
    seconds = time.perf_counter() - started
    timed = range(len(layers)) if options.all_danco_layers else [len(layers) // 2]
    peer, answers = 0.0, {}
    for i in timed:
        started = time.perf_counter()
        answers[DANCO_LAYERS[i]] = round(float(skdim.id.DANCo(D=DANCO_CAP, random_state=0).fit(layers[i]).dimension_), 2)
        peer += time.perf_counter() - started
    peer *= len(layers) / len(timed)
    row = compared(
        f"DANCo, {len(layers)} layers, N {n}, D {width}, nothing kept",
        [seconds],
        [peer],
        f"scikit-dimension {version('scikit-dimension')}, D={DANCO_CAP}",
    )
    return [
        row
        | {
            "peer_layers_timed": len(timed),
            "dimensions": {d: round(answer, 2) for d, answer in zip(DANCO_LAYERS, ours, strict=True)},
            "peer_dimensions": answers,
        }
    ]


def points(n: int, width: int) -> np.ndarray:
    """float32, as hidden states come; of dimension 12 with a little noise in every direction."""
    return synthetic.gaussian(n, 12, width, seed=0, noise=0.01).astype(np.float32)


def sizes(options: argparse.Namespace, default: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """What was asked for, else the default sizes."""
    if options.n is None and options.width is None:
        return default
    return tuple(dict.fromkeys((options.n or n, options.width or width) for n, width in default))


def check(X: np.ndarray) -> Any:
    """The graph, equal to plain float64 differences in 100 of its rows; else the script ends."""
    graph, wide = neighbor_graph(X, N_NEIGHBORS), X.astype(np.float64)
    for i in np.linspace(0, len(X) - 1, 100).astype(int):
        distances = np.sqrt(((wide - wide[i]) ** 2).sum(axis=1))
        distances[i] = np.inf
        order = np.argsort(distances, kind="stable")[:N_NEIGHBORS]
        if not (np.array_equal(order, graph.indices[i]) and np.allclose(distances[order], graph.distances[i], rtol=1e-12, atol=0)):
            sys.exit(f"WRONG: row {i} of the graph of {len(X)} points differs from plain differences")
    return graph


def flat(X: np.ndarray) -> np.ndarray:
    """faiss's exhaustive search, the point itself dropped; its distances are squares."""
    import faiss

    faiss.omp_set_num_threads(n_threads())
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return np.sqrt(np.maximum(index.search(X, N_NEIGHBORS + 1)[0][:, 1:], 0))


def flat_as_installed(X: np.ndarray, repeats: int) -> list[float]:
    """Seconds of `flat` in a process whose OpenBLAS libraries choose their kernels themselves."""
    code = (
        "import json, sys, time, numpy as np; from benchmarks.estimators import flat; X = np.load(sys.argv[1]); flat(X[:100]); t = []\n"
        "for _ in range(int(sys.argv[2])): s = time.perf_counter(); flat(X); t.append(time.perf_counter() - s)\n"
        "print(json.dumps(t))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    return list(in_process([sys.executable, "-c", code], X, repeats, environment))


def brute(X: np.ndarray) -> np.ndarray:
    """scikit-learn's exhaustive search."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute", n_jobs=n_threads()).fit(X).kneighbors()[0]


def product_alone(X: np.ndarray) -> None:
    """All inner products in float32, nothing read from them."""
    for start in range(0, len(X), 3000):
        X[start : start + 3000] @ X.T


def dadapy_rows(X: np.ndarray, options: argparse.Namespace, ours: dict[str, list[float]], repeats: int) -> list[dict[str, Any]]:
    """DADApy's times for what ours took; a row without a peer where it is absent."""
    case = f"N {X.shape[0]}, D {X.shape[1]}"
    if not options.dadapy_python:
        return [{"case": f"{name}, {case}", "peer_name": "DADApy", "note": "absent: needs numpy < 2; see --dadapy-python"} for name in ours]
    answer = in_process([options.dadapy_python, "-c", DADAPY], X.astype(np.float64), min(repeats, 3), dict(os.environ))
    return [
        compared(f"{name}, {case}", seconds, answer["seconds"][name], "DADApy, its own process")
        | ({"peer_dimension": round(answer["answers"][name], 2)} if name in answer["answers"] else {})
        for name, seconds in ours.items()
    ]


def in_process(command: list[str], X: np.ndarray, repeats: int, environment: dict[str, str]) -> Any:
    """The last line that a process prints, as JSON; it gets the points as a file."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "points.npy", X)
        done = subprocess.run(
            [*command, str(Path(folder) / "points.npy"), str(repeats)], capture_output=True, text=True, env=environment, check=False
        )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turn(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of both, called in turn after one warm call each, so that a busy machine slows both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for work in (ours, peer):
        work()
    for _ in range(repeats):
        for place, work in enumerate((ours, peer)):
            started = time.perf_counter()
            work()
            seconds[place].append(time.perf_counter() - started)
    return seconds


def best_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the shortest call."""
    return min(in_turn(work, lambda: None, repeats)[0])


def compared(case: str, ours: list[float], peer: list[float], peer_name: str) -> dict[str, Any]:
    """One row: medians, the best, their ratios."""
    return {
        "case": case,
        "unit": "s",
        "ours": round(float(np.median(ours)), 4),
        "peer": round(float(np.median(peer)), 4),
        "peer_name": peer_name,
        "ratio": round(float(np.median(ours) / np.median(peer)), 4),
        "ours_best": round(min(ours), 4),
        "peer_best": round(min(peer), 4),
        "ratio_of_best": round(min(ours) / min(peer), 4),
        "repeats": len(ours),
        "threads": n_threads(),
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE", "its own choice"),
    }


if __name__ == "__main__":
    main()
