"""How many nearest neighbors two clouds of the same rows share, and how alike the labels of neighbors are.

Reads neighbor graphs; does not depend on layers or on how neighbors are found.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.records import NeighborGraph, check_choice, check_whole

_TILE = 2_000_000  # entries of neighbor lists that are compared at once


class LabelOverlap(NamedTuple):
    """How alike the labels of neighbors are, beside those of any two points.

    kind "classification": the share of neighbors with the same label, and its expectation for a random other point;
    "regression": the mean absolute difference of the two labels, likewise.
    """

    kind: str
    near: float
    chance: float


def neighbor_overlap(one: Any, other: Any, n_neighbors: int = 20) -> float:
    """chi_k: the share of the k nearest neighbors of a point in one cloud that are among its k nearest in the other, averaged.

    1 for a cloud and itself, k / (N - 1) in expectation for two that know nothing of each other. What is invariant in
    each cloud's neighbors is so here: rotation, shift, scale. Rows that are a copy of an earlier row in either cloud are
    left out of both; equal distances are ordered by index.

    Args:
        one, other: [n_samples, width] of the same rows in the same order (widths may differ), or a PointCloud, whose
            graph is read where it is wide enough.
        n_neighbors: k, at least 1.

    Raises:
        InputError: different numbers of rows, or an option that is not legal.
        DataError: NaN or infinity, or no more than k rows that are distinct in both.

    Source: Doimo, Glielmo, Ansuini & Laio, "Hierarchical nucleation in deep neural networks", NeurIPS 2020, eq. 1 and 2.

    >>> import numpy as np
    >>> from gelora.geometry import neighbor_overlap
    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> neighbor_overlap(X, 5 * X + 1)
    1.0
    """
    check_whole("n_neighbors", n_neighbors, 1)
    clouds = of_common_rows((one, other))
    indices = np.stack([cloud.graph(n_neighbors).indices[:, :n_neighbors] for cloud in clouds])
    return float(overlap_matrix(indices)[0, 1])


def label_overlap(
    graph: NeighborGraph, labels: Sequence[float] | np.ndarray, kind: str = "classification", n_neighbors: int | None = None
) -> LabelOverlap:
    """How alike the labels of a point and of its k nearest neighbors are: chi_k with the ground truth.

    Every point weighs the same, so large classes rule where classes are unequal; chance, which is exact (the mean over
    all ordered pairs of different points), is what to hold it against.

    Args:
        graph: of the rows that the labels are of.
        labels: one a row as given to the graph; of copies the first row's counts.
        kind: "classification" or "regression".
        n_neighbors: k, all that the graph holds unless given.

    Raises:
        InputError: an argument that is not legal.

    Source: Doimo et al. 2020, section 2 (classification); the difference of labels is ours.
    """
    check_choice("kind", kind, ("classification", "regression"))
    k = graph.n_neighbors if n_neighbors is None else check_whole("n_neighbors", n_neighbors, 1, graph.n_neighbors)
    of_points = np.asarray(labels, dtype=np.float64)[graph.rows]
    n, beside = len(of_points), of_points[graph.indices[:, :k]]
    if kind == "classification":
        counts = np.unique(of_points, return_counts=True)[1]
        chance = float((counts * (counts - 1)).sum() / (n * (n - 1)))
        return LabelOverlap(kind, float((beside == of_points[:, None]).mean()), chance)
    ascending = np.sort(of_points)
    total = 2 * float((ascending * (2 * np.arange(n) - n + 1)).sum())  # of |a - b| over ordered pairs
    return LabelOverlap(kind, float(np.abs(beside - of_points[:, None]).mean()), total / (n * (n - 1)))


def overlap_matrix(indices: np.ndarray) -> np.ndarray:
    """chi_k of every two of several graphs of the same points: float64 [n_graphs, n_graphs], 1 on the diagonal.

    A tile of points at a time, so memory does not grow with the number of points.

    Args:
        indices: int [n_graphs, n_points, k], each point's neighbors.
    """
    n_graphs, n_points, k = indices.shape
    shared = np.zeros((n_graphs, n_graphs))
    step = max(1, _TILE // (n_graphs * k))
    for start in range(0, n_points, step):
        tile = indices[:, start : start + step].astype(np.int64)
        pairs = tile + n_points * np.arange(tile.shape[1])[:, None]
        found, place = np.unique(pairs.ravel(), return_inverse=True)
        holds = np.zeros((n_graphs, len(found)), dtype=np.float32)
        holds[np.repeat(np.arange(n_graphs), pairs[0].size), place] = 1
        shared += holds @ holds.T
    return shared / (n_points * k)


def of_common_rows(clouds: Sequence[Any]) -> list[PointCloud]:
    """The clouds of the rows that are distinct in every one of them, so that point i is the same row in all.

    Args:
        clouds: arrays [n_samples, width] or PointClouds of the same rows.

    Raises:
        InputError: different numbers of rows, or a NeighborGraph, which holds no coordinates.
        DataError: fewer than two rows are distinct in all.
    """
    made = [PointCloud.of(cloud) for cloud in clouds]
    sizes = sorted({len(cloud.row_points) for cloud in made})
    if len(sizes) > 1:
        raise InputError(f"The clouds have {' and '.join(map(str, sizes))} rows; give the same rows in the same order.")
    for cloud in made:
        if cloud.n_points > 1:
            cloud.graph(1)  # rows can prove equal only when they are compared
    firsts = [np.unique(cloud.row_points, return_index=True)[1] for cloud in made]
    is_kept = np.bincount(np.concatenate(firsts), minlength=sizes[0]) == len(made)
    if is_kept.sum() < 2:
        raise DataError(f"{int(is_kept.sum())} of {sizes[0]} rows are distinct in every cloud; a comparison needs at least 2.")
    return made if is_kept.all() else [cloud.subset(np.flatnonzero(is_kept)) for cloud in made]
