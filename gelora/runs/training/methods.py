"""A method applied to a task's model: LoRA of a plan, AdaLoRA at its budget, head alone, BitFit, everything.

Works on a task and a spec; does not depend on the training loop, on processes or on where results go. Draws from a generator of
its own, so that a resumed run and a run with another order of things begin with the same adapter.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from gelora.errors import InputError, ModelError
from gelora.ranks import (
    InitialAdapter,
    apply_adalora,
    apply_plan,
    count_parameters,
    found_plan,
    head_modules,
    language_head,
    modules_to_save,
    save_found_lora,
    train_biases,
    train_everything,
    train_head_alone,
)
from gelora.records import INITS_OF_BASE, RankPlan, RunSpec
from gelora.runs.training.method_state import AllocatorState, BeginningState
from gelora.tasks import Task


@dataclass(frozen=True)
class Learner:
    """A model that is ready to be trained.

    model: a `peft.PeftModel`, or with bitfit and full the plain transformers model; float32, on the CPU.
    method: the spec's. plan: the ranks in use; for adalora the plan whose budget it ends with.
    n_adapter_params: of the adapter that the run leaves (for adalora at most; bitfit: the biases; full: all but the head).
    n_head_params: trained and saved whole. callbacks: for the Trainer, in this order. notes: sentences for the log.
    export: writes weights and config into a folder so that they load on the ordinary checkpoint without this package.
    initial: what adapters began with that is taken out of the base weights (PiSSA, OLoRA).
    """

    model: Any
    method: str
    plan: RankPlan | None
    n_adapter_params: int
    n_head_params: int
    callbacks: list[TrainerCallback]
    export: Callable[[Path], None]
    notes: tuple[str, ...] = ()
    initial: InitialAdapter | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether what is saved is an adapter that belongs on a checkpoint, not a model of its own."""
        return self.method not in ("bitfit", "full")

    def found_plan(self) -> RankPlan | None:
        """The ranks at present: those that AdaLoRA has found so far, else the plan's."""
        return found_plan(self.model, self.plan) if self.method == "adalora" and self.plan is not None else self.plan


def apply_method(task: Task, spec: RunSpec, plan: RankPlan | None, total_steps: int) -> Learner:
    """The task's model with the spec's method on it; the model is changed in place.

    Beside the adapter the head is trained: what the checkpoint lacks and the pooler. A causal language model has its head
    from the checkpoint; it is trained by the methods head (a copy of it, where it shares its weight with the embeddings)
    and full only. Activations can be recomputed in the backward pass (`gradient_checkpointing`) with every method.

    Args:
        task: from `gelora.tasks.build_task`, fresh.
        spec: what defines the run.
        plan: the ranks in use: the spec's plan, or what a checkpoint of a run with re-allocation says.
        total_steps: optimizer steps of the whole training.

    Raises:
        InputError: an option does not go with the plan or the model, or there is no plan where one is needed.
        ModelError: the model is not the one that the plan was made for, has no biases (bitfit), or cannot recompute
            activations.
    """
    training = spec.training
    if training.gradient_checkpointing and not getattr(task.model, "supports_gradient_checkpointing", False):
        raise ModelError(f"{type(task.model).__name__} cannot recompute its activations; turn gradient_checkpointing off.")
    with torch.random.fork_rng(devices=[]):
        # Not the seed itself, from which the head was drawn: A would repeat its numbers.
        torch.manual_seed(spec.seed + 1_000_003)
        if training.method in ("lora", "adalora"):
            if plan is None:
                raise InputError(f"Method {training.method!r} needs a rank plan.")
            return _lora(task, spec, plan) if training.method == "lora" else _adalora(task, spec, plan, total_steps)
        if training.method == "head":
            return _head(task)
        return _plain(task, training.method)


def _lora(task: Task, spec: RunSpec, plan: RankPlan) -> Learner:
    training = spec.training
    model = apply_plan(
        task.model,
        plan,
        task_type=task.peft_task_type,
        modules_to_save=modules_to_save(task.model, task.random_keys),
        lora_dropout=training.lora_dropout,
        use_dora=training.use_dora,
        init_lora_weights=training.init_lora_weights,
    )
    callbacks: list[TrainerCallback] = []
    export, initial = functools.partial(_save_adapter, model), None
    if training.init_lora_weights in INITS_OF_BASE:
        initial = InitialAdapter(model)
        callbacks.append(BeginningState(model, initial))
        export = functools.partial(initial.save_as_plain_lora, model)
    return Learner(model, "lora", plan, *count_parameters(model), callbacks, export, initial=initial)


def _adalora(task: Task, spec: RunSpec, plan: RankPlan, total_steps: int) -> Learner:
    model = apply_adalora(
        task.model,
        plan,
        total_steps,
        task_type=task.peft_task_type,
        modules_to_save=modules_to_save(task.model, task.random_keys),
        lora_dropout=spec.training.lora_dropout,
    )
    n_start, n_head = count_parameters(model)
    note = (
        f"AdaLoRA begins with {n_start:,} parameters and ends with at most the plan's {plan.n_adapter_params:,}; "
        "the loss in training holds its orthogonality term, the loss on held-out rows does not"
    )
    return Learner(
        model=model,
        method="adalora",
        plan=plan,
        n_adapter_params=plan.n_adapter_params,
        n_head_params=n_head,
        callbacks=[AllocatorState(model, losses_are_added=task.peft_task_type == "CAUSAL_LM")],
        export=functools.partial(_save_found, model, plan),
        notes=(note,),
    )


def _head(task: Task) -> Learner:
    names = _head_names(task)
    notes: tuple[str, ...] = ()
    if task.peft_task_type == "CAUSAL_LM":
        names = sorted({*names, language_head(task.model)})
        if getattr(task.model.config, "tie_word_embeddings", False):
            notes = ("the head shares its weight with the embeddings: a copy of it is trained, the embeddings stay as they are",)
    model = train_head_alone(task.model, names, task.peft_task_type)
    return Learner(model, "head", None, *count_parameters(model), [], functools.partial(_save_adapter, model), notes)


def _plain(task: Task, method: str) -> Learner:
    names = _head_names(task)
    counts = train_biases(task.model, names) if method == "bitfit" else train_everything(task.model, names)
    return Learner(task.model, method, None, *counts, [], functools.partial(_save_whole, task.model))


def _head_names(task: Task) -> list[str]:
    return head_modules(task.model, task.random_keys, task.peft_task_type)


def _save_adapter(model: Any, folder: Path) -> None:
    # The embeddings are not trained; left to itself, PEFT asks the hub whether they have changed their size.
    model.save_pretrained(folder, save_embedding_layers=False)


def _save_found(model: Any, plan: RankPlan, folder: Path) -> None:
    save_found_lora(model, plan, folder)


def _save_whole(model: Any, folder: Path) -> None:
    cached = getattr(model.config, "use_cache", None)
    try:
        if cached is False:
            model.config.use_cache = True  # training had it off; generating needs it
        model.save_pretrained(folder)
    finally:
        if cached is False:
            model.config.use_cache = False
