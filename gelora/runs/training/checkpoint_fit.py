"""Whether a checkpoint or adapter folder belongs to a model: the same weights by name and shape.

Reads the headers of safetensors files alone. Does not depend on training; called before a run is resumed from a checkpoint.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gelora.errors import ModelError, StoreError

_SHOWN = 3


def check_fits(folder: Path, model: Any) -> None:
    """Raise unless the weights in `folder` are those that `model` would save, by name and shape.

    Args:
        folder: a checkpoint of the Trainer, or what `save_pretrained` wrote.
        model: a `peft.PeftModel`, whose adapter and head are looked for, or a plain transformers model.

    Raises:
        StoreError: there are no weights in the folder, or they cannot be read.
        ModelError: they are an adapter of another model or of other ranks, or another model.
    """
    from peft import PeftModel, get_peft_model_state_dict

    is_adapter = isinstance(model, PeftModel)
    given = _shapes(folder, "adapter_model*.safetensors" if is_adapter else "model*.safetensors")
    if is_adapter:
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        optional: set[str] = set()
    else:
        state = model.state_dict()
        optional = _tied(state)
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differing = [name for name, shape in wanted.items() if given.get(name, shape) != shape]
    missing = [name for name in wanted if name not in given and name not in optional]
    surplus = [name for name in given if name not in wanted and (not is_adapter or ".lora_" in name)]
    problems = [f"{name} is {_shape(given[name])} there and {_shape(wanted[name])} here" for name in differing]
    problems += [f"{name} is missing there" for name in missing] + [f"{name} is there alone" for name in surplus]
    if problems:
        what = "an adapter of another model or of other ranks" if is_adapter else "another model"
        raise ModelError(
            f"{folder} holds {what}: {_first(problems)}. A run cannot be resumed from it; "
            "use the checkpoint's own model, plan and method, or start a new run."
        )


def _shapes(folder: Path, pattern: str) -> dict[str, tuple[int, ...]]:
    files = sorted(folder.glob(pattern))
    if not files:
        raise StoreError(
            f"There are no weights ({pattern}) in {folder}; the checkpoint was deleted or is of another method. Start a new run."
        )
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{path} cannot be read ({error}); the checkpoint is damaged. Start a new run.") from error
    return found


def _tied(state: dict[str, Any]) -> set[str]:
    """Names of tensors that share their memory with another one; saving keeps one of them."""
    owners: dict[int, list[str]] = {}
    for name, tensor in state.items():
        owners.setdefault(tensor.data_ptr(), []).append(name)
    return {name for names in owners.values() if len(names) > 1 for name in names}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape) or "a number"


def _first(sentences: list[str]) -> str:
    more = f"; and {len(sentences) - _SHOWN} more" if len(sentences) > _SHOWN else ""
    return "; ".join(sentences[:_SHOWN]) + more
