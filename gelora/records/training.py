"""Records of the last station: what defines a fine-tuning run."""

from dataclasses import dataclass

from gelora.errors import InputError
from gelora.record_json import Record
from gelora.records.checks import METHODS, PRECISIONS, check_choice, check_range
from gelora.records.data import DataChoice
from gelora.records.plans import RankPlan


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
