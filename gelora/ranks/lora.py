"""From a `RankPlan` to PEFT: the only file that builds PEFT configs, and it checks what PEFT made of them.

Knows nothing of dimensions, training or files. PEFT matches names leniently and only warns where nothing matched;
here every mismatch is an error.
"""

import copy
import math
import re
import warnings
from collections.abc import Iterable, Sequence

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from peft.utils import ModulesToSaveWrapper
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from gelora.errors import InputError, ModelError
from gelora.ranks.budget import plan_budget
from gelora.ranks.lora_form import lora_arguments, matches
from gelora.ranks.lora_names import base_prefix, is_conv1d, listed, matching, names_in_model
from gelora.records import RankPlan, check_choice, check_range

ADAPTER = "default"
"""PEFT's name for the one adapter of a model."""

# Heads that PEFT trains and saves by itself when it is told the task, by the end of their names.
_HEADS_BY_TASK = {"SEQ_CLS": ("classifier", "score"), "TOKEN_CLS": ("classifier", "score"), "QUESTION_ANS": ("qa_outputs",)}


def to_lora_config(
    plan: RankPlan,
    model: nn.Module | None = None,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
) -> LoraConfig:
    """The plan as a `peft.LoraConfig` under which every module gets exactly its rank and alpha.

    Which arguments those are, `gelora.ranks.lora_arguments` says.

    Args:
        plan: the ranks.
        model: the model that the config is for, with or without a head. Its full names are then used, and it is
            checked that each is there exactly once and has the plan's shape. Without a model the names are relative
            to the base model, which PEFT finds in the bare model and under any head.
        task_type: one of PEFT's, such as SEQ_CLS; None for none.
        modules_to_save: names of modules to train and save whole; see `gelora.ranks.modules_to_save`.
        lora_dropout: from 0 to 1.

    Raises:
        InputError: `task_type` or `lora_dropout` is illegal, or the plan adapts experts and there is dropout.
        ModelError: the model is not the one that the plan was made for, or names would match more than one module.
    """
    check_range("lora_dropout", lora_dropout, 0.0, 1.0)
    if task_type is not None:
        check_choice("task_type", task_type, tuple(kind.value for kind in TaskType))
    arguments = lora_arguments(plan, None if model is None else names_in_model(plan, model))
    if lora_dropout > 0 and "target_parameters" in arguments:
        raise InputError(f"lora_dropout is {lora_dropout}; PEFT adapts parameters of experts without dropout only, so it must be 0.")
    modules = [] if model is None else [model.get_submodule(name) for name in arguments["target_modules"]]
    config = LoraConfig(
        **arguments,
        lora_dropout=lora_dropout,
        fan_in_fan_out=bool(modules) and all(is_conv1d(module) for module in modules),
        task_type=task_type,
        modules_to_save=list(modules_to_save) if modules_to_save else None,
    )
    if model is not None:
        _check_not_renamed(config, model)
    return config


def apply_plan(
    model: nn.Module,
    plan: RankPlan,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
) -> PeftModel:
    """`model` with the plan's adapters, checked: every module has its rank and alpha / r, and nothing else was touched.

    The model is changed in place, as PEFT does it; names and shapes are checked before that.

    Args:
        model: a transformers model, without or with a head, that has no adapter yet.
        plan: the ranks.
        task_type: as in `to_lora_config`; with SEQ_CLS PEFT trains and saves `classifier` and `score` by itself.
        modules_to_save: as in `to_lora_config`.
        lora_dropout: as in `to_lora_config`.

    Raises:
        InputError: an option is illegal, or the model has an adapter already.
        ModelError: the model is not the one that the plan was made for, or PEFT did something else than was asked.
    """
    if any(isinstance(module, LoraLayer) for module in model.modules()):
        raise InputError("The model has a LoRA adapter already; give a freshly loaded one.")
    keys = [key for key, _ in model.named_modules()]
    to_save = {name: matching(name, keys) for name in modules_to_save or ()}
    unclear = [name for name, found in to_save.items() if len(found) != 1]
    if unclear:
        raise ModelError(f"To be saved whole, a name has to mean exactly one module of the model; these do not: {listed(unclear)}.")
    names = names_in_model(plan, model)
    saved = {found[0] for found in to_save.values()}
    config = to_lora_config(plan, model, task_type=task_type, modules_to_save=modules_to_save, lora_dropout=lora_dropout)
    inside = sorted(name for name in names.values() if any(_is_inside(name, head) for head in saved))
    if inside:
        raise ModelError(f"These modules are to get an adapter and to be saved whole: {listed(inside)}. Choose one of the two.")
    with warnings.catch_warnings():
        # PEFT looks for the patterns' keys among modules alone and says that those of parameters were ignored; they are not.
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys did not match")
        peft_model = get_peft_model(model, config)
    _check_adapters(peft_model, plan, names)
    _check_saved(peft_model, saved, _HEADS_BY_TASK.get(task_type or "", ()))
    n_adapter, _ = count_parameters(peft_model)
    expected = plan_budget(plan).n_adapter_params
    if n_adapter != expected:
        raise ModelError(f"PEFT made {n_adapter:,} adapter parameters, the plan costs {expected:,}.")
    made = peft_model.peft_config[ADAPTER]
    if made.modules_to_save:  # PEFT adds its own names to ours without looking; the saved config should read well
        made.modules_to_save = sorted(set(made.modules_to_save))
    return peft_model


def train_head_alone(model: nn.Module, modules_to_save: Sequence[str]) -> PeftModel:
    """`model` with its blocks frozen and the named modules trained, as an adapter that adapts nothing.

    It is saved, checkpointed and loaded like any other adapter, so that a head-only run is the plain reference for one.

    Args:
        model: a sequence classifier.
        modules_to_save: its head, see `gelora.ranks.modules_to_save`; PEFT adds `classifier` and `score` by itself.
    """
    return get_peft_model(
        model, LoraConfig(task_type="SEQ_CLS", target_modules=DUMMY_TARGET_MODULES, modules_to_save=list(modules_to_save) or None)
    )


def modules_to_save(model: nn.Module, missing_keys: Iterable[str]) -> list[str]:
    """Names of the modules to train and save whole beside the adapter: what the checkpoint lacks, and the pooler.

    What the checkpoint lacks was filled with random numbers, which another process would draw anew. PEFT itself saves
    only `classifier` and `score`; the random pooler of DeBERTa-v2 and the `head` of ModernBERT would be lost. A pooler
    is trained even where the checkpoint has one: frozen, it can make training collapse.

    Args:
        model: a model with a head, loaded from a base checkpoint.
        missing_keys: `missing_keys` of the loading info that `from_pretrained(..., output_loading_info=True)` returns
            (together with the names in its `mismatched_keys`, when mismatched sizes were allowed).

    Returns:
        Full module names, sorted; none inside another.

    Raises:
        ModelError: the checkpoint lacks weights inside the base model itself, or PEFT would take more modules than meant.
    """
    prefix = base_prefix(model)
    poolers = [name for name, module in model.named_modules() if matches("pooler", name) and list(module.parameters())]
    found, lacking = set(poolers), []
    for key in sorted(missing_keys):
        if any(key.startswith(f"{pooler}.") for pooler in poolers):
            continue
        if (prefix and key.startswith(f"{prefix}.")) or not prefix or "." not in key:
            lacking.append(key)
        else:
            found.add(key.split(".", 1)[0])
    if lacking:
        raise ModelError(
            f"The checkpoint lacks weights of the model itself: {listed(lacking)}. They would stay random and frozen; "
            "use a checkpoint of this very architecture."
        )
    names = sorted(found)
    # PEFT takes every module whose name ends with the text, even in the middle of a word.
    surplus = sorted(key for key, _ in model.named_modules() if key.endswith(tuple(names)) and key not in found) if names else []
    if surplus:
        raise ModelError(f"PEFT would also save {listed(surplus)} when told to save {', '.join(names)}.")
    return names


def count_parameters(peft_model: PeftModel) -> tuple[int, int]:
    """Trainable parameters of the adapter and of everything else, the head: (n_adapter, n_head).

    Their sum is the first number of PEFT's own `get_nb_trainable_parameters()`.
    """
    adapter, head = _trainable(peft_model)
    return sum(adapter.values()), sum(head.values())


def _trainable(peft_model: PeftModel) -> tuple[dict[str, int], dict[str, int]]:
    """{name: size} of the trainable parameters of the adapter, and of all others."""
    inside = tuple(f"{name}.lora_" for name, module in peft_model.named_modules() if isinstance(module, LoraLayer))
    adapter: dict[str, int] = {}
    head: dict[str, int] = {}
    for name, parameter in peft_model.named_parameters():
        if parameter.requires_grad:
            (adapter if name.startswith(inside) else head)[name] = parameter.numel()
    return adapter, head


def _check_not_renamed(config: LoraConfig, model: nn.Module) -> None:
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
    if reason or set(read.target_modules or ()) != set(config.target_modules or ()):
        taken = sorted(set(config.target_modules or ()) - set(read.target_modules or ())) or sorted(config.target_modules or ())
        raise ModelError(
            f"PEFT takes {listed(taken)} of this {type(model).__name__} for experts by name and would adapt others{reason}; "
            "choose target modules such as 'attention' or 'experts'."
        )


def _check_adapters(peft_model: PeftModel, plan: RankPlan, names: dict[str, str]) -> None:
    layers = {_adapted_name(name, m): m for name, m in peft_model.get_base_model().named_modules() if isinstance(m, LoraLayer)}
    wanted = {names[module.name]: module for module in plan.modules if plan.ranks[module.name] > 0}
    if set(layers) != set(wanted):
        wrong = sorted(set(layers) ^ set(wanted))
        raise ModelError(f"PEFT adapted other modules than the plan names: {listed(wrong)}.")
    for name, layer in layers.items():
        r = plan.ranks[wanted[name].name]
        scaling = plan.alphas[wanted[name].name] / r
        if layer.r[ADAPTER] != r or not math.isclose(layer.scaling[ADAPTER], scaling):
            raise ModelError(f"PEFT gave {name} rank {layer.r[ADAPTER]} and alpha / r {layer.scaling[ADAPTER]}; planned {r} and {scaling}.")


def _adapted_name(name: str, layer: LoraLayer) -> str:
    """What a layer of PEFT's adapts; several parameters of one module are adapted by layers around each other."""
    return f"{re.sub(r'([.]base_layer)+$', '', name)}.{layer.parameter_name}" if isinstance(layer, ParamWrapper) else name


def _check_saved(peft_model: PeftModel, saved: set[str], automatic: tuple[str, ...]) -> None:
    wrapped = {name for name, m in peft_model.get_base_model().named_modules() if isinstance(m, ModulesToSaveWrapper)}
    lost = saved - wrapped
    surplus = {name for name in wrapped - saved if not (automatic and name.endswith(automatic))}
    if lost or surplus:
        raise ModelError(f"PEFT saves other modules than asked for: {listed(sorted(lost | surplus))}.")
    stray = [name for name in _trainable(peft_model)[1] if ".modules_to_save." not in name]
    if stray:
        raise ModelError(f"PEFT trains other parameters than asked for: {listed(stray)}.")


def _is_inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")
