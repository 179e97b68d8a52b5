"""Mixed precision without its waste: what autocast would cast again at every step is cast once, before training.

Works on models and PEFT layers; does not depend on the training loop. Under bfloat16 autocast a linear map rounds its weight to
bfloat16 at every forward pass, and PEFT lifts every adapter's input to float32, which autocast then rounds again. On small
models, where a step is as long as the list of its kernels, that is a third of the step. The numbers stay the same, also with
`lora_dropout`, for which the input is lifted still.
"""

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

_EXACT_BASES = ("default", "gaussian", "orthogonal")


def may_be_held(method: str, use_dora: bool, init_lora_weights: str) -> bool:
    """Whether a method leaves its frozen weights alone: DoRA reads their norms, PiSSA and OLoRA rewrite them, others save them."""
    return method in ("lora", "head") and not use_dora and init_lora_weights in _EXACT_BASES


@torch.no_grad()
def hold_frozen_in_bfloat16(model: nn.Module) -> int:
    """Hold the frozen linear maps of a model that runs under bfloat16 autocast in bfloat16; returns how many they are.

    Only maps that autocast would round anyway, and whose weight nothing else reads (an output layer that shares the
    embeddings stays as it is). Norms, embeddings and all that is trained stay in float32.
    """
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    held = 0
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and id(module.weight) not in shared and not _is_trained(module):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(torch.bfloat16)
            held += 1
        elif isinstance(module, LoraLayer):
            # Dropout draws other numbers for bfloat16 and rounds what it scales: it keeps the float32 input that PEFT gives it.
            module.cast_input_dtype_enabled = any(isinstance(layer, nn.Dropout) for layer in module.lora_dropout.values())
    return held


def _is_trained(module: Any) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))
