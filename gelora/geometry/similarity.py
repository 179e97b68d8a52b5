"""How alike the layers of a model are on one sample: `LayerSimilarity`, from one neighbor graph a layer, with half-sample intervals.

Does not depend on models or texts.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.cka import cka_matrices
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import half_sample_spread, halves_at_whole
from gelora.geometry.half_samples import check_n_subsamples, draw_halves
from gelora.geometry.imbalance import ranks_among
from gelora.geometry.neighbors import METRICS
from gelora.geometry.overlap import label_overlap, overlap_matrix
from gelora.geometry.profile import check_distinct, measurable_cloud
from gelora.records import HiddenStates, LayerSimilarity, NeighborGraph, Progress, check_choice, check_whole

_STAGE = "Comparing the layers"


def layer_similarity(
    states: HiddenStates,
    labels: Sequence[float] | None = None,
    label_kind: str = "classification",
    *,
    n_neighbors: int = 20,
    metric: str = "euclidean",
    n_subsamples: int = 20,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> LayerSimilarity:
    """Neighbor overlap and linear CKA of every two layers, information imbalance of consecutive ones, label overlap of each.

    Definitions are those of `neighbor_overlap`, `information_imbalance`, `linear_cka` and `label_overlap`. All are over the
    same rows: those that are distinct in every layer that has a dimension at all (80% distinct rows, as in
    `estimate_profile`). Intervals are from half-samples, as a profile's: of overlap, imbalance and label overlap, which
    hang on the number of rows, the halves' answers are first scaled to the mean that all rows give. They do not see bias.

    Args:
        states: hidden states of all layers.
        labels: one a row of the states, or None.
        label_kind: "classification" or "regression".
        n_neighbors: k of the overlaps, at least 1.
        metric: "euclidean" or "cosine", of neighbors; CKA has inner products of its own.
        n_subsamples: number of halves, 0 or even.
        seed: of the halves.
        device: "cpu", "cuda", "cuda:N" or "auto", for neighbors and ranks; CKA is computed on the CPU.
        progress: called as progress(stage, steps done, steps in all); may raise `Cancelled`.

    Raises:
        InputError: an argument is not legal, or there is not one label for each row.
        DataError: too few rows are distinct in all layers, or no two layers can be compared.
    """
    check_whole("n_neighbors", n_neighbors, 1)
    check_whole("seed", seed, 0)
    check_n_subsamples(n_subsamples)
    check_choice("metric", metric, METRICS)
    check_choice("label_kind", label_kind, ("classification", "regression"))
    n_layers, n_given, _ = states.values.shape
    if labels is not None and len(labels) != n_given:
        raise InputError(f"There are {len(labels)} labels for {n_given} rows; give one for each.")
    report = progress or (lambda stage, done, total: None)
    n_steps = 2 * n_layers  # CKA takes about as long as all neighbors
    rows, notes = _common_rows(states, n_neighbors, metric, device)
    measured = [i for i, name in enumerate(states.layer_names) if name not in notes]
    parts = [np.arange(len(rows)), *draw_halves(len(rows), n_subsamples, seed)]
    members = np.zeros((len(parts), len(rows)), dtype=bool)
    for member, part in zip(members, parts, strict=True):
        member[part] = True
    of_rows = None if labels is None else np.asarray(labels, dtype=np.float64)[rows]

    def searched() -> Iterator[_Layer | None]:
        for number, values in enumerate(states.values):
            report(_STAGE, number, n_steps)
            yield _searched(values[rows], parts, n_neighbors, metric, device) if number in measured else None

    neighbors: list[list[np.ndarray]] = []
    near, chance = np.full((len(parts), n_layers), np.nan), None
    imbalance = np.full((2, len(parts), n_layers - 1), np.nan)
    for number, (before, here, after) in enumerate(_in_threes(searched())):
        if here is None:
            continue
        neighbors.append(here.neighbors)
        for way, beside in enumerate((before, after)):
            if beside is not None:
                ranks = ranks_among(here.cloud, beside.nearest, members, here.graphs)
                imbalance[way, :, number - 1 + way] = 2 * ranks.sum(axis=1) / members.sum(axis=1) ** 2
        if of_rows is not None:
            found = [label_overlap(g, of_rows[part], label_kind, n_neighbors) for g, part in zip(here.graphs, parts, strict=True)]
            near[:, number], chance = [overlap.near for overlap in found], found[0].chance

    overlap, cka = (np.full((len(parts), n_layers, n_layers), np.nan) for _ in range(2))
    among: tuple[np.ndarray, ...] = np.ix_(measured, measured)
    for i, of_layers in enumerate(zip(*neighbors, strict=True)):
        overlap[i][among] = overlap_matrix(np.stack(of_layers))
        report(_STAGE, n_layers, n_steps)
    aligned = cka_matrices(
        lambda i: states.values[measured[i]][rows],
        len(measured),
        parts,
        report=lambda done, total: report(_STAGE, n_layers + n_layers * done // total, n_steps),
    )
    cka[:, among[0], among[1]] = aligned
    return LayerSimilarity(
        layer_names=states.layer_names,
        n_rows=len(rows),
        n_neighbors=int(n_neighbors),
        metric=metric,
        overlap=overlap[0],
        overlap_half_width=_half_widths(overlap),
        cka=cka[0],
        cka_half_width=_half_widths(cka, scaled=False),
        forward=imbalance[0, 0],
        forward_half_width=_half_widths(imbalance[0]),
        backward=imbalance[1, 0],
        backward_half_width=_half_widths(imbalance[1]),
        label_kind="" if labels is None else label_kind,
        label_overlap=np.empty(0) if labels is None else near[0],
        label_overlap_half_width=np.empty(0) if labels is None else _half_widths(near),
        label_chance=chance,
        notes=notes,
        model=states.model,
        sample_source=states.sample_source,
        pooling=states.pooling,
        max_length=states.max_length,
        sinks=states.sinks,
        without_padding=states.without_padding,
    )


class _Layer(NamedTuple):
    """A layer under way, for each part of its rows: all of them, and the halves.

    graphs: of each part, k neighbors at least; neighbors: the nearest k as int32 [part's rows, k]; nearest: int64
    [n_parts, n_rows], the row of the nearest neighbor, -1 outside the part.
    """

    cloud: PointCloud
    graphs: list[NeighborGraph]
    neighbors: list[np.ndarray]
    nearest: np.ndarray


def _common_rows(states: HiddenStates, n_neighbors: int, metric: str, device: str) -> tuple[np.ndarray, dict[str, str]]:
    """Rows that are distinct in every layer that can be measured, and why the others cannot."""
    is_kept, notes = np.ones(states.values.shape[1], dtype=bool), {}
    for name, values in zip(states.layer_names, states.values, strict=True):
        try:
            cloud = PointCloud(values, metric, device)
            check_distinct(cloud, n_neighbors)
        except DataError as error:
            notes[name] = str(error)
            continue
        is_first = np.zeros(len(values), dtype=bool)
        is_first[np.unique(cloud.row_points, return_index=True)[1]] = True
        is_kept &= is_first
    n_rows = int(is_kept.sum())
    if len(notes) > len(states.layer_names) - 2:
        raise DataError(f"No two layers can be compared. {'; '.join(f'{name}: {note}' for name, note in notes.items())}.")
    if n_rows <= n_neighbors + 1:
        raise DataError(f"Only {n_rows} of {len(is_kept)} rows are distinct in every layer; {n_neighbors} neighbors need more texts.")
    return np.flatnonzero(is_kept), notes


def _searched(values: np.ndarray, parts: Sequence[np.ndarray], n_neighbors: int, metric: str, device: str) -> _Layer:
    cloud = measurable_cloud(values, n_neighbors, metric, device)
    if cloud.n_points < len(values):
        raise DataError(f"{len(values) - cloud.n_points} rows of a layer differ by less than a distance can show; drop or rescale them.")
    graphs = [cloud.graph(n_neighbors), *(cloud.subset(half).graph(n_neighbors) for half in parts[1:])]
    nearest = np.full((len(parts), len(values)), -1)
    for of_part, part, graph in zip(nearest, parts, graphs, strict=True):
        of_part[part] = part[graph.indices[:, 0]]
    return _Layer(cloud, graphs, [graph.indices[:, :n_neighbors].astype(np.int32) for graph in graphs], nearest)


def _in_threes(layers: Iterator[_Layer | None]) -> Iterator[tuple[_Layer | None, _Layer | None, _Layer | None]]:
    """Each layer between the one before and the one after it, None where there is none; no more than three at a time are held."""
    before, here = None, next(layers)
    for after in itertools.chain(layers, [None]):
        yield before, here, after
        before, here = here, after


def _half_widths(answers: np.ndarray, scaled: bool = True) -> np.ndarray:
    """Half the 95% interval of answers[0] from those of the halves in answers[1:], NaN where there is none.

    scaled: bring the halves to the mean that all rows give first.
    """
    whole, halves = answers[0], answers[1:]
    halves = halves_at_whole(halves, whole, "pairs") if scaled else halves
    spreads = [half_sample_spread(column, "pairs") for column in halves.reshape(len(halves), whole.size).T]
    return np.array([np.nan if spread is None else spread.half_width() for spread in spreads]).reshape(whole.shape)
