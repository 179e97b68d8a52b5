"""Records of a model without its weights: its blocks and their linear maps."""

from dataclasses import dataclass, field, replace

from gelora.record_json import ADDED, Record
from gelora.records.checks import POINTS, check_choice, check_whole

BLOCK_HALVES = ("attention", "MLP")
"""The halves of a block, in the order in which a text passes them."""
_OF_ATTENTION = ("q", "k", "v", "qkv", "o")


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
    n_params are a pooler's, which a classifier trains as a part of its head or does not have at all. points is "halves" where the
    residual stream is looked at between attention and MLP too: then n_layers counts halves, block 2 i - 1 being the attention
    of block i and 2 i its MLP.
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
    points: str = field(default="blocks", metadata=ADDED)

    def __post_init__(self) -> None:
        check_whole("n_layers", self.n_layers, 1)
        for module in self.modules:
            check_whole(f"The block of {module.name}", module.block, 1, self.n_layers)
        check_choice("points", self.points, POINTS)

    @property
    def halved(self) -> "ModelStructure":
        """The same model with every block as two, attention and MLP."""
        if self.points == "halves":
            return self
        modules = tuple(replace(m, block=2 * m.block - (m.kind in _OF_ATTENTION)) for m in self.modules)
        return replace(self, n_layers=2 * self.n_layers, modules=modules, points="halves")

    @property
    def whole(self) -> "ModelStructure":
        """The same model with its blocks as they are."""
        if self.points == "blocks":
            return self
        modules = tuple(replace(module, block=(module.block + 1) // 2) for module in self.modules)
        return replace(self, n_layers=self.n_layers // 2, modules=modules, points="blocks")

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the points of a curve, the embeddings first."""
        if self.points == "blocks":
            return ("embeddings", *(f"block {number}" for number in range(1, self.n_layers + 1)))
        halves = (f"block {number} {half}" for number in range(1, self.n_layers // 2 + 1) for half in BLOCK_HALVES)
        return ("embeddings", *halves)
