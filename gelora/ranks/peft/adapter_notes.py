"""Notes on an imported adapter: what it trains beside the ranks of its plan, with counts, and what differs from its files.

Puts into words what `adapter_import` has found.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from gelora.ranks.peft.adapter_config import CONFIG_FILE
from gelora.ranks.peft.adapter_files import AdapterFiles
from gelora.ranks.peft.adapter_models import Skeleton, is_in_a_block
from gelora.ranks.peft.adapter_trial import Trial
from gelora.ranks.peft.lora_names import listed
from gelora.ranks.rule.allocation import SCALING
from gelora.records import AlsoTrained, ModelStructure, TargetModule

WHOLE_ADAPTER = 0
"""The key, before that of the first block, under which `block_notes` says what concerns the adapter as a whole."""


@dataclass(frozen=True)
class Found:
    """An adapter read against a model: {module: full name}, ranks and alphas by module, {other adapted name: parameters}.

    `trial` is what PEFT makes of the config on `model`, None where there is no config or PEFT refuses it (`refusal`);
    `absent` are targets that mean nothing in the model, `unmet` patterns that mean nothing adapted; n_single parameters lie in
    the weights of single experts.
    """

    names: dict[str, str]
    ranks: dict[str, int]
    alphas: dict[str, float]
    outside: dict[str, int]
    trial: Trial | None
    absent: list[str]
    unmet: list[str]
    model: nn.Module | None
    refusal: str = ""
    n_single: int = 0


def also_trained(files: AdapterFiles, found: Found, structure: ModelStructure) -> tuple[AlsoTrained, ...]:
    """What the adapter trains beside the ranks of its plan; a part of no parameters is left out."""
    beside = {name: n for name, n in found.outside.items() if is_in_a_block(name, structure)}
    outside = {name: n for name, n in found.outside.items() if name not in beside}
    parts = [
        AlsoTrained("modules outside the blocks", tuple(outside), sum(outside.values())),
        AlsoTrained("modules in the blocks that are no linear map of their own", tuple(beside), sum(beside.values())),
    ]
    trial = found.trial
    if trial is None:
        parts.append(AlsoTrained("modules trained whole", tuple(files.whole), sum(files.whole.values())))
    else:
        whole = {name: files.whole.get(name, n) for name, n in trial.whole.items()}
        more = sum(layer.n_more for layer in trial.layers.values())
        config = files.config
        is_dora, is_adalora = bool(config and config.use_dora), bool(config and config.is_adalora)
        kind = "magnitude vectors of DoRA" if is_dora else "AdaLoRA's third factors" if is_adalora else "biases of lora_B"
        parts += [
            AlsoTrained("modules trained whole", tuple(whole), sum(whole.values())),
            AlsoTrained(kind, (), more),
            AlsoTrained("embeddings of single tokens", (), trial.n_token_params),
            AlsoTrained("biases of the model", (), trial.n_bias_params),
        ]
    return tuple(part for part in parts if part.n_params)


def notes_of(files: AdapterFiles, found: Found, structure: ModelStructure, chosen: Sequence[TargetModule]) -> dict[int, str]:
    """What is worth knowing, by block; under 0 what concerns the adapter as a whole."""
    notes: defaultdict[int, list[str]] = defaultdict(list)
    notes[WHOLE_ADAPTER] = _about_the_whole(files, found, structure, chosen)
    if found.trial and files.layers is not None and not (files.config and files.config.is_adalora):
        for module in chosen:
            made, r = found.trial.layers.get(found.names[module.name]), found.ranks[module.name]
            if made and made.r != r:
                leaf = module.name.rpartition(".")[2]
                notes[module.block].append(f"{leaf} has rank {r} in the weights, {made.r} in the config")
    return {block: "; ".join(said) for block, said in sorted(notes.items()) if said}


def _about_the_whole(files: AdapterFiles, found: Found, structure: ModelStructure, chosen: Sequence[TargetModule]) -> list[str]:
    said = _about_the_config(files, found, structure)
    high = [module for module in chosen if found.ranks[module.name] > module.smaller_side]
    if high:
        sides = ", ".join(str(side) for side in sorted({module.smaller_side for module in high}))
        said.append(
            f"ranks above the smaller side ({sides}) of {listed([module.name for module in high], 2)}: PEFT trains and counts them, "
            "though no update of these maps has a higher rank than that side"
        )
    if found.n_single:
        said.append(f"the weights hold {found.n_single:,} numbers for single experts, of which PEFT makes factors of all experts together")
    if isinstance(found.model, Skeleton):
        said.append(f"the config of {structure.model_id} is not at hand, so that only linear maps in its blocks are counted")
        whole = files.config.modules_to_save if files.config else []
        if whole and not files.whole:
            said.append(f"trained whole, and not counted here: {listed(whole)}")
    if found.absent:
        said.append(f"named too, but nothing in this model: {listed(found.absent)}")
    return said


def _about_the_config(files: AdapterFiles, found: Found, structure: ModelStructure) -> list[str]:
    config = files.config
    if config is None:
        return [f"there is no {CONFIG_FILE}, so the alphas are not known; alpha / r = {SCALING:g} is assumed"]
    said = list(config.options)
    base, model_id = config.base_model or structure.model_id, structure.model_id
    if base != model_id and not base.endswith(f"/{model_id}") and not model_id.endswith(f"/{base}"):
        said.append(f"the adapter's base model is {base}, the plan is for {model_id}")
    if found.refusal:
        said.append(f"ranks are those of the weights, {found.refusal[:1].lower() + found.refusal[1:].rstrip('.')}")
    if found.trial:
        if found.unmet:
            said.append(f"patterns that mean none of these modules: {listed(found.unmet)}")
        if files.layers is not None:
            lost = [name for name in found.trial.layers if name not in {*found.names.values(), *found.outside}]
            if lost:
                said.append(f"PEFT also makes of the config what is not in the weights: {listed(lost)}")
        is_parameter = {module.name for module in structure.modules if module.n_experts > 1 or module.as_parameter}
        if config.lora_dropout and is_parameter.intersection(found.ranks):
            said.append(f"PEFT adapts parameters of experts without dropout only: set lora_dropout ({config.lora_dropout:g}) to 0")
    return said
