"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512) at the budget of a plan, by PEFT's own layers and scores.

AdaLoRA starts every module with the same rank and prunes singular values until a budget is met. PEFT counts that
budget in ranks, which is no budget of parameters where modules differ in shape: a rank of an MLP map may cost 2.5 times
one of an attention map. Here it is counted in parameters. A singular value costs in_features + out_features, as a rank of
LoRA does (the singular value itself is folded into A when the adapter is saved), the schedule runs from the parameters
at the start down to the plan's, and at each step the best-scored singular values that fit are kept. Where all modules have
one shape, that is PEFT's AdaLoRA with the plan's total rank, exactly; elsewhere the plan's budget is missed by less than
the cost of the cheapest singular value that was left out. Does not depend on the training loop, which calls `allocate` after every step.

What it has found is a plan of its own, and saved as plain LoRA, which loads everywhere: singular values of zero leave, the
others are folded into A.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from peft.tuners.adalora import RankAllocator
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import nn

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.lora import to_lora_config
from gelora.ranks.peft.lora_checks import ADAPTER, adapted_layers, check_fresh, check_names, check_not_renamed, check_saved, saved_modules
from gelora.ranks.peft.lora_names import is_conv1d, listed, names_in_model
from gelora.records import RankPlan, check_choice, check_range

LEAST_STEPS = 10
START_FACTOR = 1.5
"""AdaLoRA starts with this many times the mean rank that it ends with, as in its paper."""
WARMUP_SHARE = 0.15
FINAL_SHARE = 0.4
"""Shares of the training before pruning begins, and after it ends; the paper has 9-20% and 40-60%."""
N_ALLOCATIONS = 200
"""In that many steps of the whole training, at most, the singular values are re-allocated."""


def to_adalora_config(
    plan: RankPlan,
    model: nn.Module,
    total_steps: int,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
) -> AdaLoraConfig:
    """A `peft.AdaLoraConfig` for the plan's modules, those of rank 0 included, that ends near the plan's mean rank.

    alpha / r is the plan's (the most common one, where it differs between modules, since AdaLoRA has one for all), so that
    B·A counts as much as in LoRA. `apply_adalora` makes the budget exact.

    Args:
        plan: its modules and its parameters.
        model: the model that the config is for, with or without a head.
        total_steps: optimizer steps of the whole training.
        task_type, modules_to_save, lora_dropout: as in `to_lora_config`.

    Raises:
        InputError: too few steps, an illegal option, experts among the modules, or ranks so near to full that there is
            nothing to take away.
        ModelError: the model is not the one that the plan was made for.
    """
    check_range("lora_dropout", lora_dropout, 0.0, 1.0)
    if task_type is not None:
        check_choice("task_type", task_type, tuple(kind.value for kind in TaskType))
    if total_steps < LEAST_STEPS:
        raise InputError(
            f"The run has {total_steps} optimizer steps; AdaLoRA needs at least {LEAST_STEPS} to find out which ranks matter. "
            "Train longer, or choose method 'lora'."
        )
    if any(module.n_experts > 1 for module in plan.modules):
        raise InputError("PEFT's AdaLoRA cannot adapt parameters of experts; choose other target modules, or method 'lora'.")
    names = names_in_model(plan, model)
    mean_rank = plan.n_adapter_params / sum(module.n_params_per_rank for module in plan.modules)
    init_r = min(math.ceil(START_FACTOR * mean_rank), min(module.smaller_side for module in plan.modules))
    if init_r <= mean_rank:
        raise InputError(
            f"The plan has a mean rank of {mean_rank:.3g}, and the smallest of its modules has room for {init_r}; AdaLoRA has nothing to "
            "take away there. Plan smaller ranks, or choose method 'lora'."
        )
    ratios = Counter(plan.alphas[name] / r for name, r in plan.ranks.items() if r > 0)
    modules = [model.get_submodule(name) for name in names.values()]
    config = AdaLoraConfig(
        target_modules=list(names.values()),
        lora_alpha=max(ratios, key=lambda ratio: (ratios[ratio], -ratio)) * init_r,  # type: ignore[arg-type]
        init_r=init_r,
        target_r=max(1, round(mean_rank)),
        total_step=total_steps,
        tinit=int(WARMUP_SHARE * total_steps),
        tfinal=int(FINAL_SHARE * total_steps),
        deltaT=max(1, total_steps // N_ALLOCATIONS),
        lora_dropout=lora_dropout,
        fan_in_fan_out=all(is_conv1d(module) for module in modules),
        task_type=task_type,
        modules_to_save=list(modules_to_save) if modules_to_save else None,
    )
    check_not_renamed(config, model)
    return config


def apply_adalora(
    model: nn.Module,
    plan: RankPlan,
    total_steps: int,
    *,
    task_type: str | None = None,
    modules_to_save: Sequence[str] | None = None,
    lora_dropout: float = 0.0,
) -> PeftModel:
    """`model` with AdaLoRA on the plan's modules, that ends with at most the plan's parameters; call `allocate` every step.

    The orthogonality term of AdaLoRA is added to the loss in training only, so that the loss on held-out rows can be
    compared with that of other methods.

    Args:
        model: a transformers model, without or with a head, that has no adapter yet; changed in place.
        plan, total_steps, task_type, modules_to_save, lora_dropout: as in `to_adalora_config`.

    Raises:
        InputError, ModelError: as `to_adalora_config`, or PEFT did something else than was asked.
    """
    check_fresh(model)
    names = names_in_model(plan, model)
    saved = saved_modules(model, modules_to_save, list(names.values()))
    config = to_adalora_config(plan, model, total_steps, task_type=task_type, modules_to_save=modules_to_save, lora_dropout=lora_dropout)
    peft_model = get_peft_model(model, config)
    check_names(adapted_layers(peft_model), set(names.values()))
    check_saved(peft_model, saved, task_type)
    tuner: Any = peft_model.base_model
    tuner.rankallocator = ParameterBudget(tuner.model, config, plan.n_adapter_params)
    tuner.register_forward_pre_hook(_orthogonal_in_training)
    share_orthogonality(peft_model, 1)
    return peft_model


def share_orthogonality(peft_model: PeftModel, n_parts: int) -> None:
    """Add a share of the orthogonality term to each of the `n_parts` losses that make up one optimizer step.

    For trainers that add the losses of parts without dividing them by the number of parts, as transformers' does for
    causal language models, whose losses are divided by the tokens of all parts.
    """
    tuner: Any = peft_model.base_model
    tuner.orthogonality = AdaLoraConfig.orth_reg_weight / n_parts


class ParameterBudget(RankAllocator):
    """PEFT's allocator with its budget counted in parameters instead of ranks.

    `kept` says of every module's singular values which are kept, {name of lora_E: [r booleans]}; None before the first
    choice. It is kept here and not in PEFT's config, because PEFT would drop the others from every checkpoint, although
    they may come back.
    """

    def __init__(self, model: nn.Module, config: AdaLoraConfig, target_params: int) -> None:
        self.kept: dict[str, list[bool]] | None = None
        self._target_params = target_params
        super().__init__(model, config, ADAPTER)

    def _set_budget_scheduler(self, model: nn.Module) -> None:
        super()._set_budget_scheduler(model)
        parameters = dict(model.named_parameters())
        self.cost = {name: parameters[name % "lora_A"].shape[1] + parameters[name % "lora_B"].shape[0] for name in self.name_set}
        self.init_bgt = sum(cost * parameters[name % "lora_A"].shape[0] for name, cost in self.cost.items())
        self.target_bgt = self._target_params

    @torch.no_grad()
    def mask_to_budget(self, model: nn.Module, budget: int) -> dict[str, list[bool]]:
        """Keep the best-scored singular values that fit into `budget` parameters, set the others to zero."""
        parameters = dict(model.named_parameters())
        scores = {name: self._scores(name) for name in self.name_set}
        ranked = sorted(((score, name, i) for name in self.name_set for i, score in enumerate(scores[name].tolist())), key=lambda x: -x[0])
        kept = {name: [False] * len(scores[name]) for name in self.name_set}
        left = budget
        for _score, name, i in ranked:
            if self.cost[name] <= left:
                kept[name][i] = True
                left -= self.cost[name]
        for name, mask in kept.items():
            values = parameters[name % "lora_E"]
            values.masked_fill_(~torch.tensor(mask, device=values.device).unsqueeze(-1), 0.0)
        return {name % "lora_E": mask for name, mask in kept.items()}

    def _scores(self, name: str) -> torch.Tensor:
        """Score of every singular value with its two vectors: equation 11 of the paper."""
        a, b, e = (self._element_score(name % letter) for letter in ("lora_A", "lora_B", "lora_E"))
        return e.view(-1) + a.mean(dim=1) + b.mean(dim=0)


def allocate(peft_model: PeftModel, step: int) -> None:
    """Tell AdaLoRA that optimizer step `step`, from 1 on, is done and gradients are still there."""
    tuner: Any = peft_model.base_model
    config, allocator = tuner.peft_config[ADAPTER], tuner.rankallocator
    config.rank_pattern = allocator.kept
    tuner.update_and_allocate(step)
    allocator.kept, config.rank_pattern = config.rank_pattern, None


def allocator_state(peft_model: PeftModel) -> tuple[dict[str, torch.Tensor], dict[str, list[bool]] | None]:
    """What the allocator has gathered so far: its moving averages by name, on the CPU, and which singular values are kept."""
    allocator = _allocator(peft_model)
    averages = {f"{part}|{name}": tensor.cpu() for part in _AVERAGES for name, tensor in getattr(allocator, part).items()}
    return averages, allocator.kept


def restore_allocator(peft_model: PeftModel, averages: dict[str, torch.Tensor], kept: dict[str, list[bool]] | None) -> None:
    """Put back what `allocator_state` gave.

    Raises:
        ModelError: it is of other modules.
    """
    allocator = _allocator(peft_model)
    parameters = dict(peft_model.base_model.model.named_parameters())
    names = [key.partition("|")[2] for key in averages]
    unknown = [name for name in [*names, *(kept or {})] if name not in parameters]
    if unknown:
        raise ModelError(f"The state of AdaLoRA is that of another model: {listed(unknown)}; start a new run.")
    allocator.reset_ipt()
    for key, tensor in averages.items():
        part, _, name = key.partition("|")
        getattr(allocator, part)[name] = tensor.to(parameters[name].device)
        allocator.ipt[name] = torch.zeros_like(parameters[name])
    allocator.kept = kept


def found_plan(peft_model: PeftModel, plan: RankPlan) -> RankPlan:
    """The ranks that AdaLoRA has given the plan's modules so far: in each, the number of singular values that are not zero.

    Its `n_adapter_params` are the effective parameters, at most those of `plan` once training has come to its last phase.

    Args:
        peft_model: from `apply_adalora`.
        plan: the one that it was made with.

    Raises:
        ModelError: all singular values are zero, as they are before the first step.
    """
    layers = adapted_layers(peft_model)
    ranks, alphas = {}, {}
    for name, full_name in names_in_model(plan, peft_model.get_base_model()).items():
        layer = layers[full_name]
        ranks[name] = int((layer.lora_E[ADAPTER] != 0).sum())
        alphas[name] = ranks[name] * layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
    if not any(ranks.values()):
        raise ModelError("Every singular value of AdaLoRA is zero, so there is no adapter yet; train for at least one step.")
    return dataclasses.replace(plan, ranks=ranks, alphas=alphas, strategy="adalora", edits={}, block_notes={})


@torch.no_grad()
def save_found_lora(peft_model: PeftModel, plan: RankPlan, folder: Path) -> RankPlan:
    """Save adapter and head into `folder` as plain LoRA of the ranks found; returns them, as `found_plan` does.

    Raises:
        ModelError: as `found_plan`.
        OSError: the folder cannot be written.
    """
    found = found_plan(peft_model, plan)
    base, layers, made = peft_model.get_base_model(), adapted_layers(peft_model), peft_model.peft_config[ADAPTER]
    state = {k: v for k, v in get_peft_model_state_dict(peft_model, save_embedding_layers=False).items() if ".lora_" not in k}
    for name, full_name in names_in_model(found, base).items():
        layer = layers[full_name]
        values = layer.lora_E[ADAPTER]
        kept = (values != 0).view(-1)
        if not kept.any():
            continue
        # PEFT's AdaLoRA divides by the rank that it began with, plus a small number.
        scaling = layer.scaling[ADAPTER] / (layer.ranknum[ADAPTER] + 1e-5) / (found.alphas[name] / found.ranks[name])
        state[f"base_model.model.{full_name}.lora_A.weight"] = (layer.lora_A[ADAPTER] * values * scaling)[kept]
        state[f"base_model.model.{full_name}.lora_B.weight"] = layer.lora_B[ADAPTER][:, kept]
    config = to_lora_config(found, base, task_type=made.task_type, modules_to_save=made.modules_to_save)
    config.fan_in_fan_out = made.fan_in_fan_out
    config.base_model_name_or_path = made.base_model_name_or_path
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().cpu() for k, v in state.items()}, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    config.save_pretrained(folder)
    return found


_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")


def _allocator(peft_model: PeftModel) -> ParameterBudget:
    tuner: Any = peft_model.base_model
    allocator: ParameterBudget = tuner.rankallocator
    return allocator


def _orthogonal_in_training(tuner: Any, _inputs: Any) -> None:
    tuner.peft_config[ADAPTER].orth_reg_weight = tuner.orthogonality if tuner.training else 0.0
