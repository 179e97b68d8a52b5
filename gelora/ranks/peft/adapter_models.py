"""The models that an adapter may have been made for, without weights: the class that its config speaks of, else the likely ones.

Knows names of classes and how modules nest; does not depend on what an adapter does with them.
"""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from gelora.errors import HubError, InputError, ModelError
from gelora.ranks.peft.adapter_config import AdapterConfig
from gelora.ranks.peft.lora_names import base_prefix
from gelora.records import ModelStructure
from gelora.sources import find_blocks, find_model, is_decoder_type, load_config, without_weights

_CLASSES = {
    "CAUSAL_LM": ("AutoModelForCausalLM", "AutoModelForImageTextToText"),
    "SEQ_CLS": ("AutoModelForSequenceClassification",),
    "TOKEN_CLS": ("AutoModelForTokenClassification",),
    "QUESTION_ANS": ("AutoModelForQuestionAnswering",),
    "FEATURE_EXTRACTION": ("AutoModel",),
}
"""The classes that PEFT's own tasks are for; the first that has a model of the type."""


class Skeleton(nn.Module):
    """The linear maps of a structure under their names, where the model itself is not at hand; PEFT can adapt it."""

    def __init__(self, structure: ModelStructure, prefix: str) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type=structure.model_type)
        self.base_model_prefix = prefix
        for module in structure.modules:
            *path, leaf = ([prefix] if prefix else []) + module.name.split(".")
            holder: nn.Module = self
            for part in path:
                if part not in dict(holder.named_children()):
                    holder.add_module(part, nn.Module())
                holder = holder.get_submodule(part)
            if module.n_experts > 1:
                shape = (module.n_experts, module.out_features, module.in_features)
                holder.register_parameter(leaf, nn.Parameter(torch.empty(shape, device="meta")))
            else:
                holder.add_module(leaf, nn.Linear(module.in_features, module.out_features, bias=False, device="meta"))


def models_for(config: AdapterConfig, structure: ModelStructure, model_config: Any = None) -> Iterator[nn.Module]:
    """Models on the meta device whose blocks are the structure's, the likeliest first; each built when it is asked for.

    Args:
        config: its task_type, or the class that it names, says which model of the type is the likeliest.
        structure: the model's blocks. Where its config is not at hand, skeletons of these are all that there is.
        model_config: the model's transformers config; None to look for that of `structure.model_id`.
    """
    model_config = _config_at_hand(structure) if model_config is None else model_config
    n_built = 0
    for name in _class_names(config, structure) if model_config is not None else ():
        try:
            model = without_weights(model_config, name) if name.startswith("Auto") else _of_class(model_config, name)
        except ModelError as error:
            logging.getLogger(__name__).info("no %s: %s", name, error)
            continue
        if model is not None and _holds(model, structure):
            n_built += 1
            yield model
    if not n_built:
        for prefix in _prefixes(config, structure):
            yield Skeleton(structure, prefix)


def full_names(model: nn.Module, structure: ModelStructure) -> dict[str, str]:
    """{module of the structure: its full name in the model}."""
    prefix = base_prefix(model)
    return {module.name: f"{prefix}.{module.name}" if prefix else module.name for module in structure.modules}


def _config_at_hand(structure: ModelStructure) -> Any:
    try:
        return load_config(find_model(structure.model_id, weights=False))
    except (HubError, InputError) as error:
        logging.getLogger(__name__).info("%s is not at hand: %s", structure.model_id, error)
        return None


def _class_names(config: AdapterConfig, structure: ModelStructure) -> list[str]:
    usual = ["AutoModelForCausalLM"] if is_decoder_type(structure.model_type) else ["AutoModelForSequenceClassification"]
    named = [config.base_class] if config.base_class else []
    return list(dict.fromkeys([*named, *_CLASSES.get(config.task_type or "", ()), *usual, "AutoModel"]))


def _of_class(model_config: Any, name: str) -> nn.Module | None:
    """The model of a class of transformers by its own name; None where there is none, or it is of another config."""
    import transformers

    found: Any = getattr(transformers, name, None)
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    if not is_model or found.config_class is not type(model_config):
        return None
    try:
        with torch.device("meta"):
            model: nn.Module = found(model_config)
    except Exception as error:  # a class may ask anything of its config
        raise ModelError(f"{name} cannot be built ({error}).") from error
    return model


def _holds(model: nn.Module, structure: ModelStructure) -> bool:
    """Whether the model has the structure's blocks and every map of it: another one may go by its name."""
    there = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    return len(find_blocks(model)[1]) == structure.n_layers and set(full_names(model, structure).values()) <= there


def _prefixes(config: AdapterConfig, structure: ModelStructure) -> list[str]:
    """What stands before a module's name in a model with a head ("model", "bert") and in the bare one (""); the likelier first."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    bases = MODEL_MAPPING_NAMES.get(structure.model_type, ())
    bases = (bases,) if isinstance(bases, str) else tuple(bases)
    under_head = [prefix for prefix in (getattr(transformers, base).base_model_prefix for base in bases) if prefix]
    is_bare = config.base_class in bases or config.task_type == "FEATURE_EXTRACTION"
    return ["", *under_head] if is_bare else [*under_head, ""]
