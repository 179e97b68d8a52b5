"""Which modules of a model the names in a LoRA adapter mean: full names in its weights, and the targets of its config.

Finds the model, of those that the adapter may be for, in which they mean most. Knows nothing of ranks, alphas and files.
"""

import re
from collections.abc import Iterable, Sequence

from torch import nn

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.adapter_config import AdapterConfig
from gelora.ranks.peft.adapter_files import AdapterFiles
from gelora.ranks.peft.adapter_models import Skeleton, full_names
from gelora.ranks.peft.adapter_trial import Reading
from gelora.ranks.peft.expressions import Expressions, endings
from gelora.ranks.peft.lora_names import listed
from gelora.records import ModelStructure

# What target_modules may well name outside the blocks: embeddings, poolers, heads.
_OUTSIDE = re.compile(r"(.*\.)?(lm_head|embed\w*|wte|wpe|\w*_embeddings?|score|\w*classifier|qa_outputs|pooler(\.dense)?|dense|head)")

_SINGLE_EXPERT = re.compile(r"(?P<holder>.*\.experts)\.\d+\.(?P<leaf>[\w.]+)")


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
