"""Records of a model without its weights: its blocks and their linear maps."""

from dataclasses import dataclass

from gelora.record_json import Record
from gelora.records.checks import check_whole


@dataclass(frozen=True, slots=True, eq=False)
class TargetModule(Record):
    """One linear map inside a block that LoRA can adapt; `name` is relative to the base model (no head wrapper).

    `kind` is one of q, k, v, qkv (fused), o for attention, mlp for the feed-forward maps, expert for those of a
    mixture of experts, other for the rest. n_experts > 1 means one parameter that holds as many maps of this shape.
    as_parameter means that PEFT takes the module's name for that of fused experts (shared experts of DeepSeek-V3), so that
    a LoRA config has to name its weight in target_parameters.
    """

    name: str
    block: int
    kind: str
    in_features: int
    out_features: int
    n_experts: int = 1
    as_parameter: bool = False

    @property
    def n_params_per_rank(self) -> int:
        """LoRA parameters that one unit of rank costs: A adds in_features, B adds out_features, for every expert."""
        return self.n_experts * (self.in_features + self.out_features)

    @property
    def smaller_side(self) -> int:
        """The highest rank that an update of a map of this shape can have; factors of a higher one cost more and reach no further."""
        return min(self.in_features, self.out_features)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTraits(Record):
    """What of a block, beside its linear maps, decides which tensors a training step keeps.

    n_heads of attention; n_norms of the hidden size in a block; norms_upcast where they are computed in float32 step by
    step (RMSNorm as the library writes it) and not by one fused operation; head_norms where queries and keys are normed;
    rotary where they are turned by their positions; n_kept_scores of each pair of tokens: 0 for attention that never
    stores them (scaled_dot_product_attention), 1 for the probabilities alone, 2 where scores are capped or have parts by
    relative position; activation is the config's own word; dropout the rate on the residual stream, 0 to 1;
    n_experts_per_token of a mixture of experts, else 1.
    """

    n_heads: int
    n_norms: int
    norms_upcast: bool
    head_norms: bool
    rotary: bool
    n_kept_scores: int
    activation: str
    dropout: float
    n_experts_per_token: int


@dataclass(frozen=True, slots=True, eq=False)
class ModelStructure(Record):
    """What a model is, without its weights: identity, size, its blocks' linear maps.

    vocab_size rows of the embedding (0: unknown); n_lm_head_params of the output map that a causal language model adds,
    0 where it shares the embedding; traits is None in what was written before memory was estimated; n_pooler_params of
    n_params are a pooler's, which a classifier trains as a part of its head or does not have at all.
    """

    model_id: str
    revision: str
    model_type: str
    n_layers: int
    hidden_size: int
    n_params: int
    is_decoder: bool
    has_final_norm: bool
    modules: tuple[TargetModule, ...]
    vocab_size: int = 0
    n_lm_head_params: int = 0
    traits: BlockTraits | None = None
    n_pooler_params: int = 0

    def __post_init__(self) -> None:
        check_whole("n_layers", self.n_layers, 1)
        for module in self.modules:
            check_whole(f"The block of {module.name}", module.block, 1, self.n_layers)
