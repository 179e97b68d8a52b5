"""What AdaLoRA has found, as a plan of its own and as a plain LoRA adapter that loads everywhere.

Singular values that are zero leave; the others are folded into A. Knows nothing of budgets, schedules or training.
"""

import dataclasses
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file

from gelora.errors import ModelError
from gelora.ranks.peft.lora import to_lora_config
from gelora.ranks.peft.lora_checks import ADAPTER, adapted_layers
from gelora.ranks.peft.lora_names import names_in_model
from gelora.records import RankPlan


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
