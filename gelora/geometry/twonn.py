"""TwoNN: the intrinsic dimension from the ratio of each point's second to first nearest-neighbor distance.

Takes points or a NeighborGraph; does not depend on layers.
"""

from typing import ClassVar

import numpy as np
from scipy import special

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator, z_value
from gelora.records import check_choice, check_range


class TwoNN(Estimator):
    """Two-nearest-neighbor estimate: mu = r2 / r1 follows a Pareto law with exponent d, so log mu is exponential.

    The law is exact where the density is constant over the two nearest neighbors. In high dimension neighbors are far
    and edges near, and the estimate is too low (a 20-dimensional cube of 1000 points reads about 15). Neither interval
    sees that bias.

    Args:
        method: "fit" is the slope through the origin of -log(1 - F) on log mu over the smallest ratios; "mle" is
            (N - 1) / sum(log mu) over all N ratios, the unbiased maximum-likelihood estimate; "loglog" is
            exp(-gamma - mean(log log mu)), gamma being Euler's constant, over all ratios above 1: -log log mu - log d
            follows Gumbel's law, whose mean is gamma and whose variance pi^2 / 6. A near copy is a large ratio, which
            counts in "mle" by its logarithm and here by the logarithm of that.
        discard_fraction: from 0 up to (not including) 1; the share of largest ratios that "fit" leaves out, "mle"
            ignores it. F of the i-th smallest ratio is i / N with N counting all ratios, so the last point has
            F = 1 and no finite -log(1 - F): it is always among those left out, and int(N (1 - discard_fraction))
            points, at most N - 1, are kept.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: the estimate.
        ci_low_, ci_high_: its interval under the Pareto law with independent ratios. Ratios of points that are each
            other's nearest neighbor share r1, so it is optimistic: for 600 uniform points the true deviation is 1.1
            to 1.4 times as large, and 95% intervals cover 86 to 91%. "mle": the quantiles of the
            posterior Gamma(N, rate sum(log mu)). "fit": normal, with the variance of the slope to first order; by
            Rényi's representation the i-th smallest log mu is a sum of independent exponentials E_j / (d (N-j+1)),
            j <= i, so the relative variance is sum_j [sum_{i>=j} y_i / ((N-j+1) sum y^2)]^2, y_i = -log(1 - i/N),
            sums over the kept points. "loglog":
            dimension_ exp(-+ z pi / sqrt(6 N)), a standard error of 1.2825 / sqrt(N) in log d, with N the ratios above 1.
        n_distinct_: N, the number of distinct points.
        log_mu_: float64 [N], ascending; minus_log_survival_: float64 [N - 1], y of all but the last point;
            kept_: the number of points, from the smallest, that "fit" uses (N for the others).

    Raises (from `fit`):
        InputError: an illegal parameter or input.
        DataError: too few points, or ratios that are all 1.

    Sources: Facco, d'Errico, Rodriguez & Laio, Scientific Reports 7, 12140 (2017); Denti, Doimo, Laio & Mira,
    Scientific Reports 12, 20005 (2022), section "the TWO-NN model"; "loglog" is moment estimation of Gumbel's location, this library's own.

    >>> import numpy as np
    >>> from gelora.geometry import TwoNN
    >>> square = np.random.default_rng(0).random((2000, 2))
    >>> round(TwoNN().fit(square).dimension_, 1)
    2.0
    """

    interval: ClassVar[str] = "analytic"
    log_mu_: np.ndarray
    minus_log_survival_: np.ndarray
    kept_: int

    def __init__(self, method: str = "fit", discard_fraction: float = 0.1, confidence: float = 0.95) -> None:
        self.method = method
        self.discard_fraction = discard_fraction
        self.confidence = confidence

    @property
    def n_neighbors_read(self) -> int:
        """2."""
        return 2

    def _check(self) -> None:
        check_choice("method", self.method, ("fit", "mle", "loglog"))
        check_range("discard_fraction", self.discard_fraction, 0.0, float(np.nextafter(1, 0)))

    def _dimension(self, cloud: PointCloud) -> float:
        lengths = cloud.lengths(2)
        n = len(lengths)
        kept = min(int(n * (1 - self.discard_fraction)), n - 1) if self.method == "fit" else n
        if kept < 2:
            raise DataError(f"TwoNN keeps {kept} of {n} ratios; it needs at least 2. Give more points or discard less.")
        log_mu = np.sort(np.log(lengths[:, 1] / lengths[:, 0]))
        if not log_mu[:kept].any():
            raise DataError(f"All {kept} ratios r2 / r1 are 1: the points lie on a grid or are all equally far apart.")
        survival = -np.log1p(-np.arange(1, n) / n)
        self.log_mu_, self.minus_log_survival_, self.kept_ = log_mu, survival, kept
        if self.method == "fit":
            x, y_kept = log_mu[:kept], survival[:kept]
            dimension = float(x @ y_kept / (x @ x))
            half_width = z_value(self.confidence) * _relative_sd_of_slope(y_kept, n)
            self.ci_low_, self.ci_high_ = dimension * max(0.0, 1 - half_width), dimension * (1 + half_width)
            return dimension
        if self.method == "loglog":
            return self._gumbel_location(log_mu[log_mu > 0])
        total = float(log_mu.sum())
        low, high = special.gammaincinv(n, [0.5 - self.confidence / 2, 0.5 + self.confidence / 2]) / total
        self.ci_low_, self.ci_high_ = float(low), float(high)
        return (n - 1) / total

    def _gumbel_location(self, log_mu: np.ndarray) -> float:
        dimension = float(np.exp(-np.euler_gamma - np.log(log_mu).mean()))
        factor = float(np.exp(z_value(self.confidence) * np.pi / np.sqrt(6 * len(log_mu))))
        self.ci_low_, self.ci_high_ = dimension / factor, dimension * factor
        return dimension


def _relative_sd_of_slope(y: np.ndarray, n: int) -> float:
    tail_sums = np.cumsum(y[::-1])[::-1]
    return float(np.sqrt(np.sum((tail_sums / (n - np.arange(len(y)))) ** 2)) / (y @ y))
