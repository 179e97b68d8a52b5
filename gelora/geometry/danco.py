"""DANCo: the dimension from nearest distances and angles between neighbors, against balls of known dimension.

Does not depend on layers.
"""

from typing import Any

import numpy as np
import scipy

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.danco_calibration import LEAST_NEIGHBORS, Calibration, calibrate
from gelora.geometry.danco_statistics import Statistics, angle_divergence, measure, neighbor_cosines, norm_divergence
from gelora.geometry.estimator import Estimator
from gelora.records import check_whole

_N_CANDIDATES = 400


class DANCo(Estimator):
    """Dimensionality from Angle and Norm Concentration: which ball's neighborhoods are most like these?

    Two things concentrate as the dimension d grows. The norm r = r_1 / r_{k+1} (nearest over (k+1)-th distance) follows
    g(r; k, d) = k d r^{d-1} (1 - r^d)^{k-1} where the density is constant; its maximum-likelihood exponent is d_ML.
    The k (k-1) / 2 angles between the vectors from a point to its k neighbors gather around pi / 2; a von Mises law
    fitted at every point gives a mean direction nu and a concentration tau, averaged over the points. Finite samples
    bias all three, so they are compared with the same statistics of N points uniform in a ball of each dimension:
    the estimate is the real d, from 1 to max_dimension, where the divergence of the two norm laws plus that of the two
    von Mises laws is least, the calibrated statistics being smooth in d (see `Calibration.at`).

    The comparison undoes the bias that TwoNN and MLE have in high dimension as far as the data are like a ball. At
    N = 1000 and k = 10, cubes, Gaussians and spheres of dimension 5, 12 and 20 are found within 10%; a Gaussian reads
    3 to 10% high, since its density falls outwards more softly. What bends within a neighborhood reads high: a Clifford
    torus of dimension 12 (24 coordinates) reads 20.

    Args:
        n_neighbors: k, at least 4; the estimate reads one neighbor more. 10 is usual; below 10 high dimensions read
            higher (k = 4: a Gaussian of 20 dimensions reads 23).
        max_dimension: the largest dimension that can be the answer, at least 2. It costs time only for the calibration.
        n_subsamples: number of half-samples for the interval, 0 for none.
        seed: of the half-samples and of the balls.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: its interval from half-samples, each held against balls of half as many points. It sees
            neither how unlike a ball the data are nor the calibration's own noise of 0.5 to 1%.
        n_distinct_: N, the number of distinct points.
        d_ml_, nu_, tau_: the three statistics of the data.
        dimensions_: float64 [400], candidates from 1 to max_dimension in equal ratios; kl_norms_, kl_angles_ and
            kl_: [400] each, the two divergences and their sum.
        calibrated_: Statistics, [400] each, of the balls; calibration_: what was measured.

    Raises (from `fit`):
        InputError: an illegal parameter or input; a NeighborGraph, which has no angles.
        DataError: fewer than k + 2 distinct points; no dimension up to max_dimension fits best; or all points have
            k + 1 equally distant neighbors.

    Source: Ceruti, Bassis, Rozza, Lombardi, Casiraghi & Campadelli, "DANCo: An intrinsic dimensionality estimator
    exploiting angle and norm concentration", Pattern Recognition 47, 2569-2581 (2014); for the norms also Rozza,
    Lombardi, Ceruti, Casiraghi & Campadelli, Machine Learning 89, 37-65 (2012).

    >>> from gelora.geometry import DANCo, synthetic
    >>> points = synthetic.sphere(300, dimension=4, width=50)
    >>> round(DANCo(max_dimension=20, n_subsamples=0).fit(points).dimension_)
    4
    """

    d_ml_: float
    nu_: float
    tau_: float
    dimensions_: np.ndarray
    kl_: np.ndarray
    kl_norms_: np.ndarray
    kl_angles_: np.ndarray
    calibrated_: Statistics
    calibration_: Calibration

    def __init__(
        self, n_neighbors: int = 10, max_dimension: int = 100, n_subsamples: int = 20, seed: int = 0, confidence: float = 0.95
    ) -> None:
        self.n_neighbors = n_neighbors
        self.max_dimension = max_dimension
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """k + 1."""
        return self.n_neighbors + 1

    def _check(self) -> None:
        check_whole("n_neighbors", self.n_neighbors, LEAST_NEIGHBORS)
        check_whole("max_dimension", self.max_dimension, 2)

    def _dimension(self, cloud: PointCloud) -> float:
        k = self.n_neighbors
        lengths = cloud.lengths(k + 1)
        values = cloud.values
        data = measure(values, np.arange(len(values)), lengths, cloud.graph(k + 1).indices[:, :k])
        calibration = calibrate(cloud.n_points, k, self.max_dimension, self.seed)
        candidates = np.geomspace(1, self.max_dimension, _N_CANDIDATES)
        calibrated = calibration.at(candidates)
        norms, angles = _divergences(data, calibrated, k)
        kl = norms + angles
        best = int(np.argmin(kl))
        if best == len(kl) - 1:
            raise DataError(
                f"DANCo finds no dimension up to {self.max_dimension}: the points differ least from the largest ball. "
                "Raise max_dimension, or use more neighbors if they are nearly all equally far apart."
            )
        self.d_ml_, self.nu_, self.tau_ = float(data.d_ml[0]), float(data.nu[0]), float(data.tau[0])
        self.dimensions_, self.kl_, self.kl_norms_, self.kl_angles_ = candidates, kl, norms, angles
        self.calibrated_, self.calibration_ = calibrated, calibration
        if best == 0:
            return 1.0
        between = scipy.optimize.minimize_scalar(
            lambda d: float(np.sum(_divergences(data, calibration.at(np.array([d])), k))),
            bounds=(candidates[best - 1], candidates[best + 1]),
            method="bounded",
            options={"xatol": 1e-6 * candidates[best]},
        )
        return float(between.x)


def norms_and_angles(X: Any, n_neighbors: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """What DANCo fits its laws to, for a picture of both.

    Args:
        X: points or a PointCloud, as in `DANCo.fit`.
        n_neighbors: k.

    Returns:
        float64 [n_distinct], r_1 / r_{k+1} in (0, 1]; float64 [n_distinct, k (k-1) / 2], angles in [0, pi].
    """
    check_whole("n_neighbors", n_neighbors, LEAST_NEIGHBORS)
    cloud = PointCloud.of(X)
    lengths = cloud.lengths(n_neighbors + 1)
    indices = cloud.graph(n_neighbors + 1).indices[:, :n_neighbors]
    return lengths[:, 0] / lengths[:, -1], np.arccos(neighbor_cosines(cloud.values, np.arange(len(indices)), indices))


def _divergences(data: Statistics, balls: Statistics, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    return norm_divergence(data.d_ml, balls.d_ml, n_neighbors), angle_divergence(data.nu, data.tau, balls.nu, balls.tau)
