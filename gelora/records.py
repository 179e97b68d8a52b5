"""The records that flow along the path: Sample -> HiddenStates -> NeighborGraph -> IdProfile -> RankPlan -> Run.

Axis words, used everywhere: n_samples rows of data, n_layers transformer blocks (a curve has n_layers + 1 points,
index 0 the embedding output, index i the output of block i), hidden_size the width, n_neighbors the k of a graph.
Blocks are numbered from 1, as the curve's points are. Knows no model, no file, no chart.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gelora.errors import DataError, InputError
from gelora.record_json import Record, read_only

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total) during long work; may raise `Cancelled` to end it."""

POOLINGS = ("mean", "cls", "last", "tokens")
TASKS = ("classification", "regression", "unlabeled")
STATUSES = ("queued", "running", "finished", "failed", "stopped")
ROUNDINGS = ("ceil", "round", "round-each")
METHODS = ("lora", "head")
PRECISIONS = ("auto", "float32", "bfloat16")


def check_choice(what: str, given: str, legal: tuple[str, ...]) -> None:
    """Raise InputError unless `given` is one of `legal`."""
    if given not in legal:
        raise InputError(f"Unknown {what} {given!r}; choose one of: {', '.join(legal)}.")


def check_range(what: str, given: float, low: float, high: float | None = None) -> None:
    """Raise InputError unless low <= given (<= high); NaN is never legal."""
    if not (given >= low and (high is None or given <= high)):
        legal = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{what} is {given}; it must be {legal}.")


@dataclass(frozen=True, slots=True, eq=False)
class DataChoice(Record):
    """Which data a person asked for: a bundled name, a hub id, or a path to .jsonl, .csv or .parquet; None = detect."""

    dataset: str
    config: str | None = None
    split: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SampleSource(Record):
    """Where a sample comes from and how it was drawn; enough to draw it again.

    `choice` holds the columns and split that were used, `revision` the hub commit or a digest of the file read,
    `n_samples` the number asked for, `texts_digest` a digest of the texts that came out.
    """

    choice: DataChoice
    revision: str
    seed: int
    n_samples: int
    distinct: bool
    texts_digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Sample(Record):
    """Texts (or pairs of texts) drawn from a dataset; labels are class indices (0 .. n_classes - 1) or real numbers."""

    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    labels: tuple[float, ...] | None
    label_names: tuple[str, ...] | None
    task: str
    source: SampleSource

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        for name, column in (("text_pairs", self.text_pairs), ("labels", self.labels)):
            if column is not None and len(column) != len(self.texts):
                raise InputError(f"{name} has {len(column)} rows, texts has {len(self.texts)}; they must agree.")
        if not self.texts:
            raise DataError("The sample is empty; it needs at least one text.")
        if (self.task == "unlabeled") != (self.labels is None):
            raise InputError(f"A sample with task {self.task!r} must {'not ' if self.task == 'unlabeled' else ''}have labels.")

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, eq=False)
class TargetModule(Record):
    """One linear map inside a block that LoRA can adapt; `name` is relative to the base model (no head wrapper).

    `kind` is one of q, k, v, qkv (fused), o for attention, mlp for the feed-forward maps, other for the rest.
    """

    name: str
    block: int
    kind: str
    in_features: int
    out_features: int

    @property
    def n_params_per_rank(self) -> int:
        """LoRA parameters that one unit of rank costs: A adds in_features, B adds out_features."""
        return self.in_features + self.out_features


@dataclass(frozen=True, slots=True, eq=False)
class ModelStructure(Record):
    """What a model is, without its weights: identity, size, its blocks' linear maps."""

    model_id: str
    revision: str
    model_type: str
    n_layers: int
    hidden_size: int
    n_params: int
    is_decoder: bool
    has_final_norm: bool
    modules: tuple[TargetModule, ...]

    def __post_init__(self) -> None:
        check_range("n_layers", self.n_layers, 1)
        for module in self.modules:
            check_range(f"The block of {module.name}", module.block, 1, self.n_layers)


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates(Record):
    """Pooled hidden states of every layer.

    values: float32 [n_layers + 1, n_samples, hidden_size]; index 0 is the embedding output, index i the output of
    block i: the residual stream before any final norm, unless `final_norm` is set (then the last one is Hugging
    Face's own last state, which is after the norm in Llama, GPT-2, OPT, Phi, Gemma and ModernBERT). Pre-norm and
    post-norm models are not comparable in absolute value.
    """

    values: np.ndarray
    layer_names: tuple[str, ...]
    pooling: str
    max_length: int
    dtype: str
    final_norm: bool
    model: ModelStructure
    sample_source: SampleSource

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, POOLINGS)
        if self.values.ndim != 3 or self.values.shape[0] != len(self.layer_names):
            raise InputError(f"values has shape {self.values.shape}; expected [{len(self.layer_names)}, n_samples, hidden_size].")
        object.__setattr__(self, "values", read_only(self.values, np.float32))


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
class IdProfile(Record):
    """The intrinsic dimension of every layer by every estimator.

    estimates: {estimator: one IdEstimate a layer}; subsamples: {estimator: float64 [n_subsamples, n_layers + 1]},
    the same random half of the rows in every layer of a row, NaN where undefined.
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
    scale_curves: dict[str, np.ndarray] = field(default_factory=dict)
    baselines: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for estimator, curve in self.estimates.items():
            if len(curve) != len(self.layer_names):
                raise InputError(f"{estimator} has {len(curve)} estimates for {len(self.layer_names)} layers.")
        for name in ("subsamples", "scale_curves", "baselines"):
            arrays = {key: read_only(value, np.float64) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)
        for estimator, halves in self.subsamples.items():
            if halves.ndim != 2 or halves.shape[1] != len(self.layer_names):
                raise InputError(
                    f"The subsamples of {estimator} have shape {halves.shape}; expected [n_subsamples, {len(self.layer_names)}]."
                )

    def dimensions(self, estimator: str) -> np.ndarray:
        """The curve of `estimator`: float64 [n_layers + 1], NaN where it is undefined."""
        check_choice("estimator", estimator, tuple(self.estimates))
        return np.array([np.nan if e.dimension is None else e.dimension for e in self.estimates[estimator]], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class RankPlan(Record):
    """A LoRA rank and alpha for every targeted module; rank 0 means that the module gets no adapter.

    `block_notes` says, by block number, why a block got its rank where that is not plain from the curve.
    """

    modules: tuple[TargetModule, ...]
    ranks: dict[str, int]
    alphas: dict[str, float]
    strategy: str
    offset: int | None
    rounding: str | None
    estimator: str | None
    target_modules: str
    model_id: str
    revision: str
    n_model_params: int
    profile_digest: str | None
    block_notes: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [module.name for module in self.modules]
        if not names or set(names) != set(self.ranks) or set(names) != set(self.alphas) or len(names) != len(set(names)):
            raise InputError("A RankPlan needs exactly one rank and one alpha for each of its modules, and at least one module.")
        for module in self.modules:
            limit = min(module.in_features, module.out_features)
            check_range(f"The rank of {module.name}", self.ranks[module.name], 0, limit)
            if self.ranks[module.name] > 0 and not self.alphas[module.name] > 0:
                raise InputError(f"The alpha of {module.name} is {self.alphas[module.name]}; it must be positive.")
        if not any(self.ranks.values()):
            raise InputError("Every rank of the plan is 0, so there is nothing to train; raise the offset to at least 1.")

    def block_ranks(self) -> dict[int, int]:
        """The largest rank in each block that has targeted modules, by block number."""
        result: dict[int, int] = {}
        for module in self.modules:
            result[module.block] = max(result.get(module.block, 0), self.ranks[module.name])
        return result

    def to_lora_config(self, model: object | None = None, **options: object) -> object:
        """The plan as a `peft.LoraConfig`; see `gelora.ranks.to_lora_config`."""
        from gelora.ranks import to_lora_config

        return to_lora_config(self, model, **options)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Budget(Record):
    """What a plan costs. Parameters are counts, sizes are bytes."""

    n_adapter_params: int
    n_head_params: int
    n_total_params: int
    adapter_bytes: int
    optimizer_bytes: int

    @property
    def share(self) -> float:
        """Adapter parameters as a share of the base model's parameters (0 to 1)."""
        return self.n_adapter_params / self.n_total_params


@dataclass(frozen=True, slots=True, eq=False)
class TrainingConfig(Record):
    """How a run is trained; `eval_every` and `log_every` count optimizer steps (0 = chosen from the length)."""

    method: str = "lora"
    n_train: int = 4000
    n_eval: int = 500
    epochs: float = 2.0
    batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup_ratio: float = 0.06
    lora_dropout: float = 0.0
    max_length: int = 128
    log_every: int = 0
    eval_every: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        for name, low in (("n_train", 2), ("n_eval", 2), ("batch_size", 1), ("max_length", 4), ("log_every", 0), ("eval_every", 0)):
            check_range(name, getattr(self, name), low)
        check_range("epochs", self.epochs, 0.01, 1000)
        check_range("learning_rate", self.learning_rate, 1e-8, 1.0)
        check_range("weight_decay", self.weight_decay, 0.0, 1.0)
        check_range("warmup_ratio", self.warmup_ratio, 0.0, 1.0)
        check_range("lora_dropout", self.lora_dropout, 0.0, 0.9)


@dataclass(frozen=True, slots=True, eq=False)
class RunSpec(Record):
    """Everything that defines a run; its `digest()` is the run's fingerprint. `plan` is None when method is head."""

    model: str
    data: DataChoice
    plan: RankPlan | None
    training: TrainingConfig
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.plan is None) != (self.training.method == "head"):
            raise InputError(f"Method {self.training.method!r} {'needs no plan' if self.plan else 'needs a rank plan'}.")
