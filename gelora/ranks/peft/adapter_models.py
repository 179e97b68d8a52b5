"""Which model a LoRA adapter was made for, without weights, and which of its modules the adapter's names mean.

Of the models that the config may speak of, the one in which most of its names mean something. Does not depend on ranks,
alphas, or how files are read.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from gelora.errors import HubError, InputError, ModelError
from gelora.ranks.peft.adapter_config import AdapterConfig
from gelora.ranks.peft.adapter_files import AdapterFiles
from gelora.ranks.peft.adapter_trial import Reading
from gelora.ranks.peft.expressions import Expressions, endings
from gelora.ranks.peft.lora_names import base_prefix, listed
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


# What target_modules may well name outside the blocks: embeddings, poolers, heads.
_OUTSIDE = re.compile(r"(.*\.)?(lm_head|embed\w*|wte|wpe|\w*_embeddings?|score|\w*classifier|qa_outputs|pooler(\.dense)?|dense|head)")

_SINGLE_EXPERT = re.compile(r"(?P<holder>.*\.experts)\.\d+\.(?P<leaf>[\w.]+)")


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


def modules_by_name(
    files: AdapterFiles, given: Iterable[str], structure: ModelStructure, models: Iterable[nn.Module]
) -> tuple[dict[str, str], list[str], nn.Module | None]:
    """{module of the structure: full name in the adapter}, the full names that are none of its modules, and the model.

    The model is the first that has all the names; where none has, a full name means the module with whose name it ends, in
    whole parts. Single experts, which are no modules any more, count as none of the structure's.

    Raises:
        ModelError: a name inside the blocks means no module, two mean the same, or all lie outside.
    """
    given = list(given)
    fused = [name for name in given if not single_expert(name)]
    for model in models:
        there = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
        if fused and there.issuperset(fused) and not isinstance(model, Skeleton):
            full = full_names(model, structure)
            names = {name: full[name] for name in full if full[name] in fused}
            if names:
                inside = set(names.values())
                return names, [name for name in given if name not in inside], model
    return *_by_ending(files, given, structure), None


def single_expert(name: str) -> tuple[str, str] | None:
    """(name of the experts' module, name of the map in one expert) of a name from before experts were fused, else None."""
    found = _SINGLE_EXPERT.fullmatch(name)
    return None if found is None else (found["holder"], found["leaf"])


def names_now(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """{name in the weights: name in the model}, where transformers has renamed modules since (Mixtral's block_sparse_moe).

    A name that the model has stays, and so does one that means nothing in it under either name.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    there = {name for name, _ in model.named_modules()}
    renamings = [each for each in get_model_conversion_mapping(model) if isinstance(each, WeightRenaming)]
    result = {}
    for name in names:
        now = rename_source_key(f"{name}.weight", renamings, [])[0].removesuffix(".weight")
        single = single_expert(now)
        is_there = now in there or (single is not None and single[0] in there)
        result[name] = now if name not in there and is_there else name
    return result


def reading_of(files: AdapterFiles, config: AdapterConfig, structure: ModelStructure, models: Iterable[nn.Module]) -> Reading:
    """The config read against that model, of those it may be for, in which most of its names and patterns mean something.

    Raises:
        InputError: the config leaves the modules open and PEFT has no usual ones for the model, or an expression takes too
            long.
        ModelError: names are blocks or modules of another model.
    """
    targets, expressions = _targets(files, config, structure), Expressions(files.where)
    best: Reading | None = None
    for model in models:
        reading = Reading(config, targets, model, expressions)
        if best is None or reading.n_met > best.n_met:  # of equals the first, which is the likeliest
            best = reading
        if best.n_met == best.n_meant:
            break
    if best is None:
        raise ModelError(f"No model can be made of {structure.model_id} to read {files.name} against; choose another model.")
    numbers = config.layers_to_transform if isinstance(config.layers_to_transform, list) else [config.layers_to_transform or 0]
    lacking = [entry for entry in best.absent if is_in_a_block(entry, structure)]
    lacking += [f"block {number} (counted from 0)" for number in numbers if not 0 <= number < structure.n_layers]
    foreign = [entry for entry in best.absent if not _OUTSIDE.fullmatch(entry)] if _names_another_base(config, structure) else []
    if lacking or foreign or not best.n_targets:
        named = [targets] if isinstance(targets, str) else best.absent
        raise another_model(files, lacking or foreign or named, structure)
    return best


def is_in_a_block(full: str, structure: ModelStructure) -> bool:
    """Whether a name speaks of a numbered block as this model's are called."""
    first = structure.modules[0]
    path = first.name.partition(f".{first.block - 1}.")[0]
    return full.partition(".")[0].isdigit() or bool(re.search(rf"(^|\.){re.escape(path)}\.\d+\.", full))


def another_model(files: AdapterFiles, names: Sequence[str], structure: ModelStructure) -> ModelError:
    """The error that an adapter is for a model of other modules."""
    base = files.config.base_model if files.config else None
    made_for = f"its base model is {base}" if base else "the adapter does not name its base model"
    return ModelError(
        f"{files.name} does not fit {structure.model_id}, in whose blocks these are no linear maps: {listed(names)}. "
        f"Choose the model that it was made for ({made_for})."
    )


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


def _by_ending(files: AdapterFiles, given: Sequence[str], structure: ModelStructure) -> tuple[dict[str, str], list[str]]:
    known = {module.name for module in structure.modules}
    names: dict[str, str] = {}
    outside: list[str] = []
    lacking: list[str] = []
    twice: list[str] = []
    for full in given:
        name = next((end for end in endings(full) if end in known), None)
        if name is None:
            is_lacking = is_in_a_block(full, structure) and "experts" not in full.split(".")
            (lacking if is_lacking else outside).append(full)
        elif name in names:
            twice += [names[name], full]
        else:
            names[name] = full
    if twice:
        raise ModelError(
            f"{files.name} has more than one module for one of {structure.model_id}: {listed(twice)}. "
            "Its model has several stacks of blocks, and a plan is for one."
        )
    if lacking or not (names or any(map(single_expert, outside))):
        raise another_model(files, lacking or outside, structure)
    return names, outside


def _targets(files: AdapterFiles, config: AdapterConfig, structure: ModelStructure) -> str | Sequence[str] | None:
    """target_modules, or where the config leaves them open, what PEFT takes for this type of model."""
    from peft.utils.constants import (
        DUMMY_TARGET_MODULES,
        TRANSFORMERS_MODELS_TO_ADALORA_TARGET_MODULES_MAPPING as ADALORA,
        TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as LORA,
    )

    if config.target_modules == DUMMY_TARGET_MODULES:
        raise InputError(f"{files.name} adapts no module, it only trains modules whole; give an adapter with target_modules.")
    if config.target_modules is not None:
        return config.target_modules
    usual: str | list[str] | None = (ADALORA if config.is_adalora else LORA).get(structure.model_type)
    if usual is None:
        raise InputError(
            f"{files.name} has no target_modules, and PEFT has no usual ones for a model of type {structure.model_type}; "
            "write them into its config."
        )
    return usual


def _names_another_base(config: AdapterConfig, structure: ModelStructure) -> bool:
    """Whether the last parts of the base models' ids differ; the owner differs between mirrors."""
    ends = [name.rstrip("/").rpartition("/")[2].lower() for name in (config.base_model or "", structure.model_id)]
    return bool(ends[0]) and ends[0] != ends[1]
