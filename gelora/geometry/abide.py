"""ABIDE: each point's own neighborhood, as far as its density is even, and the dimension from binomial counts within it.

Does not depend on layers, nor on how neighbors are found.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator
from gelora.geometry.twonn import TwoNN
from gelora.records import check_range, check_whole

_INNER_SHARE = 0.2032  # of a ball's volume that the inner ball should hold: it minimises the variance (1 - p) / (p log(p)^2)
_LEAST_NEIGHBORS = 4
_MOST_ROUNDS = 20
_SETTLED = 1e-4


class ABIDE(Estimator):
    """Adaptive binomial estimate: neighborhoods reach as far as the density is even, and noise outgrown does not count.

    Given a dimension d, the neighborhood of a point i reaches to the first k at which a likelihood ratio rejects that its
    density is that of its (k + 1)-th neighbor j: with V the volumes ~ r^d of the balls of k neighbors around both,

        D = -2 k (log V_i + log V_j - 2 log(V_i + V_j) + log 4)  >=  the chi-squared quantile (1 degree) of 1 - alpha.

    Given the neighborhoods, of the k - 1 points within a point's radius R a binomial share lies within tau R, with
    probability tau^d under even density, so d = log(sum of inner / sum of k - 1) / log tau. tau is 0.2032^(1/d), where the
    variance is least. The two steps take turns, from TwoNN's answer on, until d moves by less than 1e-4 of itself.

    Noise is outgrown where neighborhoods grow beyond it. They see edges and curvature as far as they reach, so from five
    dimensions on the answer is lower than those of TwoNN and GRIDE (figures: docs/estimators.md).

    Args:
        max_neighbors: the widest neighborhood, at least 5; the distinct points less one where there are fewer.
        alpha: level of the test that ends a neighborhood, above 0 and below 1.
        n_subsamples: halves of the rows for the interval; 0 for none, else even.
        seed: of the halves.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: see Estimator; each half chooses its own neighborhoods.
        n_distinct_: N, the number of distinct points.
        neighborhoods_: int64 [N], k of every point; inner_counts_: int64 [N], points within tau R.
        radius_ratio_: tau.
        p_value_: of the fit, by the Kolmogorov-Smirnov distance between the inner counts and the mixture of binomials that
            the estimate stands for; small says that the points are not of even density and one dimension within their
            neighborhoods. It takes counts for independent, and neighborhoods overlap.

    Raises (from `fit`):
        InputError: an illegal parameter, or a NeighborGraph of fewer neighbors.
        DataError: fewer than 6 distinct points, or none (or all) of the points lie within the inner radii.

    Sources: Di Noia, Macocco, Glielmo, Laio & Mira, "Beyond the noise: intrinsic dimension estimation with optimal
    neighbourhood identification", arXiv 2405.15132 (2024): the estimator, and a test of fit by counts drawn from the
    binomial law, where this one takes the law itself; Rodriguez, d'Errico,
    Facco & Laio, J. Chem. Theory Comput. 14, 1206 (2018): the test that ends a neighborhood. Starting the test at the
    fourth neighbor is this library's choice.

    >>> from gelora.geometry import ABIDE, synthetic
    >>> sphere = synthetic.sphere(1000, dimension=2, width=10, seed=1)
    >>> round(ABIDE(n_subsamples=0).fit(sphere).dimension_, 1)
    2.0
    """

    neighborhoods_: np.ndarray
    inner_counts_: np.ndarray
    radius_ratio_: float
    p_value_: float

    def __init__(
        self, max_neighbors: int = 100, alpha: float = 1e-6, n_subsamples: int = 20, seed: int = 0, confidence: float = 0.95
    ) -> None:
        self.max_neighbors = max_neighbors
        self.alpha = alpha
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """max_neighbors."""
        return self.max_neighbors

    def _check(self) -> None:
        check_whole("max_neighbors", self.max_neighbors, _LEAST_NEIGHBORS + 1)
        check_range("alpha", self.alpha, float(np.nextafter(0, 1)), float(np.nextafter(1, 0)))

    def _dimension(self, cloud: PointCloud) -> float:
        widest = min(self.max_neighbors, cloud.n_points - 1)
        if widest <= _LEAST_NEIGHBORS:
            raise DataError(f"{cloud.n_points} distinct points: a neighborhood of even density needs at least {_LEAST_NEIGHBORS + 2}.")
        log_radii, indices = np.log(cloud.lengths(widest)), cloud.graph(widest).indices[:, :widest]
        threshold = float(scipy.stats.chi2.isf(self.alpha, 1))
        dimension = TwoNN().estimate(cloud).dimension_
        for _ in range(_MOST_ROUNDS):
            counts = _counts(log_radii, even_neighborhoods(log_radii, indices, dimension, threshold), dimension)
            before, dimension = dimension, counts.dimension()
            if abs(dimension - before) <= _SETTLED * dimension:
                break
        self.neighborhoods_, self.inner_counts_ = counts.within + 1, counts.inner
        self.radius_ratio_ = float(np.exp(counts.log_ratio))
        self.p_value_ = counts.p_value()
        return dimension


@dataclass(frozen=True)
class _Counts:
    """Of every point, int64 [N]: how many others lie within its radius, and of these within exp(log_ratio) of it."""

    within: np.ndarray
    inner: np.ndarray
    log_ratio: float

    def dimension(self) -> float:
        """Of largest likelihood.

        Raises:
            DataError: none or all lie within the inner radii.
        """
        share = self.inner.sum() / self.within.sum()
        if not 0 < share < 1:
            raise DataError(f"{'None' if share == 0 else 'All'} of the points within a neighborhood lie within its inner part.")
        return float(np.log(share) / self.log_ratio)

    def p_value(self) -> float:
        """Of the Kolmogorov-Smirnov test that the inner counts are binomial, each of its own number, with their common share."""
        share = self.inner.sum() / self.within.sum()
        numbers, n_points = np.unique(self.within, return_counts=True)
        values = np.arange(numbers[-1] + 1)
        law = n_points @ scipy.stats.binom.cdf(values, numbers[:, None], share) / len(self.within)
        seen = np.cumsum(np.bincount(self.inner, minlength=len(values))) / len(self.inner)
        return float(scipy.stats.kstwo.sf(np.abs(seen - law).max(), len(self.inner)))


def even_neighborhoods(log_radii: np.ndarray, indices: np.ndarray, dimension: float, threshold: float) -> np.ndarray:
    """int64 [N]: up to which neighbor the density around each point is even, at most one less than the graph holds.

    Args:
        log_radii: float64 [N, k], logarithms of the lengths to the neighbors, nearest first.
        indices: int64 [N, k], which points they are.
        dimension: d of the volumes r^d.
        threshold: of the likelihood ratio, above which densities differ.
    """
    n, widest = log_radii.shape
    found = np.full(n, widest - 1)
    open_ = np.arange(n)  # points whose neighborhood has not ended yet
    for k in range(_LEAST_NEIGHBORS, widest):
        own, other = dimension * log_radii[open_, k - 1], dimension * log_radii[indices[open_, k], k - 1]
        ratio = -2 * k * (own + other - 2 * np.logaddexp(own, other) + np.log(4))
        ends = ratio >= threshold
        found[open_[ends]] = k
        open_ = open_[~ends]
        if not open_.size:
            break
    return found


def _counts(log_radii: np.ndarray, neighborhoods: np.ndarray, dimension: float) -> _Counts:
    log_ratio = float(np.log(_INNER_SHARE) / dimension)
    outer = np.take_along_axis(log_radii, neighborhoods[:, None] - 1, axis=1)
    return _Counts(neighborhoods - 1, (log_radii < outer + log_ratio).sum(axis=1), log_ratio)
