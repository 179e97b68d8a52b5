"""Curves with attention sinks kept, dropped and scaled to length 1: `python -m benchmarks.sinks --model M --data docstrings --json FILE`.

Each model goes through each dataset once a treatment, mean pooling, and every estimator of the library's own measures
every layer. A row is a layer: what the sinks are there (share of the tokens, largest norm over median, share of the
variance in the first direction before and after), the dimension by each estimator and treatment, and "spread", the
largest over the smallest of TwoNN, MLE and GRIDE, which look at the same neighbors, less 1.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks import record
from gelora import estimate_profile, extract_hidden_states, load_sample
from gelora.geometry import ESTIMATORS
from gelora.records import SINKS, IdProfile

OWN = tuple(name for name in ESTIMATORS if name not in ("lpca", "tle", "mom", "fishers"))
COMPARED = ("twonn", "mle", "gride")


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["all-MiniLM-L6-v2"], help="bundled name, folder or hub id")
    parser.add_argument("--data", nargs="+", default=["docstrings"], help="bundled name, file or hub id")
    parser.add_argument("--n-samples", type=int, default=2000)
    parser.add_argument("--estimators", default=",".join(OWN))
    parser.add_argument("--n-subsamples", type=int, default=0, help="halves behind intervals (default 0: none)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = []
    for model in options.model:
        for data in options.data:
            rows += layer_rows(f"{Path(model).name}, {Path(data).stem}", model, data, options)
    record.write("sinks", rows, options.json)


def layer_rows(case: str, model: str, data: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each layer of a model on a dataset."""
    sample = load_sample(data, n_samples=options.n_samples, seed=0)
    names = options.estimators.split(",")
    profiles: dict[str, IdProfile] = {}
    for treatment in SINKS:
        started = time.perf_counter()
        states = extract_hidden_states(model, sample, sinks=treatment, device=options.device, cache=False)
        forward = record.seconds_since(started)
        device = options.device
        profiles[treatment] = estimate_profile(states, names, n_subsamples=options.n_subsamples, device=device)
        print(f"{case}, {treatment}: {forward} s of forward passes, {record.seconds_since(started)} s in all", flush=True)
    rows = []
    for layer, name in enumerate(profiles["keep"].layer_names):
        report = profiles["drop"].sinks
        assert report is not None
        row: dict[str, Any] = {
            "case": f"{case}, {name}",
            "n_samples": profiles["drop"].estimates[names[0]][layer].n_samples,
            "n_left_out": len(report.left_out),
            "sink_share": round(float(report.shares[layer]), 4),
            "largest_norm": round(float(report.largest_norms[layer]), 2),
            "first_direction_keep": round(float(report.first_direction_kept[layer]), 4),
            "first_direction_drop": round(float(report.first_direction[layer]), 4),
            "unit": "dimensions",
        }
        for treatment, profile in profiles.items():
            answers = {estimator: profile.estimates[estimator][layer].dimension for estimator in names}
            row |= {f"{estimator}_{treatment}": None if d is None else round(d, 2) for estimator, d in answers.items()}
            compared = [d for estimator in COMPARED if (d := answers.get(estimator)) is not None]
            row[f"spread_{treatment}"] = round(max(compared) / min(compared) - 1, 3) if len(compared) > 1 and min(compared) > 0 else None
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
