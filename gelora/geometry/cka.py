"""Linear centred kernel alignment (CKA) of clouds of the same rows, without the bias of few rows.

Does not depend on layers or on neighbors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gelora.errors import DataError, InputError

_BLOCK_BYTES = 256 * 2**20


def linear_cka(one: Any, other: Any, *, debiased: bool = True) -> float:
    """Linear CKA: the alignment of two clouds' matrices of inner products, 1 where one is the other turned and scaled.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K and L the inner products of the rows. By default HSIC is the unbiased
    estimator of Song et al.: two independent clouds then give about 0, and less than 0 by chance. The plain one
    (`debiased=False`) gives them about width / N where N is large beside the width, and near 1 where it is not. Directions
    weigh by the square of their variance, so that one huge feature rules both.

    Args:
        one, other: [n_samples, width] of the same rows in the same order, at least 4; widths may differ. Copies count as
            often as they occur.
        debiased: as above.

    Returns:
        The alignment, at most 1 up to rounding for the plain one; the debiased one can exceed it on very few rows.

    Raises:
        InputError: different numbers of rows, or fewer than 4.
        DataError: NaN or infinity, or a cloud whose HSIC with itself is not positive (all rows equal, or far too few).

    Sources: Kornblith, Norouzi, Lee & Hinton, "Similarity of neural network representations revisited", ICML 2019, eq. 3
    and 4; Song, Smola, Gretton, Bedo & Borgwardt, "Feature selection via dependence maximization", JMLR 13 (2012), eq. 5.

    >>> import numpy as np
    >>> from gelora.geometry import linear_cka
    >>> X = np.random.default_rng(0).standard_normal((50, 4))
    >>> Q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))
    >>> round(linear_cka(X, 3 * X @ Q + 1), 12)
    1.0
    """
    clouds = [np.asarray(cloud, dtype=np.float64) for cloud in (one, other)]
    if any(cloud.ndim != 2 for cloud in clouds) or len(clouds[0]) != len(clouds[1]) or len(clouds[0]) < 4:
        raise InputError(
            f"The clouds have the shapes {clouds[0].shape} and {clouds[1].shape}; give [n_samples, width] of the same rows, at least 4."
        )
    if not all(np.isfinite(cloud).all() for cloud in clouds):
        raise DataError("A cloud holds NaN or infinity; drop or repair such rows first.")
    cka = float(cka_matrices(clouds.__getitem__, 2, [np.arange(len(clouds[0]))], debiased=debiased)[0, 0, 1])
    if np.isnan(cka):
        raise DataError("A cloud has no spread that its rows could show; CKA needs clouds whose rows differ, and more rows.")
    return cka


def cka_matrices(
    values: Callable[[int], np.ndarray],
    n_clouds: int,
    parts: Sequence[np.ndarray],
    *,
    debiased: bool = True,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """CKA of every two of several clouds, over each of some parts of their rows: float64 [n_parts, n_clouds, n_clouds].

    All parts are read from the same inner products, a tile of rows of all clouds at a time: memory is
    O(n_clouds n_rows tile) beside one cloud. NaN where a cloud has no spread in a part.

    Args:
        values: the rows of a cloud by its number, [n_rows, width].
        parts: row numbers, ascending, at least 4 each.
        report: called with (rows done, rows in all).
    """
    centres = [_centre(values(i)) for i in range(n_clouds)]
    n_rows = len(values(0))
    products = np.zeros((len(parts), n_clouds, n_clouds))
    sums = [np.zeros((n_clouds, len(part))) for part in parts]
    step = max(1, _BLOCK_BYTES // (8 * n_clouds * n_rows))
    for start in range(0, n_rows, step):
        report(start, n_rows)
        stop = min(start + step, n_rows)
        grams = np.empty((n_clouds, stop - start, n_rows))
        for i, (middle, scale) in enumerate(centres):
            centred = (values(i) - middle) * scale
            np.matmul(centred[start:stop], centred.T, out=grams[i])
        if debiased:
            grams[:, np.arange(stop - start), np.arange(start, stop)] = 0.0
        for i, part in enumerate(parts):
            first, last = np.searchsorted(part, (start, stop))
            own = grams if len(part) == n_rows else grams.take(part[first:last] - start, axis=1).take(part, axis=2)
            flat = own.reshape(n_clouds, -1)
            products[i] += flat @ flat.T
            sums[i][:, first:last] = own.sum(axis=2)
    report(n_rows, n_rows)
    return np.stack([_aligned(product, of_rows, debiased) for product, of_rows in zip(products, sums, strict=True)])


def _centre(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean of the rows in float64, and one over the largest distance of an entry from it, so that no product overflows."""
    first = values[0].astype(np.float64)
    middle = first + (values - first).mean(axis=0)  # equal rows then leave exactly nothing
    largest = float(np.abs(values - middle).max(initial=0.0))
    return middle, 1 / largest if largest else 1.0


def _aligned(product: np.ndarray, sums: np.ndarray, debiased: bool) -> np.ndarray:
    """CKA [n, n] from sum_ij K_ij L_ij of every two kernels and the sums of each kernel's rows [n, n_rows]."""
    n, totals = sums.shape[1], sums.sum(axis=1)
    if debiased:
        hsic = product + np.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (sums @ sums.T)
    else:
        hsic = product + np.outer(totals, totals) / n**2 - 2 / n * (sums @ sums.T)
    own = np.sqrt(np.where(np.diag(hsic) > 0, np.diag(hsic), np.nan))
    return np.asarray(hsic / np.outer(own, own))
