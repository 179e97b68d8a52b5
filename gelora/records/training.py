"""Records of the last station: what defines a fine-tuning run."""

import dataclasses
from dataclasses import dataclass, field

from gelora.errors import InputError
from gelora.record_json import ADDED, Record
from gelora.records.checks import (
    DEVICES,
    INITS_OF_BASE,
    LORA_INITS,
    METHODS,
    METHODS_WITH_PLAN,
    MOST_SEED,
    PRECISIONS,
    TASK_KINDS,
    check_choice,
    check_name,
    check_range,
    check_whole,
)
from gelora.records.data import DataChoice
from gelora.records.plans import RankPlan
from gelora.records.race import RaceSpec, check_task_can_race


@dataclass(frozen=True, slots=True, eq=False)
class TrainingConfig(Record):
    """How a run is trained.

    task: "auto" (what the columns say) or one of `TASK_KINDS`. batch_size: examples an optimizer step takes in each of
    `gradient_accumulation` parts; with `auto_batch` a part that does not fit in memory is halved (7 becomes 4 and 3), so
    that an optimizer step sees the same examples; every example of a step weighs the same, in whatever parts. eval_every
    and log_every count optimizer steps (0 = chosen from the length). loader_workers: processes that put batches together
    beside training; rows are tokenised before it, so that none is the fastest but for very long rows. doc_stride: tokens
    that two windows of a long context share. probe_size: held-out rows whose intrinsic dimension is measured during
    training (0 = none), by `probe_estimator`. reallocate_at: shares of the training, between 0 and 1, after which ranks are
    recomputed and adapters resized. use_dora and init_lora_weights are PEFT's.
    """

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
    task: str = "auto"
    use_dora: bool = False
    init_lora_weights: str = "default"
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    auto_batch: bool = False
    loader_workers: int = 0
    doc_stride: int = 128
    probe_size: int = 256
    probe_estimator: str = "twonn"
    reallocate_at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("device", self.device, DEVICES)
        check_choice("task", self.task, ("auto", *TASK_KINDS))
        check_choice("init_lora_weights", self.init_lora_weights, LORA_INITS)
        lowest = {"n_train": 2, "n_eval": 2, "batch_size": 1, "max_length": 4, "log_every": 0, "eval_every": 0}
        for name, low in (lowest | {"gradient_accumulation": 1, "doc_stride": 0, "probe_size": 0, "loader_workers": 0}).items():
            check_whole(name, getattr(self, name), low)
        check_range("epochs", self.epochs, 0.01, 1000)
        check_range("learning_rate", self.learning_rate, 1e-8, 1.0)
        check_range("weight_decay", self.weight_decay, 0.0, 1.0)
        check_range("warmup_ratio", self.warmup_ratio, 0.0, 1.0)
        check_range("lora_dropout", self.lora_dropout, 0.0, 0.9)
        for share in self.reallocate_at:
            check_range("reallocate_at", share, 0.01, 0.99)
        if self.reallocate_at and self.method != "lora":
            raise InputError(f"reallocate_at is for method 'lora'; {self.method!r} has no ranks to re-allocate.")
        if self.reallocate_at and (self.use_dora or self.init_lora_weights in INITS_OF_BASE):
            raise InputError(
                "Adapters of DoRA, OLoRA and PiSSA are tied to their base weights and cannot be resized; leave reallocate_at empty."
            )
        if self.method != "lora" and (self.use_dora or self.init_lora_weights != "default"):
            raise InputError(f"use_dora and init_lora_weights are for method 'lora', not {self.method!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class RunSpec(Record):
    """Everything that defines a run; its `digest()` is the run's fingerprint.

    plan: the ranks of lora and adalora (whose final budget is the plan's), None for the other methods. held_out: where the
    held-out rows are, a validation file or split; None = they are split off `data`. race: of a run that is a race, whose
    plan and seed are then those of its reference and its first repetition (`race_run` makes such a spec).
    """

    model: str
    data: DataChoice
    plan: RankPlan | None
    training: TrainingConfig
    seed: int = 0
    held_out: DataChoice | None = None
    race: RaceSpec | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        check_whole("The seed", self.seed, 0, MOST_SEED)
        check_name("The model", self.model)
        for data in filter(None, (self.data, self.held_out)):
            check_name("The dataset", data.dataset)
        needs_plan = self.training.method in METHODS_WITH_PLAN
        if (self.plan is not None) != needs_plan:
            raise InputError(f"Method {self.training.method!r} {'needs a rank plan' if needs_plan else 'needs no plan'}.")
        if self.race is not None and (self.seed != self.race.seeds[0] or self.plan != self.race.plans[self.race.reference]):
            raise InputError("Plan and seed of a race are those of its reference and its first seed; make its spec with race_run.")


def lone_run(spec: RunSpec, name: str, seed: int) -> RunSpec:
    """The run that an arm of a race would be alone, at the first of the race's learning rates.

    Args:
        spec: of a race.
        name: of the arm's plan.
        seed: one of the race's.

    Raises:
        InputError: the spec is no race, or has no such plan.
    """
    if spec.race is None:
        raise InputError("This spec is no race; make one with race_run.")
    check_choice("plan", name, tuple(spec.race.plans))
    init = spec.race.inits.get(name, spec.training.init_lora_weights)
    training = dataclasses.replace(spec.training, init_lora_weights=init)
    return dataclasses.replace(spec, plan=spec.race.plans[name], seed=seed, race=None, training=training)


def race_run(base: RunSpec, race: RaceSpec) -> RunSpec:
    """The run that is this race; what of `base` a race does not look at is set to one value, so that equal races are equal.

    Args:
        base: model, data, held-out rows, task, batch size (with its accumulated parts), rows, lengths, weight decay,
            warm-up, precision, device, and how often is evaluated and logged.
        race: the arms.

    Raises:
        InputError: a task that arms cannot share, or a setting that changes the frozen weights, which they share.
    """
    given, usual = base.training, TrainingConfig()
    if given.task != "auto":
        check_task_can_race(given.task)
    if given.use_dora:
        raise InputError("Arms of a race share the frozen weights, which DoRA's magnitudes scale: train it one run at a time.")
    batch_size = given.batch_size * given.gradient_accumulation
    ignored = ("epochs", "lora_dropout", "gradient_accumulation", "gradient_checkpointing", "auto_batch", "loader_workers")
    training = dataclasses.replace(
        given,
        **{name: getattr(usual, name) for name in (*ignored, "probe_estimator", "reallocate_at")},
        method="lora",
        probe_size=0,
        learning_rate=race.learning_rates[0],
        batch_size=batch_size,
        n_train=max(2, min(race.n_steps * batch_size, given.n_train)),
    )
    return RunSpec(base.model, base.data, race.plans[race.reference], training, race.seeds[0], base.held_out, race)
