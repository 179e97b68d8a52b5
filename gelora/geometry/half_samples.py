"""Random half-samples in complementary pairs (the two parts of one permutation), and the exact neighbor graph of a half.

Does not depend on layers or estimators.
"""

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.neighbors import Points, exact_rows
from gelora.geometry.pairwise import Pairwise
from gelora.records import NeighborGraph, check_whole


def draw_halves(n_samples: int, n_subsamples: int, seed: int) -> list[np.ndarray]:
    """Random halves in pairs that share no row and hold all: the first and the second, the third and the fourth, ...

    A half is n_samples // 2 ascending row numbers (the second of a pair takes the odd row too). Rows are drawn
    independently, so the halves of a pair are independent samples, which two halves of separate draws, a quarter of the
    rows in common, are not: see `half_sample_spread`.

    Raises:
        InputError: n_subsamples is odd.
    """
    check_n_subsamples(n_subsamples)
    rng = np.random.default_rng(seed)
    parts = (np.split(rng.permutation(n_samples), [n_samples // 2]) for _ in range(n_subsamples // 2))
    return [np.sort(half) for pair in parts for half in pair]


MOST_SUBSAMPLES = 10_000  # halves say no more of an interval than that, and each is measured


def check_n_subsamples(n_subsamples: object, least: int = 0) -> None:
    """Raise InputError unless it is a number of halves: even, and not below `least` (0: none are drawn)."""
    if check_whole("n_subsamples", n_subsamples, least, MOST_SUBSAMPLES) % 2:
        none = "0 (no half-samples) or " if least == 0 else ""
        raise InputError(f"n_subsamples is {n_subsamples!r}; halves come in pairs, so it must be {none}an even number of at least 2.")


def wide_enough(n_neighbors: int, n_points: int) -> int:
    """How many neighbors the graph of the whole should hold so that few rows of a half run out of them.

    Of K neighbors a half holds K / 2 -+ sqrt(K) / 2; with K = 2 k + 24 about one row in 2000 has fewer than k = 20.
    """
    return min(n_points - 1, 2 * n_neighbors + 24)


def half_graph(graph: NeighborGraph, points: Points, engine: Pairwise, half: np.ndarray, n_neighbors: int) -> NeighborGraph:
    """The exact graph of some of the given rows: what `neighbor_graph` of those rows alone would say.

    A neighbor in the half is nearer than every row that the graph of the whole does not hold, so the half's nearest
    are the first ones in it; rows that have fewer than needed left are searched again by differences to all rows.
    Equal distances are ordered by index, and where the half lacks the first of some copies its indices come in another
    order than the whole's: ties are then sorted again, and searched again where they reach the last that the whole holds.

    Args:
        graph: of `points`, with more neighbors than are asked for.
        engine: over `points.values`, for the rows that are searched again.
        half: numbers of rows as given, distinct and ascending.
        n_neighbors: k; where the half has fewer distinct rows, the graph gets as many neighbors as there are.

    Raises:
        DataError: fewer than 2 distinct rows.
    """
    members, first = np.unique(points.labels[half], return_index=True)
    if len(members) < 2:
        raise DataError(f"{len(members)} distinct rows of {len(half)}: a neighbor needs at least 2.")
    order = np.argsort(first)  # as they come in the half, which is how a graph of the half alone numbers them
    members, first = members[order], first[order]
    k = min(n_neighbors, len(members) - 1)
    place = np.full(len(points), -1)
    place[members] = np.arange(len(members))
    indices = place[graph.indices[members]]
    is_reordered = bool((np.diff(members) < 0).any())
    if is_reordered:
        tied = np.nonzero((np.diff(graph.distances[members]) == 0).any(axis=1))[0]
        squared = engine.squared_distances(members[tied], graph.indices[members[tied]])
        indices[tied] = np.take_along_axis(indices[tied], np.lexsort((indices[tied], squared), axis=1), axis=1)
    outside = indices < 0
    columns = np.argsort(outside, axis=1, kind="stable")[:, :k]
    indices = np.take_along_axis(indices, columns, axis=1)
    distances = np.take_along_axis(graph.distances[members], columns, axis=1)
    is_short = (~outside).sum(axis=1) < k
    if is_reordered and graph.n_neighbors < graph.n_points - 1:
        is_short |= distances[:, -1] == graph.distances[members, -1]
    short = np.nonzero(is_short)[0]
    if short.size:
        squared, indices[short] = exact_rows(engine, members[short], members, k)
        distances[short] = points.distances(squared)
    return NeighborGraph(distances, indices, first, len(half) - len(members), graph.metric)
