"""Exact k nearest neighbors among the distinct rows of a point set: duplicates, precision, chunking, CPU or GPU.

Does not depend on dimensions, estimators or layers.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.pairwise import BLOCK_BYTES, NumpyPairwise, Pairwise, TorchPairwise
from gelora.geometry.threads import cache_pieces, in_threads
from gelora.records import NeighborGraph, check_choice, check_whole, resolve_device

METRICS = ("euclidean", "cosine")
_EXTRA_CANDIDATES = 8
_LARGEST = 1e300
_LEAST_EXPONENT = -1000  # 2**1000 is the largest power of two to multiply by; what is smaller still squares well
_SAME_DIRECTION = 1e-14  # unit rows carry rounding errors of this size; below it two directions cannot be told apart


def neighbor_graph(
    X: Any, n_neighbors: int = 20, metric: str = "euclidean", device: str = "cpu", block_bytes: int | None = None
) -> NeighborGraph:
    """The exact nearest neighbors of every distinct row of X, whatever its offset, scale or outlier dimensions.

    Exact copies are dropped first (the first one stays; 0.0 equals -0.0). Candidates come from a float32 matrix
    product; every kept distance is recomputed in float64 from differences. A rounding-error bound then certifies,
    row by row, that no other row can be nearer; a row that fails it is searched again with a float64 product, and if
    that fails too, by float64 differences to all rows. Equal distances are ordered by index.

    Args:
        X: [n_samples, width] array or torch tensor (any real dtype, float16 and bfloat16 included), finite.
        n_neighbors: k, at least 1; there must be more than k distinct rows.
        metric: "euclidean", or "cosine" for 1 - cos, computed as |u - v|^2 / 2 of the unit rows so that it keeps
            its digits for near directions. Rows whose directions agree to 1e-14 then count as copies.
        device: "cpu", "cuda", "cuda:N", or "auto" for the GPU where there is one.
        block_bytes: the size of the largest temporary block, by default 128 MiB on the CPU and at most 1 GiB on a GPU; memory
            is O(n k) beside it and two to three copies of X (float64, and float32 for the product).

    Returns:
        A NeighborGraph; its indices count the distinct rows, and `rows` says where those are in X.

    Raises:
        InputError: X is not a two-dimensional table of real numbers, or an option is not legal.
        DataError: NaN or infinity in X, too few (distinct) rows, or an all-zero row under "cosine".
    """
    return search(distinct_points(X, metric), n_neighbors, device, block_bytes)[0]


@dataclass(frozen=True)
class Points:
    """The distinct rows of a point set, ready to be searched.

    values: float64 [n, width], unit rows under "cosine", else divided by 2**exponent so that no square overflows
    (exact); rows: int64 [n], the first place of each in the data as given; labels: int64 [n_given], which of the n
    each given row equals; engines: those of `pairwise_engine`.
    """

    values: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    exponent: int
    metric: str
    engines: dict[int | None, NumpyPairwise] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def distances(self, squared: np.ndarray) -> np.ndarray:
        """Squared distances between `values` as distances in the metric's own unit."""
        return squared / 2 if self.metric == "cosine" else np.ldexp(np.sqrt(squared), self.exponent)

    def merged(self, one: np.ndarray, other: np.ndarray) -> "Points":
        """The points with each pair (one[i], other[i]) made one, the earlier row kept."""
        kept = np.arange(len(self))
        np.minimum.at(kept, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(kept, kept[kept]):
            kept = kept[kept]
        stays = kept == np.arange(len(self))
        renumbered = (np.cumsum(stays) - 1)[kept]
        return replace(self, values=self.values[stays], rows=self.rows[stays], labels=renumbered[self.labels])


def distinct_points(X: Any, metric: str = "euclidean") -> Points:
    """The distinct rows of X; see `neighbor_graph` for arguments and errors."""
    check_choice("metric", metric, METRICS)
    values, largest = _finite_rows(X)
    exponent = 0 if metric == "cosine" else max(int(np.frexp(largest.max())[1]), _LEAST_EXPONENT)
    if metric == "cosine" and not largest.all():
        raise DataError(
            f"{int((largest == 0).sum())} of {len(values)} rows are all zero and have no direction; drop them or use metric 'euclidean'."
        )

    def scale(part: slice) -> None:
        for here in cache_pieces(part, values.shape[1]):
            rows = values[here]
            if metric == "cosine":
                rows /= largest[here, None]  # so that the squares of tiny or huge rows neither vanish nor overflow
                rows /= np.sqrt(np.vecdot(rows, rows))[:, None]
            else:
                rows *= 2.0**-exponent
            rows += 0.0  # -0.0 + 0.0 is 0.0, so that equal rows have equal bytes

    in_threads(scale, len(values), values.size)
    rows, labels = _first_of_each(values)
    return Points(values if len(rows) == len(values) else values[rows], rows, labels, exponent, metric)


def search(points: Points, n_neighbors: int, device: str = "cpu", block_bytes: int | None = None) -> tuple[NeighborGraph, Points]:
    """The graph of `points`, and the points that it is about: fewer than given where some could not be told apart."""
    _check_options(n_neighbors, device, block_bytes)
    n_given = len(points.labels)
    tolerance = _SAME_DIRECTION**2 if points.metric == "cosine" else 0.0
    while True:
        if n_given <= n_neighbors:
            raise DataError(
                f"There are {n_given} rows, but {n_neighbors} neighbors need at least {n_neighbors + 1}; "
                "give more rows or ask for fewer neighbors."
            )
        if len(points) <= n_neighbors:
            raise DataError(f"Only {len(points)} of {n_given} rows are distinct; {n_neighbors} neighbors need at least {n_neighbors + 1}.")
        squared, indices = _nearest(pairwise_engine(points, device, block_bytes), points.values.shape, n_neighbors, block_bytes)
        one, column = np.nonzero(squared <= tolerance)
        if not one.size:
            return NeighborGraph(points.distances(squared), indices, points.rows, n_given - len(points), points.metric), points
        points = points.merged(one, indices[one, column])


def exact_rows(
    engine: Pairwise, rows: np.ndarray, among: np.ndarray, n_neighbors: int, block_bytes: int = BLOCK_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and places in `among` (ascending) of the neighbors of `rows`, by differences to all of `among`."""
    squared = np.empty((len(rows), n_neighbors), dtype=np.float64)
    places = np.empty((len(rows), n_neighbors), dtype=np.int64)
    step = max(1, block_bytes // (len(among) * 32))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        distances = engine.squared_distances(some, np.broadcast_to(among, (len(some), len(among))))
        distances[some[:, None] == among] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
        places[start : start + step] = order
        squared[start : start + step] = np.take_along_axis(distances, order, axis=1)
    return squared, places


def _nearest(engine: Pairwise, shape: tuple[int, ...], n_neighbors: int, block_bytes: int | None) -> tuple[np.ndarray, np.ndarray]:
    n_points, width = shape
    squared = np.empty((n_points, n_neighbors), dtype=np.float64)
    indices = np.empty((n_points, n_neighbors), dtype=np.int64)
    n_candidates = min(n_points - 1, n_neighbors + _EXTRA_CANDIDATES)
    left = np.arange(n_points)
    for precision in (np.float32, np.float64):
        found, nominal, norms = engine.candidates(left, precision, n_candidates)
        distances = np.full(found.shape, np.inf)
        distances[:, :n_neighbors] = engine.squared_distances(left, found[:, :n_neighbors])
        radius = np.sqrt(distances[:, :n_neighbors].max(axis=1))
        farther = _certified(radius[:, None], nominal[:, n_neighbors:], norms[:, None], width, precision)
        row, extra = np.nonzero(~farther)
        if row.size:
            extra += n_neighbors
            distances[row, extra] = engine.squared_distances(left[row], found[row, extra, None])[:, 0]
        indices[left], squared[left] = _ascending(found, distances, n_neighbors)
        if n_candidates == n_points - 1:
            return squared, indices
        left = left[~_certified(np.sqrt(squared[left, -1]), nominal[:, -1], norms, width, precision)]
        if not left.size:
            return squared, indices
    squared[left], indices[left] = exact_rows(engine, left, np.arange(n_points), n_neighbors, block_bytes or BLOCK_BYTES)
    return squared, indices


def _ascending(indices: np.ndarray, distances: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """The `n_neighbors` nearest of each row, nearest first, equal distances by index."""
    order = np.argsort(distances, axis=1)
    ascending = np.take_along_axis(distances, order[:, : n_neighbors + 1], axis=1)
    tied = (ascending[:, 1:] == ascending[:, :-1]).any(axis=1)
    order[tied] = np.lexsort((indices[tied], distances[tied]), axis=1)
    order = order[:, :n_neighbors]
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _certified(radius: np.ndarray, edge: np.ndarray, norms: np.ndarray, width: int, precision: Any) -> np.ndarray:
    """Whether no row whose nominal value is `edge` or more can lie within `radius`, the distance of the k-th kept one.

    Suppose a row j does. Its norm is then at most `reach`; rounding moved the pair's rows by at most `shift`, and the
    computed |x_j|^2 - 2 x_i x_j + |x_i|^2 is off by at most (width + 8) unit roundoffs of (|x_i| + |x_j|)^2 (the
    standard bound of an inner product, whatever the order of its sum) and what underflow takes. If even so j would
    have been nominated, no such j exists.
    """
    unit = float(np.finfo(precision).eps) / 2
    radius = radius * (1 + (width + 8) * float(np.finfo(np.float64).eps))
    reach = (norms + radius) * (1 + 8 * unit)
    shift = 2 * unit * (norms + reach)
    error = (width + 8) * (unit * (norms + reach) ** 2 + float(np.finfo(precision).tiny))
    return edge + norms**2 > (radius + shift) ** 2 + error


def pairwise_engine(points: Points, device: str, block_bytes: int | None = None) -> Pairwise:
    """Of the points, on the CPU or a CUDA device; the one for the CPU is the same at every call, since it keeps a small product."""
    device = resolve_device(device)
    if device != "cpu":
        return TorchPairwise(points.values, block_bytes, device)
    if block_bytes not in points.engines:
        points.engines[block_bytes] = NumpyPairwise(points.values, block_bytes)
    return points.engines[block_bytes]


def _finite_rows(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """A copy of X as float64 [n, width], and the largest absolute value of each row."""
    if hasattr(X, "toarray"):
        raise InputError(f"X is a sparse matrix ({type(X).__name__}); give X.toarray().")
    try:
        if hasattr(X, "detach") and hasattr(X, "cpu"):  # a torch tensor; numpy has no bfloat16
            X = X.detach().cpu()
            X = X.double() if X.dtype.is_floating_point else X
        array = np.asarray(X)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unequal length; a tensor without data, sparse or quantized
        raise InputError(f"X is not a table of numbers: {str(error).partition(chr(10))[0]:.200}") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"X has shape {array.shape}; it must be two-dimensional, [n_samples, width], with at least one column.")
    if array.dtype.kind == "c":
        raise InputError("X holds complex numbers; only real ones have neighbors here.")
    if array.dtype.kind not in "biuf":
        try:
            array = np.asarray(array, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"X is not a table of numbers: {error}.") from error
    if not len(array):
        raise DataError("X has 0 rows; give at least n_neighbors + 1.")
    values, largest = np.empty(array.shape), np.empty(len(array))

    def read(part: slice) -> None:
        for here in cache_pieces(part, array.shape[1]):
            values[here] = array[here]
            largest[here] = np.abs(values[here]).max(axis=1)

    in_threads(read, len(array), array.size)
    n_bad = int((~(largest <= _LARGEST)).sum())
    if n_bad:
        raise DataError(f"{n_bad} of {len(values)} rows hold NaN, infinity or values beyond {_LARGEST:g}; drop or repair them first.")
    return values, largest


def _first_of_each(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of the first of each group of equal rows, and the group of every row.

    Rows of equal bytes have equal keys; that rows of equal keys are equal is looked up.
    """
    n = len(values)
    keys = _row_keys(values)
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate([[True], keys[order[1:]] != keys[order[:-1]]])
    first = np.empty(n, dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(n), 0))]
    later = np.nonzero(first != np.arange(n))[0]
    if any(not np.array_equal(values[some], values[first[some]]) for some in np.array_split(later, len(later) // 1000 + 1)):
        seen: dict[bytes, int] = {}
        first = np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(values)])
    stays = first == np.arange(n)
    return np.nonzero(stays)[0], (np.cumsum(stays) - 1)[first]


def _row_keys(values: np.ndarray) -> np.ndarray:
    """uint64 [n]: random weights times the bits of each row, modulo 2**64."""
    weights = np.random.default_rng(0).integers(0, 2**64, values.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = np.empty(len(values), dtype=np.uint64)

    def key(part: slice) -> None:
        for here in cache_pieces(part, values.shape[1]):
            bits = values[here].view(np.uint64)
            keys[here] = np.vecdot(bits ^ (bits >> np.uint64(32)), weights)  # few digits leave the low bits zero; mix them

    in_threads(key, len(values), values.size)
    return keys


def _check_options(n_neighbors: int, device: str, block_bytes: int | None) -> None:
    check_whole("n_neighbors", n_neighbors, 1)
    check_whole("block_bytes", 1 if block_bytes is None else block_bytes, 1, None)
    resolve_device(device)
