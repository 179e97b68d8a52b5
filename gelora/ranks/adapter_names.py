"""Which modules of a model the names in a LoRA adapter mean: full names in its weights, and the rules of its config.

Config rules are read by PEFT's own matching code. Knows nothing of ranks, alphas and files.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace

from gelora.errors import InputError, ModelError
from gelora.ranks.adapter_files import AdapterConfig, AdapterFiles
from gelora.ranks.lora_form import matches
from gelora.records import ModelStructure, TargetModule

# What target_modules may well name outside the blocks: embeddings, poolers, heads.
_OUTSIDE = re.compile(r"(.*\.)?(lm_head|embed\w*|wte|wpe|\w*_embeddings?|score|\w*classifier|qa_outputs|pooler(\.dense)?|dense|head)")


def modules_by_name(files: AdapterFiles, given: Iterable[str], structure: ModelStructure) -> tuple[dict[str, str], list[str]]:
    """{module of the model: full name in the adapter}, and the full names that lie outside the model's blocks.

    A full name means the module with whose name it ends, in whole parts.

    Raises:
        ModelError: a name inside the blocks means no module, two mean the same, or all lie outside.
    """
    known = {module.name for module in structure.modules}
    names: dict[str, str] = {}
    outside: list[str] = []
    lacking: list[str] = []
    twice: list[str] = []
    for full in given:
        parts = full.split(".")
        name = next((end for end in (".".join(parts[i:]) for i in range(len(parts))) if end in known), None)
        if name is None:
            (lacking if _is_in_a_block(full, structure) else outside).append(full)
        elif name in names:
            twice += [names[name], full]
        else:
            names[name] = full
    if twice:
        raise ModelError(
            f"{files.name} has more than one module for one of {structure.model_id}: {listed(twice)}. "
            "Its model has several stacks of blocks, and a plan is for one."
        )
    if lacking or not names:
        raise _another_model(files, lacking or outside, structure)
    return names, outside


def modules_by_config(files: AdapterFiles, config: AdapterConfig, structure: ModelStructure) -> tuple[dict[str, str], list[str]]:
    """{module of the model: its full name in the adapter's own model}, and the entries of target_modules that mean none.

    Which model that is, the bare one or one with a head, the config often does not say; of what is possible, that is
    taken under which most of the config's patterns and exclusions mean something.

    Raises:
        InputError: the config leaves the modules open and PEFT has no usual ones for the model, or it adapts nothing.
        ModelError: no module is meant, or names are blocks or modules of another model.
    """
    targets = _targets(files, config, structure)
    entries = [*([] if isinstance(targets, str) else targets), *config.target_parameters]
    about = {entry: next((m for m in structure.modules if matches(entry, m.name) or matches(m.name, entry)), None) for entry in entries}
    full_prefixes = {entry.removesuffix(m.name) for entry, m in about.items() if m and matches(m.name, entry)}
    patterns = [*config.rank_pattern, *config.alpha_pattern]
    excluded = config.exclude_modules if isinstance(config.exclude_modules, list) else []
    best: dict[str, str] = {}
    most = -1
    for prefix in dict.fromkeys([*_prefixes(config, structure), *sorted(full_prefixes)]):
        all_names = {module.name: prefix + module.name for module in structure.modules}
        names = {m.name: all_names[m.name] for m in structure.modules if _is_targeted(config, targets, m, all_names[m.name])}
        n_met = len(met(patterns, names.values())) + sum(any(matches(e, full) for full in all_names.values()) for e in excluded)
        if names and n_met > most:  # of equals the first, which is the likeliest
            best, most = names, n_met
        if best and most == len(patterns) + len(excluded):
            break
    absent = [entry for entry, module in about.items() if module is None]
    numbers = config.layers_to_transform if isinstance(config.layers_to_transform, list) else [config.layers_to_transform or 0]
    lacking = [entry for entry in absent if _is_in_a_block(entry, structure)]
    lacking += [f"block {number} (counted from 0)" for number in numbers if not 0 <= number < structure.n_layers]
    foreign = [entry for entry in absent if not _OUTSIDE.fullmatch(entry)] if _names_another_base(config, structure) else []
    if not best and not lacking and not foreign and any(about.values()):
        raise InputError(
            f"{files.name} adapts nothing in {structure.model_id}: layers_to_transform, layers_pattern, exclude_modules and "
            "modules_to_save leave out all that target_modules names; correct its config."
        )
    if not best or lacking or foreign:
        raise _another_model(files, lacking or foreign or ([targets] if isinstance(targets, str) else entries), structure)
    return best, absent


def by_pattern(patterns: Mapping[str, float], usual: float, full_names: Mapping[str, str]) -> dict[str, float]:
    """{module: the value of the first pattern that its full name fits, else the usual one}, PEFT's rule for r and alpha."""
    return {name: next((value for key, value in patterns.items() if _pattern(key)(full)), usual) for name, full in full_names.items()}


def met(patterns: Iterable[str], full_names: Iterable[str]) -> list[str]:
    """Those of the patterns that at least one of the names fits."""
    names = list(full_names)
    return [key for key in patterns if any(_pattern(key)(full) for full in names)]


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@functools.lru_cache(maxsize=4096)
def _pattern(key: str) -> Callable[[str], object]:
    # The expression of peft.utils.get_pattern_key, which compiles it anew for every module: seconds for a large model.
    return re.compile(rf"(.*\.)?({key})$").match


def _targets(files: AdapterFiles, config: AdapterConfig, structure: ModelStructure) -> str | Sequence[str]:
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
    usual: str | list[str] | None = (ADALORA if config.peft_type == "ADALORA" else LORA).get(structure.model_type)
    if usual is None and not config.target_parameters:
        raise InputError(
            f"{files.name} has no target_modules, and PEFT has no usual ones for a model of type {structure.model_type}; "
            "write them into its config."
        )
    return usual or []


def _prefixes(config: AdapterConfig, structure: ModelStructure) -> list[str]:
    """What stands before a module's name in a model with a head ("model.", "bert.") and in the bare one (""); the likelier first."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    bases = MODEL_MAPPING_NAMES.get(structure.model_type, ())
    bases = (bases,) if isinstance(bases, str) else tuple(bases)
    under_head = [f"{name}." for name in (getattr(transformers, base).base_model_prefix for base in bases) if name]
    return ["", *under_head] if config.base_class in bases else [*under_head, ""]


def _is_targeted(config: AdapterConfig, targets: str | Sequence[str], module: TargetModule, full: str) -> bool:
    from peft.tuners.tuners_utils import check_target_module_exists

    if module.n_experts > 1:  # one parameter for all experts, which PEFT finds by target_parameters alone
        return any(matches(entry, full) for entry in config.target_parameters)
    rules = SimpleNamespace(
        target_modules=[full] if isinstance(targets, str) and targets.lower() == "all-linear" else targets,
        target_parameters=config.target_parameters,
        exclude_modules=config.exclude_modules,
        modules_to_save=config.modules_to_save,
        layers_to_transform=config.layers_to_transform,
        layers_pattern=config.layers_pattern,
    )
    return bool(check_target_module_exists(rules, full))


def _is_in_a_block(full: str, structure: ModelStructure) -> bool:
    """Whether a name speaks of a numbered block as this model's are called; single experts are known to be left out."""
    first = structure.modules[0]
    path = first.name.partition(f".{first.block - 1}.")[0]
    parts = full.split(".")
    return "experts" not in parts and (parts[0].isdigit() or bool(re.search(rf"(^|\.){re.escape(path)}\.\d+\.", full)))


def _names_another_base(config: AdapterConfig, structure: ModelStructure) -> bool:
    """Whether the last parts of the base models' ids differ; the owner differs between mirrors."""
    ends = [name.rstrip("/").rpartition("/")[2].lower() for name in (config.base_model or "", structure.model_id)]
    return bool(ends[0]) and ends[0] != ends[1]


def _another_model(files: AdapterFiles, names: Sequence[str], structure: ModelStructure) -> ModelError:
    base = files.config.base_model if files.config else None
    made_for = f"its base model is {base}" if base else "the adapter does not name its base model"
    return ModelError(
        f"{files.name} does not fit {structure.model_id}, in whose blocks these are no linear maps: {listed(names)}. "
        f"Choose the model that it was made for ({made_for})."
    )
