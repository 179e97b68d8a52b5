"""A model's transformer blocks and the linear maps inside them, found from how its modules nest.

Works from the config alone, on the meta device, so that a 70B model costs no memory. Does not depend on weights, data or ranks.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gelora.errors import ModelError
from gelora.records import ModelStructure
from gelora.sources.block_traits import traits_of
from gelora.sources.target_kinds import linear_maps

if TYPE_CHECKING:
    from torch import nn

_NORM = re.compile(r"norm", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


def model_structure(model_id: str) -> ModelStructure:
    """The structure of a bundled model, a local folder or a hub id, from its config; no weights are read.

    Args:
        model_id: what `find_model` takes.

    Raises:
        HubError, InputError, ChecksumError: the model cannot be found, see `find_model`.
        ModelError: it has no list of separate transformer blocks.
    """
    with collector_paused():
        from gelora.sources.catalog import find_model
        from gelora.sources.loading import load_config

        entry = find_model(model_id, weights=False)
        return structure_of(without_weights(load_config(entry)), entry.model_id, entry.revision)


def structure_of(model: "nn.Module", model_id: str, revision: str) -> ModelStructure:
    """The structure of a model that is already built, with or without a head, on any device.

    Args:
        model: a transformers model; module names and the parameter count are those of its base model.
        model_id: recorded as given.
        revision: recorded as given.

    Raises:
        ModelError: the model has no list of separate transformer blocks, its blocks have no one width, or it already
            carries adapters.
    """
    if hasattr(model, "peft_config"):
        raise ModelError(f"{model_id} already carries adapters; give the model without them.")
    base = base_model_of(model)
    path, blocks = find_blocks(base)
    config: Any = base.config
    text_config: Any = config.get_text_config()
    hidden_size = getattr(text_config, "hidden_size", None)
    if not isinstance(hidden_size, int):
        raise ModelError(f"The blocks of {config.model_type} have no one hidden_size ({hidden_size!r}); choose a transformer of one width.")
    modules = linear_maps(blocks, path, (str(config.model_type), str(text_config.model_type)))
    if not modules:
        raise ModelError(f"{model_id} has {len(blocks)} blocks but no linear map in them, so LoRA has nothing to adapt.")
    vocab_size = getattr(text_config, "vocab_size", None)
    vocab_size = vocab_size if isinstance(vocab_size, int) else 0
    is_tied = bool(getattr(text_config, "tie_word_embeddings", True))
    return ModelStructure(
        model_id=model_id,
        revision=revision,
        model_type=str(config.model_type),
        n_layers=len(blocks),
        hidden_size=hidden_size,
        n_params=sum(parameter.numel() for parameter in base.parameters()),
        is_decoder=_is_causal(blocks, str(config.model_type)),
        has_final_norm=find_final_norm(base) is not None,
        modules=modules,
        vocab_size=vocab_size,
        n_lm_head_params=0 if is_tied else vocab_size * hidden_size,
        traits=traits_of(base, blocks),
        n_pooler_params=sum(parameter.numel() for pooler in poolers_of(base) for parameter in pooler.parameters()),
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
    base = base_model_of(model)
    config: Any = getattr(base, "config", None)
    if config is None:
        raise ModelError(f"{type(model).__name__} has no config; give a transformers model.")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{config.model_type} is an encoder-decoder model; choose an encoder (BERT, …) or a decoder (Llama, …).")
    text_config: Any = config.get_text_config()
    depths = getattr(text_config, "depths", None)
    if isinstance(depths, list | tuple) and len(depths) > 1:
        raise ModelError(
            f"{config.model_type} is built in stages of different widths (depths {list(depths)}); choose one of a single width."
        )
    n_layers = getattr(text_config, "num_hidden_layers", None)
    # LongCat counts each of its blocks as two hidden layers, and says in num_layers how many there are.
    lengths = [n for n in (n_layers, getattr(text_config, "num_layers", None)) if isinstance(n, int) and n > 0]
    for length in lengths:
        path, blocks = _largest_list(base, length)
        if blocks:
            return path, blocks
    wanted = f"{lengths[0]} separate" if lengths else "separate transformer"
    raise ModelError(
        f"No list of {wanted} blocks was found in {type(base).__name__}. A model that shares one block among its layers (ALBERT) "
        "or is not a stack of transformer blocks has no rank for each block; choose another model."
    )


def _largest_list(base: "nn.Module", length: int) -> "tuple[str, list[nn.Module]]":
    """Of the lists of so many separate modules, in the text part of a model that has one, that with most parameters."""
    from torch import nn

    config: Any = base.config
    text_config = config.get_text_config()
    parts = [name for name, module in base.named_modules() if getattr(module, "config", None) is text_config]
    inside = f"{parts[0]}." if parts and parts[0] else ""
    lists = [
        (name, module)
        for name, module in base.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == length and name.startswith(inside)
    ]
    lists = [(name, module) for name, module in lists if len({id(entry) for entry in module}) == len(module)]
    if not lists:
        return "", []
    # The sizes decide between the blocks and a shorter-named list of the same length inside them (experts, say);
    # on a tie the first, which is the outermost.
    path, blocks = max(lists, key=lambda item: sum(parameter.numel() for parameter in item[1].parameters()))
    home = path.rpartition(".")[0]
    beside = [name for name, _ in lists if name != path and name.rpartition(".")[0] == home]
    spread = [name for name in beside if _ATTENTION.search(name.rpartition(".")[2])]
    if spread and not any(_ATTENTION.search(name) for name, _ in blocks[0].named_modules()):
        raise ModelError(
            f"{type(base).__name__} keeps its attention ({spread[0]}) and its feed-forward maps ({path}) in separate lists, so that no "
            "module is a block whose output could be measured; choose another model."
        )
    return path, list(blocks)


def find_final_norm(model: "nn.Module") -> "nn.Module | None":
    """The norm that the base model applies after its last block, or None where the blocks end in norms of their own."""
    base = base_model_of(model)
    path, _ = find_blocks(base)
    ancestors = path.split(".")[:-1]
    for depth in range(len(ancestors), -1, -1):
        parent = base.get_submodule(".".join(ancestors[:depth]))
        for name, child in parent.named_children():
            if not _NORM.search(type(child).__name__) or any(child.children()):
                continue  # RobertaPreLayerNormEncoder is named for its norms; a norm holds no other module
            if "emb" in name and not name.endswith("after"):
                continue  # norms of embeddings; ESM's emb_layer_norm_after is its final norm for all that
            if hasattr(parent, "rel_embeddings") and name == "LayerNorm":
                continue  # DeBERTa's norm of the relative positions
            return child
    return None


def poolers_of(base: "nn.Module") -> "list[nn.Module]":
    """The modules named pooler of a base model: a head over the first token, which belongs to no block."""
    return [module for name, module in base.named_modules() if name.rpartition(".")[2] == "pooler"]


def base_model_of(model: "nn.Module") -> "nn.Module":
    """The model without its task head and without PEFT's wrapper: what AutoModel would have loaded."""
    unwrap = getattr(model, "get_base_model", None)  # PEFT's; the adapter layers stay where they were injected
    inner: Any = unwrap() if callable(unwrap) else model
    prefix = getattr(inner, "base_model_prefix", "")
    base: nn.Module = getattr(inner, prefix, inner) if prefix else inner
    return base


def without_weights(config: Any, auto_class: str = "AutoModel") -> "nn.Module":
    """The model of a config on the meta device: all modules and shapes, no memory.

    Args:
        config: a transformers config.
        auto_class: name of the class that builds it, such as AutoModelForSequenceClassification.

    Raises:
        ModelError: the class has no model for this config, or the config builds none.
    """
    import torch
    import transformers

    try:
        with torch.device("meta"):
            model: nn.Module = getattr(transformers, auto_class).from_config(config, trust_remote_code=False)
    except Exception as error:  # a wrong config ends in any error of any model class (KeyError, AssertionError, …)
        reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(" .:")
        raise ModelError(
            f"No model can be built from the config of type {config.model_type!r} ({type(error).__name__}: {reason}); "
            "choose another model or repair its config."
        ) from error
    return model


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without Python's cycle collector, which takes a quarter of the time that importing transformers and building a model takes."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_causal(blocks: "list[nn.Module]", model_type: str) -> bool:
    """Whether a token sees only those before it: the attention modules say so, else the library's table of models."""
    flags = [module.is_causal for block in blocks for module in block.modules() if isinstance(getattr(module, "is_causal", None), bool)]
    return any(flags) if flags else is_decoder_type(model_type)


def is_decoder_type(model_type: str) -> bool:
    """Whether the library has a causal language model of this type and no masked one."""
    from transformers.models.auto import modeling_auto

    names = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return model_type in names and model_type not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
