"""Records of a model without its weights: its blocks and their linear maps."""

from dataclasses import dataclass

from gelora.record_json import Record
from gelora.records.checks import check_range


@dataclass(frozen=True, slots=True, eq=False)
class TargetModule(Record):
    """One linear map inside a block that LoRA can adapt; `name` is relative to the base model (no head wrapper).

    `kind` is one of q, k, v, qkv (fused), o for attention, mlp for the feed-forward maps, expert for those of a
    mixture of experts, other for the rest. n_experts > 1 means one parameter that holds as many maps of this shape.
    """

    name: str
    block: int
    kind: str
    in_features: int
    out_features: int
    n_experts: int = 1

    @property
    def n_params_per_rank(self) -> int:
        """LoRA parameters that one unit of rank costs: A adds in_features, B adds out_features, for every expert."""
        return self.n_experts * (self.in_features + self.out_features)

    @property
    def smaller_side(self) -> int:
        """The highest rank that a map of this shape can have."""
        return min(self.in_features, self.out_features)


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
