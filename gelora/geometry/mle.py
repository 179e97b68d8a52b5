"""MLE: the Levina-Bickel estimate of the intrinsic dimension at every point, and two ways to make one number of it.

Takes points or a NeighborGraph; does not depend on layers.
"""

from typing import ClassVar

import numpy as np

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator, z_value
from gelora.records import check_choice, check_whole


class MLE(Estimator):
    """Maximum-likelihood estimate from the k nearest-neighbor distances r_1 .. r_k of every point.

    At one point S = sum_{j<k} log(r_k / r_j) follows Gamma(k - 1, rate d) where the density is constant over the k
    neighbors. So S / (k - 1) is an unbiased estimate of 1 / d, and (k - 2) / S one of d. Each aggregation uses the
    normaliser that leaves what it averages unbiased:

    - "mackay-ghahramani": the inverse of the mean of S / (k - 1), the maximum-likelihood estimate of a dimension
      that all points share; points in dense or lucky places do not dominate it.
    - "levina-bickel": the mean of (k - 2) / S. With (k - 1) as in equation (8) of the paper it would be too high by
      (k - 1) / (k - 2), 5.6% at k = 20; the paper names (k - 2) as the correction.

    Args:
        n_neighbors: k, at least 2 ("levina-bickel": at least 3); 10 to 20 is usual. A graph may hold more.
        aggregation: "mackay-ghahramani" or "levina-bickel".
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        dimension_pw_: float64 [n_distinct], the estimate at each point, with the aggregation's normaliser.
        ci_low_, ci_high_: dimension_ (1 -+ z / sqrt(N (k - 1))), as if all N (k - 1) terms were independent. Neighborhoods
            overlap, so this is optimistic: for 600 uniform points and k = 20 the true deviation is 1.2 to 1.4 times
            as large, more where density or dimension vary. A profile takes its interval from half-samples instead.
        n_distinct_: the number of distinct points.

    Raises (from `fit`):
        InputError: an illegal parameter or input.
        DataError: too few points, or a point whose k neighbors are all equally far away.

    Sources: Levina & Bickel, NIPS 17 (2004), equations (8) and (9); MacKay & Ghahramani, "Comments on 'Maximum
    likelihood estimation of intrinsic dimension'" (2005).

    >>> import numpy as np
    >>> from gelora.geometry import MLE
    >>> square = np.random.default_rng(0).random((2000, 2))
    >>> round(MLE(n_neighbors=10).fit(square).dimension_, 1)
    2.0
    """

    interval: ClassVar[str] = "analytic"
    dimension_pw_: np.ndarray

    def __init__(self, n_neighbors: int = 20, aggregation: str = "mackay-ghahramani", confidence: float = 0.95) -> None:
        self.n_neighbors = n_neighbors
        self.aggregation = aggregation
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """k."""
        return self.n_neighbors

    def _check(self) -> None:
        check_choice("aggregation", self.aggregation, ("mackay-ghahramani", "levina-bickel"))
        least = 2 if self.aggregation == "mackay-ghahramani" else 3
        check_whole(f"With {self.aggregation!r} n_neighbors", self.n_neighbors, least)

    def _dimension(self, cloud: PointCloud) -> float:
        harmonic = self.aggregation == "mackay-ghahramani"
        lengths = cloud.lengths(self.n_neighbors)
        sums = np.log(lengths[:, -1:] / lengths[:, :-1]).sum(axis=1)
        n_flat = int((sums <= 0).sum())
        if n_flat:
            raise DataError(
                f"{n_flat} of {len(sums)} points have all {self.n_neighbors} neighbors at the same distance, as on a grid: "
                "they have no dimension at this scale. Use more neighbors or unrounded data."
            )
        self.dimension_pw_ = (self.n_neighbors - (1 if harmonic else 2)) / sums
        dimension = float(1 / np.mean(1 / self.dimension_pw_) if harmonic else np.mean(self.dimension_pw_))
        half_width = z_value(self.confidence) / np.sqrt(len(sums) * (self.n_neighbors - 1))
        self.ci_low_, self.ci_high_ = dimension * max(0.0, 1 - half_width), dimension * (1 + half_width)
        return dimension
