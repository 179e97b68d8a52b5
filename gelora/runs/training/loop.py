"""The fine-tuning loop: Hugging Face's Trainer replayed where that is faster, resumed exactly, in smaller parts when memory is out.

Works on a task, a learner and a training config; does not depend on processes, signals or where reports go.
"""

import dataclasses
import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EvalPrediction, PrinterCallback, TrainerState, TrainingArguments

from gelora.errors import StoreError
from gelora.records import TrainingConfig, resolve_device
from gelora.runs.training import checkpoints
from gelora.runs.training.data_order import GroupedByLength
from gelora.runs.training.graphs import widened
from gelora.runs.training.precision import hold_frozen_in_bfloat16, may_be_held
from gelora.runs.training.step_trainer import StepTrainer
from gelora.runs.training.watch import Last, Report, Watch
from gelora.tasks import Task

if TYPE_CHECKING:
    from gelora.runs.training.geometry_probe import GeometryProbe
    from gelora.runs.training.methods import Learner

_MEANS_OVER_TOKENS = ("causal-lm", "instruction")
_LABELS = ("labels", "start_positions", "end_positions")


def total_steps(config: TrainingConfig, n_rows: int) -> int:
    """Optimizer steps that training on `n_rows` rows takes."""
    return math.ceil(config.epochs * math.ceil(n_rows / (config.batch_size * config.gradient_accumulation)))


def warmup_steps(config: TrainingConfig, n_steps: int) -> int:
    """Of the optimizer steps of a training, those in which the learning rate rises."""
    return math.ceil(config.warmup_ratio * n_steps)


def train(
    task: Task,
    learner: "Learner",
    config: TrainingConfig,
    seed: int,
    folder: Path,
    report: Report,
    stop_requested: Callable[[], bool],
    resume_from: Path | None = None,
    probe: "GeometryProbe | None" = None,
) -> bool:
    """Train `learner.model` in place; returns whether it ran to its planned end (False: it was stopped).

    At the end, at every evaluation and when stopped, a checkpoint (weights, optimizer, scheduler, random states) is saved
    into `folder` and sealed; the last two are kept. A run resumed from one ends with the weights of a run that was
    never interrupted: the order of the rows follows from the seed alone, and evaluating leaves the random states as they
    are. The optimizer is AdamW, as in the GeLoRA paper.

    Args:
        task: what to learn.
        learner: the model with its method applied, and the method's callbacks.
        config: how.
        seed: of the order of the rows and of dropout.
        folder: for checkpoints.
        report: gets every logged value and the progress.
        stop_requested: asked after every step and every evaluation.
        resume_from: a whole checkpoint of the same run, whose plan `learner` has.
        probe: measures the dimension of the layers while they are trained; called first, so that it counts for no rate.

    Raises:
        Diverged: the loss became infinite or not a number.
        InputError: the device is not there.
        StoreError: the checkpoint counts other optimizer steps than this training has.
    """
    device = resolve_device(config.device)
    if resume_from is not None:
        _check_same_steps(resume_from, total_steps(config, len(task.train)))
    checkpoints.clear(folder, resume_from)
    part = config.batch_size
    untrained = _trainable(learner.model) if config.auto_batch and device == "cuda" else {}
    bf16 = runs_in_bfloat16(config, device)
    if bf16 and may_be_held(config.method, config.use_dora, config.init_lora_weights):
        hold_frozen_in_bfloat16(learner.model)
    while True:
        trainer = _trainer(task, learner, config, seed, folder, report, stop_requested, probe, device, part)
        try:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
        except torch.OutOfMemoryError:
            if not (config.auto_batch and device == "cuda") or part == 1:
                raise
        else:
            return bool(trainer.state.global_step >= trainer.state.max_steps)
        part = -(-part // 2)
        del trainer
        gc.collect()
        torch.cuda.empty_cache()
        resume_from = checkpoints.last_whole(folder)
        if probe is not None:
            probe.rewind(resume_from)
        if resume_from is None:
            _restore(learner.model, untrained)
        n_parts = -(-config.batch_size * config.gradient_accumulation // part)
        report.say(f"out of memory: now {part} rows at a time, {n_parts} times an optimizer step, from {_where(resume_from)}")


def _check_same_steps(checkpoint: Path, planned: int) -> None:
    """Raise where the checkpoint's steps hold other rows: earlier versions took more a step once an odd batch was halved."""
    found = TrainerState.load_from_json(str(checkpoint / "trainer_state.json")).max_steps
    if found != planned:
        raise StoreError(
            f"{checkpoint} belongs to a training of {found} optimizer steps, and this one has {planned}: its steps held other rows. "
            "Start a new run."
        )


def runs_in_bfloat16(config: TrainingConfig, device: str) -> bool:
    """Whether a run computes its matrix products in bfloat16: as asked, or where the GPU can."""
    return config.precision == "bfloat16" or (config.precision == "auto" and device == "cuda" and torch.cuda.is_bf16_supported())


def _where(checkpoint: Path | None) -> str:
    return f"step {checkpoints.step_of(checkpoint)}" if checkpoint else "the start"


def _trainable(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def _restore(model: torch.nn.Module, values: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name in values:
            parameter.copy_(values[name])
            parameter.grad = None


def _trainer(
    task: Task,
    learner: "Learner",
    config: TrainingConfig,
    seed: int,
    folder: Path,
    report: Report,
    stop_requested: Callable[[], bool],
    probe: "GeometryProbe | None",
    device: str,
    part: int,
) -> StepTrainer:
    lengths = [len(row["input_ids"]) for row in task.train]
    step_rows = config.batch_size * config.gradient_accumulation
    order = GroupedByLength(lengths, step_rows, seed, lambda: trainer.state.global_step // order.steps_per_epoch)
    watch = Watch(order, report, stop_requested)

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        if task.generate is None:
            report.examples(trainer.state.global_step, task.show(prediction.predictions))
        return task.score(prediction.predictions, prediction.label_ids)

    def go_on_from_prompts() -> None:
        if task.generate is not None:
            with torch.autocast(device, torch.bfloat16, enabled=trainer.args.bf16):
                report.examples(trainer.state.global_step, task.generate(learner.model))

    collate = task.collate
    graphed = (
        device == "cuda"
        and not task.without_padding
        and part >= step_rows
        and not config.gradient_checkpointing
        and config.method != "adalora"
    )
    if graphed:
        collate = widened(collate, task.tokenizer.pad_token_id, max(lengths))
    trainer = StepTrainer(
        order,
        go_on_from_prompts,
        report.say if graphed else None,
        part,
        task.kind in _MEANS_OVER_TOKENS,
        task.without_padding,
        model=learner.model,
        args=_arguments(task, config, seed, folder, device, part),
        train_dataset=task.train,
        eval_dataset=task.held_out,
        data_collator=collate,
        compute_metrics=metrics,
        preprocess_logits_for_metrics=task.reduce,
        callbacks=[*([probe] if probe else []), watch, *learner.callbacks, Last(watch)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints rounded values; the report has them whole
    return trainer


def _arguments(task: Task, config: TrainingConfig, seed: int, folder: Path, device: str, part: int) -> TrainingArguments:
    total = total_steps(config, len(task.train))
    eval_every = config.eval_every or max(1, math.ceil(total / 4))
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size * config.gradient_accumulation,  # `StepTrainer` takes it in parts
        per_device_eval_batch_size=max(32, part),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=warmup_steps(config, total),
        optim="adamw_torch_fused" if device == "cuda" else "adamw_torch",
        seed=seed,
        data_seed=seed,
        use_cpu=device == "cpu",
        bf16=runs_in_bfloat16(config, device),
        dataloader_pin_memory=device == "cuda",
        dataloader_num_workers=config.loader_workers,
        dataloader_persistent_workers=config.loader_workers > 0,
        logging_strategy="steps",
        logging_steps=config.log_every or max(1, total // 100),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # the default shows the last good loss in place of NaN
        eval_strategy="steps",
        eval_steps=eval_every,
        save_strategy="steps",
        save_steps=eval_every,
        save_total_limit=checkpoints.KEPT,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=[name for name in _LABELS if name in task.held_out[0]],
        **(_recomputing() if config.gradient_checkpointing else {}),
    )


def _recomputing() -> dict[str, Any]:
    """Activations recomputed in the backward pass, by the name that this transformers has for it."""
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = next(name for name in ("activation_checkpointing", "gradient_checkpointing") if name in known)
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


__all__ = ["runs_in_bfloat16", "total_steps", "train", "warmup_steps"]
