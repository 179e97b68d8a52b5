"""The trained weights of a race's arms on disk: one file an arm, with the names that its modules have in the base model.

Does not depend on how arms are trained.
"""

from pathlib import Path

import torch
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gelora.errors import RunError, StoreError
from gelora.runs.racing.stacked import ADAPTER, ArmWeights, StackedLora

_BEGUN = "begun with "


def arm_file(folder: Path, seed: int, arm: int) -> Path:
    """Where an arm lies in its run's folder."""
    return folder / "arms" / f"seed-{seed}" / f"arm-{arm}.safetensors"


def save_arm(path: Path, model: nn.Module, place: int, beginning: ArmWeights) -> None:
    """Write what one arm of a model with a stack on it has learned.

    Args:
        path: where to.
        model: as `train_side_by_side` leaves it.
        place: of the arm in the stack.
        beginning: of the arm, whose shapes say how much of the stack is its own.

    Raises:
        StoreError: the disk is full or not writable.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, (a, _, _) in beginning.factors.items():
        layer = model.get_submodule(name)
        tensors[f"{name}.lora_A"] = layer.get_parameter("a")[place, :, : len(a)].T
        tensors[f"{name}.lora_B"] = layer.get_parameter("b")[place, : len(a)].T
        if beginning.of_base and isinstance(layer, StackedLora) and layer.begun is not None:
            tensors[f"{_BEGUN}{name}.lora_A"] = layer.begun[0][place, :, : len(a)].T
            tensors[f"{_BEGUN}{name}.lora_B"] = layer.begun[1][place, : len(a)].T
    for name, head in beginning.heads.items():
        tensors |= {f"{name}.{key}": model.get_submodule(name).get_parameter(key)[place] for key in head}
    unfinished = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, unfinished)
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"An arm cannot be saved to {path}: {error}. Free some space, then resume the run.") from error


def read_arm(path: Path) -> dict[str, torch.Tensor]:
    """The tensors that `save_arm` wrote.

    Raises:
        RunError: there are none: the arm has not been trained to its end.
        StoreError: the file is damaged.
    """
    if not path.is_file():
        raise RunError(f"This arm is not trained to its end, so there is no {path.name} in {path.parent}. Resume the run, or wait.")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read ({error}); the arm is damaged. Repeat the race.") from error


@torch.no_grad()
def put_arm(peft_model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Give a PEFT model of the arm's plan what the arm has learned.

    Args:
        peft_model: as `apply_method` makes it of the arm's plan.
        tensors: from `read_arm`.
    """
    for full, module in peft_model.named_modules():
        name = full.removeprefix("base_model.model.")
        if isinstance(module, LoraLayer):
            module.lora_A[ADAPTER].weight.copy_(tensors[f"{name}.lora_A"])
            module.lora_B[ADAPTER].weight.copy_(tensors[f"{name}.lora_B"])
        elif isinstance(module, ModulesToSaveWrapper):
            for key, parameter in module.modules_to_save[ADAPTER].named_parameters():
                parameter.copy_(tensors[f"{name}.{key}"])


def beginning_of_base(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The A and B that an arm began with and that are taken out of the base weights, by their names without it; or none."""
    return {name.removeprefix(_BEGUN): tensor for name, tensor in tensors.items() if name.startswith(_BEGUN)}
