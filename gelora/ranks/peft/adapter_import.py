"""A LoRA adapter as a `RankPlan`: the rank and alpha that it gives each module of a model, and what else it trains.

`adapter_files` reads the files, `adapter_models` finds the model and the modules that are named, `adapter_trial` has PEFT apply
the config, `adapter_notes` says what is worth saying. Does not depend on weights of the model.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.adapter_config import AdapterConfig
from gelora.ranks.peft.adapter_files import AdapterFiles, LoraShape, read_adapter
from gelora.ranks.peft.adapter_models import another_model, full_names, models_for, modules_by_name, names_now, reading_of, single_expert
from gelora.ranks.peft.adapter_notes import Found, also_trained, notes_of
from gelora.ranks.peft.adapter_trial import Trial
from gelora.ranks.peft.expressions import Expressions
from gelora.ranks.peft.lora_names import listed, matches
from gelora.ranks.rule.allocation import SCALING
from gelora.records import ModelStructure, RankPlan, TargetModule
from gelora.sources import TARGETS, select_modules


def plan_from_adapter(adapter: str | Path | Mapping[str, Any], structure: ModelStructure, model_config: Any = None) -> RankPlan:
    """The ranks and alphas that a LoRA adapter gives the linear maps in the blocks of a model, and what else it trains.

    PEFT applies the adapter's config to the model on the meta device, so that modules, ranks and counts are those that it
    makes: of experts under their names from transformers 4, above the smaller side of a matrix, outside the blocks. Where
    there are weights, these say which modules have which rank, and the config their alphas. A plan means alpha / r: of an
    adapter that scales otherwise (rsLoRA, AdaLoRA), the plan's alphas are those that give the adapter's own factor.

    Args:
        adapter: a folder with adapter_config.json, adapter_model.safetensors (or .bin) or both; the path of an
            adapter_config.json (also packed with gzip), which is then read alone; the path of a file of weights, for which
            a config beside it is read too; or the fields of a config.
        structure: the model that the adapter is for.
        model_config: the model's transformers config; None to find it by the structure's model_id. Where there is none,
            PEFT adapts the linear maps of the structure alone, and a note says so.

    Returns:
        A plan of strategy "imported" with the adapted modules only. Its `also_trained` counts what a plan leaves out
        (modules outside the blocks, modules trained whole, magnitude vectors of DoRA, ...), so that `n_trained_params` is
        what PEFT counts. Its `block_notes` say, under 0 for the adapter as a whole, what else is worth knowing.

    Raises:
        InputError: there is no adapter, its files are damaged, it is no LoRA, a rank is no legal one, or an expression in it
            takes too long to read.
        ModelError: it adapts modules that the model lacks or has in another shape, or none in its blocks, or PEFT refuses it.
    """
    files = read_adapter(adapter)
    if files.layers is not None:
        found = _in_weights(files, files.layers, structure, model_config)
    elif files.config is not None:
        found = _in_config(files, files.config, structure, model_config)
    else:
        raise InputError(f"{files.name} has neither a config nor weights.")
    chosen = tuple(module for module in structure.modules if module.name in found.ranks)
    if not chosen:
        raise another_model(files, list(found.outside), structure)
    return RankPlan(
        modules=chosen,
        ranks={module.name: found.ranks[module.name] for module in chosen},
        alphas={module.name: found.alphas[module.name] for module in chosen},
        strategy="imported",
        offset=None,
        rounding=None,
        estimator=None,
        target_modules=_as_choice(structure, chosen),
        model_id=structure.model_id,
        revision=structure.revision,
        n_model_params=structure.n_params,
        profile_digest=None,
        block_notes=notes_of(files, found, structure, chosen),
        also_trained=also_trained(files, found, structure),
    )


def _in_config(files: AdapterFiles, config: AdapterConfig, structure: ModelStructure, model_config: Any) -> Found:
    """What PEFT makes of the config alone; of an AdaLoRA that has pruned, with the ranks that are left."""
    reading = reading_of(files, config, structure, models_for(config, structure, model_config))
    trial = reading.try_out()
    if not trial.layers:
        raise InputError(
            f"{files.name} adapts nothing in {structure.model_id}: layers_to_transform, layers_pattern, exclude_modules and "
            "modules_to_save leave out all that target_modules names; correct its config."
        )
    if config.pruned_ranks:
        names, outside, _ = modules_by_name(files, config.pruned_ranks, structure, [reading.model])
        trial = _pruned(trial, config.pruned_ranks)
    else:
        full = full_names(reading.model, structure)
        names = {name: full[name] for name in full if full[name] in trial.layers}
        outside = [name for name in trial.layers if name not in set(names.values())]
    modules = {module.name: module for module in structure.modules}
    for name in names:
        made, planned = trial.layers[names[name]], modules[name].n_params_per_rank * trial.layers[names[name]].r
        if made.n_params != planned:
            raise ModelError(f"PEFT makes {made.n_params:,} parameters for {name}, where a plan counts {planned:,}; give another adapter.")
    return Found(
        names=names,
        ranks={name: trial.layers[full].r for name, full in names.items()},
        alphas={name: config.effective_alpha(trial.layers[full].r, trial.layers[full].alpha) for name, full in names.items()},
        outside={name: trial.layers[name].n_params for name in outside},
        trial=trial,
        absent=reading.absent,
        unmet=reading.unmet(trial),
        model=reading.model,
    )


def _pruned(trial: Trial, left: Mapping[str, int]) -> Trial:
    layers = {}
    for name, made in trial.layers.items():
        r = left.get(name, made.r)
        layers[name] = replace(made, r=r, n_params=made.n_params // made.r * r, n_more=r)
    return replace(trial, layers=layers)


def _in_weights(files: AdapterFiles, layers: Mapping[str, LoraShape], structure: ModelStructure, model_config: Any) -> Found:
    """What the weights hold, with the config's alphas; what it makes beside them is counted by PEFT where it can."""
    if not layers:
        raise InputError(f"{files.name} adapts no module, it only trains modules whole; give one with lora_A and lora_B.")
    config = files.config
    models = models_for(config, structure, model_config) if config else iter(())
    likeliest = next(models, None)
    if likeliest is not None:
        now = names_now(likeliest, layers)
        layers = {now[name]: shape for name, shape in layers.items()}
        models = chain([likeliest], models)
    layers = _with_parameter_names(files, layers, structure)
    names, outside, model = modules_by_name(files, layers, structure, models)
    modules = {module.name: module for module in structure.modules}
    _check_shapes(files, {name: layers[full] for name, full in names.items()}, modules)
    ranks = {name: layers[full].r // modules[name].n_experts for name, full in names.items()}
    trial, refusal, absent, unmet = None, "", [], []
    if config:
        try:
            reading = reading_of(files, config, structure, [model] if model else models_for(config, structure, model_config))
            trial, model, absent = reading.try_out(), reading.model, reading.absent
            unmet = reading.unmet(trial)
        except ModelError as error:
            refusal = str(error)
    n_single = 0
    if trial and model and any(map(single_expert, outside)):
        full = full_names(model, structure)
        experts = _made_of_single(files, layers, trial, {full[m.name]: m for m in structure.modules if m.n_experts > 1})
        names |= {module: name for module, name in experts.items()}
        ranks |= {module: trial.layers[name].r for module, name in experts.items()}
        held = {name.rpartition(".")[0] for name in experts.values()}
        fused = [name for name in outside if (single := single_expert(name)) and any(matches(single[0], holder) for holder in held)]
        outside, n_single = [name for name in outside if name not in set(fused)], sum(layers[name].n_params for name in fused)
    patterns = config.alpha_pattern if config else {}
    keys = Expressions(files.where).first_fitting("alpha_pattern", patterns, names.values())
    alphas = {}
    for name, full_name in names.items():
        made = trial.layers.get(full_name) if trial else None
        alpha = made.alpha if made else patterns.get(keys.get(full_name, ""), config.lora_alpha if config else 0)
        alphas[name] = config.effective_alpha(ranks[name], alpha) if config else SCALING * ranks[name]
    return Found(
        names=names,
        ranks=ranks,
        alphas=alphas,
        outside={name: layers[name].n_params for name in outside},
        trial=trial,
        absent=absent,
        unmet=unmet,
        model=model,
        refusal=refusal,
        n_single=n_single,
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


def _made_of_single(
    files: AdapterFiles, layers: Mapping[str, LoraShape], trial: Trial, experts: Mapping[str, TargetModule]
) -> dict[str, str]:
    """{module: full name} of the experts' parameters that PEFT makes of the weights of single experts, as it reads them."""
    n_there = Counter(single for name in layers if (single := single_expert(name)))
    made = {module.name: full for full, module in experts.items() if full in trial.layers}
    for full in made.values():
        holder = full.rpartition(".")[0]
        counts = {n for (own, _), n in n_there.items() if matches(own, holder) or own == holder}
        if counts and counts != {experts[full].n_experts}:
            raise ModelError(
                f"{files.name} has weights for {listed(sorted(counts))} experts of {holder}, of which this model has "
                f"{experts[full].n_experts}. Choose the model that it was made for."
            )
    return made


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
