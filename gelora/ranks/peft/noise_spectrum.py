"""What the singular values of a LoRA update would be if it held no direction: two Marchenko-Pastur laws, multiplied.

Pure arithmetic; does not depend on adapters or files.
"""

import functools
import math

import numpy as np

from gelora.records import check_range, check_whole

_TRACY_WIDOM_99 = 2.0234
"""The value that the largest eigenvalue of noise stays below in 99 of 100 cases, in units of its fluctuation (real entries)."""


@functools.lru_cache(4096)
def noise_edge(n_values: int, in_features: int, out_features: int) -> float:
    """The largest squared singular value of a random B·A over the mean of all its squared ones, exceeded in 1 case of 100.

    The null: B [out_features, n_values] and A [n_values, in_features] have independent entries of mean 0, each matrix with one
    variance of its own. For large shapes the squared singular values over their mean then follow the free multiplicative
    convolution of two Marchenko-Pastur laws, of ratios g = n_values / in_features and h = n_values / out_features, whose upper edge is
    the least value of x(z) = (1 + z)(1 + g z)(1 + h z) / z over z > 0 (with h = 0 that is (1 + sqrt g)^2, Marchenko and
    Pastur's own). At finite shapes the largest value fluctuates about the edge by Tracy and Widom's law, in units of
    (n_values sqrt(2 / x'') / x)^(-2/3); its 99% point is added.

    Args:
        n_values: whole number, at least 1.
        in_features, out_features: of the matrix, at least 1 each.

    Raises:
        InputError: an argument is no such number.

    Source: Marchenko & Pastur 1967; Voiculescu 1987 (the S-transform); Johnstone 2001; El Karoui 2007.
    """
    check_whole("n_values", n_values, 1)
    check_range("in_features", in_features, 1)
    check_range("out_features", out_features, 1)
    top = np.polymul(np.polymul([1.0, 1.0], [n_values / in_features, 1.0]), [n_values / out_features, 1.0])
    x = [top, np.polyder(top), np.polyder(top, 2)]
    ends = np.roots(np.polysub(np.polymul(x[1], [1.0, 0.0]), top))  # where x' = 0
    z = float(max(ends.real[np.abs(ends.imag) < 1e-9 * np.abs(ends)]))  # the only positive one
    values = [float(np.polyval(p, z)) for p in x]
    edge = values[0] / z
    curvature = values[2] / z - 2 * values[1] / z**2 + 2 * values[0] / z**3
    return edge + _TRACY_WIDOM_99 * (n_values * math.sqrt(2 / curvature) / edge) ** (-2 / 3)


def directions_above_noise(singular_values: np.ndarray, in_features: int, out_features: int) -> int:
    """How many directions of B·A stand above noise, counted from the smallest value up.

    Noise's scale is not known, so it is read from the values themselves: the smallest m values are one bulk of noise as
    long as the largest of them is no larger than `noise_edge(m)` times their mean, all squared. Where the next value
    leaves the bulk, it and all above it are directions. The smallest has nothing below it to be held against, so it is
    always counted as noise and the answer is at most r - 1; what all directions share alike is no direction either.

    Args:
        singular_values: [r], descending.
        in_features, out_features: of the matrix. Small ones have little power: under about 100, the last few
            directions cannot be told from the bulk.

    Returns:
        0 to r - 1; 0 for an untrained adapter.
    """
    squares = np.asarray(singular_values, dtype=np.float64)[::-1] ** 2
    if not len(squares) or squares[-1] == 0:
        return 0
    means = np.cumsum(squares) / np.arange(1, len(squares) + 1)
    for m in range(2, len(squares) + 1):
        if squares[m - 1] > noise_edge(m, in_features, out_features) * means[m - 1]:
            return len(squares) - m + 1
    return 0
