"""Checks that PEFT did with a model what was asked of it; anything else is an error.

Reads PEFT's layers; builds no config. PEFT matches names leniently and only warns where nothing matched.
"""

import copy
import math
import re
from collections.abc import Collection, Sequence

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.utils import ModulesToSaveWrapper
from torch import nn

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.lora_names import listed, matching
from gelora.records import RankPlan

ADAPTER = "default"
"""PEFT's name for the one adapter of a model."""

HEADS_BY_TASK = {"SEQ_CLS": ("classifier", "score"), "TOKEN_CLS": ("classifier", "score"), "QUESTION_ANS": ("qa_outputs",)}
"""Heads that PEFT trains and saves by itself when it is told the task, by the end of their names."""


def check_fresh(model: nn.Module) -> None:
    """Raise InputError if the model has an adapter already."""
    if any(isinstance(module, LoraLayer) for module in model.modules()):
        raise InputError("The model has a LoRA adapter already; give a freshly loaded one.")


def saved_modules(model: nn.Module, modules_to_save: Sequence[str] | None, adapted: Sequence[str]) -> set[str]:
    """Full names of the modules that are to be saved whole.

    Raises:
        ModelError: a name means no module or several, or a module in it is to get an adapter (`adapted`).
    """
    keys = [key for key, _ in model.named_modules()]
    to_save = {name: matching(name, keys) for name in modules_to_save or ()}
    unclear = [name for name, found in to_save.items() if len(found) != 1]
    if unclear:
        raise ModelError(f"To be saved whole, a name has to mean exactly one module of the model; these do not: {listed(unclear)}.")
    saved = {found[0] for found in to_save.values()}
    inside = sorted(name for name in adapted if any(is_inside(name, head) for head in saved))
    if inside:
        raise ModelError(f"These modules are to get an adapter and to be saved whole: {listed(inside)}. Choose one of the two.")
    return saved


def check_not_renamed(config: PeftConfig, model: nn.Module) -> None:
    """PEFT takes some names (gate_proj, w1) for the experts that a mixture of experts had as modules in transformers 4."""
    try:
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:
        return  # a PEFT older than the renaming
    read, reason = copy.deepcopy(config), ""
    try:
        convert_peft_config_for_transformers(read, model, None)
    except ValueError as error:
        reason = f" ({error})"
    given, taken_for = set(getattr(config, "target_modules", None) or ()), set(getattr(read, "target_modules", None) or ())
    if reason or taken_for != given:
        taken = sorted(given - taken_for) or sorted(given)
        raise ModelError(
            f"PEFT takes {listed(taken)} of this {type(model).__name__} for experts by name and would adapt others{reason}; "
            "choose target modules such as 'attention' or 'experts'."
        )


def check_adapters(peft_model: PeftModel, plan: RankPlan, names: dict[str, str]) -> None:
    """Raise ModelError unless every module of the plan has its rank and its alpha / r, and no other one is adapted."""
    layers = adapted_layers(peft_model)
    wanted = {names[module.name]: module for module in plan.modules if plan.ranks[module.name] > 0}
    check_names(layers, wanted)
    for name, layer in layers.items():
        r = plan.ranks[wanted[name].name]
        scaling = plan.alphas[wanted[name].name] / r
        if layer.r[ADAPTER] != r or not math.isclose(layer.scaling[ADAPTER], scaling):
            raise ModelError(f"PEFT gave {name} rank {layer.r[ADAPTER]} and alpha / r {layer.scaling[ADAPTER]}; planned {r} and {scaling}.")


def check_names(layers: dict[str, LoraLayer], wanted: Collection[str]) -> None:
    """Raise ModelError unless exactly the wanted modules are adapted."""
    if set(layers) != set(wanted):
        raise ModelError(f"PEFT adapted other modules than the plan names: {listed(sorted(set(layers) ^ set(wanted)))}.")


def check_saved(peft_model: PeftModel, saved: set[str], task_type: str | None) -> None:
    """Raise ModelError if PEFT trains or saves other whole modules than asked for, and than the task brings by itself."""
    automatic = HEADS_BY_TASK.get(task_type or "", ())
    wrapped = {name for name, m in peft_model.get_base_model().named_modules() if isinstance(m, ModulesToSaveWrapper)}
    lost = saved - wrapped
    surplus = {name for name in wrapped - saved if not (automatic and name.endswith(automatic))}
    if lost or surplus:
        raise ModelError(f"PEFT saves other modules than asked for: {listed(sorted(lost | surplus))}.")
    stray = [name for name in trainable(peft_model)[1] if ".modules_to_save." not in name]
    if stray:
        raise ModelError(f"PEFT trains other parameters than asked for: {listed(stray)}.")


def adapted_layers(peft_model: PeftModel) -> dict[str, LoraLayer]:
    """{name in the base model of what is adapted: PEFT's layer around it}."""
    return {adapted_name(name, m): m for name, m in peft_model.get_base_model().named_modules() if isinstance(m, LoraLayer)}


def trainable(peft_model: PeftModel) -> tuple[dict[str, int], dict[str, int]]:
    """{name: size} of the trainable parameters of the adapter, and of all others."""
    inside = tuple(f"{name}.lora_" for name, module in peft_model.named_modules() if isinstance(module, LoraLayer))
    adapter: dict[str, int] = {}
    head: dict[str, int] = {}
    for name, parameter in peft_model.named_parameters():
        if parameter.requires_grad:
            (adapter if inside and name.startswith(inside) else head)[name] = parameter.numel()
    return adapter, head


def meta_copy(model: nn.Module) -> nn.Module:
    """The modules of a model on the meta device, without its weights and without adapters and heads of PEFT's."""
    stand_in: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        stand_in[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    bare: nn.Module = copy.deepcopy(model, stand_in)
    while True:
        wrapped = next(((n, m) for n, m in bare.named_modules() if n and isinstance(m, LoraLayer | ModulesToSaveWrapper)), None)
        if wrapped is None:
            return bare
        name, wrapper = wrapped
        inner = wrapper.original_module if isinstance(wrapper, ModulesToSaveWrapper) else wrapper.base_layer
        bare.set_submodule(name, inner)


def is_inside(name: str, outer: str) -> bool:
    """Whether a dotted name is `outer` or below it."""
    return name == outer or name.startswith(f"{outer}.")


def adapted_name(name: str, layer: LoraLayer) -> str:
    """What a layer of PEFT's adapts; several parameters of one module are adapted by layers around each other.

    A linear map that is adapted through its weight goes by its own name.
    """
    if not isinstance(layer, ParamWrapper):
        return name
    holder = re.sub(r"([.]base_layer)+$", "", name)
    return holder if isinstance(layer.get_base_layer(), nn.Linear) else f"{holder}.{layer.parameter_name}"
