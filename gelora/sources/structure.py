"""A model's transformer blocks and the linear maps inside them, found from how its modules nest.

Works from the config alone, on the meta device, so that a 70B model costs no memory. Knows no weights, data or ranks.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gelora.errors import InputError, ModelError
from gelora.records import ModelStructure, TargetModule

if TYPE_CHECKING:
    from torch import nn

TARGETS = ("attention", "attention-qv", "mlp", "all-linear")

_KINDS_OF_TARGET = {"attention": ("q", "k", "v", "qkv", "o"), "attention-qv": ("q", "v", "qkv"), "mlp": ("mlp",)}

# Names that the families of models give to the projections, by kind. "o" counts only inside an attention module,
# where the same words (dense, c_proj, Wo) do not mean the second feed-forward map.
_PROJECTIONS = {
    "q": {"q", "query", "q_proj", "query_proj", "q_lin", "wq", "to_q", "q_a_proj", "q_b_proj", "linear_q"},
    "k": {"k", "key", "k_proj", "key_proj", "k_lin", "wk", "to_k", "linear_k"},
    "v": {"v", "value", "v_proj", "value_proj", "v_lin", "wv", "to_v", "linear_v"},
    "qkv": {"qkv", "c_attn", "qkv_proj", "wqkv", "query_key_value", "kv_proj", "kv_a_proj_with_mqa", "kv_b_proj", "in_proj", "qkv_lin"},
}
_OUTPUTS = {"o", "o_proj", "out_proj", "out_lin", "wo", "c_proj", "dense", "out", "proj", "to_out", "linear_out"}
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_NORM = re.compile(r"norm", re.IGNORECASE)
_FEED_FORWARD = re.compile(r"mlp|ffn|feed_forward|^ff$|^fc\d*$|^lin\d*$|^c_fc$|intermediate|output|expert|^w[123]$|dense", re.IGNORECASE)
_ROUTER = {"gate", "router", "shared_expert_gate"}


def model_structure(model_id: str) -> ModelStructure:
    """The structure of a bundled model, a local folder or a hub id, from its config; no weights are read.

    Args:
        model_id: what `find_model` takes.

    Raises:
        HubError, InputError, ChecksumError: the model cannot be found, see `find_model`.
        ModelError: it has no list of separate transformer blocks.
    """
    from gelora.sources.catalog import find_model, load_config

    entry = find_model(model_id, weights=False)
    return structure_of(_without_weights(load_config(entry)), entry.model_id, entry.revision)


def structure_of(model: "nn.Module", model_id: str, revision: str) -> ModelStructure:
    """The structure of a model that is already built, with or without a head, on any device.

    Args:
        model: a transformers model; module names and the parameter count are those of its base model.
        model_id: recorded as given.
        revision: recorded as given.

    Raises:
        ModelError: the model has no list of separate transformer blocks, or already carries adapters.
    """
    if hasattr(model, "peft_config"):
        raise ModelError(f"{model_id} already carries adapters; give the model without them.")
    base = base_model_of(model)
    path, blocks = find_blocks(base)
    modules = tuple(
        module for number, block in enumerate(blocks, start=1) for module in _linear_maps(block, f"{path}.{number - 1}", number)
    )
    if not modules:
        raise ModelError(f"{model_id} has {len(blocks)} blocks but no linear map in them, so LoRA has nothing to adapt.")
    config: Any = base.config
    return ModelStructure(
        model_id=model_id,
        revision=revision,
        model_type=str(config.model_type),
        n_layers=len(blocks),
        hidden_size=int(config.get_text_config().hidden_size),
        n_params=sum(parameter.numel() for parameter in base.parameters()),
        is_decoder=_is_causal(blocks, str(config.model_type)),
        has_final_norm=find_final_norm(base) is not None,
        modules=modules,
    )


def find_blocks(model: "nn.Module") -> tuple[str, "list[nn.Module]"]:
    """The transformer blocks of a model: of the lists of `num_hidden_layers` modules, the one with most parameters.

    Args:
        model: a transformers model, with or without a head or adapters.

    Returns:
        The dotted path of the list in the base model (`encoder.layer`), and the blocks in order.

    Raises:
        ModelError: there is no such list (a model that shares one block among its layers, an encoder-decoder).
    """
    from torch import nn

    base = base_model_of(model)
    config: Any = getattr(base, "config", None)
    if config is None:
        raise ModelError(f"{type(model).__name__} has no config; give a transformers model.")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{config.model_type} is an encoder-decoder model; choose an encoder (BERT, …) or a decoder (Llama, …).")
    n_layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    lists = [(name, module) for name, module in base.named_modules() if isinstance(module, nn.ModuleList) and len(module) == n_layers]
    lists = [(name, module) for name, module in lists if len({id(entry) for entry in module}) == len(module)]
    if not lists:
        raise ModelError(
            f"No list of {n_layers} separate blocks was found in {type(base).__name__}. A model that shares one block among "
            "its layers (ALBERT) or is not a stack of transformer blocks has no rank for each block; choose another model."
        )
    # The sizes decide between the blocks and a shorter-named list of the same length inside them (experts, say);
    # on a tie the first, which is the outermost.
    path, blocks = max(lists, key=lambda item: sum(parameter.numel() for parameter in item[1].parameters()))
    return path, list(blocks)


def find_final_norm(model: "nn.Module") -> "nn.Module | None":
    """The norm that the base model applies after its last block, or None where the blocks end in norms of their own."""
    base = base_model_of(model)
    path, _ = find_blocks(base)
    ancestors = path.split(".")[:-1]
    for depth in range(len(ancestors), -1, -1):
        parent = base.get_submodule(".".join(ancestors[:depth]))
        for name, child in parent.named_children():
            if not _NORM.search(type(child).__name__):
                continue
            if "emb" in name and not name.endswith("after"):
                continue  # norms of embeddings; ESM's emb_layer_norm_after is its final norm for all that
            if hasattr(parent, "rel_embeddings") and name == "LayerNorm":
                continue  # DeBERTa's norm of the relative positions
            return child
    return None


def select_modules(structure: ModelStructure, target_modules: str | Sequence[str]) -> tuple[TargetModule, ...]:
    """The modules of a structure that a choice of targets means, in the model's order.

    Args:
        structure: from `model_structure`.
        target_modules: "attention" (all attention projections), "attention-qv" (query and value; a fused map counts),
            "mlp", "all-linear", or names: a list, or one text with commas, of name endings such as "query" or
            "self_attn.q_proj". An ending matches whole parts of the dotted name only.

    Returns:
        At least one module.

    Raises:
        InputError: nothing matches, or one of the names matches nothing.
    """
    modules = structure.modules
    if target_modules == "all-linear":
        return modules
    if isinstance(target_modules, str) and target_modules in _KINDS_OF_TARGET:
        chosen = tuple(module for module in modules if module.kind in _KINDS_OF_TARGET[target_modules])
        if not chosen:
            raise InputError(f"{structure.model_id} has no {target_modules} module that is a linear map; choose 'all-linear'.")
        return chosen
    given = target_modules.split(",") if isinstance(target_modules, str) else list(target_modules)
    endings = [ending.strip() for ending in given]
    unknown = [ending for ending in endings if not ending or not any(_ends_with(module.name, ending) for module in modules)]
    if unknown or not endings:
        names = ", ".join(dict.fromkeys(module.name.rpartition(".")[2] for module in modules))
        raise InputError(
            f"No module of {structure.model_id} is called {' or '.join(map(repr, unknown)) or 'by an empty list'}; "
            f"choose one of {', '.join(TARGETS)}, or names among: {names}."
        )
    return tuple(module for module in modules if any(_ends_with(module.name, ending) for ending in endings))


def base_model_of(model: "nn.Module") -> "nn.Module":
    """The model without its task head and without PEFT's wrapper: what AutoModel would have loaded."""
    unwrap = getattr(model, "get_base_model", None)  # PEFT's; the adapter layers stay where they were injected
    inner: Any = unwrap() if callable(unwrap) else model
    prefix = getattr(inner, "base_model_prefix", "")
    base: nn.Module = getattr(inner, prefix, inner) if prefix else inner
    return base


def _without_weights(config: Any) -> "nn.Module":
    import torch
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            model: nn.Module = AutoModel.from_config(config, trust_remote_code=False)
    except Exception as error:  # a wrong config ends in any error of any model class (KeyError, AssertionError, …)
        reason = f"{type(error).__name__}: {error}"
        raise ModelError(f"No model can be built from the config of type {config.model_type!r} ({reason}).") from error
    return model


def _linear_maps(block: "nn.Module", path: str, number: int) -> Iterator[TargetModule]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, module in block.named_modules():
        if "experts" in name.split("."):
            continue  # a token sees few of them; one adapter each would swamp the budget
        if isinstance(module, nn.Linear):
            shape = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):  # GPT-2's linear map, whose weight is stored as [in, out]
            shape = (int(module.weight.shape[0]), int(module.weight.shape[1]))
        else:
            continue
        yield TargetModule(f"{path}.{name}", number, _kind(name), *shape)


def _kind(name: str) -> str:
    """Kind of a linear map from its dotted name inside the block."""
    *parents, leaf = name.split(".")
    in_attention = any(_ATTENTION.search(parent) and not _NORM.search(parent) for parent in parents)
    for kind, names in _PROJECTIONS.items():
        if leaf.lower() in names and (in_attention or not parents):
            return kind
    if in_attention:
        return "o" if leaf.lower() in _OUTPUTS else "other"
    if leaf not in _ROUTER and any(_FEED_FORWARD.search(part) for part in (*parents, leaf)):
        return "mlp"
    return "other"


def _is_causal(blocks: "list[nn.Module]", model_type: str) -> bool:
    """Whether a token sees only those before it: the attention modules say so, else the library's table of models."""
    flags = [module.is_causal for block in blocks for module in block.modules() if isinstance(getattr(module, "is_causal", None), bool)]
    if flags:
        return any(flags)
    from transformers.models.auto import modeling_auto

    names = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return model_type in names and model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def _ends_with(name: str, ending: str) -> bool:
    return name == ending or name.endswith("." + ending)
