"""Adapters initialised from the base weights (PiSSA, OLoRA): their initial factors, restored on resume, and saved as plain LoRA.

Such an adapter's B·A begins as B0·A0, taken out of the base weights W. Whoever loads the adapter has W, not W - s·B0·A0,
so that what is saved is the difference, plain LoRA of twice the rank (Meng et al. 2024, arXiv 2404.02948, appendix):
s·(B·A - B0·A0) = s·[B - B0, B0]·[A; A - A0]. Written so, no large numbers cancel; PEFT's own conversion, s·[B, -B0]·[A; A0],
lets them, and drops the head. Does not depend on training.
"""

import copy
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file

from gelora.errors import ModelError
from gelora.ranks.peft.lora_checks import ADAPTER, adapted_layers


class InitialAdapter:
    """The A0 and B0 with which the adapters of a model began.

    Args:
        peft_model: a model as `apply_plan` made it with `init_lora_weights` "pissa" or "olora", before any training.
    """

    def __init__(self, peft_model: PeftModel) -> None:
        self.weights = _weights(peft_model)

    def put_back(self, peft_model: PeftModel, weights: dict[str, torch.Tensor]) -> None:
        """Make the base weights those that belong to a beginning from `weights`, another process's A0 and B0.

        Decompositions may come out otherwise on another machine; W stays the same, what is taken out of it differs.

        Raises:
            ModelError: the weights are of other modules or ranks.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if shapes != {name: tuple(tensor.shape) for name, tensor in self.weights.items()}:
            raise ModelError("The adapter that the checkpoint began with has other modules or ranks than this run's; start a new run.")
        for name, layer in adapted_layers(peft_model).items():
            ours, theirs = (_product(w, name, layer.scaling[ADAPTER]) for w in (self.weights, weights))
            if torch.equal(ours, theirs):
                continue
            weight = layer.get_base_layer().weight
            shift = (ours - theirs).to(weight.device, weight.dtype)
            weight.data += shift.T if getattr(layer, "fan_in_fan_out", False) else shift
        self.weights = {name: tensor.clone() for name, tensor in weights.items()}

    def save_as_plain_lora(self, peft_model: PeftModel, folder: Path) -> None:
        """Save adapter and head as `save_pretrained` does, but so that they belong on the ordinary base weights."""
        peft_model.save_pretrained(folder, save_embedding_layers=False)
        state = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
        for name in adapted_layers(peft_model):
            key_a, key_b = (f"base_model.model.{name}.lora_{letter}.weight" for letter in "AB")
            a, b = state[key_a].cpu(), state[key_b].cpu()
            first_a, first_b = (self.weights[f"{name}.lora_{letter}"].to(a.dtype) for letter in "AB")
            state[key_a], state[key_b] = torch.cat([a, a - first_a], dim=0), torch.cat([b - first_b, first_b], dim=1)
        save_file({k: v.contiguous().cpu() for k, v in state.items()}, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
        config = copy.deepcopy(peft_model.peft_config[ADAPTER])
        config.init_lora_weights = True
        config.inference_mode = True
        config.r, config.lora_alpha = 2 * config.r, 2 * config.lora_alpha
        config.rank_pattern = {name: 2 * r for name, r in config.rank_pattern.items()}
        config.alpha_pattern = {name: 2 * alpha for name, alpha in config.alpha_pattern.items()}
        config.save_pretrained(folder)


def _weights(peft_model: PeftModel) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in adapted_layers(peft_model).items():
        for letter, part in (("A", layer.lora_A), ("B", layer.lora_B)):
            found[f"{name}.lora_{letter}"] = part[ADAPTER].weight.detach().cpu().clone()
    return found


def _product(weights: dict[str, torch.Tensor], name: str, scaling: float) -> torch.Tensor:
    return scaling * (weights[f"{name}.lora_B"].float() @ weights[f"{name}.lora_A"].float())
