"""One pass over the distances of all pairs: what reaches past the k neighbors of a graph.

Does not depend on estimators.
"""

from dataclasses import dataclass

import numpy as np

from gelora.geometry.neighbors import Points, pairwise_engine
from gelora.geometry.pairwise import BLOCK_BYTES, Pairwise, read_sorted
from gelora.geometry.threads import cache_pieces, in_threads
from gelora.records import NeighborGraph

_N_GRAPH_RADII = 20
_N_WIDE_RADII = 24
_TOLERANCE = 1e-4  # relative, of a squared distance read from a matrix product
_SAFETY = 4.0  # a product's error at any pair, over the largest one seen at the row's own neighbors


@dataclass(frozen=True)
class DistanceScales:
    """Lengths to neighbors of growing order, and how many pairs lie within growing radii.

    orders: int64 [n_orders], 1, 2, 4, ... up to the largest power of two below n_points; lengths: float64
    [n_points, n_orders], the length to the neighbor of each order; radii: float64 [n_radii], ascending; n_pairs: int64
    [n_radii], unordered pairs nearer than each radius; n_points. Lengths are chords under "cosine".

    What the neighbor graph holds is exact: lengths of orders up to its k, and every row's count within the distance of
    its k-th neighbor. Beyond it, a length may be off by 5e-5 of itself, and a pair whose length is that near a radius
    may be counted on the wrong side of it.
    """

    orders: np.ndarray
    lengths: np.ndarray
    radii: np.ndarray
    n_pairs: np.ndarray
    n_points: int


def distance_scales(points: Points, graph: NeighborGraph, device: str = "cpu", block_bytes: int | None = None) -> DistanceScales:
    """The pass itself; see DistanceScales.

    The radii are the medians over points of the graph's lengths of every order (the first 20), and 24 more in equal
    ratios from the first of these up to about the diameter: twice the median distance from the middle of the points.

    Distances come from a float32 matrix product. Its error is measured, row by row, at the row's own neighbors, whose
    distances that the graph has exactly; where four times that is more than 1e-4 of the squared distance of the k-th, the
    row is done again with a float64 product, and if that fails too, by float64 differences. Memory is
    O(n (n_orders + n_radii)) beside a block of `block_bytes` and two copies of the points.

    Args:
        points: the distinct rows; graph: of exactly these points.
        device: "cpu", "cuda", "cuda:N", or "auto" for the GPU where there is one.
    """
    known = np.sqrt(2 * graph.distances) if graph.metric == "cosine" else np.ldexp(graph.distances, -points.exponent)
    n, k = known.shape
    orders = 2 ** np.arange((n - 1).bit_length())
    radii = _radii(points.values, known)
    lengths = np.empty((n, len(orders)))
    lengths[:, orders <= k] = known[:, orders[orders <= k] - 1]
    n_nearer = _n_below(known, radii)
    if k < n - 1:
        engine = pairwise_engine(points, device, block_bytes)
        far, beyond = orders[orders > k], radii > known[:, -1:]
        squared, n_far = _read_beyond(engine, known, graph.indices, far, radii**2, block_bytes or BLOCK_BYTES)
        lengths[:, orders > k] = np.sqrt(np.maximum(squared, known[:, -1:] ** 2))
        n_nearer = np.where(beyond, np.maximum(n_far, k), n_nearer)
        points.engines.clear()  # what they kept has been read
    unit = 0 if graph.metric == "cosine" else points.exponent
    n_pairs = (n_nearer.sum(axis=0) + 1) // 2
    return DistanceScales(orders, np.ldexp(lengths, unit), np.ldexp(radii, unit), n_pairs, n)


def _radii(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    medians = np.median(known[:, :_N_GRAPH_RADII], axis=0)
    from_mean = _lengths_from(values, values.mean(axis=0))
    nearer = (from_mean <= np.median(from_mean)).astype(np.float64)
    middle = nearer @ values / nearer.sum()  # one far row moves the mean, not this
    reach = max(2 * float(np.median(_lengths_from(values, middle))), float(medians[-1]))
    return np.unique(np.concatenate([medians, np.geomspace(medians[0], reach, _N_WIDE_RADII)[1:]]))


def _lengths_from(values: np.ndarray, origin: np.ndarray) -> np.ndarray:
    squares = np.empty(len(values))

    def measure(part: slice) -> None:
        for here in cache_pieces(part, values.shape[1]):
            difference = values[here] - origin
            squares[here] = np.vecdot(difference, difference)

    in_threads(measure, len(values), values.size)
    return np.sqrt(squares)


def _n_below(known: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How many of each row's values are less than each radius, int64 [n, n_radii]."""
    n, places = len(known), len(radii) + 1
    reached = np.searchsorted(radii, known, side="right")  # radii that are not above the value
    counts = np.bincount((np.arange(n)[:, None] * places + reached).ravel(), minlength=n * places).reshape(n, places)
    return counts.cumsum(axis=1)[:, :-1]


def _read_beyond(
    engine: Pairwise, known: np.ndarray, neighbors: np.ndarray, orders: np.ndarray, squared_radii: np.ndarray, block_bytes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of `orders` [n, n_orders] and counts within the radii [n, n_radii], right from known[:, -1] on."""
    n = len(known)
    squared, n_nearer = np.empty((n, len(orders))), np.empty((n, len(squared_radii)), dtype=np.int64)
    left = np.arange(n)
    for precision in (np.float32, np.float64):
        squared[left], n_nearer[left], seen = engine.read_rows(left, precision, orders, squared_radii, neighbors[left])
        error = np.abs(seen - known[left] ** 2).max(axis=1)
        left = left[~(_SAFETY * error <= _TOLERANCE * known[left, -1] ** 2)]
        if not left.size:
            return squared, n_nearer
    step = max(1, block_bytes // (n * 16))
    for start in range(0, len(left), step):
        some = left[start : start + step]
        block = engine.squared_distances(some, np.broadcast_to(np.arange(n), (len(some), n)))
        block[np.arange(len(some)), some] = np.inf
        squared[some], n_nearer[some] = read_sorted(block, orders, np.broadcast_to(squared_radii, (len(some), len(squared_radii))))
    return squared, n_nearer
