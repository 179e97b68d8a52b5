"""Checkpoints a run can be resumed from: whole ones, whose last file, complete.json, lists all others, and that fit the model.

Light until `last_undamaged` or `check_fits` is called, since listing runs asks for checkpoints. Does not depend on the training loop.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gelora.errors import ModelError, StoreError
from gelora.home import check_readable, reason_of, write_atomically

SEAL = "complete.json"
KEPT = 2
_SHOWN = 3  # names of weights in an error
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as complete: its files are forced to disk, then listed in complete.json with size and SHA-256.

    Raises:
        OSError: the disk is full or not writable; the checkpoint does not count then.
    """
    sizes, digests = {}, {}
    for file in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            name = file.relative_to(checkpoint).as_posix()
            sizes[name], digests[name] = file.stat().st_size, hashlib.file_digest(opened, "sha256").hexdigest()
    listed = {"step": step_of(checkpoint), "files": sizes, "sha256": digests}
    write_atomically(checkpoint / SEAL, json.dumps(listed, indent=1).encode())


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has all the files that its seal lists, in their sizes."""
    try:
        listed = json.loads((checkpoint / SEAL).read_bytes())["files"]
        return bool(listed) and all((checkpoint / name).stat().st_size == size for name, size in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def damaged_file(checkpoint: Path) -> str | None:
    """The first file of a whole checkpoint whose content is not that of its seal; None where all are, or a seal has sizes alone."""
    for name, digest in (json.loads((checkpoint / SEAL).read_bytes()).get("sha256") or {}).items():
        try:
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return str(name)
        except PermissionError as error:  # no damage: what is passed over is removed
            raise StoreError(f"{checkpoint / name} cannot be read: {reason_of(error)}.") from error
        except OSError:
            return str(name)
    return None


def foreign_file(checkpoint: Path) -> str | None:
    """The first file of a checkpoint that torch.save did not make of tensors and plain values; None where there is none.

    A pickle could run anything when it is loaded; read here is only what cannot.
    """
    import torch
    from transformers.trainer_pt_utils import safe_globals

    for file in sorted(file for file in checkpoint.iterdir() if file.suffix in (".pt", ".pth")):
        try:
            with safe_globals():  # with numpy's arrays, of which random states are made
                torch.load(file, map_location="meta", weights_only=True)
        except Exception:  # noqa: BLE001  (damaged or hostile bytes end in any error of the unpickler)
            return file.name
    return None


def step_of(checkpoint: Path) -> int:
    """The optimizer step at which a checkpoint was made, -1 for a folder that is none."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else -1


def all_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or not, the latest first; none when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if step_of(p) >= 0), key=step_of, reverse=True)


def last_whole(folder: Path) -> Path | None:
    """The latest whole checkpoint in `folder`, None when there is none."""
    return next((checkpoint for checkpoint in all_checkpoints(folder) if is_whole(checkpoint)), None)


def last_undamaged(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The latest whole checkpoint in `folder` whose files are as they were written and hold tensors and plain values alone.

    warn: told of those that are passed over.
    """
    for checkpoint in filter(is_whole, all_checkpoints(folder)):
        if damaged := damaged_file(checkpoint):
            warn(f"{checkpoint.name} is damaged ({damaged} is not as it was written) and is passed over")
        elif foreign := foreign_file(checkpoint):
            warn(f"{checkpoint.name} is passed over: {foreign} holds something else than tensors and plain values, and is not loaded")
        else:
            return checkpoint
    return None


def clear(folder: Path, keep: Path | None) -> None:
    """Remove what is not whole, and what is later than `keep`: a run resumed from there makes it again."""
    for checkpoint in all_checkpoints(folder):
        if not is_whole(checkpoint) or step_of(checkpoint) > (step_of(keep) if keep else -1):
            shutil.rmtree(checkpoint)


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
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob(pattern))
    if not files:
        raise StoreError(
            f"There are no weights ({pattern}) in {folder}; the checkpoint was deleted or is of another method. Start a new run."
        )
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        check_readable(path, StoreError)
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
