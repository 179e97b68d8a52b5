"""How a curve of dimensions changes when one choice is made differently: metric, sample size, pooling, sinks, distinct, discarding.

Draws samples and measures; does not depend on ranks or pages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gelora.errors import DataError
from gelora.geometry import ESTIMATORS, METRICS, PointCloud, TwoNN, estimate_profile
from gelora.record_json import Record, read_only
from gelora.records import POOLINGS, SINK_RATIO, SINKS, DataChoice, HiddenStates, Progress, check_choice, resolved_sinks
from gelora.sources import extract_hidden_states, load_sample

VARIATIONS = ("metric", "n_samples", "pooling", "sinks", "distinct", "discard_fraction")
DISCARD_FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.4)

Curve = tuple[np.ndarray, np.ndarray]  # dimensions and half-widths of their intervals, [n_layers + 1] each


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity(Record):
    """One estimator's curve under every alternative of a choice, the others held.

    curves, half_widths: {variation: {alternative: float64 [n_layers + 1]}}, the dimension and half its 95% interval,
    NaN where undefined; base: {variation: the alternative that is the present choice}; notes: {variation: what could
    not be measured, and why}.
    """

    estimator: str
    layer_names: tuple[str, ...]
    base: dict[str, str]
    curves: dict[str, dict[str, np.ndarray]]
    half_widths: dict[str, dict[str, np.ndarray]]
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("curves", "half_widths"):
            tables = {v: {a: read_only(c, np.float64) for a, c in by.items()} for v, by in getattr(self, name).items()}
            object.__setattr__(self, name, tables)

    def span(self, variation: str) -> float:
        """The largest distance between two alternatives' dimensions at one layer; NaN when no layer has two."""
        table = np.array(list(self.curves[variation].values()))
        two = np.isfinite(table).sum(axis=0) >= 2
        return float((np.nanmax(table[:, two], axis=0) - np.nanmin(table[:, two], axis=0)).max()) if two.any() else float("nan")


def measure_sensitivity(
    model: str,
    data: DataChoice,
    *,
    n_samples: int = 1000,
    seed: int = 0,
    distinct: bool = True,
    pooling: str = "mean",
    sinks: str | None = None,
    sink_ratio: float = SINK_RATIO,
    max_length: int = 128,
    estimator: str = "twonn",
    vary: Sequence[str] = VARIATIONS,
    n_neighbors: int = 20,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Sensitivity:
    """One curve for every alternative of every choice in `vary`; euclidean distance unless the metric is varied.

    Alternatives: "metric" euclidean, cosine; "n_samples" a quarter, a half, all and twice of N, each a draw of its own;
    "pooling" mean, cls, last, tokens (another than the present with its own default treatment of sinks); "sinks" drop,
    keep, unit (cls: keep, unit); "distinct" with and without dropping repeated texts; "discard_fraction" 0 to 0.4
    of the largest ratios left out, for "twonn" alone, whose intervals then are the formula's. What the data cannot give
    (twice as many texts, say) is left out and named in `notes`.

    Args:
        model, data, n_samples, seed, distinct, pooling, sinks, sink_ratio, max_length: the present choices, as in `load_sample` and
            `extract_hidden_states`.
        estimator: a name out of ESTIMATORS.
        vary: names out of VARIATIONS.
        n_neighbors: k of the estimators that take one.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        progress: called as progress("pooling = cls: Hidden states", done, total); may raise `Cancelled`.

    Raises:
        GeloraError: an unknown name, or the present choices themselves cannot be measured.
    """
    check_choice("estimator", estimator, tuple(ESTIMATORS))
    for variation in vary:
        check_choice("variation", variation, VARIATIONS)

    treatment = resolved_sinks(sinks, sink_ratio, pooling)

    def states_of(
        told: Progress | None, n: int = n_samples, keep_distinct: bool = distinct, pool: str = pooling, of_sinks: str | None = treatment
    ) -> HiddenStates:
        sample = load_sample(data, n, seed, distinct=keep_distinct, progress=told)
        if n > n_samples and len(sample) < n:
            raise DataError(f"the data hold {len(sample)} such texts")
        return extract_hidden_states(
            model, sample, pooling=pool, sinks=of_sinks, sink_ratio=sink_ratio, max_length=max_length, device=device, progress=told
        )

    def curve_of(states: HiddenStates, told: Progress | None, metric: str = "euclidean") -> Curve:
        profile = estimate_profile(states, [estimator], n_neighbors=n_neighbors, metric=metric, seed=seed, device=device, progress=told)
        ends = np.array([[np.nan if e is None else e for e in (i.ci_low, i.ci_high)] for i in profile.estimates[estimator]])
        return profile.dimensions(estimator), (ends[:, 1] - ends[:, 0]) / 2

    present = states_of(progress)
    alternatives: dict[str, dict[str, Callable[[Progress | None], Curve]]] = {
        "metric": {m: lambda told, m=m: curve_of(present, told, m) for m in METRICS},  # type: ignore[misc]
        "n_samples": {
            str(n): lambda told, n=n: curve_of(states_of(told, n=n), told)  # type: ignore[misc]
            for n in (n_samples // 4, n_samples // 2, n_samples, 2 * n_samples)
        },
        "pooling": {
            p: lambda told, p=p: curve_of(states_of(told, pool=p, of_sinks=treatment if p == pooling else None), told)  # type: ignore[misc]
            for p in POOLINGS
        },
        "sinks": {
            t: lambda told, t=t: curve_of(states_of(told, of_sinks=t), told)  # type: ignore[misc]
            for t in SINKS
            if (pooling, t) != ("cls", "drop")
        },
        "distinct": {
            name: lambda told, keep=keep: curve_of(states_of(told, keep_distinct=keep), told)  # type: ignore[misc]
            for name, keep in (("distinct", True), ("repeats kept", False))
        },
        "discard_fraction": {f"{f:g}": lambda told, f=f: _discarding(present, f) for f in DISCARD_FRACTIONS},  # type: ignore[misc]
    }
    base = {
        "metric": "euclidean",
        "n_samples": str(n_samples),
        "pooling": pooling,
        "sinks": treatment,
        "distinct": "distinct" if distinct else "repeats kept",
        "discard_fraction": "0.1",
    }
    curves: dict[str, dict[str, np.ndarray]] = {}
    half_widths: dict[str, dict[str, np.ndarray]] = {}
    notes: dict[str, str] = {}
    for variation in vary:
        if variation == "discard_fraction" and estimator != "twonn":
            notes[variation] = "only the slope of TwoNN discards ratios"
            continue
        curves[variation], half_widths[variation] = {}, {}
        for alternative, measure in alternatives[variation].items():
            try:
                dimensions, half_width = measure(_within(progress, f"{variation} = {alternative}"))
            except DataError as error:
                notes[variation] = "; ".join(part for part in (notes.get(variation), f"{alternative}: {error}") if part)
                continue
            curves[variation][alternative], half_widths[variation][alternative] = dimensions, half_width
    return Sensitivity(estimator, present.layer_names, {v: base[v] for v in vary}, curves, half_widths, notes)


def _within(progress: Progress | None, where: str) -> Progress | None:
    return None if progress is None else lambda stage, done, total: progress(f"{where}: {stage}", done, total)


def _discarding(states: HiddenStates, fraction: float) -> Curve:
    dimensions, half_widths = (np.full(len(states.values), np.nan) for _ in range(2))
    for layer, values in enumerate(states.values):
        try:
            fitted = TwoNN(discard_fraction=fraction).fit(PointCloud(values))
        except DataError:  # a layer of equal vectors has no dimension, whatever is discarded
            continue
        dimensions[layer] = fitted.dimension_
        if fitted.ci_low_ is not None and fitted.ci_high_ is not None:
            half_widths[layer] = (fitted.ci_high_ - fitted.ci_low_) / 2
    return dimensions, half_widths
