"""The base class of all estimators: scikit-learn's parameters and `fit`, input checks, confidence intervals.

Does not depend on any estimator's formula.
"""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy import special

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.half_samples import check_n_subsamples, draw_halves
from gelora.records import HALVES, check_choice, check_range, check_whole


class Estimator(ABC):
    """Base of the estimators.

    A subclass stores its parameters unchanged in `__init__`, checks them in `_check` and answers in `_dimension`.
    Every one has the parameter `confidence`. Where `interval` is "analytic", `_dimension` also sets `ci_low_` and
    `ci_high_`. The others have the parameters `n_subsamples` (even) and `seed` too: `fit` draws that many random halves of
    the rows and takes dimension_ -+ t standard deviations by `half_sample_spread`. Halves are drawn without replacement;
    a bootstrap makes copies of rows, and a copy is a neighbor at distance zero.

    Attributes:
        dimension_: the estimate, finite and not negative.
        ci_low_, ci_high_: its interval; None, with the reason in `note_`, where too few halves have an answer.
        n_distinct_: the number of distinct points.
        note_: what belongs beside the number, or None.
    """

    interval: ClassVar[str] = "half-samples"
    confidence: float
    n_subsamples: int
    seed: int
    dimension_: float
    ci_low_: float | None
    ci_high_: float | None
    n_distinct_: int
    note_: str | None

    @abstractmethod
    def _check(self) -> None:
        """Raise InputError for an illegal parameter of the subclass's own."""

    @abstractmethod
    def _dimension(self, cloud: PointCloud) -> float:
        """The estimate; raises DataError where the points have none."""

    @property
    def n_neighbors_read(self) -> int:
        """How many neighbors of each point the estimate reads (0: none)."""
        return 0

    def fit(self, X: Any, y: object = None) -> Self:
        """Estimate, with an interval.

        Args:
            X: points [n_samples, width], a PointCloud, or a NeighborGraph where the estimate reads no coordinates.
            y: ignored; scikit-learn's convention.

        Raises:
            InputError: an illegal parameter or input.
            DataError: the points have no such dimension, and why.
        """
        cloud = PointCloud.of(X)
        if self.interval == "analytic":
            return self.estimate(cloud)
        self._check_all()
        if self.n_subsamples and self.n_neighbors_read:
            cloud.reserve(self.n_neighbors_read)
        self.estimate(cloud)
        halves = draw_halves(cloud.n_samples, self.n_subsamples, self.seed)
        answers = np.array([self.answer_or_nan(cloud.subset(half)) for half in halves])
        self.ci_low_, self.ci_high_, note = half_sample_interval(self.dimension_, answers, self.confidence)
        self.note_ = "; ".join(part for part in (self.note_, note) if part) or None
        return self

    def estimate(self, cloud: PointCloud) -> Self:
        """`fit` without half-samples: the number, and an interval only where it is analytic."""
        self._check_all()
        self.note_, self.ci_low_, self.ci_high_ = None, None, None
        self.n_distinct_ = cloud.n_points
        self.dimension_ = float(self._dimension(cloud))
        if not (np.isfinite(self.dimension_) and self.dimension_ >= 0):
            raise DataError(f"{type(self).__name__} has no finite answer for these {self.n_distinct_} points.")
        return self

    def answer_or_nan(self, cloud: PointCloud) -> float:
        """The dimension of a part of the data by an estimator like this one; NaN where the part has none."""
        try:
            return type(self)(**self.get_params()).estimate(cloud).dimension_
        except (DataError, InputError):  # a part can be too small for what the whole can carry
            return np.nan

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name.

        Raises:
            InputError: a name that the constructor does not have.
        """
        legal = self.get_params()
        for name, value in params.items():
            if name not in legal:
                raise InputError(f"{type(self).__name__} has no parameter {name!r}; it has: {', '.join(legal)}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def _check_all(self) -> None:
        check_range("confidence", self.confidence, float(np.nextafter(0, 1)), float(np.nextafter(1, 0)))
        if self.interval != "analytic":
            check_n_subsamples(self.n_subsamples)
            check_whole("seed", self.seed, 0)
        self._check()


def half_sample_interval(dimension: float, answers: np.ndarray, confidence: float) -> tuple[float | None, float | None, str | None]:
    """Low and high end around `dimension` from the answers of pairs of halves (NaN: none), and a note where there can be none."""
    spread = half_sample_spread(halves_at_whole(answers, dimension, "pairs"), "pairs")
    if spread is None:
        n_defined = int(np.isfinite(answers).sum())
        few = f"only {n_defined} of {len(answers)} half-samples have a dimension, no two of a pair"
        reason = few if len(answers) else "no half-samples were drawn"
        return None, None, f"no interval: {reason}"
    half_width = spread.half_width(confidence)
    return max(0.0, dimension - half_width), dimension + half_width, None


@dataclass(frozen=True)
class Spread:
    """What an answer of all rows would vary by over samples of its size.

    deviation: standard, in dimensions; degrees: of freedom that it was measured with, infinite where it counts as known.
    """

    deviation: float
    degrees: float = np.inf

    def half_width(self, confidence: float = 0.95) -> float:
        """Of the interval, by Student's law, which is wider than 1.96 deviations where those are measured on few pairs."""
        return self.deviation * float(special.stdtrit(self.degrees, 0.5 + confidence / 2))


def half_sample_spread(answers: np.ndarray, halves: str) -> Spread | None:
    """The spread at all N rows, from the answers of halves or from their differences over a block.

    "pairs" (A and B of `draw_halves` by turns): two independent samples of N / 2, so the variance of A - B is twice that
    at N / 2, and four times that at N as variance falls with 1 / N: the mean of (A - B)^2 / 4, with a degree of freedom
    a pair. "independent" (draws of their own, as profiles of earlier versions have them): the variance of the answers,
    which is that at N for a mean over rows, sigma^2 / (N / 2) (1 - 1 / 2); an estimate from neighbors loses more than
    that when half the rows go, so it is too wide (`python -m benchmarks.independent_samples` says by how much).

    Args:
        answers: float64 [n_subsamples], NaN where a half has none; of `halves_at_whole`, or their differences.
        halves: one of HALVES, how they were drawn.

    Returns:
        None where no pair (of independent halves: no two) is defined.
    """
    check_choice("halves", halves, HALVES)
    if halves == "pairs":
        differences = answers[0::2] - answers[1::2]
        defined = differences[np.isfinite(differences)]
        return Spread(float(np.sqrt(np.mean(defined**2))) / 2, len(defined)) if len(defined) else None
    defined = answers[np.isfinite(answers)]
    return Spread(float(np.std(defined, ddof=1))) if len(defined) >= 2 else None


def halves_at_whole(answers: np.ndarray, dimension: np.ndarray | float, halves: str) -> np.ndarray:
    """The answers of pairs of halves at the scale of the whole: times its dimension over their mean, layer by layer.

    What falls as 1 / N is the variance of the logarithm of a dimension; half the rows also read another dimension (TwoNN
    of sentences a tenth higher), which would be in the deviation twice. Answers of independent halves stay as they are.

    Args:
        answers: float64 [n_subsamples] or [n_subsamples, n_layers], NaN where a half has none.
        dimension: that of all rows, a number or float64 [n_layers], NaN where undefined.
        halves: one of HALVES.
    """
    if halves != "pairs":
        return answers
    defined = np.isfinite(answers)
    total, count = np.where(defined, answers, 0.0).sum(axis=0), defined.sum(axis=0)
    return answers * np.where(total > 0, dimension * count / np.where(total > 0, total, 1.0), 1.0)


def z_value(confidence: float) -> float:
    """The half-width of a normal interval in standard deviations."""
    return float(special.ndtri(0.5 + confidence / 2))
