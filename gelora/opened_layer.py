"""One layer opened: who is near whom, as texts; copies; the principal plane; what labels say of the neighbors.

Joins a sample with its hidden states; does not depend on pages or charts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry import METRICS, LabelOverlap, PointCloud, Projection, label_overlap, principal_plane
from gelora.record_json import Record, read_only
from gelora.records import HiddenStates, NeighborGraph, Progress, Sample, SampleSource, check_choice, check_whole
from gelora.sources import drawn_tokens

_STAGE = "Opening the layer"


class Neighbor(NamedTuple):
    """A neighbor of a row: its row, the distance to it, and whether it was one at the layer before (None: nothing to compare)."""

    row: int
    distance: float
    was_before: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class OpenedLayer(Record):
    """One layer of a sample's hidden states, as far as a person looks at it.

    A row is a text, a pair, or (pooling "tokens") a token in its text; a point is a vector that occurs, however often.
    texts, text_pairs, labels: one a row; row_points: int64 [n_rows], the point of each row; graph: the exact neighbors of
    the points, `graph.rows` the first row of each, None where fewer than two vectors differ; were_before: bool
    [n_points, k], whether that neighbor was also among the k nearest at the layer before (or had the same vector there),
    None at layer 0 and where that layer has no neighbors; plane: coordinates [n_rows, 2] in the principal plane, None
    where all vectors are equal.
    """

    layer: int
    layer_names: tuple[str, ...]
    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    labels: tuple[float, ...] | None
    label_names: tuple[str, ...] | None
    task: str
    row_points: np.ndarray
    graph: NeighborGraph | None
    were_before: np.ndarray | None
    plane: Projection | None
    pooling: str
    sample_source: SampleSource

    def __post_init__(self) -> None:
        object.__setattr__(self, "row_points", read_only(self.row_points, np.int64))
        if self.were_before is not None:
            object.__setattr__(self, "were_before", read_only(self.were_before, np.bool_))
        for name in ("text_pairs", "labels", "row_points"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.texts):
                raise InputError(f"{name} has {len(column)} rows, texts has {len(self.texts)}; they must agree.")

    @property
    def n_rows(self) -> int:
        """Rows, copies included."""
        return len(self.texts)

    @property
    def n_points(self) -> int:
        """Vectors that differ."""
        return 1 if self.graph is None else self.graph.n_points

    @property
    def name(self) -> str:
        """The layer's name, such as "block 4"."""
        return self.layer_names[self.layer]

    def words(self, row: int) -> str:
        """The row as a person reads it: its text, or both texts of a pair."""
        return self.texts[row] if self.text_pairs is None else f"{self.texts[row]} ↔ {self.text_pairs[row]}"

    def label(self, row: int) -> str | None:
        """The name of the row's class, or its number; None without labels."""
        if self.labels is None:
            return None
        if self.task == "classification" and self.label_names is not None:
            return self.label_names[int(self.labels[row])]
        return f"{self.labels[row]:g}"

    def neighbors(self, row: int) -> list[Neighbor]:
        """The nearest other vectors of a row, nearest first, each by its first row; empty where all vectors are equal."""
        if self.graph is None:
            return []
        point = int(self.row_points[row])
        before = None if self.were_before is None else self.were_before[point]
        found = zip(self.graph.indices[point], self.graph.distances[point], strict=True)
        return [
            Neighbor(int(self.graph.rows[other]), float(distance), None if before is None else bool(before[i]))
            for i, (other, distance) in enumerate(found)
        ]

    def copies(self, row: int) -> tuple[int, ...]:
        """The other rows with exactly this row's vector, ascending."""
        same = np.flatnonzero(self.row_points == self.row_points[row])
        return tuple(int(other) for other in same if other != row)

    def duplicates(self) -> tuple[tuple[int, ...], ...]:
        """The rows of every vector that occurs more than once, ascending; the largest group first."""
        order = np.argsort(self.row_points, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.row_points[order])) + 1)
        found = [tuple(map(int, group)) for group in groups if len(group) > 1]
        return tuple(sorted(found, key=lambda group: (-len(group), group)))

    def share_before(self) -> float | None:
        """The share of all neighbors that were neighbors at the layer before too."""
        return None if self.were_before is None else float(self.were_before.mean())

    def label_overlap(self) -> LabelOverlap | None:
        """What the labels of neighbors say, over all points; None without labels or neighbors."""
        return None if self.labels is None or self.graph is None else label_overlap(self.graph, self.labels, self.task)


def open_layer(
    states: HiddenStates,
    sample: Sample,
    layer: int,
    *,
    n_neighbors: int = 10,
    metric: str = "euclidean",
    device: str = "cpu",
    progress: Progress | None = None,
) -> OpenedLayer:
    """One layer as a person looks into it: every row's neighbors as texts, copies, the principal plane.

    Args:
        states: hidden states of all layers, [n_layers + 1, n_rows, hidden_size].
        sample: the texts that they are of.
        layer: 0 for what enters block 1, i for what block i gives.
        n_neighbors: k, at least 2; fewer where fewer vectors differ.
        metric: "euclidean" or "cosine", of neighbors alone; the plane is euclidean.
        device: "cpu", "cuda", "cuda:N" or "auto" (the GPU where there is one), for the search.
        progress: called as progress(stage, steps done, 3); may raise `Cancelled`.

    Returns:
        An OpenedLayer; with pooling "tokens" its rows are the drawn tokens, shown among the words around them.

    Raises:
        InputError: an argument is not legal, or the states are of another sample.
        DataError: a state is not finite.
        HubError: pooling is "tokens" and the model's tokenizer cannot be had.
    """
    check_whole("layer", layer, 0, len(states.layer_names) - 1)
    check_whole("n_neighbors", n_neighbors, 2)
    check_choice("metric", metric, METRICS)
    if states.sample_source != sample.source:
        raise InputError("The states are of another sample than the one given; draw and measure them together.")

    def report(done: int) -> None:
        if progress is not None:
            progress(_STAGE, done, 3)

    report(0)
    of_texts = states.row_texts()
    if states.pooling == "tokens":
        tokens = drawn_tokens(states.model.model_id, sample, states.max_length, states.tokens)
        of_texts = np.array([token.text for token in tokens])
        texts, pairs = tuple(token.words for token in tokens), None
    n_texts = len(states.values[0]) + len(states.sinks.left_out if states.sinks else ())
    if len(of_texts) != states.values.shape[1] or (states.pooling != "tokens" and n_texts != len(sample)):
        raise InputError(f"The states have {states.values.shape[1]} rows, the sample {len(sample)}; give those that belong together.")
    if states.pooling != "tokens":
        texts = tuple(sample.texts[text] for text in of_texts)
        pairs = None if sample.text_pairs is None else tuple(sample.text_pairs[text] for text in of_texts)
    row_points, graph = _neighbors(states.values[layer], n_neighbors, metric, device)
    report(1)
    before = None
    if layer and graph is not None:
        points_before, graph_before = _neighbors(states.values[layer - 1], n_neighbors, metric, device)
        before = None if graph_before is None else _were_neighbors(graph, points_before, graph_before)
    report(2)
    plane = None if graph is None else principal_plane(states.values[layer])
    report(3)
    return OpenedLayer(
        layer=int(layer),
        layer_names=states.layer_names,
        texts=texts,
        text_pairs=pairs,
        labels=None if sample.labels is None else tuple(sample.labels[text] for text in of_texts),
        label_names=sample.label_names,
        task=sample.task,
        row_points=row_points,
        graph=graph,
        were_before=before,
        plane=plane,
        pooling=states.pooling,
        sample_source=sample.source,
    )


def _neighbors(values: np.ndarray, n_neighbors: int, metric: str, device: str) -> tuple[np.ndarray, NeighborGraph | None]:
    """Point of every row, and the graph of the points; no graph where fewer than two vectors (directions) differ."""
    cloud = PointCloud(values, metric, device)
    try:
        n_points = cloud.n_points  # directions can prove equal only when they are compared, which needs two
    except DataError:
        return np.zeros(len(values), dtype=np.int64), None
    if n_points < 2:
        return cloud.row_points, None
    graph = cloud.graph(min(n_neighbors, n_points - 1))
    return cloud.row_points, graph


def _were_neighbors(graph: NeighborGraph, points_before: np.ndarray, before: NeighborGraph) -> np.ndarray:
    """bool [n_points, k]: whether each neighbor was one in `before` too, or had the same vector there."""
    own, others = points_before[graph.rows], points_before[graph.rows[graph.indices]]
    listed = (before.indices[own][:, None, :] == others[:, :, None]).any(axis=2)
    return listed | (others == own[:, None])
