"""MiND_MLk: the dimension from the nearest distance as a share of the distance to a farther neighbor.

Does not depend on layers, or on how the likelihood is maximised.
"""

from typing import ClassVar

from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator
from gelora.geometry.gride import log_ratios, ratio_interval
from gelora.records import check_whole


class MiND(Estimator):
    """MiND_MLk: rho = r_1 / r_{k+1}, the nearest of k neighbors in a ball whose radius is the distance to the next one.

    Where the density is constant over the ball, rho has the density g(rho) = k d rho^(d-1) (1 - rho^d)^(k-1) on
    (0, 1). The estimate is the real d > 0 of largest likelihood over all points, without an upper limit. Of the
    `n_neighbors` = K that it reads the K-th gives the radius, so k = K - 1; it equals GRIDE with n1 = 1, n2 = K. It
    reads too low where edges are near: on 600 points uniform in a cube of dimension 2, 5, 10, 20 by 3%, 12%, 20%, 30%.

    Args:
        n_neighbors: K, at least 2; 10 to 20 is usual. A graph may hold more.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: dimension_ exp(-+ z / sqrt(J)), J the Fisher information about log d that the N ratios hold
            (observed, at the estimate), as if they were independent. For 600 uniform points without edges and K = 20
            the true deviation is 1.0 (dimension 1) to 1.3 times (5 and up) as large, and 95% intervals cover 94% to
            83%. The interval does not see bias.
        n_distinct_: N, the number of distinct points.

    Raises (from `fit`):
        InputError: an illegal parameter or input.
        DataError: no more than K distinct points, or ratios that are all 1.

    Sources: Rozza, Lombardi, Ceruti, Casiraghi & Campadelli, "Novel high intrinsic dimensionality estimators", Machine
    Learning 89, 37-65 (2012): the density g and the estimator MiND_MLk.

    >>> from gelora.geometry import MiND, synthetic
    >>> sphere = synthetic.sphere(2000, dimension=2, width=10, seed=0)
    >>> round(MiND(n_neighbors=10).fit(sphere).dimension_, 1)
    2.0
    """

    interval: ClassVar[str] = "analytic"

    def __init__(self, n_neighbors: int = 20, confidence: float = 0.95) -> None:
        self.n_neighbors = n_neighbors
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """K."""
        return self.n_neighbors

    def _check(self) -> None:
        check_whole("n_neighbors", self.n_neighbors, 2)

    def _dimension(self, cloud: PointCloud) -> float:
        lengths = cloud.lengths(self.n_neighbors)
        logs = log_ratios(lengths[:, 0], lengths[:, -1])  # -log rho; rho^d follows Beta(1, k)
        dimension, self.ci_low_, self.ci_high_ = ratio_interval(logs, 1, self.n_neighbors, self.confidence)
        return dimension
