"""Records of the third station: ranks and what they cost."""

from dataclasses import dataclass, field

from gelora.errors import InputError
from gelora.record_json import ADDED, Record
from gelora.records.checks import check_whole
from gelora.records.model import TargetModule


@dataclass(frozen=True, slots=True, eq=False)
class AlsoTrained(Record):
    """What an imported adapter trains beside the ranks of its plan: in words, by full names of modules, as parameters."""

    what: str
    modules: tuple[str, ...]
    n_params: int

    @property
    def words(self) -> str:
        """`1,536 parameters in modules outside the blocks (tower.layers.0.q_proj, tower.layers.0.v_proj and 4 more)`."""
        more = f" and {len(self.modules) - 2} more" if len(self.modules) > 2 else ""
        names = f" ({', '.join(self.modules[:2])}{more})" if self.modules else ""
        return f"{self.n_params:,} parameters in {self.what}{names}"


@dataclass(frozen=True, slots=True, eq=False)
class RankPlan(Record):
    """A LoRA rank and alpha for every targeted module; rank 0 means that the module gets no adapter.

    offset, rounding, estimator and scale (the factor on the rises) are those of the GeLoRA rule, None for strategies that
    do not have them; seed is that of a random plan. target_params is the budget that the plan was made to meet, None
    where there was none. `edits` holds, for every module that a person gave another rank by hand, the rank before that.
    `block_notes` says, by block number, why a block got its rank where that is not plain from the curve. `also_trained`
    holds what an imported adapter trains beside these ranks. A rank is at most the smaller side of its matrix, except in an
    imported plan: PEFT trains higher ones, and they cost what PEFT makes of them.
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
    scale: float | None = None
    seed: int | None = None
    target_params: int | None = None
    edits: dict[str, int] = field(default_factory=dict)
    also_trained: tuple[AlsoTrained, ...] = field(default=(), metadata=ADDED)

    def __post_init__(self) -> None:
        names = [module.name for module in self.modules]
        if not names or set(names) != set(self.ranks) or set(names) != set(self.alphas) or len(names) != len(set(names)):
            raise InputError("A RankPlan needs exactly one rank and one alpha for each of its modules, and at least one module.")
        for module in self.modules:
            limit = None if self.strategy == "imported" else module.smaller_side
            check_whole(f"The rank of {module.name}", self.ranks[module.name], 0, limit)
            if self.ranks[module.name] > 0 and not self.alphas[module.name] > 0:
                raise InputError(f"The alpha of {module.name} is {self.alphas[module.name]}; it must be positive.")
        for name, before in self.edits.items():
            if name not in self.ranks:
                raise InputError(f"The edited module {name!r} is none of the plan's.")
            check_whole(f"The rank of {name} before its edit", before, 0)
        if not any(self.ranks.values()):
            raise InputError("Every rank of the plan is 0, so there is nothing to train; raise the offset to at least 1.")

    def block_ranks(self) -> dict[int, int]:
        """The largest rank in each block that has targeted modules, by block number."""
        result: dict[int, int] = {}
        for module in self.modules:
            result[module.block] = max(result.get(module.block, 0), self.ranks[module.name])
        return result

    @property
    def n_adapter_params(self) -> int:
        """Parameters of the adapters: r * (in_features + out_features), summed over the modules."""
        return sum(self.ranks[module.name] * module.n_params_per_rank for module in self.modules)

    @property
    def n_trained_params(self) -> int:
        """Parameters of the adapters, and of what an imported adapter trains beside them."""
        return self.n_adapter_params + sum(part.n_params for part in self.also_trained)

    @property
    def shortfall(self) -> int | None:
        """Parameters by which the plan stays under the budget that it was made to meet; None where there was none.

        Negative where edits by hand have gone over it."""
        return None if self.target_params is None else self.target_params - self.n_adapter_params

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
