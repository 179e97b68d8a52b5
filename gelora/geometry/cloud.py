"""A set of points and what estimators read from it: distinct rows, one neighbor graph, one pass over all distances.

Each part is made when it is first asked for and then shared by every estimator. Does not depend on estimators.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.half_samples import half_graph, wide_enough
from gelora.geometry.neighbors import BLOCK_BYTES, Points, distinct_points, pairwise_engine, search
from gelora.geometry.pairwise import NumpyPairwise
from gelora.geometry.scales import DistanceScales, distance_scales
from gelora.records import NeighborGraph

_Part = TypeVar("_Part")


class PointCloud:
    """The distinct rows of a table of numbers, with neighbors and distances computed once.

    Args:
        X: [n_samples, width] array or torch tensor of any real dtype, finite.
        metric: "euclidean", or "cosine"; lengths are then chords between unit rows.
        device: "cpu", "cuda", "cuda:N" or "auto" (the GPU where there is one), for searches and passes over all pairs.

    Raises:
        InputError: X is not a two-dimensional table of real numbers, or an option is not legal.
        DataError: NaN or infinity in X (with the number of bad rows), no rows, an all-zero row under "cosine".

    >>> import numpy as np
    >>> from gelora.geometry import MLE, PointCloud, TwoNN
    >>> cloud = PointCloud(np.random.default_rng(0).random((2000, 2)))
    >>> [round(estimator.fit(cloud).dimension_, 1) for estimator in (TwoNN(), MLE(n_neighbors=10))]  # one search
    [2.0, 2.0]
    """

    def __init__(self, X: Any, metric: str = "euclidean", device: str = "cpu") -> None:
        self._points: Points | None = distinct_points(X, metric)
        self._graph: NeighborGraph | None = None
        self._scales: DistanceScales | None = None
        self._parent: PointCloud | None = None
        self._once: dict[str, Any] = {}
        self._members = np.empty(0, dtype=np.int64)
        self._device = device

    @classmethod
    def of(cls, X: Any) -> "PointCloud":
        """X itself when it is a cloud, a cloud without coordinates from a NeighborGraph, else a new cloud of the points X."""
        if isinstance(X, PointCloud):
            return X
        return cls._from_graph(X) if isinstance(X, NeighborGraph) else cls(X)

    @classmethod
    def _from_graph(cls, graph: NeighborGraph) -> Self:
        cloud = cls.__new__(cls)
        cloud._points, cloud._graph, cloud._scales, cloud._parent, cloud._device = None, graph, None, None, "cpu"
        cloud._members, cloud._once = np.empty(0, dtype=np.int64), {}
        return cloud

    @property
    def n_points(self) -> int:
        """Number of distinct rows."""
        return self._graph.n_points if self._graph is not None else len(self._settled())

    @property
    def n_samples(self) -> int:
        """Number of rows as given, copies included."""
        if self._points is None and self._graph is not None:
            return self._graph.n_points + self._graph.n_duplicates
        return len(self._settled().labels)

    @property
    def metric(self) -> str:
        """Of the lengths."""
        return self._graph.metric if self._points is None and self._graph is not None else self._settled().metric

    @property
    def values(self) -> np.ndarray:
        """float64 [n_points, width]: the distinct rows divided by a power of two (euclidean), or as unit rows (cosine).

        Row i is point i of the graph. Lengths between these rows, times `unit`, are the lengths of the data.

        Raises:
            InputError: the cloud was made from a NeighborGraph, which holds no coordinates.
        """
        return self._settled().values

    @property
    def unit(self) -> float:
        """What a length of 1 between rows of `values` is in the data's own unit."""
        points = self._settled()
        return 1.0 if points.metric == "cosine" else float(np.ldexp(1.0, points.exponent))

    @property
    def row_points(self) -> np.ndarray:
        """int64 [n_samples]: which of the graph's points each row as given is; rows with the same one are copies.

        Raises:
            InputError: the cloud was made from a NeighborGraph, which holds its distinct rows alone.
        """
        return self._settled().labels

    def graph(self, n_neighbors: int) -> NeighborGraph:
        """The exact neighbor graph, with at least `n_neighbors` neighbors; searched again only when the last was narrower.

        Raises:
            InputError: a cloud from a graph was asked for more neighbors than that holds.
            DataError: there are not more than `n_neighbors` distinct rows.
        """
        if self._graph is not None and self._graph.n_neighbors >= n_neighbors:
            return self._graph
        if self._points is None:
            held = 0 if self._graph is None else self._graph.n_neighbors
            raise InputError(f"The graph holds {held} neighbors a point; this estimator needs {n_neighbors}.")
        if self._parent is None:
            self._graph, self._points = search(self._points, n_neighbors, self._device)
        else:
            self._graph = self._from_parent(self._parent, n_neighbors)
        return self._graph

    def reserve(self, n_neighbors: int) -> None:
        """Search at once so widely that the graphs of halves, of `n_neighbors` neighbors, can be read from this one."""
        if self._points is None or self.n_points <= n_neighbors:
            return  # whoever reads it says what is missing
        with contextlib.suppress(DataError):  # points that merged in the search can be too few for the width, yet enough for k
            self.graph(wide_enough(n_neighbors, self.n_points))

    def lengths(self, n_neighbors: int) -> np.ndarray:
        """Distances to the `n_neighbors` nearest neighbors as lengths, float64 [n_points, n_neighbors], all positive.

        The cosine distance 1 - cos is half the *square* of the chord between unit rows. A dimension counts how volume
        grows with length, so the chord is used; 1 - cos itself would halve every estimate.

        Raises:
            InputError, DataError: as `graph`; also a given graph that holds zero or infinite distances.
        """
        graph = self.graph(n_neighbors)
        lengths = graph.distances[:, :n_neighbors]
        lengths = np.sqrt(2 * lengths) if graph.metric == "cosine" else lengths
        n_bad = int((~((lengths > 0) & np.isfinite(lengths)).all(axis=1)).sum())
        if n_bad:
            raise DataError(
                f"{n_bad} of {len(lengths)} points have a zero or infinite distance to a neighbor; drop duplicate points first."
            )
        return lengths

    def scales(self) -> DistanceScales:
        """What one pass over all pairs gives beyond the graph: lengths to far neighbors, pairs within growing radii.

        Raises:
            InputError: the cloud was made from a NeighborGraph.
            DataError: too few distinct rows.
        """
        if self._scales is None:
            graph = self.graph(min(20, max(1, len(self._settled()) - 1)))
            self._scales = distance_scales(self._settled(), graph, self._device)  # a search can merge points
        return self._scales

    def count_nearer(self, targets: np.ndarray, members: np.ndarray) -> np.ndarray:
        """How many members of each set are nearer to every point than its target is, by one pass over all pairs; see `Pairwise`."""
        return pairwise_engine(self._settled(), self._device).count_nearer(targets, members)

    def once(self, what: str, make: Callable[[], _Part]) -> _Part:
        """What `make` answers, computed for the first who asks and kept for all who read the same of these points."""
        if what not in self._once:
            self._once[what] = make()
        return self._once[what]  # type: ignore[no-any-return]

    def subset(self, rows: np.ndarray) -> "PointCloud":
        """The cloud of some of the rows as given (distinct, ascending), equal to a new one of those rows alone.

        Its graph is read from this cloud's graph where that is wide enough (`wide_enough`), not searched again.

        Raises:
            InputError: the cloud was made from a NeighborGraph.
        """
        points = self._settled()
        half = PointCloud.__new__(PointCloud)
        members, first = np.unique(points.labels[rows], return_index=True)
        order = np.argsort(first)
        members, first = members[order], first[order]
        numbers = np.full(len(points), -1)
        numbers[members] = np.arange(len(members))
        half._points = Points(points.values[members], first, numbers[points.labels[rows]], points.exponent, points.metric)
        half._graph, half._scales, half._device = None, None, self._device
        half._parent, half._members, half._once = self, np.asarray(rows), {}
        return half

    def _from_parent(self, parent: "PointCloud", n_neighbors: int) -> NeighborGraph:
        if self._points is not None and len(self._points) <= n_neighbors:
            raise DataError(
                f"Only {len(self._points)} of {len(self._members)} rows are distinct; "
                f"{n_neighbors} neighbors need at least {n_neighbors + 1}."
            )
        graph = parent.graph(wide_enough(n_neighbors, parent.n_points))
        points = parent._settled()
        return half_graph(graph, points, NumpyPairwise(points.values, BLOCK_BYTES), self._members, n_neighbors)

    def _settled(self) -> Points:
        if self._points is None:
            raise InputError("This estimator reads coordinates, which a NeighborGraph does not hold; give it the points or a PointCloud.")
        if self._points.metric == "cosine" and self._graph is None and self._parent is None and len(self._points) > 1:
            self.graph(1)  # directions can prove equal only when they are compared
        return self._points
