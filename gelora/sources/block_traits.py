"""What of a model's blocks, beside their linear maps, decides how much memory a training step needs.

Reads modules and config; does not depend on weights, or on how memory follows from it (that is in `gelora.ranks`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gelora.records import BlockTraits

if TYPE_CHECKING:
    from torch import nn

# The families' own words for one thing; the first that a config has counts.
_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation", "ffn_act_fn", "mlp_hidden_act")
_DROPOUTS = ("hidden_dropout_prob", "resid_pdrop", "residual_dropout", "resid_dropout", "hidden_dropout", "mlp_dropout", "dropout")
_EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts")
_HEADS = ("num_attention_heads", "n_heads", "num_heads")


def traits_of(base: "nn.Module", blocks: "Sequence[nn.Module]") -> BlockTraits:
    """The traits of the largest block of a base model.

    Args:
        base: the base model, with its config.
        blocks: its transformer blocks.
    """
    from torch import nn

    config: Any = base.config
    text_config: Any = config.get_text_config()
    block = max(blocks, key=lambda block: sum(parameter.numel() for parameter in block.parameters()))
    fused = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    norms = [(module, weight) for module, weight in _norms(block) if weight.numel() == text_config.hidden_size]
    return BlockTraits(
        n_heads=int(_first(text_config, _HEADS, int) or 1),
        n_norms=len(norms),
        norms_upcast=any(not isinstance(module, fused) for module, _ in norms),
        head_norms=any(weight.numel() < text_config.hidden_size for _, weight in _norms(block)),
        rotary=_first(text_config, ("rope_parameters", "rotary_dim", "rotary_pct"), (dict, int, float)) is not None,
        n_kept_scores=_n_kept_scores(base, text_config),
        activation=str(_first(text_config, _ACTIVATIONS, str) or ""),
        dropout=float(_first(text_config, _DROPOUTS, (int, float)) or 0.0),
        n_experts_per_token=int(_first(text_config, _EXPERTS_PER_TOKEN, int) or 1),
    )


def _n_kept_scores(base: "nn.Module", text_config: Any) -> int:
    if getattr(text_config, "attn_logit_softcapping", None) or getattr(text_config, "relative_attention", False):
        return 2
    return 0 if getattr(base, "_supports_sdpa", False) else 1


def _norms(block: "nn.Module") -> "list[tuple[nn.Module, nn.Parameter]]":
    found = [(module, getattr(module, "weight", None)) for module in block.modules() if "norm" in type(module).__name__.lower()]
    return [(module, weight) for module, weight in found if weight is not None and weight.ndim == 1]


def _first(config: Any, names: Sequence[str], kind: Any) -> Any:
    values = (_global_value(config, name) for name in names)
    return next((value for value in values if isinstance(value, kind) and not isinstance(value, bool)), None)


def _global_value(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except RuntimeError:  # configs whose blocks differ in it refuse to name one value
        return None
