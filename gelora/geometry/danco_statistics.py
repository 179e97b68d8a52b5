"""What DANCo reads from a set of points, norms and angles of neighbors, and the two laws it fits to them.

Does not depend on calibration, estimates or layers.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from scipy import special

from gelora.errors import DataError

_BLOCK_BYTES = 4 * 2**20  # the neighbor vectors of a block of points stay in a CPU's cache
_ASYMPTOTIC = 1 - 1e-3  # above this resultant the concentration's expansion in 1 - R is exact to 1e-8
_LARGEST_CONCENTRATION = 1e8
_STEP = 0.075
_NODES = np.arange(-60, 61) * _STEP
_LOGITS = np.pi * np.sinh(_NODES)


@dataclass(frozen=True)
class Statistics:
    """d_ml: exponent of the law of norms; nu [rad] and tau: mean direction and concentration of the angles.

    float64 [m], one of each per set of points or per dimension.
    """

    d_ml: np.ndarray
    nu: np.ndarray
    tau: np.ndarray


def measure(values: np.ndarray, rows: np.ndarray, lengths: np.ndarray, indices: np.ndarray) -> Statistics:
    """The statistics of a set of points, arrays of one value.

    nu and tau are means over the points. A point whose angles are all nearly equal has a tau that
    grows without bound: it counts for at most ten medians (at least 1). That happens on curves, where all neighbors
    can lie to one side, and among a few points that lie on a line; else the largest is about five medians.

    Args:
        values: float64 [n, width].
        rows: int64 [m], the points to read.
        lengths: float64 [m, k + 1], ascending and positive, to the nearest neighbors.
        indices: int64 [m, k], the k nearest.

    Raises:
        DataError: as `norm_exponent`.
    """
    d_ml = norm_exponent(log_norms(lengths), indices.shape[1])
    nu, tau = fit_von_mises(neighbor_cosines(values, rows, indices))
    most = max(1.0, 10 * float(np.median(tau)))
    return Statistics(np.array([d_ml]), np.array([nu.mean()]), np.array([np.minimum(tau, most).mean()]))


def log_norms(lengths: np.ndarray) -> np.ndarray:
    """float64 [m], -log(r_1 / r_{k+1}) of every point, from ascending lengths [m, k + 1]."""
    return np.log(lengths[:, -1] / lengths[:, 0])


def norm_exponent(logs: np.ndarray, n_neighbors: int) -> float:
    """The maximum-likelihood d of the law of r = r_1 / r_{k+1}, g(r; k, d) = k d r^{d-1} (1 - r^d)^{k-1}.

    With l = -log r the score is 1/d - mean(l) + (k-1) mean(l / (e^{d l} - 1)). It falls with d, and its last term lies
    between 0 and (k-1) / d, so the root lies between 1 / mean(l) and k / mean(l).

    Args:
        logs: float64 [m], l of every point; a point with l = 0 has no likelihood at any d and is left out.
        n_neighbors: k, at least 2.

    Raises:
        DataError: all l are 0.
    """
    positive = logs[logs > 0]
    if not positive.size:
        raise DataError(
            f"All {len(logs)} points have their nearest and their {n_neighbors + 1}th neighbor at the same distance, as on a grid: "
            "they have no dimension at this scale."
        )
    mean = float(positive.mean())
    relative = positive / mean

    def score(x: float) -> float:
        return 1 / x - 1 + (n_neighbors - 1) * float(np.mean(relative * np.exp(-x * relative) / -np.expm1(-x * relative)))

    return float(scipy.optimize.brentq(score, 1 - 1e-6, n_neighbors + 1e-6)) / mean


def neighbor_cosines(values: np.ndarray, rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Cosines of the angles between the vectors from a point to each two of its neighbors; arguments as `measure`.

    Returns:
        float64 [m, k (k-1) / 2], from -1 to 1. Memory is that and a block of a few MB.
    """
    k = indices.shape[1]
    one, other = np.triu_indices(k, 1)
    cosines = np.empty((len(rows), len(one)))
    step = max(1, _BLOCK_BYTES // (8 * k * values.shape[1]))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        vectors = values[indices[some]]
        vectors -= values[rows[some], None]
        products = vectors @ vectors.transpose(0, 2, 1)
        norms = np.sqrt(np.einsum("ijj->ij", products))
        cosines[some] = products[:, one, other] / norms[:, one] / norms[:, other]
    return np.clip(cosines, -1, 1, out=cosines)


def fit_von_mises(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood von Mises law of each row of angles in [0, pi], given by their cosines.

    nu is the direction of the mean of (cos, sin), more than pi / 2 where its cosine is negative, as at many points in
    low dimension (the arc tangent of the quotient alone would be half a turn off); tau solves I_1(tau) / I_0(tau) = R,
    the length of that mean.

    Returns:
        float64 [m] each: nu in [0, pi], tau in [0, 1e8].
    """
    c = cosines.mean(axis=1)
    s = np.sqrt(1 - cosines * cosines).mean(axis=1)
    return np.arctan2(s, c), concentration(np.hypot(c, s))


def concentration(resultant: np.ndarray) -> np.ndarray:
    """tau with I_1(tau) / I_0(tau) = R for R in [0, 1], by Newton's method; near 1 by 1/tau = 2g - g^2 - g^3, g = 1 - R."""
    gap = 1 - np.minimum(resultant, 1)
    near = 1 / np.maximum(2 * gap - gap**2 - gap**3, 1 / _LARGEST_CONCENTRATION)
    r = np.minimum(resultant, _ASYMPTOTIC)
    tau = r * (2 - r**2) / (1 - r**2)
    for _ in range(6):  # the start is within 15%, and each step squares the error
        a = mean_resultant(tau)
        slope = 1 - a * a - np.divide(a, tau, out=np.full_like(a, 0.5), where=tau > 0)
        tau = np.maximum(tau - (a - r) / slope, 0)
    return np.where(resultant > _ASYMPTOTIC, near, tau)


def mean_resultant(tau: np.ndarray) -> np.ndarray:
    """I_1(tau) / I_0(tau), from exponentially scaled Bessel functions: I_0 itself overflows for tau > 713."""
    return special.i1e(tau) / special.i0e(tau)


def norm_divergence(d: np.ndarray, other: np.ndarray, n_neighbors: int) -> np.ndarray:
    """KL divergence of the law of norms with exponent `d` from that with `other`.

    With u = r^d, which follows Beta(1, k), and q = other / d it is (q - 1) H_k - log q - (k - 1) / k
    - (k - 1) E log(1 - u^q). The paper writes the last mean as an alternating sum of k + 1 digammas, which loses all
    digits near k = 50; here it is a tanh-sinh integral.
    """
    q = np.asarray(other / d, dtype=np.float64)
    k = n_neighbors
    log_u, log_v = -np.logaddexp(0, -_LOGITS), -np.logaddexp(0, _LOGITS)
    weights = np.pi * np.cosh(_NODES) * _STEP * k * np.exp(k * log_v + log_u)
    mean_log = np.log(-np.expm1(q[..., None] * log_u)) @ weights
    harmonic = special.digamma(k + 1) - special.digamma(1)
    return (q - 1) * harmonic - np.log(q) - (k - 1) / k - (k - 1) * mean_log


def angle_divergence(nu: np.ndarray, tau: np.ndarray, other_nu: np.ndarray, other_tau: np.ndarray) -> np.ndarray:
    """KL divergence of the von Mises law (nu, tau) from (other_nu, other_tau), in a form that cannot overflow.

    log I_0(tau') - log I_0(tau) + A(tau) (tau - tau' cos(nu - nu')) with A = I_1 / I_0.
    """
    log_ratio = np.log(special.i0e(other_tau) / special.i0e(tau)) + other_tau - tau
    return log_ratio + mean_resultant(tau) * (tau - other_tau * np.cos(nu - other_nu))
