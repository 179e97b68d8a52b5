"""The plane in which a point set spreads most: its first two principal components.

Does not depend on layers, labels or pictures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from gelora.errors import DataError, InputError
from gelora.record_json import Record, read_only

_DENSE = 1500  # up to here all eigenvalues of the smaller of covariance and Gram matrix are quick


@dataclass(frozen=True, slots=True, eq=False)
class Projection(Record):
    """Points seen in their principal plane.

    coordinates: float64 [n_samples, 2], centred, in the data's own unit; shares: float64 [2], the part of the variance
    that each axis holds, descending.
    """

    coordinates: np.ndarray
    shares: np.ndarray

    def __post_init__(self) -> None:
        for name in ("coordinates", "shares"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))


def principal_plane(X: Any) -> Projection:
    """The orthogonal projection of the rows of X onto the plane that holds most of their variance.

    Copies count as often as they occur. An axis points to where its largest loading is positive, so that the same data
    give the same picture whatever the order of the rows. Up to 1,500 rows or columns the spectrum of the smaller of
    covariance and Gram matrix is exact; beyond, Lanczos iteration on the centred data finds the two axes to rounding,
    without either matrix.

    Args:
        X: [n_samples, width] array of finite real numbers, at least 2 rows.

    Returns:
        A Projection; where the rows lie on a line, the second coordinate is 0.

    Raises:
        InputError: X is not a two-dimensional table of numbers.
        DataError: fewer than two rows, values that are not finite, or all rows equal.

    Source: Jolliffe, "Principal Component Analysis" (2002), section 3.5, the singular value decomposition.

    >>> import numpy as np
    >>> from gelora.geometry import principal_plane
    >>> principal_plane(np.diag([3.0, 2.0, 1.0])).shares.round(3)
    array([0.75, 0.25])
    """
    values = np.asarray(X)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(f"X has shape {values.shape} and type {values.dtype}; it must be a table of real numbers, [n_samples, width].")
    if len(values) < 2:
        raise DataError(f"There are {len(values)} rows; a plane needs at least 2.")
    centred = values.astype(np.float64)
    if not np.isfinite(centred).all():
        raise DataError("X holds NaN or infinity; drop or repair such rows first.")
    scale = float(np.abs(centred).max(initial=0.0)) or 1.0  # so that no difference and no square overflows
    centred /= scale
    centred -= centred[0]  # equal rows then leave exactly nothing
    centred -= centred.mean(axis=0)
    if not centred.any():
        raise DataError(f"All {len(values)} rows are equal: they have no variance and no plane.")
    axes = _first_two_axes(centred)
    coordinates = np.zeros((len(values), 2))
    coordinates[:, : axes.shape[1]] = centred @ axes
    variances = (coordinates**2).sum(axis=0)
    return Projection(coordinates * scale, variances / float((centred**2).sum()))


def _first_two_axes(centred: np.ndarray) -> np.ndarray:
    """Unit columns [width, 1 or 2], the widest spread first; one alone where the rows lie on a line."""
    n_rows, width = centred.shape
    by_rows = n_rows < width
    factor = centred.T if by_rows else centred  # the smaller product is factor' factor
    size = factor.shape[1]
    if size <= _DENSE:
        spectrum, vectors = linalg.eigh(factor.T @ factor, subset_by_index=[max(0, size - 2), size - 1])
    else:
        product = LinearOperator((size, size), matvec=lambda v: factor.T @ (factor @ v), dtype=np.float64)
        spectrum, vectors = eigsh(product, k=2, v0=np.random.default_rng(0).standard_normal(size))
    order = np.argsort(spectrum)[::-1]
    spectrum, vectors = spectrum[order], vectors[:, order]
    vectors = vectors[:, spectrum > spectrum[0] * size * np.finfo(np.float64).eps]
    axes = factor @ vectors if by_rows else vectors
    axes /= np.sqrt((axes**2).sum(axis=0))
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return np.asarray(axes * np.sign(largest))
