"""PH0: the dimension from how the length of the minimum spanning tree grows with the number of points.

Does not depend on layers.
"""

import numpy as np

from gelora.errors import DataError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator
from gelora.records import check_whole

_HALVINGS = 3
_LEAST_PART = 20
_LEAST_POINTS = 2 * _LEAST_PART
_CLOSE = 1e-8
_PAIR_BLOCK_BYTES = 16 * 2**20


class PersistentHomologyDimension(Estimator):
    """PH0 dimension: the minimum spanning tree of n points has length E(n) ~ n^m, and the dimension is 1 / (1 - m).

    The finite bars of the points' persistent homology in degree 0 are the edges of their Euclidean minimum spanning
    tree, born at 0 and dead at the edge's length, so E is their sum. m is the least-squares slope of log E on log n at
    n = N / 8, N / 4, N / 2 and N: a random order of the points is cut into 8, 4, 2 and 1 parts, and E(n) is the mean
    over the parts. Every point then counts once at every size; more orders or more sizes did not narrow the spread.
    Below N = 160 the smallest sizes are left out, so that a part has at least 20 points: a tree of n points has n - 1
    edges, which makes the slope of few points too steep.

    Args:
        max_points: at least 40; of more distinct points so many are drawn with `seed` (the time and memory are
            quadratic), and `note_` says so. Halves are cut to the same number, so beyond twice as many points the
            interval is that of max_points points and no scale dependence shows.
        n_subsamples: half-samples for the interval, 0 or at least 2.
        seed: of the order, the draw and the halves.
        confidence: of the interval, above 0 and below 1.

    Attributes:
        dimension_: 1 / (1 - slope_).
        ci_low_, ci_high_: from half-samples. They see the draw of the points and not the bias, which edges and curvature
            make negative and larger with the dimension. Measured at N = 1000 (means of 5 draws, whose deviation is
            1% to 3%): 1.95 for a square, 3.0 for a 3-sphere, 7.5 for an 8-sphere, 10.8 for a 12-sphere, 16.4 and 15.2
            for a Gaussian and a cube of 20. A flat 5-torus, closed on itself, reads high, 5.5, and so do few points:
            at N = 80 a 4-sphere 4.3 and a 12-sphere 12.4.
        sizes_: int64 [2 to 4], n ascending; lengths_: float64 of the same number, the mean E(n), in the data's unit
            (chords under "cosine"); slope_: m. log lengths_ against log sizes_ is the picture of the fit.
        n_distinct_: the number of distinct points.

    Raises (from `fit`):
        InputError: an illegal parameter or input, a NeighborGraph among them.
        DataError: fewer than 40 distinct points, or a slope of 1 or more.

    Sources: Schweinhart, "Persistent homology and the upper box dimension", Discrete & Computational Geometry 65,
    331 (2021), where theorem 3 (Kozma, Lotker & Stupp) is degree 0; the estimate from growing samples: Birdal, Lou, Guibas
    & Simsekli, NeurIPS 34 (2021), algorithm 1; the growth law: Steele, Annals of Probability 16, 1767 (1988), theorem 1.

    >>> import numpy as np
    >>> from gelora.geometry import PersistentHomologyDimension
    >>> square = np.random.default_rng(0).random((2000, 2))
    >>> round(PersistentHomologyDimension(n_subsamples=0).fit(square).dimension_, 1)
    2.0
    """

    sizes_: np.ndarray
    lengths_: np.ndarray
    slope_: float

    def __init__(self, max_points: int = 2000, n_subsamples: int = 20, seed: int = 0, confidence: float = 0.95) -> None:
        self.max_points = max_points
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence

    def _check(self) -> None:
        check_whole("max_points", self.max_points, _LEAST_POINTS)

    def _dimension(self, cloud: PointCloud) -> float:
        values = cloud.values
        if len(values) < _LEAST_POINTS:
            raise DataError(
                f"PH0 compares trees of growing size and needs at least {_LEAST_POINTS} distinct points; there are {len(values)}."
            )
        order = np.random.default_rng(self.seed).permutation(len(values))
        if len(order) > self.max_points:
            self.note_ = f"read on {self.max_points} of {len(order)} points"
            order = order[: self.max_points]
        distances, scale = _distances(values[order])
        n = len(order)
        self.sizes_ = np.array([n >> halving for halving in range(_HALVINGS, -1, -1) if n >> halving >= _LEAST_PART])
        lengths = np.array([_mean_tree_length(distances, size) for size in self.sizes_])
        if not (lengths > 0).all():
            raise DataError("PH0: the points of a part coincide to rounding; a tree of length 0 has no growth.")
        self.lengths_ = lengths * scale * cloud.unit
        self.slope_ = float(np.polyfit(np.log(self.sizes_), np.log(lengths), 1)[0])
        if self.slope_ >= 1:
            raise DataError(
                f"The minimum spanning tree grows as n^{self.slope_:.2f}; at an exponent of 1 or more there is no PH0 dimension, "
                "as for points that are all equally far apart."
            )
        return 1 / (1 - self.slope_)


def _distances(values: np.ndarray) -> tuple[np.ndarray, float]:
    """float64 [n, n] Euclidean lengths over a scale, and that scale.

    Centring takes away a common offset, and the first row goes first so that a constant column becomes exactly 0. A
    product leaves about 1e-16 of the squared norms as error; what is below `_CLOSE` of them is computed from differences.
    """
    centred = values - values[0]
    centred -= centred.mean(axis=0)
    scale = float(np.abs(centred).max()) or 1.0
    centred /= scale
    norms = np.einsum("ij,ij->i", centred, centred)
    reach = norms[:, None] + norms
    squared = centred @ centred.T
    squared *= -2
    squared += reach
    rows, columns = np.nonzero(np.triu(squared < _CLOSE * reach, 1))
    step = max(1, _PAIR_BLOCK_BYTES // (8 * values.shape[1]))
    for start in range(0, len(rows), step):
        i, j = rows[start : start + step], columns[start : start + step]
        difference = centred[i] - centred[j]
        squared[i, j] = squared[j, i] = np.einsum("ij,ij->i", difference, difference)
    np.fill_diagonal(squared, 0.0)
    return np.sqrt(squared, out=squared), scale


def _mean_tree_length(distances: np.ndarray, size: int) -> float:
    starts = range(0, len(distances) - size + 1, size)
    return float(np.mean([tree_lengths(distances[start : start + size, start : start + size]).sum() for start in starts]))


def tree_lengths(distances: np.ndarray) -> np.ndarray:
    """Edge lengths of a minimum spanning tree, float64 [n - 1], in the order in which Prim's algorithm adds them.

    Args:
        distances: float64 [n, n], symmetric, finite.
    """
    n = len(distances)
    lengths = np.empty(n - 1)
    inside = np.zeros(n)
    inside[0] = np.inf
    nearest = np.maximum(distances[0], inside)
    for step in range(n - 1):
        added = int(nearest.argmin())
        lengths[step] = nearest[added]
        inside[added] = np.inf
        np.minimum(nearest, distances[added], out=nearest)
        np.maximum(nearest, inside, out=nearest)
    return lengths
