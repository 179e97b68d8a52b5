"""Calibration of estimators: repeated draws of manifolds of known dimension, and the estimate of each estimator on each draw.

Does not depend on any estimator's formula or any manifold's shape.
"""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry import synthetic
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator, half_sample_interval
from gelora.geometry.half_samples import check_n_subsamples, draw_halves, wide_enough
from gelora.geometry.profile import checked_names, maker
from gelora.geometry.scales import DistanceScales
from gelora.records import NeighborGraph, Progress, check_choice, check_whole

INTERVALS = ("own", "half-samples", "none")
CONFIDENCE = 0.95
FIXED_DIMENSIONS: dict[str, int | None] = {
    **{name: synthetic.fixed_dimension(name) for name in synthetic.MANIFOLDS},
    **{name: manifold.dimension for name, manifold in synthetic.BENCHMARK_MANIFOLDS.items()},
}
"""Every manifold that a Case may name, and its dimension where that cannot be chosen (else None)."""

_OWN_SEED = 0
_STAGE = "Measuring manifolds of known dimension"
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Case:
    """A manifold to draw points from: everything but the seed.

    manifold: a name of `synthetic.MANIFOLDS` or of `synthetic.BENCHMARK_MANIFOLDS`; n_samples: rows of a draw;
    dimension: None where the manifold has but one; width: None for a benchmark manifold, which has its own; noise:
    standard deviation of the Gaussian noise in every coordinate.
    """

    manifold: str
    n_samples: int
    dimension: int | None = None
    width: int | None = None
    noise: float = 0.0

    def points(self, seed: int) -> np.ndarray:
        """One draw, float64 [n_samples, width].

        Raises:
            InputError: an unknown manifold, or one that the dimension, width or noise do not fit.
        """
        check_choice("manifold", self.manifold, tuple(FIXED_DIMENSIONS))
        if self.manifold in synthetic.BENCHMARK_MANIFOLDS:
            return synthetic.benchmark_manifold(self.manifold, self.n_samples, seed=seed, noise=self.noise)
        dimension = FIXED_DIMENSIONS[self.manifold] if self.dimension is None else self.dimension
        check_whole("dimension", dimension, 1)
        check_whole("width", self.width, 1)
        return synthetic.MANIFOLDS[self.manifold](self.n_samples, dimension, self.width, seed=seed, noise=self.noise)

    @property
    def truth(self) -> int:
        """The manifold's dimension."""
        return FIXED_DIMENSIONS[self.manifold] or int(self.dimension or 0)


@dataclass(frozen=True)
class Trial:
    """What one estimator says of one draw.

    manifold, truth, n_samples, width, noise, seed: the draw; estimator: its name; dimension, ci_low, ci_high: None where
    it has no answer, or no interval, and `note` says why; seconds: of the estimate alone; interval_seconds: of the
    half-samples behind its interval, without their shared graphs; shared_seconds: of what all estimators share, the
    copies dropped, the neighbor graph and, where one of them asks for it, the pass over all pairs.
    """

    manifold: str
    truth: int
    n_samples: int
    width: int
    noise: float
    seed: int
    estimator: str
    dimension: float | None
    ci_low: float | None
    ci_high: float | None
    seconds: float
    interval_seconds: float
    shared_seconds: float
    note: str | None = None

    @property
    def case(self) -> Case:
        """What was drawn from; benchmark manifolds carry their own dimension and width here."""
        return Case(self.manifold, self.n_samples, self.truth, self.width, self.noise)


def calibrate(
    cases: Iterable[Case],
    estimators: Sequence[str],
    seeds: Iterable[int],
    *,
    n_neighbors: int = 20,
    interval: str = "own",
    n_subsamples: int = 20,
    progress: Progress | None = None,
) -> tuple[Trial, ...]:
    """Every estimator on every case, once a seed; the estimators of one draw share one PointCloud.

    Args:
        cases: what to draw from.
        estimators: names out of ESTIMATORS.
        seeds: of the draws; halves, and what an estimator draws itself, keep the estimator's default seed.
        n_neighbors: k of the estimators that take one.
        interval: "own" is what `fit` gives (analytic, else from half-samples); "half-samples" is from half-samples for
            all, as a profile has it; "none" computes none beyond the analytic, which costs least.
        n_subsamples: number of halves, even and at least 2.
        progress: called as progress(stage, answers so far, answers in all); may raise `Cancelled`.

    Returns:
        One row an estimator, draw by draw.

    Raises:
        InputError: an argument is not legal. (An estimator that has no answer makes a row with the reason.)

    >>> from gelora.geometry import Case, calibrate
    >>> [trial] = calibrate([Case("affine", 1000, dimension=2, width=3)], ["twonn"], [0])
    >>> trial.truth, round(trial.dimension)
    (2, 2)
    """
    names, cases, seeds = checked_names(estimators), tuple(cases), tuple(seeds)
    check_choice("interval", interval, INTERVALS)
    check_whole("n_neighbors", n_neighbors, 2)
    check_n_subsamples(n_subsamples, least=2)
    if not cases or not seeds:
        raise InputError(f"There are {len(cases)} cases and {len(seeds)} seeds; give at least one of each.")
    for seed in seeds:
        check_whole("seed", seed, 0)
    total = len(cases) * len(seeds) * len(names)
    trials: list[Trial] = []
    for case in cases:
        for seed in seeds:
            points = case.points(seed)

            def told(n_done: int, before: int = len(trials)) -> None:
                if progress:
                    progress(_STAGE, before + n_done, total)

            trials += _trials_of_a_draw(case, seed, points, names, n_neighbors, interval, n_subsamples, told)
    if progress:
        progress(_STAGE, total, total)
    return tuple(trials)


def _trials_of_a_draw(
    case: Case,
    seed: int,
    points: np.ndarray,
    names: tuple[str, ...],
    n_neighbors: int,
    interval: str,
    n_subsamples: int,
    told: Callable[[int], None],
) -> list[Trial]:
    makers = {name: maker(name, n_neighbors, _OWN_SEED) for name in names}
    by_halves = {n for n in names if interval == "half-samples" or (interval == "own" and makers[n]().interval != "analytic")}
    for name in names:
        _load(name)
    started = time.perf_counter()
    cloud = _TimedCloud(points)
    cloud.shared_seconds = time.perf_counter() - started
    widest = max(make().n_neighbors_read for make in makers.values())
    if cloud.n_points > widest > 0:  # the widest first, or a narrow reader would have the points searched twice
        cloud.graph(wide_enough(widest, cloud.n_points) if by_halves else widest)
    answers: dict[str, Estimator | str] = {}
    seconds, interval_seconds = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for i, name in enumerate(names):
        told(i)
        started, shared_before = time.perf_counter(), cloud.shared_seconds
        try:
            answers[name] = makers[name]().estimate(cloud)
        except DataError as error:
            answers[name] = str(error)
        seconds[name] = time.perf_counter() - started - (cloud.shared_seconds - shared_before)
    waiting = [name for name in names if name in by_halves and not isinstance(answers[name], str)]
    spreads = {name: np.full(n_subsamples, np.nan) for name in waiting}
    for i, half in enumerate(draw_halves(len(points), n_subsamples, _OWN_SEED) if waiting else ()):
        part = cloud.subset(half)
        if part.n_points > widest > 0:
            part.graph(widest)
        for name in waiting:
            told(len(names) - 1)
            started = time.perf_counter()
            spreads[name][i] = makers[name]().answer_or_nan(part)
            interval_seconds[name] += time.perf_counter() - started
    trials = []
    for name, answer in answers.items():
        dimension, low, high, note = None, None, None, answer if isinstance(answer, str) else answer.note_
        if not isinstance(answer, str):
            dimension, low, high = answer.dimension_, answer.ci_low_, answer.ci_high_
            if name in spreads:
                low, high, why_none = half_sample_interval(dimension, spreads[name], CONFIDENCE)
                note = "; ".join(part for part in (note, why_none) if part) or None
        trials.append(
            Trial(
                case.manifold, case.truth, len(points), points.shape[1], case.noise, seed, name, dimension, low, high,
                seconds[name], interval_seconds[name], cloud.shared_seconds, note,
            )
        )  # fmt: skip
    return trials


@functools.cache
def _load(name: str) -> None:
    """Let an estimator import what it needs, once a process, so that no draw is charged for it."""
    maker(name, 5, _OWN_SEED)().answer_or_nan(PointCloud(np.random.default_rng(0).random((60, 3))))


class _TimedCloud(PointCloud):
    """A cloud that has timed its shared parts, so that no estimator is charged for having asked first."""

    def __init__(self, X: np.ndarray) -> None:
        self.shared_seconds = 0.0
        self._depth = 0
        super().__init__(X)

    def graph(self, n_neighbors: int) -> NeighborGraph:
        return self._timed(lambda: super(_TimedCloud, self).graph(n_neighbors))

    def scales(self) -> DistanceScales:
        return self._timed(super().scales)

    def _timed(self, part: Callable[[], _Part]) -> _Part:
        self._depth += 1
        started = time.perf_counter()
        try:
            return part()
        finally:
            self._depth -= 1
            if not self._depth:  # a part that asks for another is counted once
                self.shared_seconds += time.perf_counter() - started
