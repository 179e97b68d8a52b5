"""Shares and resolution against independent samples: `python -m benchmarks.independent_samples SST2.jsonl --json FILE`.

All distinct texts of a dataset go through the bundled model once; disjoint random samples of N of them are measured as
a person would measure one. Three questions, each row a block:

"share"     how often do samples of N want a unit of rank (`peer`), and what share does one sample give it, averaged
            (`ours`; `counted_on_halves` is the share of half-samples whose own rise asks for it); within 0.15.
            `standard_error` is that of the difference over the samples. With 25 samples it is up to 6 points, so an
            estimator with a unit outside is looked at again over four more partitions into samples, all five pooled
"deviation" the standard deviation of a rise over samples (`peer`) and the one behind its interval, averaged (`ours`;
            root mean square); `all blocks` is the root mean square over blocks, and there `independent_halves` is the ratio
            that the deviation of as many halves of separate draws would have, `interval_holds` how often a 95% interval
            holds the mean over samples
"law"       the standard deviation over samples at several sizes (`peer`; root mean square over blocks) and what N and the
            1 / N law of the variance say (`ours`)

A share is a probability given one sample, so its mean cannot be the frequency over samples: for a rise m with the right
deviation s it is Phi(m / (s sqrt 2)) where the frequency is Phi(m / s), up to 8 points less far from one half.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import record
from gelora.errors import GeloraError
from gelora.geometry import estimate_profile, rises
from gelora.ranks import rise_shares, rise_units
from gelora.ranks.rule.allocation import rounded_rise
from gelora.records import HiddenStates, IdProfile
from gelora.sources import extract_hidden_states, load_sample

MODEL = "all-MiniLM-L6-v2"
ESTIMATORS = ("twonn", "mle", "gride")
N = 500
SIZES = (500, 1000, 2000, 4000)
TOLERANCE = 0.15
PARTITIONS = 5


def main() -> None:
    """Measure `docstrings` and the files that were given, and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="datasets beside `docstrings`")
    parser.add_argument("--most", type=int, default=30_000, help="texts of a dataset at most (default 30000)")
    parser.add_argument("--n", type=int, default=N, help=f"texts of a sample (default {N})")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    try:
        for dataset in ("docstrings", *options.files):
            states = extract_hidden_states(MODEL, load_sample(dataset, options.most), max_length=64, cache=False)
            name = dataset if dataset == "docstrings" else dataset.rsplit("/", 2)[-2]
            profiles = [estimate_profile(part, ESTIMATORS) for part in disjoint(states, options.n)]
            for estimator in ESTIMATORS:
                shares = share_rows(name, estimator, profiles)
                if not all(row["is_within"] for row in shares):
                    more = [estimate_profile(part, (estimator,)) for p in range(1, PARTITIONS) for part in disjoint(states, options.n, p)]
                    shares = share_rows(name, estimator, [*profiles, *more])
                rows += shares + deviation_rows(name, estimator, profiles)
            rows += law_rows(name, states, profiles, options.n)
    except GeloraError as error:
        sys.exit(str(error))
    record.write("independent_samples", rows, options.json)


def disjoint(states: HiddenStates, n: int, partition: int = 0) -> Iterator[HiddenStates]:
    """As many samples of n rows, drawn at random, as no two of them share one."""
    order = np.random.default_rng(partition).permutation(states.values.shape[1])
    for start in range(0, len(order) - n + 1, n):
        yield dataclasses.replace(states, values=states.values[:, np.sort(order[start : start + n])])


def share_rows(dataset: str, estimator: str, profiles: list[IdProfile]) -> list[dict[str, Any]]:
    """Every unit that some sample wants or gives a share to."""
    units = [rise_units(profile, estimator) for profile in profiles]
    shares = [rise_shares(profile, estimator) for profile in profiles]
    rows = []
    for block in range(1, len(profiles[0].layer_names)):
        highest = max(max(u[block] or 0, len(s[block])) for u, s in zip(units, shares, strict=True))
        halves = [pair for profile in profiles for pair in profile.subsamples[estimator][:, block - 1 : block + 1]]
        for unit in range(1, highest + 1):
            wanted = float(np.mean([(u[block] or 0) >= unit for u in units]))
            given = [s[block][unit - 1] if len(s[block]) >= unit else 0.0 for s in shares]
            share = float(np.mean(given))
            error = float(np.std([g - ((u[block] or 0) >= unit) for g, u in zip(given, units, strict=True)], ddof=1) / len(units) ** 0.5)
            counted = float(np.mean([rounded_rise(float(before), float(after), "ceil") >= unit for before, after in halves]))
            rows.append(
                {
                    "case": f"share, {dataset}, {estimator}, block {block}, unit {unit}",
                    "ours": round(share, 3), "peer": round(wanted, 3), "peer_name": "independent samples that want it",
                    "difference": round(share - wanted, 3), "standard_error": round(error, 3), "counted_on_halves": round(counted, 3),
                    "floor": TOLERANCE, "is_within": abs(share - wanted) <= TOLERANCE, "n_independent": len(profiles), "unit": "share",
                }
            )  # fmt: skip
    return rows


def deviation_rows(dataset: str, estimator: str, profiles: list[IdProfile]) -> list[dict[str, Any]]:
    """A rise's standard deviation over samples, and the mean of those behind its intervals."""
    found = [rises(profile, estimator) for profile in profiles]
    values = np.array([[rise.value for rise in of_sample] for of_sample in found])
    behind = np.array([[rise.spread.deviation for rise in of_sample] for of_sample in found])  # type: ignore[union-attr]
    mean, over, ours = values.mean(axis=0), values.std(axis=0, ddof=1), np.sqrt(np.mean(behind**2, axis=0))
    holds = np.mean([[r.ci_low <= m <= r.ci_high for r, m in zip(of_sample, mean, strict=True)] for of_sample in found])  # type: ignore[operator]
    separate = np.mean([np.diff(p.subsamples[estimator][0::2], axis=1).var(axis=0, ddof=1) for p in profiles], axis=0)  # one of each pair
    rows = [
        _deviation_row(f"{dataset}, {estimator}, block {i}", float(a), float(b), len(profiles))
        for i, (a, b) in enumerate(zip(ours, over, strict=True), 1)
    ]
    whole = _deviation_row(f"{dataset}, {estimator}, all blocks", _rms(ours), _rms(over), len(profiles))
    return [
        *rows,
        {**whole, "independent_halves": round(float(np.sqrt(separate.mean())) / _rms(over), 2), "interval_holds": round(float(holds), 3)},
    ]


def _deviation_row(case: str, ours: float, over: float, n_independent: int) -> dict[str, Any]:
    return {
        "case": f"deviation, {case}", "ours": round(ours, 3), "peer": round(over, 3),
        "peer_name": "over independent samples", "ratio": round(ours / over, 2),
        "n_independent": n_independent, "unit": "dimensions",
    }  # fmt: skip


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def law_rows(dataset: str, states: HiddenStates, at_n: list[IdProfile], n: int) -> list[dict[str, Any]]:
    """The spread of rises over samples of several sizes against what one sample of N predicts for that size."""
    predicted = {e: _rms(np.array([r.spread.deviation for p in at_n for r in rises(p, e) if r.spread])) for e in ESTIMATORS}
    rows = []
    for size in SIZES:
        if 3 * size > states.values.shape[1]:
            continue
        curves = [estimate_profile(part, ESTIMATORS, n_subsamples=0) for part in disjoint(states, size)]
        for estimator in ESTIMATORS:
            steps = np.diff([profile.dimensions(estimator) for profile in curves], axis=1)
            over, law = float(np.sqrt(np.mean(np.var(steps, axis=0, ddof=1)))), predicted[estimator] * (n / size) ** 0.5
            rows.append(
                {
                    "case": f"law, {dataset}, {estimator}, N {size}", "ours": round(law, 3), "peer": round(over, 3),
                    "peer_name": "over independent samples", "ratio": round(law / over, 2), "resolved_rise": round(1.96 * over, 2),
                    "n_independent": len(curves), "unit": "dimensions",
                }
            )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
