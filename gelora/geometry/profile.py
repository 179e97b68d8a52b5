"""From the hidden states of all layers to their dimensions: `IdProfile`, with intervals from half-samples.

Does not depend on any estimator's formula, on models or on ranks.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator, half_sample_interval
from gelora.geometry.half_samples import check_n_subsamples, draw_halves, wide_enough
from gelora.geometry.neighbors import METRICS
from gelora.geometry.registry import ESTIMATORS
from gelora.records import HiddenStates, IdEstimate, IdProfile, LayerSimilarity, Progress, check_choice, check_whole

_LEAST_DISTINCT = 0.8
_STAGE = "Estimating the intrinsic dimension"
_CONFIDENCE = 0.95

OfLayers = HiddenStates | IdProfile | LayerSimilarity
"""Records that say which layers, rows and pooling they are of."""


def check_profile_options(n_neighbors: int, n_subsamples: int, metric: str) -> None:
    """Raise InputError unless `estimate_profile` takes them; for whoever has slow work to do before."""
    check_whole("n_neighbors", n_neighbors, 2)
    check_n_subsamples(n_subsamples)
    check_choice("metric", metric, METRICS)


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
    The others have dimension -+ t standard deviations (Student's law: 2.23 at 10 pairs): the rows are parted at random into two
    samples of N / 2 that are independent, and a quarter of the mean squared difference of their two estimates, each
    relative to the mean of all halves, is the relative variance at N (`halves_at_whole`, `half_sample_spread`). A bootstrap
    with replacement would repeat rows, and a repeated row is a neighbor at distance zero. No interval sees bias; compare
    the half-sample values with the full one (`is_scale_dependent`).

    Args:
        states: hidden states of all layers, more than n_neighbors + 1 rows.
        estimators: names out of ESTIMATORS.
        n_neighbors: k of the estimators that take one, at least 2.
        metric: "euclidean", or "cosine" (the chord between unit rows).
        n_subsamples: number of halves: 0, or even, two and two complementary. With 0 the profile's `subsamples` is empty and an interval
            is the estimator's own analytic one (optimistic: it takes ratios for independent) or none.
        seed: of the halves and of what an estimator draws.
        device: "cpu", "cuda", "cuda:N" or "auto" (the GPU where there is one), for the search of neighbors.
        progress: called as progress(stage, layers done, layers in all); may raise `Cancelled`.

    Raises:
        InputError: an argument is not legal.
        DataError: the sample has too few rows for n_neighbors.
    """
    names = checked_names(estimators)
    check_whole("seed", seed, 0)
    check_profile_options(n_neighbors, n_subsamples, metric)
    n_layers, n_samples, _ = states.values.shape
    if n_samples <= n_neighbors + 1:
        raise DataError(
            f"The sample has {n_samples} rows, but {n_neighbors} neighbors need at least {n_neighbors + 2}; "
            "take a larger sample or fewer neighbors."
        )
    makers = {name: maker(name, n_neighbors, seed) for name in names}
    halves = draw_halves(n_samples, n_subsamples, seed)
    curves: dict[str, list[IdEstimate]] = {name: [] for name in names}
    subsamples = {name: np.full((n_subsamples, n_layers), np.nan) for name in names}
    for layer, values in enumerate(states.values):
        if progress:
            progress(_STAGE, layer, n_layers)
        for name, (estimate, spread) in _layer(values, makers, n_neighbors, metric, halves, device).items():
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
        sinks=states.sinks,
        halves="pairs",
        without_padding=states.without_padding,
    )


def merge_profiles(one: IdProfile, other: IdProfile) -> IdProfile:
    """Two profiles of the same layers as one; what both hold is taken from `other`.

    Raises:
        InputError: they are not of the same model, sample, pooling, metric and number of neighbors, or have unlike halves.
    """
    found = unlike_layers(one, other, "n_neighbors", "metric")
    if found:
        raise InputError(f"Two profiles with different {found[0]} cannot be one: {found[1]!r} and {found[2]!r}.")
    subsamples = {**one.subsamples, **other.subsamples}
    if len({len(halves) for halves in subsamples.values()}) > 1:
        raise InputError("Two profiles with different numbers of half-samples cannot be one.")
    drawn = {profile.halves for profile in (one, other) if profile.subsamples}
    if len(drawn) > 1:
        raise InputError("Independent half-samples, of an earlier version, and pairs cannot be one profile; measure the earlier one again.")
    return replace(
        one,
        estimates={**one.estimates, **other.estimates},
        subsamples=subsamples,
        halves=next(iter(drawn), one.halves),
        scale_curves={**one.scale_curves, **other.scale_curves},
        baselines={kind: {**one.baselines.get(kind, {}), **other.baselines.get(kind, {})} for kind in {**one.baselines, **other.baselines}},
    )


def maker(name: str, n_neighbors: int, seed: int) -> Callable[[], Estimator]:
    """A function that makes the estimator of that name, without half-samples of its own."""

    def make() -> Estimator:
        estimator = ESTIMATORS[name].make(n_neighbors, 0)
        return estimator.set_params(seed=seed) if "seed" in estimator.get_params() else estimator

    return make


def checked_names(estimators: Sequence[str]) -> tuple[str, ...]:
    """The estimators' names, each once.

    Raises:
        InputError: none given, or one that is not in ESTIMATORS.
    """
    names = (estimators,) if isinstance(estimators, str) else tuple(dict.fromkeys(estimators))
    if not names:
        raise InputError(f"No estimator was given; choose from: {', '.join(ESTIMATORS)}.")
    for name in names:
        check_choice("estimator", name, tuple(ESTIMATORS))
    return names


def measurable_cloud(values: np.ndarray, n_neighbors: int, metric: str, device: str) -> PointCloud:
    """One layer's cloud, its graph wide enough for halves.

    Raises:
        DataError: fewer than 80% distinct vectors, no more than n_neighbors + 1, or some that are not finite.
    """
    cloud = PointCloud(values, metric, device)
    for _ in range(2):  # directions can prove equal only when they are compared
        check_distinct(cloud, n_neighbors)
        cloud.graph(wide_enough(n_neighbors, cloud.n_points))
    return cloud


def check_distinct(cloud: PointCloud, n_neighbors: int) -> None:
    """Raise DataError where fewer than 80% of a layer's vectors are distinct, or no more than n_neighbors + 1."""
    if cloud.n_points < _LEAST_DISTINCT * cloud.n_samples or cloud.n_points <= n_neighbors + 1:
        vectors = "vector" if cloud.n_points == 1 else "vectors"
        raise DataError(f"{cloud.n_points} distinct {vectors} of {cloud.n_samples}: too few for a dimension")


def same_layers(states: HiddenStates, profile: IdProfile) -> None:
    """Raise InputError unless the profile can have been measured on these states."""
    found = unlike_layers(states, profile)
    if found:
        raise InputError(f"The states and the profile have different {found[0]}: {found[1]!r} and {found[2]!r}.")


def unlike_layers(one: OfLayers, other: OfLayers, *more: str) -> tuple[str, object, object] | None:
    """The first thing in which two records are not of the same layers and rows, and both values; None where they are.

    Of attention sinks, what follows from rounding (a norm's last digit on another device) may differ; treatment, ratio and
    texts left out may not. `more` names further fields that have to agree.
    """
    for name in ("layer_names", "model", "sample_source", "pooling", "max_length", "without_padding", *more):
        if getattr(one, name) != getattr(other, name):
            return name, getattr(one, name), getattr(other, name)
    sinks = [None if record.sinks is None else record.sinks.choice for record in (one, other)]
    return None if sinks[0] == sinks[1] else ("treatment of attention sinks (treatment, ratio, texts left out)", sinks[0], sinks[1])


def dimensions_of(
    values: np.ndarray, makers: dict[str, Callable[[], Estimator]], n_neighbors: int, metric: str, device: str
) -> dict[str, float]:
    """Each estimator's answer for one set of points, NaN where it has none.

    Raises:
        DataError: as `measurable_cloud`.
    """
    cloud = measurable_cloud(values, n_neighbors, metric, device)
    return {name: make().answer_or_nan(cloud) for name, make in makers.items()}


def _layer(
    values: np.ndarray,
    makers: dict[str, Callable[[], Estimator]],
    n_neighbors: int,
    metric: str,
    halves: list[np.ndarray],
    device: str,
) -> dict[str, tuple[IdEstimate, np.ndarray]]:
    """Estimate of one layer and its values on the halves, by estimator."""
    clock = _Clock()
    n_samples = len(values)
    answers: dict[str, Estimator | str] = {}
    spreads = {name: np.full(len(halves), np.nan) for name in makers}
    n_distinct = 0
    try:
        with clock.of(*makers):
            cloud = measurable_cloud(values, n_neighbors, metric, device)
    except DataError as error:
        n_distinct = _n_distinct(values, metric)
        answers = dict.fromkeys(makers, str(error))
    else:
        n_distinct = cloud.n_points
        for name, make in makers.items():
            with clock.of(name):
                try:
                    answers[name] = make().estimate(cloud)
                except DataError as error:
                    answers[name] = str(error)
        defined = [name for name in makers if not isinstance(answers[name], str)]
        for i, half in enumerate(halves):
            with clock.of(*defined):
                part = cloud.subset(half)
                _ = part.graph(min(n_neighbors, part.n_points - 1)) if part.n_points > 1 else None
            for name in defined:
                with clock.of(name):
                    spreads[name][i] = makers[name]().answer_or_nan(part)
    result = {}
    for name, answer in answers.items():
        seconds = clock.seconds[name]
        if isinstance(answer, str):
            estimate = IdEstimate(name, None, None, None, n_samples, n_distinct, seconds, answer)
        else:
            low, high, note = _interval(name, answer, spreads[name])
            estimate = IdEstimate(name, answer.dimension_, low, high, n_samples, n_distinct, seconds, note)
        result[name] = (estimate, spreads[name])
    return result


class _Clock:
    """Seconds by estimator; what several share counts for each."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def of(self, *names: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            for name in names:
                self.seconds[name] += time.perf_counter() - started


def _n_distinct(values: np.ndarray, metric: str) -> int:
    try:
        return PointCloud(values, metric).n_points
    except DataError:
        return 0


def _interval(name: str, answer: Estimator, spread: np.ndarray) -> tuple[float | None, float | None, str | None]:
    """The profile's interval of an estimate, and what is to be said beside it."""
    low, high, note = half_sample_interval(answer.dimension_, spread, _CONFIDENCE)
    if answer.ci_low_ is not None and (ESTIMATORS[name].keeps_own_interval or not len(spread) or low is None):
        low, high = answer.ci_low_, answer.ci_high_
        note = f"interval from the formula: {note.removeprefix('no interval: ')}" if note and len(spread) else None
        note = None if ESTIMATORS[name].keeps_own_interval else note
    return low, high, "; ".join(part for part in (answer.note_, note) if part) or None
