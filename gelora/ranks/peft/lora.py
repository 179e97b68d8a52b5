"""From a `RankPlan` to PEFT's LoRA: config and adapters, checked against what PEFT made of them.

Does not depend on dimensions, training or files. This file, `adalora` and `trained_parts` are those that build PEFT configs.
"""

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers.models.auto import modeling_auto

from gelora.errors import HubError, InputError, ModelError
from gelora.ranks.peft.lora_checks import (
    ADAPTER,
    adapted_layers,
    check_adapters,
    check_fresh,
    check_not_renamed,
    check_saved,
    meta_copy,
    saved_modules,
    trainable,
)
from gelora.ranks.peft.lora_names import is_conv1d, listed, lora_arguments, names_in_model
from gelora.ranks.rule.budget import plan_budget
from gelora.records import INITS_OF_BASE, LORA_INITS, RankPlan, TargetModule, check_choice, check_range
from gelora.sources import find_model, is_decoder_type, load_config, without_weights


def to_lora_config(
    plan: RankPlan,
    model: nn.Module | None = None,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
    use_dora: bool = False,
    init_lora_weights: str = "default",
) -> LoraConfig:
    """The plan as a `peft.LoraConfig` under which every module gets exactly its rank and alpha.

    Which arguments those are, `gelora.ranks.lora_arguments` says. With a model, PEFT has applied the config to a copy of it
    without weights, and made exactly the planned adapters, before the config is returned.

    Args:
        plan: the ranks.
        model: the model that the config is for, with or without a head. Its full names are then used, and it is
            checked that each is there exactly once and has the plan's shape. Without a model the names are relative
            to the base model, which PEFT finds in the bare model and under any head.
        task_type: one of PEFT's, such as SEQ_CLS; None for none.
        modules_to_save: names of modules to train and save whole; see `gelora.ranks.modules_to_save`.
        lora_dropout: from 0 to 1.
        use_dora: whether the length of every row of the adapted weights is trained apart from their direction (Liu et
            al. 2024, arXiv 2402.09353), which adds out_features parameters to each adapted module.
        init_lora_weights: "default" (A uniform at random, B zero), "gaussian" (A normal, B zero), "orthogonal", "olora"
            (Büyükakyüz 2024, arXiv 2406.01775) or "pissa" (Meng et al. 2024, arXiv 2404.02948). The last two take the
            first alpha / r · B·A out of the base weights.

    Raises:
        InputError: an option is illegal, or does not go with the plan's ranks or modules.
        ModelError: the model is not the one that the plan was made for, names would match more than one module, or PEFT
            makes something else of the config.
    """
    config = _config(plan, model, task_type, modules_to_save, lora_dropout, use_dora, init_lora_weights)
    if model is not None:
        check_config(config, plan, model)
    return config


def _config(
    plan: RankPlan,
    model: nn.Module | None,
    task_type: str | None,
    modules_to_save: Sequence[str] | None,
    lora_dropout: float,
    use_dora: bool,
    init_lora_weights: str,
) -> LoraConfig:
    check_range("lora_dropout", lora_dropout, 0.0, 1.0)
    check_choice("init_lora_weights", init_lora_weights, LORA_INITS)
    if task_type is not None:
        check_choice("task_type", task_type, tuple(kind.value for kind in TaskType))
    arguments = lora_arguments(plan, None if model is None else names_in_model(plan, model))
    _check_parameters(arguments.get("target_parameters", ()), lora_dropout, use_dora, init_lora_weights)
    modules = [] if model is None else [model.get_submodule(name) for name in arguments["target_modules"]]
    _check_init(plan, modules, init_lora_weights)
    config = LoraConfig(
        **arguments,
        lora_dropout=lora_dropout,
        use_dora=use_dora,
        init_lora_weights=True if init_lora_weights == "default" else init_lora_weights,  # type: ignore[arg-type]
        fan_in_fan_out=bool(modules) and all(is_conv1d(module) for module in modules),
        task_type=task_type,
        modules_to_save=list(modules_to_save) if modules_to_save else None,
    )
    if model is not None:
        check_not_renamed(config, model)
    return config


def apply_plan(
    model: nn.Module,
    plan: RankPlan,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
    use_dora: bool = False,
    init_lora_weights: str = "default",
) -> PeftModel:
    """`model` with the plan's adapters, checked: every module has its rank and alpha / r, and nothing else was touched.

    The model is changed in place, as PEFT does it; names and shapes are checked before that. The adapter has as many
    parameters as the plan costs, and with DoRA out_features more for each adapted module.

    OLoRA begins as PiSSA does, with alpha / r · B·A equal to the part of W that it stands for. PEFT begins with B·A equal to
    it and takes alpha / r times as much out of W: at 32, what is left of W is -31 times that part, and the sum is lost in
    16-bit arithmetic.

    Args:
        model: a transformers model, without or with a head, that has no adapter yet.
        plan: the ranks.
        task_type: as in `to_lora_config`; with SEQ_CLS PEFT trains and saves `classifier` and `score` by itself.
        modules_to_save: as in `to_lora_config`.
        lora_dropout: as in `to_lora_config`.
        use_dora: as in `to_lora_config`.
        init_lora_weights: as in `to_lora_config`.

    Raises:
        InputError: an option is illegal, or the model has an adapter already.
        ModelError: the model is not the one that the plan was made for, or PEFT did something else than was asked.
    """
    check_fresh(model)
    names = names_in_model(plan, model)
    saved = saved_modules(model, modules_to_save, list(names.values()))
    config = _config(plan, model, task_type, modules_to_save, lora_dropout, use_dora, init_lora_weights)
    weights = (
        {name: model.get_parameter(f"{name}.weight").detach().clone() for name in names.values()} if init_lora_weights == "olora" else {}
    )
    with quiet_patterns():
        peft_model = get_peft_model(model, config)
    _divide_beginning(peft_model, weights)
    _check_made(peft_model, plan, names, use_dora)
    check_saved(peft_model, saved, task_type)
    made = peft_model.peft_config[ADAPTER]
    if made.modules_to_save:  # PEFT adds its own names to ours without looking; the saved config should read well
        made.modules_to_save = sorted(set(made.modules_to_save))
    return peft_model


def check_config(config: LoraConfig, plan: RankPlan, model: nn.Module) -> None:
    """Raise ModelError unless PEFT makes of the config exactly the plan's adapters: modules, ranks, alphas and parameters.

    PEFT applies it to a copy of the model on the meta device; the model itself and its weights are neither read nor changed.

    Args:
        config: from `to_lora_config`, for this model or relative to its base model.
        plan: the ranks that the config stands for.
        model: a transformers model on any device, with or without a head; adapters that it has do not count.
    """
    trial = meta_copy(model)
    names = names_in_model(plan, trial)
    config = copy.deepcopy(config)
    # How factors begin changes neither modules nor counts; drawing them, or decomposing weights, would cost time.
    config.init_lora_weights, config.inference_mode = False, False
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # what PEFT would say to a person it will say when the config is used
        try:
            made = get_peft_model(trial, config)
        except ValueError as error:
            raise ModelError(
                f"PEFT cannot apply the plan's config to {type(model).__name__} ({error}); its modules are "
                f"{listed(list(names.values()))}. Choose other target modules."
            ) from error
    _check_made(made, plan, names, config.use_dora)


def export_lora_config(plan: RankPlan) -> tuple[LoraConfig, str | None]:
    """The plan's config with names relative to the base model, and a sentence where it could not be checked.

    PEFT applies it on the meta device to the bare model and to the model under a head of its kind, and has to make exactly
    the planned modules, ranks, alphas and parameters in both.

    Args:
        plan: its `model_id` says which model's config is read.

    Returns:
        The config, and None; or a sentence that the model's config is not on this machine, so that nothing was checked.

    Raises:
        ModelError: PEFT makes other adapters of it; the sentence names modules.
    """
    config = to_lora_config(plan)
    try:
        model_config: Any = load_config(find_model(plan.model_id, weights=False))
    except (HubError, InputError) as error:
        return config, f"PEFT has not tried this config, since the config of {plan.model_id} is not at hand ({error})"
    for auto_class in _auto_classes(str(model_config.model_type)):
        check_config(config, plan, without_weights(model_config, auto_class))
    return config, None


def _check_made(peft_model: PeftModel, plan: RankPlan, names: dict[str, str], use_dora: bool) -> None:
    check_adapters(peft_model, plan, names)
    n_adapter = sum(trainable(peft_model)[0].values())
    expected = plan_budget(plan).n_adapter_params + (dora_params(plan) if use_dora else 0)
    if n_adapter != expected:
        raise ModelError(f"PEFT made {n_adapter:,} adapter parameters, the plan costs {expected:,}.")


@contextmanager
def quiet_patterns() -> Iterator[None]:
    """PEFT looks for the patterns' keys among modules alone and says that those of parameters were ignored; they are not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys did not match")
        yield


@torch.no_grad()
def _divide_beginning(peft_model: PeftModel, weights: dict[str, torch.Tensor]) -> None:
    """Divide the A and B that adapters begin with by the root of alpha / r, and take as much less out of their base weights."""
    for name, layer in adapted_layers(peft_model).items():
        if name in weights:
            a, b, scaling = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight, layer.scaling[ADAPTER]
            a /= math.sqrt(scaling)
            b /= math.sqrt(scaling)
            layer.get_base_layer().weight.copy_(weights[name] - scaling * b @ a)


def dora_params(plan: RankPlan) -> int:
    """Parameters that DoRA adds to a plan: one length for each row of every adapted weight."""
    return sum(module.out_features for module in _active(plan))


def _active(plan: RankPlan) -> list[TargetModule]:
    return [module for module in plan.modules if plan.ranks[module.name] > 0]


def _check_parameters(parameters: Sequence[str], lora_dropout: float, use_dora: bool, init_lora_weights: str) -> None:
    """What PEFT can do with modules only: experts, and what it takes for experts, are adapted as parameters."""
    if not parameters:
        return
    which = f"of experts, and of maps named like them ({listed(parameters, 2)})"
    if lora_dropout > 0:
        raise InputError(f"lora_dropout is {lora_dropout}; PEFT adapts parameters {which}, without dropout only, so it must be 0.")
    if use_dora or init_lora_weights not in ("default", "gaussian"):
        given = "use_dora" if use_dora else f"init_lora_weights {init_lora_weights!r}"
        raise InputError(f"PEFT does not have {given} for parameters {which}; leave it at its default, or choose other target modules.")


def _check_init(plan: RankPlan, modules: Sequence[nn.Module], init_lora_weights: str) -> None:
    odd = [module.name for module in _active(plan) if plan.ranks[module.name] % 2]
    if init_lora_weights == "orthogonal" and odd:
        raise InputError(
            f"init_lora_weights 'orthogonal' needs even ranks, and {listed(odd)} have odd ones; "
            "make these ranks even, or choose another init_lora_weights."
        )
    high = [module.name for module in plan.modules if plan.ranks[module.name] > module.smaller_side]
    if init_lora_weights in INITS_OF_BASE and high:
        raise InputError(
            f"init_lora_weights {init_lora_weights!r} takes the adapter out of the base weights, and {listed(high)} have ranks above the "
            "smaller side of theirs; lower these ranks, or choose init_lora_weights 'default'."
        )
    if init_lora_weights == "olora" and any(is_conv1d(module) for module in modules):
        raise InputError(
            "PEFT's init_lora_weights 'olora' does not know the transposed maps of GPT-2 and would change the model; "
            "choose 'pissa' or 'default'."
        )


def _auto_classes(model_type: str) -> list[str]:
    if is_decoder_type(model_type):
        return ["AutoModel", "AutoModelForCausalLM"]
    has_classifier = model_type in modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    return ["AutoModel", *(["AutoModelForSequenceClassification"] if has_classifier else [])]
