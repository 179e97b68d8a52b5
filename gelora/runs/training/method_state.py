"""What a method keeps beside the weights, in every checkpoint: AdaLoRA's allocator, and the initial A and B of PiSSA and OLoRA.

Works on the Trainer's events and a checkpoint's folder; what is kept is defined in `gelora.ranks`.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import TrainerCallback

from gelora.errors import StoreError
from gelora.home import write_atomically
from gelora.ranks import InitialAdapter, allocate, allocator_state, restore_allocator, share_orthogonality


class AllocatorState(TrainerCallback):
    """Calls AdaLoRA's allocator after every optimizer step, while gradients are still there, and keeps its state.

    losses_are_added: whether the Trainer adds the losses of accumulated parts as they are, which it does for causal language
    models: their loss is divided by the tokens of all parts already.
    """

    FILE = "adalora.safetensors"

    def __init__(self, model: Any, losses_are_added: bool) -> None:
        self._model = model
        self._losses_are_added = losses_are_added

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        share_orthogonality(self._model, args.gradient_accumulation_steps if self._losses_are_added else 1)
        if state.global_step == 0:
            restore_allocator(self._model, {}, None)
            return
        averages, metadata = _read(_checkpoint(args, state) / self.FILE)
        restore_allocator(self._model, averages, json.loads(metadata.get("kept", "null")))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        allocate(self._model, state.global_step + 1)  # the Trainer counts the step a little later

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        averages, kept = allocator_state(self._model)
        write_atomically(_checkpoint(args, state) / self.FILE, save(averages, {"kept": json.dumps(kept)}))


class BeginningState(TrainerCallback):
    """Keeps the A0 and B0 that were taken out of the base weights, so that a resumed run has the same base weights."""

    FILE = "initial_adapter.safetensors"

    def __init__(self, model: Any, initial: InitialAdapter) -> None:
        self._model = model
        self._initial = initial

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step > 0:
            self._initial.put_back(self._model, _read(_checkpoint(args, state) / self.FILE)[0])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        write_atomically(_checkpoint(args, state) / self.FILE, save(self._initial.weights))


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"The checkpoint {path.parent} has no readable {path.name}, so the run cannot be resumed from it; start a new run."
        ) from error
