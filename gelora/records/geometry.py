"""Records of the second station: neighbors, estimates, the profile of all layers."""

from dataclasses import dataclass, field

import numpy as np

from gelora.errors import InputError
from gelora.record_json import ADDED, Record, read_only
from gelora.records.checks import check_choice
from gelora.records.data import SampleSource
from gelora.records.model import ModelStructure
from gelora.records.sinks import SinkReport

HALVES = ("independent", "pairs")
"""How half-samples were drawn: each by itself, or two and two the complementary parts of one permutation."""


@dataclass(frozen=True, slots=True, eq=False)
class NeighborGraph(Record):
    """Exact k nearest neighbors among the distinct rows of a point set, nearest first, the point itself excluded.

    distances: float64 [n, k]; indices: int64 [n, k] into the n distinct rows; rows: int64 [n], the place of each
    distinct row in the data as given; n_duplicates: exact copies that were dropped first.
    """

    distances: np.ndarray
    indices: np.ndarray
    rows: np.ndarray
    n_duplicates: int
    metric: str

    def __post_init__(self) -> None:
        if self.distances.ndim != 2 or self.distances.shape != self.indices.shape or self.rows.shape != self.distances.shape[:1]:
            raise InputError(
                f"distances {self.distances.shape}, indices {self.indices.shape} and rows {self.rows.shape} must be [n, k], [n, k] and [n]."
            )
        object.__setattr__(self, "distances", read_only(self.distances, np.float64))
        object.__setattr__(self, "indices", read_only(self.indices, np.int64))
        object.__setattr__(self, "rows", read_only(self.rows, np.int64))

    @property
    def n_points(self) -> int:
        """Number of distinct rows."""
        return int(self.distances.shape[0])

    @property
    def n_neighbors(self) -> int:
        """k, the number of neighbors kept for each point."""
        return int(self.distances.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class IdEstimate(Record):
    """One estimator's answer for one layer: a number with a 95% interval, or None and the reason in `note`."""

    estimator: str
    dimension: float | None
    ci_low: float | None
    ci_high: float | None
    n_samples: int
    n_distinct: int
    seconds: float = field(metadata={"is_timing": True})
    note: str | None = None

    def __post_init__(self) -> None:
        if self.dimension is None:
            if not self.note:
                raise InputError("An undefined estimate needs its reason in note.")
            return
        if not np.isfinite(self.dimension) or self.dimension < 0:
            raise InputError(f"dimension is {self.dimension}; it must be finite and not negative, or None with a note.")


@dataclass(frozen=True, slots=True, eq=False)
class ScaleCurve(Record):
    """How an estimator's answer changes with the scale at which it looks, layer by layer.

    kind "decimation": `scales` are numbers of rows, descending from all of them, each the mean over disjoint random
    parts of that many rows; kind "neighbors": `scales` are neighbor orders n2 = 2 n1, ascending. dimensions, spreads
    and lengths are float64 [n_layers + 1, n_scales], NaN where undefined: the dimension, its standard deviation (over
    parts; or analytic), and the mean length to the nearest (decimation) or n2-th (neighbors) neighbor.
    """

    estimator: str
    kind: str
    scales: np.ndarray
    dimensions: np.ndarray
    spreads: np.ndarray
    lengths: np.ndarray

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("decimation", "neighbors"))
        for name in ("scales", "dimensions", "spreads", "lengths"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))
        shape = (len(self.dimensions), len(self.scales))
        if not self.dimensions.shape == self.spreads.shape == self.lengths.shape == shape:
            raise InputError(
                f"dimensions, spreads and lengths must have the shape [n_layers + 1, n_scales]; {self.dimensions.shape} given."
            )


@dataclass(frozen=True, slots=True, eq=False)
class IdProfile(Record):
    """The intrinsic dimension of every layer by every estimator.

    estimates: {estimator: one IdEstimate a layer}; subsamples: {estimator: float64 [n_subsamples, n_layers + 1]},
    the same random half of the rows in every layer of a row, NaN where undefined. scale_curves: by kind and estimator,
    such as "decimation:twonn"; baselines: {"shuffled" | "gaussian": {estimator: float64 [n_layers + 1]}}, the answers
    on the same layers with every feature shuffled across samples, and on Gaussians of the layers' covariances. sinks:
    what was done about attention sinks, None in profiles of versions that kept them all. halves: how the halves were drawn,
    one of HALVES: "pairs" (rows 0 and 1, 2 and 3, ... of `subsamples` are complementary halves), or "independent" of
    each other, as versions without this field drew them. without_padding: as in HiddenStates.
    """

    layer_names: tuple[str, ...]
    estimates: dict[str, tuple[IdEstimate, ...]]
    subsamples: dict[str, np.ndarray]
    model: ModelStructure
    sample_source: SampleSource
    pooling: str
    max_length: int
    n_neighbors: int
    metric: str
    scale_curves: dict[str, ScaleCurve] = field(default_factory=dict)
    baselines: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    sinks: SinkReport | None = None
    halves: str = field(default="independent", metadata=ADDED)
    without_padding: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        for estimator, curve in self.estimates.items():
            if len(curve) != len(self.layer_names):
                raise InputError(f"{estimator} has {len(curve)} estimates for {len(self.layer_names)} layers.")
        object.__setattr__(self, "subsamples", {key: read_only(value, np.float64) for key, value in self.subsamples.items()})
        baselines = {key: {e: read_only(v, np.float64) for e, v in curves.items()} for key, curves in self.baselines.items()}
        object.__setattr__(self, "baselines", baselines)
        check_choice("halves", self.halves, HALVES)
        layered = [curve.dimensions for curve in self.scale_curves.values()]
        layered += [curve for curves in baselines.values() for curve in curves.values()]
        if any(len(array) != len(self.layer_names) for array in layered):
            raise InputError(f"A scale curve or a baseline has not one row for each of the {len(self.layer_names)} layers.")
        for estimator, halves in self.subsamples.items():
            if halves.ndim != 2 or halves.shape[1] != len(self.layer_names):
                raise InputError(
                    f"The subsamples of {estimator} have shape {halves.shape}; expected [n_subsamples, {len(self.layer_names)}]."
                )

    def dimensions(self, estimator: str) -> np.ndarray:
        """The curve of `estimator`: float64 [n_layers + 1], NaN where it is undefined."""
        check_choice("estimator", estimator, tuple(self.estimates))
        return np.array([np.nan if e.dimension is None else e.dimension for e in self.estimates[estimator]], dtype=np.float64)
