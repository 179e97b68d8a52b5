"""Dimensions read off the covariance's eigenvalues: global and linear.

Does not depend on layers.
"""

import numpy as np

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator
from gelora.records import check_choice, check_range

_ROUNDING = 1e-12


class PCADimension(Estimator):
    """How many directions the variance of the whole cloud needs, from the covariance's eigenvalues l_1 >= l_2 >= ...

    - "participation-ratio": (sum l)^2 / sum l^2: d where d eigenvalues are equal and the rest are zero, less the more
      uneven they are.
    - "explained-variance": the least number of leading eigenvalues that hold the share `explained` of their sum.

    Both are global and linear: they count the directions of the flat space that the cloud fills, not the dimension of a
    curved manifold in it, which is at most as large (a circle reads 2, a flat torus of d circles 2 d). They weigh a direction by its
    variance, so one coordinate far larger than the rest rules them: with one at 10,000 times the others' deviation,
    as transformers have them, the participation ratio is 1.000 whatever the rest does. That is what the ratio says
    about such data, not an error; divide columns by their deviation first if it is not what you ask.

    Args:
        method: "participation-ratio" or "explained-variance".
        explained: above 0 and at most 1; share of the variance, for "explained-variance" alone.
        n_subsamples: half-samples for the interval, 0 or at least 2.
        seed: of the halves.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate; a whole number for "explained-variance".
        ci_low_, ci_high_: from half-samples. They do not see that n points span at most n - 1 directions, which makes
            both counts too low where the true one is not far below n: a Gaussian of equal variance in D directions has
            the participation ratio n D / (n + D) (to first order), 434 for D = 768 and n = 1000.
        explained_variance_ratio_: float64 [min(n_distinct - 1, width)], descending, the eigenvalues over their sum.
        n_distinct_: the number of distinct points. Copies count once.

    Raises (from `fit`):
        InputError: an illegal parameter or input, a NeighborGraph among them.
        DataError: all rows are equal.

    Sources: Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy & Ganguli, "A theory of multineuronal dimensionality, dynamics
    and measurement", bioRxiv 214262 (2017), the participation ratio; Jolliffe, "Principal Component Analysis" (2002),
    section 6.1.1, the share of variance.

    >>> import numpy as np
    >>> from gelora.geometry import PCADimension
    >>> circle = np.exp(1j * np.arange(100))
    >>> round(PCADimension(n_subsamples=0).fit(np.column_stack([circle.real, circle.imag])).dimension_, 1)
    2.0
    """

    explained_variance_ratio_: np.ndarray

    def __init__(
        self, method: str = "participation-ratio", explained: float = 0.95, n_subsamples: int = 20, seed: int = 0, confidence: float = 0.95
    ) -> None:
        self.method = method
        self.explained = explained
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence

    def _check(self) -> None:
        check_choice("method", self.method, ("participation-ratio", "explained-variance"))
        check_range("explained", self.explained, float(np.nextafter(0, 1)), 1.0)

    def _dimension(self, cloud: PointCloud) -> float:
        values = cloud.values
        if len(values) < 2:
            raise DataError(f"All {cloud.n_samples} rows are equal: they have no variance and no dimension.")
        shares = self.explained_variance_ratio_ = cloud.once("shares of variance", lambda: _shares_of_variance(values))
        if self.method == "participation-ratio":
            return float(1 / (shares @ shares))
        return float(np.searchsorted(np.cumsum(shares), self.explained - _ROUNDING) + 1)


def _shares_of_variance(values: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance over their sum, descending; from whichever of covariance and Gram matrix is smaller.

    The first row is taken off before the mean, so that an offset or a constant column leaves exactly nothing.
    """
    centred = values - values[0]
    centred -= centred.mean(axis=0)
    centred /= np.abs(centred).max()
    n, width = centred.shape
    product = centred @ centred.T if n < width else centred.T @ centred
    spectrum = np.maximum(np.linalg.eigvalsh(product)[::-1][: min(n - 1, width)], 0.0)
    return spectrum / spectrum.sum()
