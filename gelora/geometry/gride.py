"""GRIDE: the dimension from the ratio of distances to the n2-th and n1-th neighbor, at one scale or along all of them.

Does not depend on layers, or on how distances are found.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator, z_value
from gelora.records import check_whole

_MOST_STEPS = 100
_LAST_STEP = 1e-9  # Newton's error is squared at each step, so the step after this one would be rounding
_GRAPH_OF_SCALES = 20  # neighbors that `PointCloud.scales` starts from
_LARGEST_SHARE = 0.5
_STEEP = 0.2
_FLATTENED = 0.6  # a fall that goes on at more than this share of its steepest is the coarse end of a hump, not noise outgrown


class GRIDE(Estimator):
    """Generalised ratio estimate: mu = r_{n2} / r_{n1} says how fast volume grows between two neighbors of each point.

    Where the density is constant over the n2 nearest neighbors, mu has the density

        d (mu^d - 1)^(n2 - n1 - 1) / (mu^((n2 - 1) d + 1) B(n2 - n1, n1)),    mu > 1,

    the same as: mu^-d follows Beta(n1, n2 - n1). The estimate is the d of largest likelihood over all points. With
    n1 = 1, n2 = 2 that is the Pareto law of TwoNN and N / sum(log mu). Farther neighbors look at a larger scale: noise
    smaller than r_{n1} no longer lifts the answer, edges and curvature lower it more. On 600 points uniform in a cube
    of dimension 2, 5, 10 the default reads 2%, 10%, 18% too low (1 and 2: 1%, 9%, 16%; 10 and 20: 5%, 15%, 24%); of
    dimension 20, 28%.

    Args:
        n1, n2: neighbor orders, 1 <= n1 < n2. n2 = 2 n1 is usual; (2, 4) is the finest scale after TwoNN's (1, 2).
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: dimension_ exp(-+ z / sqrt(J)), J the Fisher information about log d that the N ratios hold
            (observed, at the estimate), as if they were independent. Neighborhoods overlap, so this is optimistic:
            for 600 uniform points without edges (n1, n2 = 2, 4) the true deviation is 1.2 to 1.4 times as large, and
            95% intervals cover 86 to 88%; for 10 and 20 up to 1.6 times and 76%. The interval does not see bias.
        n_distinct_: N, the number of distinct points.

    Raises (from `fit`):
        InputError: an illegal parameter or input.
        DataError: no more than n2 distinct points, or ratios that are all 1.

    Sources: Denti, Doimo, Laio & Mira, "The generalized ratios intrinsic dimension estimator", Scientific Reports 12,
    20005 (2022): the density of mu with orders n1 and n2, and its maximum-likelihood estimate ("Gride").

    >>> from gelora.geometry import GRIDE, synthetic
    >>> sphere = synthetic.sphere(2000, dimension=2, width=10, seed=1)
    >>> round(GRIDE().fit(sphere).dimension_, 1)
    2.0
    """

    interval: ClassVar[str] = "analytic"

    def __init__(self, n1: int = 2, n2: int = 4, confidence: float = 0.95) -> None:
        self.n1 = n1
        self.n2 = n2
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """n2."""
        return self.n2

    def _check(self) -> None:
        check_whole("n1", self.n1, 1)
        check_whole("n2", self.n2, 2)
        if self.n2 <= self.n1:
            raise InputError(f"n2 is {self.n2}; it must be above n1, which is {self.n1}.")

    def _dimension(self, cloud: PointCloud) -> float:
        lengths = cloud.lengths(self.n2)
        logs = log_ratios(lengths[:, self.n1 - 1], lengths[:, self.n2 - 1])
        dimension, self.ci_low_, self.ci_high_ = ratio_interval(logs, self.n1, self.n2, self.confidence)
        return dimension


@dataclass(frozen=True)
class GrideCurve:
    """GRIDE at every scale n2 = 2 n1 = 2, 4, 8, ..., finest first.

    n1, n2: int64 [n_scales]; dimensions: float64 [n_scales]; deviations: float64 [n_scales], the standard error of
    each as if ratios were independent, which at large n2 they are not at all; mean_lengths: float64 [n_scales], the
    mean distance to the n2-th neighbor. dimensions and deviations are NaN where all ratios are 1.
    """

    n1: np.ndarray
    n2: np.ndarray
    dimensions: np.ndarray
    deviations: np.ndarray
    mean_lengths: np.ndarray


def scale_curve(cloud: PointCloud) -> GrideCurve:
    """The dimension as a function of the scale, without leaving points out, from the cloud's one pass over all pairs.

    Where the curve is flat the points look like a manifold of that dimension; a fall from the left is noise.

    Raises:
        InputError: the cloud was made from a NeighborGraph.
        DataError: too few distinct rows.

    Sources: Denti et al. (2022), as GRIDE.
    """
    scales = cloud.scales()
    n1, n2 = scales.orders[:-1], scales.orders[1:]
    dimensions, deviations = np.full(len(n2), np.nan), np.full(len(n2), np.nan)
    for i in range(len(n2)):
        logs = log_ratios(scales.lengths[:, i], scales.lengths[:, i + 1])
        if logs.any():
            dimensions[i], relative = ratio_dimension(logs, int(n1[i]), int(n2[i]))
            deviations[i] = dimensions[i] * relative
    return GrideCurve(n1, n2, dimensions, deviations, scales.lengths[:, 1:].mean(axis=0))


class Plateau(Estimator):
    """GRIDE at the scale where its answer changes least with the scale: the manifold under the noise, where there is one.

    Noise lifts the fine end of the scale curve, edges and curvature lower the coarse end; in between it is flattest at
    the dimension sought. Flatness is the central difference |d log dimension / d log n2| over the scales up to
    n2 = N / 2, so the answer has 4 <= n2 <= N / 4. Noise wider than the fine scales is flat there too, at a dimension of its own.
    So where the curve falls faster than n2^-0.2 and later less than 0.6 times as fast, only scales beyond its steepest fall count.
    Without noise it is as low as GRIDE: about 0%, 5%, 15%, 25% for sphere, cube and Gaussian of dimension
    2, 5, 12, 20 at N = 2000. Noise that no scale outgrows leaves no plateau, and the answer is too high.

    Args:
        n_subsamples: halves of the rows for the interval; 0 for none.
        seed: of the halves.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: see Estimator. Each half chooses its own scale, so the choice is part of the interval; bias
            is not.
        n_distinct_: N, the number of distinct points.
        scale_: n2 of the chosen scale (n1 is half of it).
        curve_: the whole GrideCurve.

    Raises (from `fit`):
        InputError: an illegal parameter, or a NeighborGraph, which does not reach far enough.
        DataError: fewer than 3 scales (16 points) to compare.

    Sources: the curve is that of Denti, Doimo, Laio & Mira, Scientific Reports 12, 20005 (2022); the rule is this
    library's own.
    """

    scale_: int
    curve_: GrideCurve

    def __init__(self, n_subsamples: int = 20, seed: int = 0, confidence: float = 0.95) -> None:
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """20, the graph that the pass over all pairs starts from."""
        return _GRAPH_OF_SCALES

    def _check(self) -> None:
        """Nothing of its own."""

    def _dimension(self, cloud: PointCloud) -> float:
        self.curve_ = curve = scale_curve(cloud)
        usable = np.isfinite(curve.dimensions) & (curve.n2 <= _LARGEST_SHARE * cloud.n_points)
        if usable.sum() < 3:
            raise DataError(
                f"{cloud.n_points} distinct points have a dimension at {int(usable.sum())} scales up to half of them; "
                "a plateau needs at least 3."
            )
        dimensions, n2 = curve.dimensions[usable], curve.n2[usable]
        chosen = 1 + _flattest(np.log(dimensions), np.log(n2))
        self.scale_ = int(n2[chosen])
        return float(dimensions[chosen])


def _flattest(log_dimensions: np.ndarray, log_orders: np.ndarray) -> int:
    """Which of the inner scales is flattest: the first is 0.

    The share of N and the steep slope were chosen on spheres, cubes and Gaussians of dimension 2, 5, 12, 20 at N = 500
    to 5000, with and without noise. Looking only beyond the steepest fall changes nothing without noise; on surfaces
    (dimension 2, N = 2000) with noise of 0.01 in each of 64 coordinates the typical error goes from a factor of 3.8 to
    15%. A slope limit below 0.2 takes the edges of high dimension for noise.
    """
    slopes = (log_dimensions[2:] - log_dimensions[:-2]) / (log_orders[2:] - log_orders[:-2])
    steepest = int(np.argmin(slopes))
    beyond = np.abs(slopes[steepest + 1 :])
    outgrown = slopes[steepest] < -_STEEP and len(beyond) > 0 and beyond.min() <= _FLATTENED * abs(slopes[steepest])
    first = steepest + 1 if outgrown else 0
    return first + int(np.argmin(np.abs(slopes[first:])))


def log_ratios(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """log(outer / inner) of positive lengths, inner <= outer: exact where they are close, no overflow where they are far."""
    far = outer > 2 * inner
    close = np.log1p((outer - inner) / np.where(far, outer, inner))
    return np.where(far, np.log(outer) - np.log(inner), close)


def ratio_interval(log_mu: np.ndarray, n1: int, n2: int, confidence: float) -> tuple[float, float, float]:
    """The dimension of largest likelihood and both ends of its interval; see `ratio_dimension`."""
    dimension, relative_deviation = ratio_dimension(log_mu, n1, n2)
    factor = float(np.exp(z_value(confidence) * relative_deviation))
    return dimension, dimension / factor, dimension * factor


def ratio_dimension(log_mu: np.ndarray, n1: int, n2: int) -> tuple[float, float]:
    """The dimension d at which exp(-d log_mu) looks most like Beta(n1, n2 - n1), and the standard error of its logarithm.

    With t = d log_mu and h(t) = t / (e^t - 1), d times the score of the likelihood is

        N + (n2 - n1 - 1) sum h(t) - n1 sum t,

    which falls strictly and is convex in d. Its tangent at any d > 0 therefore meets zero at or left of the root, and
    right of 0 because h - t h' > 0: Newton's steps are safe from any start. They start at the d that gives log_mu
    its expected mean, (digamma(n2) - digamma(n1)) / d. A ratio of 1 counts with h(0) = 1.

    Args:
        log_mu: float64 [N], not negative: log(r_{n2} / r_{n1}).

    Raises:
        DataError: all ratios are 1.
    """
    total = float(log_mu.sum())
    if not total > 0:
        raise DataError(
            f"All {len(log_mu)} ratios of the distances to neighbors {n2} and {n1} are 1: "
            "the points lie on a grid or are all equally far apart."
        )
    n, between = len(log_mu), n2 - n1 - 1
    above = log_mu[log_mu > 0]
    n_ties = n - len(above)
    dimension = n * float(special.digamma(n2) - special.digamma(n1)) / total
    for _ in range(_MOST_STEPS):
        score, information = n - n1 * dimension * total, n1 * dimension * total
        if between:
            t = dimension * above
            h = t * np.exp(-t) / -np.expm1(-t)
            score += between * (n_ties + float(h.sum()))
            information += between * float((h * (t + h - 1)).sum())  # -t h'(t) = h (t + h - 1)
        step = score / information
        dimension *= 1 + step
        if abs(step) <= _LAST_STEP:
            break
    return dimension, float(1 / np.sqrt(information))
