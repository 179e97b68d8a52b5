"""Information imbalance: how well the nearest neighbor in one cloud predicts who is near in another.

Does not depend on layers.
"""

from typing import Any

import numpy as np

from gelora.geometry.cloud import PointCloud
from gelora.geometry.overlap import of_common_rows
from gelora.records import NeighborGraph


def information_imbalance(source: Any, target: Any) -> float:
    """Delta(source -> target) = 2 / N times the mean rank, in the target, of each point's nearest neighbor in the source.

    2 / N where the source's nearest neighbor is the target's too, about 1 where the source says nothing of the target. It
    is not symmetric: of (x, y) and x, the first predicts the second better than the second the first. Rank 1 is the
    nearest; equal distances share the lower rank. Which of several nearest ones in the source is taken: the first by
    index. Rows that are a copy of an earlier row in either cloud are left out of both.

    Args:
        source, target: [n_samples, width] of the same rows in the same order (widths may differ), or a PointCloud, whose
            graph is read. Ranks beyond it come from one product of the target with itself, a tile of rows at a time.

    Raises:
        InputError: different numbers of rows.
        DataError: NaN or infinity, or fewer than two rows that are distinct in both.

    Source: Glielmo, Zeni, Cheng, Csanyi & Laio, "Ranking the information content of distance measures", PNAS Nexus 1,
    pgac039 (2022), eq. 2: the mean conditional rank times 2 / N.

    >>> import numpy as np
    >>> from gelora.geometry import information_imbalance
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> round(information_imbalance(X, X[:, :1]), 2) < 0.1 < round(information_imbalance(X[:, :1], X), 2)
    True
    """
    one, other = of_common_rows((source, target))
    nearest = one.graph(1).indices[:, 0]
    other.graph(min(20, other.n_points - 1))
    everyone = np.ones((1, len(nearest)), dtype=bool)
    ranks = ranks_among(other, nearest[None], everyone, [other.graph(1)])
    return float(2 * ranks[0].mean() / len(nearest))


def ranks_among(cloud: PointCloud, targets: np.ndarray, members: np.ndarray, graphs: list[NeighborGraph]) -> np.ndarray:
    """int64 [n_sets, n_points]: the rank, among the members of each set, of point targets[set, i] as a neighbor of point i.

    Args:
        cloud: of the points.
        targets: int64 [n_sets, n_points], -1 for points outside the set, where the answer is 0.
        members: bool [n_sets, n_points].
        graphs: of the members of each set, in their order: what they hold is exact, and no pass over all pairs is made
            where they hold every target.
    """
    ranks = np.zeros(targets.shape, dtype=np.int64)
    unknown = np.full(targets.shape, -1)
    for i, graph in enumerate(graphs):
        own = np.flatnonzero(members[i])
        here = own[graph.indices] == targets[i, own, None]
        is_held = here.any(axis=1)
        distances = graph.distances
        found = np.take_along_axis(distances, here.argmax(axis=1)[:, None], axis=1)
        ranks[i, own] = np.where(is_held, 1 + (distances < found).sum(axis=1), graph.n_neighbors + 1)
        unknown[i, own] = np.where(is_held, -1, targets[i, own])
    if (unknown >= 0).any():
        counted = cloud.count_nearer(unknown, members) + 1
        ranks = np.where(unknown >= 0, np.maximum(ranks, counted), ranks)
    return ranks
