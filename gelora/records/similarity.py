"""The record of how alike the layers of a model are on one sample: neighbors, ranks, inner products, labels."""

from dataclasses import dataclass, field

import numpy as np

from gelora.errors import InputError
from gelora.record_json import Record, read_only
from gelora.records.checks import check_choice
from gelora.records.data import SampleSource
from gelora.records.model import ModelStructure
from gelora.records.sinks import SinkReport

LABEL_KINDS = ("", "classification", "regression")


@dataclass(frozen=True, slots=True, eq=False)
class LayerSimilarity(Record):
    """How alike the layers are, over the rows that are distinct in all of them; each number with half its 95% interval.

    overlap, cka: float64 [n_layers + 1, n_layers + 1], the share of neighbors that two layers have in common (expected of
    unrelated ones: `chance_overlap`) and debiased linear CKA. forward, backward: float64 [n_layers], information imbalance
    from the input of each block to its output, and back. label_overlap: float64 [n_layers + 1], or empty without labels:
    the share of neighbors with the same label ("classification", as `label_kind` says) or the mean absolute difference of
    their labels ("regression"), `label_chance` the same of random pairs. NaN where a layer has too few distinct rows, with
    the reason under its name in `notes`. Each `*_half_width` has the shape of what it is of, NaN where there is none.
    n_rows: how many were compared; the other fields are those of IdProfile.
    """

    layer_names: tuple[str, ...]
    n_rows: int
    n_neighbors: int
    metric: str
    overlap: np.ndarray
    overlap_half_width: np.ndarray
    cka: np.ndarray
    cka_half_width: np.ndarray
    forward: np.ndarray
    forward_half_width: np.ndarray
    backward: np.ndarray
    backward_half_width: np.ndarray
    label_kind: str
    label_overlap: np.ndarray
    label_overlap_half_width: np.ndarray
    label_chance: float | None
    notes: dict[str, str]
    model: ModelStructure
    sample_source: SampleSource
    pooling: str
    max_length: int
    sinks: SinkReport | None = None
    without_padding: bool = field(default=False)

    def __post_init__(self) -> None:
        check_choice("label_kind", self.label_kind, LABEL_KINDS)
        n = len(self.layer_names)
        shapes = {"overlap": (n, n), "cka": (n, n), "forward": (n - 1,), "backward": (n - 1,)}
        shapes["label_overlap"] = (n,) if self.label_kind else (0,)
        for name, shape in shapes.items():
            for field_name in (name, f"{name}_half_width"):
                given = read_only(getattr(self, field_name), np.float64)
                if given.shape != shape:
                    raise InputError(f"{field_name} has the shape {given.shape}; {n} layers need {shape}.")
                object.__setattr__(self, field_name, given)

    @property
    def chance_overlap(self) -> float:
        """What two layers that know nothing of each other share: k / (N - 1)."""
        return self.n_neighbors / (self.n_rows - 1)
