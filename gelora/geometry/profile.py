"""From the hidden states of all layers to their dimensions: `IdProfile`, with intervals from half-samples.

Knows no formula of any estimator, no model and no rank.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.estimator import Estimator
from gelora.geometry.half_samples import draw_halves, half_graph, wide_enough
from gelora.geometry.mle import MLE
from gelora.geometry.neighbors import BLOCK_BYTES, METRICS, distinct_points, search
from gelora.geometry.pairwise import NumpyPairwise
from gelora.geometry.twonn import TwoNN
from gelora.records import HiddenStates, IdEstimate, IdProfile, Progress, check_choice

ESTIMATORS: dict[str, Callable[[int], Estimator]] = {
    "twonn": lambda n_neighbors: TwoNN(method="fit"),
    "twonn-mle": lambda n_neighbors: TwoNN(method="mle"),
    "mle": lambda n_neighbors: MLE(n_neighbors=n_neighbors),
}
"""What a profile can hold: {name: function of n_neighbors that makes the estimator}."""

_ANALYTIC = ("twonn-mle",)  # their interval is the posterior's own
_LEAST_DISTINCT = 0.8
_STAGE = "Estimating the intrinsic dimension"
Z95 = 1.959963984540054


def estimate_profile(
    states: HiddenStates,
    estimators: Sequence[str] = ("twonn", "mle"),
    *,
    n_neighbors: int = 20,
    metric: str = "euclidean",
    n_subsamples: int = 20,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> IdProfile:
    """The intrinsic dimension of every layer by every estimator, each with a 95% interval.

    One exact neighbor graph a layer serves all estimators. A layer has no dimension, and says why in its note, when
    fewer than 80% of its vectors are distinct, when no more than n_neighbors + 1 are, when some are not finite, or
    when the estimator cannot answer.

    Intervals: "twonn-mle" has the Gamma posterior's, which takes ratios for independent and is too narrow (see TwoNN).
    The others have value -+ 1.96 standard deviations of the estimates on `n_subsamples` random halves of the rows,
    the same halves in every layer and for every estimator, each with the exact graph of the half alone. Halves drawn
    without replacement from N rows spread, for a mean over independent rows, with variance
    (sigma^2 / m) (1 - m / N) = sigma^2 / N at m = N / 2: just that of the estimate from all rows. An estimate from
    neighbors changes more than a mean when half the rows go, so these intervals err on the side of caution (5% to
    30% too wide on uniform points). No interval sees bias; compare the half-sample values with the full one
    (`is_scale_dependent`).

    Args:
        states: hidden states of all layers, more than n_neighbors + 1 rows.
        estimators: names out of ESTIMATORS.
        n_neighbors: k of "mle", at least 2.
        metric: "euclidean", or "cosine" (the chord between unit rows).
        n_subsamples: number of halves: 0, or at least 2. With 0 the profile's `subsamples` is empty and every
            interval is the estimator's own (optimistic: it takes ratios for independent).
        seed: of the halves.
        device: "cpu", "cuda" or "cuda:N", for the search of neighbors.
        progress: called as progress(stage, layers done, layers in all); may raise `Cancelled`.

    Raises:
        InputError: an argument is not legal.
        DataError: the sample has too few rows for n_neighbors.
    """
    names = _checked_names(estimators)
    _check_whole("n_neighbors", n_neighbors, n_neighbors >= 2, "at least 2")
    _check_whole("n_subsamples", n_subsamples, n_subsamples == 0 or n_subsamples >= 2, "0 (no half-samples) or at least 2")
    check_choice("metric", metric, METRICS)
    n_layers, n_samples, _ = states.values.shape
    if n_samples <= n_neighbors + 1:
        raise DataError(
            f"The sample has {n_samples} rows, but {n_neighbors} neighbors need at least {n_neighbors + 2}; "
            "take a larger sample or fewer neighbors."
        )
    halves = draw_halves(n_samples, n_subsamples, seed)
    curves: dict[str, list[IdEstimate]] = {name: [] for name in names}
    subsamples = {name: np.full((n_subsamples, n_layers), np.nan) for name in names}
    for layer, values in enumerate(states.values):
        if progress:
            progress(_STAGE, layer, n_layers)
        for name, (estimate, spread) in _layer(values, names, n_neighbors, metric, halves, device).items():
            curves[name].append(estimate)
            subsamples[name][:, layer] = spread
    if progress:
        progress(_STAGE, n_layers, n_layers)
    return IdProfile(
        layer_names=states.layer_names,
        estimates={name: tuple(curve) for name, curve in curves.items()},
        subsamples=subsamples if n_subsamples else {},
        model=states.model,
        sample_source=states.sample_source,
        pooling=states.pooling,
        max_length=states.max_length,
        n_neighbors=int(n_neighbors),
        metric=metric,
    )


def _layer(
    values: np.ndarray, names: Sequence[str], n_neighbors: int, metric: str, halves: list[np.ndarray], device: str
) -> dict[str, tuple[IdEstimate, np.ndarray]]:
    """Estimate of one layer and its values on the halves, by estimator."""
    started = time.perf_counter()
    n_samples, n_distinct = len(values), 0
    try:
        points = distinct_points(values, metric)
        n_distinct = len(points)
        _require_enough(n_distinct, n_samples, n_neighbors)
        graph, points = search(points, wide_enough(n_neighbors, n_distinct), device)
        n_distinct = len(points)  # directions can prove equal only when they are compared
        _require_enough(n_distinct, n_samples, n_neighbors)
    except DataError as error:
        seconds = time.perf_counter() - started
        undefined = {name: IdEstimate(name, None, None, None, n_samples, n_distinct, seconds, str(error)) for name in names}
        return {name: (estimate, np.full(len(halves), np.nan)) for name, estimate in undefined.items()}
    engine = NumpyPairwise(points.values, BLOCK_BYTES)
    half_graphs = [half_graph(graph, points, engine, half, n_neighbors) for half in halves]
    shared_seconds = time.perf_counter() - started
    result = {}
    for name in names:
        started = time.perf_counter()
        estimator, spread = ESTIMATORS[name](n_neighbors), np.full(len(halves), np.nan)
        try:
            estimator.fit(graph)
        except DataError as error:
            seconds = shared_seconds + time.perf_counter() - started
            estimate = IdEstimate(name, None, None, None, n_samples, n_distinct, seconds, str(error))
        else:
            spread[:] = [_dimension_or_nan(ESTIMATORS[name](n_neighbors), half) for half in half_graphs]
            low, high, note = _interval(name, estimator, spread)
            seconds = shared_seconds + time.perf_counter() - started
            estimate = IdEstimate(name, estimator.dimension_, low, high, n_samples, n_distinct, seconds, note)
        result[name] = (estimate, spread)
    return result


def _require_enough(n_distinct: int, n_samples: int, n_neighbors: int) -> None:
    if n_distinct < _LEAST_DISTINCT * n_samples or n_distinct <= n_neighbors + 1:
        vectors = "vector" if n_distinct == 1 else "vectors"
        raise DataError(f"{n_distinct} distinct {vectors} of {n_samples}: too few for a dimension")


def _dimension_or_nan(estimator: Estimator, graph: object) -> float:
    try:
        return estimator.fit(graph).dimension_
    except (DataError, InputError):  # a half can be too small for what the whole can carry
        return np.nan


def _interval(name: str, estimator: Estimator, spread: np.ndarray) -> tuple[float, float, str | None]:
    defined = spread[np.isfinite(spread)]
    if name in _ANALYTIC or not len(spread):
        return estimator.ci_low_, estimator.ci_high_, None
    if len(defined) < 2:
        note = f"interval from the formula: only {len(defined)} of {len(spread)} half-samples have a dimension"
        return estimator.ci_low_, estimator.ci_high_, note
    half_width = Z95 * float(np.std(defined, ddof=1))
    return max(0.0, estimator.dimension_ - half_width), estimator.dimension_ + half_width, None


def _checked_names(estimators: Sequence[str]) -> tuple[str, ...]:
    names = (estimators,) if isinstance(estimators, str) else tuple(dict.fromkeys(estimators))
    if not names:
        raise InputError(f"No estimator was given; choose from: {', '.join(ESTIMATORS)}.")
    for name in names:
        check_choice("estimator", name, tuple(ESTIMATORS))
    return names


def _check_whole(what: str, given: int, legal: bool, range_in_words: str) -> None:
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or not legal:
        raise InputError(f"{what} is {given!r}; it must be a whole number, {range_in_words}.")
