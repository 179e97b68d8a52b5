"""Anybody's LoRA adapter as a `RankPlan`: which rank and alpha it gives the modules of a model.

Knows no weights of the model; what an adapter's files say, `adapter_files` knows, whom its names mean, `adapter_names`.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gelora.errors import InputError, ModelError
from gelora.ranks.adapter_files import AdapterConfig, AdapterFiles, LoraShape, read_adapter
from gelora.ranks.adapter_names import by_pattern, listed, met, modules_by_config, modules_by_name
from gelora.ranks.allocation import SCALING
from gelora.ranks.lora_form import matches
from gelora.records import ModelStructure, RankPlan, TargetModule
from gelora.sources import TARGETS, select_modules

WHOLE_ADAPTER = 0
"""The key, before that of the first block, under which `block_notes` says what concerns the adapter as a whole."""


def plan_from_adapter(adapter: str | Path | Mapping[str, Any], structure: ModelStructure) -> RankPlan:
    """The ranks and alphas that a LoRA adapter gives the linear maps in the blocks of a model.

    Weights, where there are any, say which modules have which rank, and the config their alphas; without weights the
    config says it all, read as PEFT reads it. A plan means alpha / r: of an adapter that scales otherwise (rsLoRA,
    AdaLoRA), the plan's alphas are those that give the adapter's own factor.

    Args:
        adapter: a folder with adapter_config.json, adapter_model.safetensors (or .bin) or both; the path of an
            adapter_config.json, which is then read alone; the path of a file of weights, for which a config beside it is
            read too; or the fields of a config.
        structure: the model that the adapter is for.

    Returns:
        A plan of strategy "imported" with the adapted modules only. Its `block_notes` say, under 0 for the adapter as a
        whole, what a plan leaves out: modules outside the blocks, modules saved whole, DoRA and the like.

    Raises:
        InputError: there is no adapter, its files are damaged, it is no LoRA, or a rank is no legal one for its module.
        ModelError: it adapts modules that the model lacks or has in another shape, or none in its blocks.
    """
    files = read_adapter(adapter)
    config, layers = files.config, files.layers
    modules = {module.name: module for module in structure.modules}
    notes: defaultdict[int, list[str]] = defaultdict(list)
    if layers is not None:
        if not layers:
            raise InputError(f"{files.name} adapts no module, it only trains modules whole; give one with lora_A and lora_B.")
        layers = _with_parameter_names(files, layers, structure)
        names, outside = modules_by_name(files, layers, structure)
        _check_shapes(files, {name: layers[full] for name, full in names.items()}, modules)
        ranks = {name: layers[full].r // modules[name].n_experts for name, full in names.items()}
    elif config and config.pruned_ranks:
        names, outside = modules_by_name(files, config.pruned_ranks, structure)
        ranks = {name: config.pruned_ranks[full] for name, full in names.items()}
    elif config:
        names, outside = modules_by_config(files, config, structure)
        ranks = {name: int(r) for name, r in by_pattern(config.rank_pattern, config.r, names).items()}
    else:
        raise InputError(f"{files.name} has neither a config nor weights.")
    for name, rank in ranks.items():
        lowest = 0 if config and config.peft_type == "ADALORA" else 1
        if not lowest <= rank <= modules[name].smaller_side:
            raise InputError(
                f"{files.name} gives {name} rank {rank}; a map of {modules[name].in_features} to {modules[name].out_features} "
                f"can have {lowest} to {modules[name].smaller_side}. PEFT may allow more, a plan does not: give an adapter of legal ranks."
            )
    chosen = tuple(module for module in structure.modules if module.name in ranks)
    notes[WHOLE_ADAPTER] = _about_the_whole(files, structure, names, outside)
    if config and layers is not None:
        _note_other_ranks(config, names, ranks, modules, notes)
    return RankPlan(
        modules=chosen,
        ranks={module.name: ranks[module.name] for module in chosen},
        alphas={module.name: alpha for module, alpha in zip(chosen, _alphas(config, names, ranks, chosen), strict=True)},
        strategy="imported",
        offset=None,
        rounding=None,
        estimator=None,
        target_modules=_as_choice(structure, chosen),
        model_id=structure.model_id,
        revision=structure.revision,
        n_model_params=structure.n_params,
        profile_digest=None,
        block_notes={block: "; ".join(said) for block, said in sorted(notes.items()) if said},
    )


def _with_parameter_names(files: AdapterFiles, layers: Mapping[str, LoraShape], structure: ModelStructure) -> dict[str, LoraShape]:
    """The layers, with those that adapt parameters of experts under the parameters' names.

    In the weights PEFT names the module that holds the parameters, wrapped once for each: "experts" is the last of them
    that is adapted, "experts.base_layer" the one before.
    """
    renamed = {name: shape for name, shape in layers.items()}
    inside: dict[str, list[str]] = {}
    for module in structure.modules:
        if module.n_experts > 1:
            inside.setdefault(module.name.rpartition(".")[0], []).append(module.name.rpartition(".")[2])
    for holder, parameters in inside.items():
        wrapped = sorted((name for name in layers if matches(holder, name.replace(".base_layer", ""))), key=len, reverse=True)
        if not wrapped:
            continue
        full = wrapped[-1].replace(".base_layer", "")
        entries = files.config.target_parameters if files.config else []
        adapted = [p for p in parameters if not entries or any(matches(entry, f"{full}.{p}") for entry in entries)]
        if len(adapted) != len(wrapped):
            raise ModelError(
                f"{files.name} adapts {len(wrapped)} parameters of {holder}; of those that it may mean, "
                f"{structure.model_id} has {len(adapted)}. Choose the model that it was made for."
            )
        for name, parameter in zip(wrapped, adapted, strict=True):
            renamed[f"{full}.{parameter}"] = renamed.pop(name)
    return renamed


def _check_shapes(files: AdapterFiles, layers: Mapping[str, LoraShape], modules: Mapping[str, TargetModule]) -> None:
    wrong = [
        f"{name} {shape.in_features} to {shape.out_features} (here {modules[name].in_features} to {modules[name].out_features})"
        for name, shape in layers.items()
        if (shape.in_features, shape.out_features) != (modules[name].in_features, modules[name].out_features)
        or shape.r % modules[name].n_experts
    ]
    if wrong:
        raise ModelError(
            f"{files.name} was made for a model of other shapes: its lora_A and lora_B map {listed(wrong)}. "
            f"Choose the model that it was made for{f' ({files.config.base_model})' if files.config and files.config.base_model else ''}."
        )


def _alphas(
    config: AdapterConfig | None, names: Mapping[str, str], ranks: Mapping[str, int], chosen: tuple[TargetModule, ...]
) -> list[float]:
    """The alphas for which alpha / r is the factor that the adapter's own class uses."""
    if config is None:
        return [SCALING * ranks[module.name] for module in chosen]
    if config.peft_type == "ADALORA":  # alpha / init_r, whatever is left of the rank; without an alpha, 1
        factor = config.lora_alpha / config.r if config.lora_alpha > 0 else 1.0
        return [factor * ranks[module.name] for module in chosen]
    alphas = by_pattern(config.alpha_pattern, config.lora_alpha, names)
    return [float(alphas[m.name]) * (ranks[m.name] ** 0.5 if config.use_rslora else 1.0) for m in chosen]


def _about_the_whole(files: AdapterFiles, structure: ModelStructure, names: Mapping[str, str], outside: list[str]) -> list[str]:
    config = files.config
    if config is None:
        said = [f"there is no adapter_config.json, so the alphas are not known; alpha / r = {SCALING:g} is assumed"]
    else:
        said = list(config.options)
        base, model_id = config.base_model or structure.model_id, structure.model_id
        if base != model_id and not base.endswith(f"/{model_id}") and not model_id.endswith(f"/{base}"):
            said.append(f"the adapter's base model is {base}, the plan is for {model_id}")
        patterns = dict.fromkeys([*config.rank_pattern, *config.alpha_pattern])
        unmet = sorted(set(patterns) - set(met(patterns, names.values())))
        if unmet:
            said.append(f"patterns that mean none of these modules: {listed(unmet)}")
        if files.layers is None and isinstance(config.target_modules, str) and config.target_modules.lower() == "all-linear":
            said.append("all-linear also means linear maps outside the blocks, if there are any besides the head; they are left out")
    whole = list(files.whole_modules) or (config.modules_to_save if config else [])
    if whole:
        said.append(f"trained whole, and not counted here: {listed(list(whole))}")
    if outside:
        what = "named" if files.layers is None else "adapted"
        said.append(f"{what} too, but left out, as no linear map in the blocks: {listed(outside)}")
    return said


def _note_other_ranks(
    config: AdapterConfig,
    names: Mapping[str, str],
    ranks: Mapping[str, int],
    modules: Mapping[str, TargetModule],
    notes: defaultdict[int, list[str]],
) -> None:
    """Say, block by block, where the config gives another rank than the weights have."""
    if config.peft_type == "ADALORA":
        return
    for name, r in by_pattern(config.rank_pattern, config.r, names).items():
        if r != ranks[name]:
            notes[modules[name].block].append(f"{name.rpartition('.')[2]} has rank {ranks[name]} in the weights, {int(r)} in the config")


def _as_choice(structure: ModelStructure, chosen: tuple[TargetModule, ...]) -> str:
    """The shortest legal choice of target modules that means exactly these."""
    names = [module.name for module in chosen]
    in_block = [name.partition(f".{module.block - 1}.")[2] for name, module in zip(names, chosen, strict=True)]
    leaves = [name.rpartition(".")[2] for name in names]
    for choice in (*TARGETS, *(",".join(dict.fromkeys(endings)) for endings in (leaves, in_block))):
        try:
            if [module.name for module in select_modules(structure, choice)] == names:
                return choice
        except InputError:
            continue  # the model has no module of that set
    return ",".join(names)
