"""The fine-tuning loop: Hugging Face's Trainer, watched by a callback that reports, stops and notices divergence.

Knows a built task and a training config; knows nothing of processes, signals, MLflow or where reports go.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import DataCollatorWithPadding, EvalPrediction, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from gelora.errors import InputError, RunError
from gelora.records import TrainingConfig
from gelora.runs.tasks import Task

# What the Trainer says beside the point: the same rates in other units, and times that the run's record has.
_RATES = ("runtime", "samples_per_second", "steps_per_second")
_LEFT_OUT = frozenset(["total_flos", "eval_model_preparation_time", *(f"{part}_{rate}" for part in ("train", "eval") for rate in _RATES)])


class Diverged(RunError):
    """The loss is not a finite number any more."""


class Report(Protocol):
    """Who listens to a training run."""

    def values(self, step: int, values: dict[str, float]) -> None:
        """The values of one log event, as they are: the same floats go to the log, the store and the page."""

    def progress(self, step: int, total_steps: int, seconds_left: float | None, examples_per_second: float | None) -> None:
        """How far training is; called after every step."""


def choose_device(config: TrainingConfig) -> str:
    """`cuda` or `cpu`, as the config asks and the machine has it.

    Raises:
        InputError: cuda is asked for, but not there.
    """
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise InputError("Device 'cuda' was asked for, but PyTorch sees no CUDA device here; choose 'cpu' or 'auto'.")
    return "cuda" if available and config.device != "cpu" else "cpu"


def train(task: Task, config: TrainingConfig, seed: int, checkpoints: Path, report: Report, stop_requested: Callable[[], bool]) -> bool:
    """Train `task.model` in place; returns whether it came to its planned end (False: it was stopped).

    At the end, at every evaluation and when stopped, a checkpoint (adapter, head, optimizer, scheduler, random states)
    is saved into `checkpoints`, the last one is kept. The optimizer is AdamW, as in the GeLoRA paper.

    Args:
        task: what to learn.
        config: how.
        seed: of the order of the rows and of dropout.
        checkpoints: folder for checkpoints.
        report: gets every logged value and the progress.
        stop_requested: asked after every step and every evaluation.

    Raises:
        Diverged: the loss became infinite or not a number.
        InputError: the device is not there.
    """
    total = math.ceil(config.epochs * math.ceil(len(task.train) / config.batch_size))
    watch = _Watch(len(task.train), report, stop_requested)
    trainer = Trainer(
        model=task.model,
        args=_arguments(config, seed, checkpoints, total),
        train_dataset=task.train,
        eval_dataset=task.held_out,
        data_collator=DataCollatorWithPadding(task.tokenizer),
        compute_metrics=lambda prediction: _metrics(task, prediction),
        preprocess_logits_for_metrics=_logits_alone,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # it prints rounded values; the report has them whole
    trainer.train()
    ended = trainer.state.global_step >= trainer.state.max_steps
    if ended and watch.evaluated_at != trainer.state.global_step:
        trainer.evaluate()
    return ended


def _arguments(config: TrainingConfig, seed: int, checkpoints: Path, total: int) -> TrainingArguments:
    device = choose_device(config)
    bf16 = config.precision == "bfloat16" or (config.precision == "auto" and device == "cuda" and torch.cuda.is_bf16_supported())
    eval_every = config.eval_every or max(1, math.ceil(total / 4))
    options: dict[str, Any] = {
        "output_dir": str(checkpoints),
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": max(32, config.batch_size),
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "warmup_steps": math.ceil(config.warmup_ratio * total),
        "optim": "adamw_torch",
        "seed": seed,
        "data_seed": seed,
        "use_cpu": device == "cpu",
        "bf16": bf16,
        "dataloader_pin_memory": device == "cuda",
        "logging_strategy": "steps",
        "logging_steps": config.log_every or max(1, total // 100),
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # the default shows the last good loss in place of NaN
        "eval_strategy": "steps",
        "eval_steps": eval_every,
        "save_strategy": "steps",
        "save_steps": eval_every,
        "save_total_limit": 1,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    # Texts of like length share a batch: less padding, about a third of the time saved on short texts.
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    options |= {"train_sampling_strategy": "group_by_length"} if "train_sampling_strategy" in known else {"group_by_length": True}
    return TrainingArguments(**options)


def _metrics(task: Task, prediction: EvalPrediction) -> dict[str, float]:
    return task.metrics(prediction.predictions, prediction.label_ids)


def _logits_alone(logits: Any, _labels: Any) -> torch.Tensor:
    """Some models answer with more than logits (past keys and values); keep what the metric needs."""
    return logits[0] if isinstance(logits, tuple | list) else logits


class _Watch(TrainerCallback):
    """Reports what the Trainer logs, asks whether to stop, and ends a run whose loss is no number."""

    def __init__(self, n_train: int, report: Report, stop_requested: Callable[[], bool]) -> None:
        self._n_train = n_train
        self._report = report
        self._stop_requested = stop_requested
        self._started = self._last_time = self._evaluation_began = 0.0
        self._last_epoch = 0.0
        self._pause = 0.0
        self._rate: float | None = None
        self.evaluated_at = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = self._last_time = time.monotonic()
        self._report.progress(0, state.max_steps, None, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tell(state)
        if self._stop_requested():
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False
        if control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True  # no step is left out of the log
        if control.should_evaluate or control.should_save:
            self._evaluation_began = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.evaluated_at = state.global_step
        if self._stop_requested():
            control.should_training_stop = control.should_save = True

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._evaluation_began:  # evaluating and saving count for the time left, but not for the throughput
            self._pause += time.monotonic() - self._evaluation_began
            self._evaluation_began = 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        values = {name: float(value) for name, value in (logs or {}).items() if name not in _LEFT_OUT}
        if "loss" in values:
            self._measure_rate(state)
            if self._rate is not None:
                values["examples_per_second"] = self._rate
        else:
            values.pop("epoch", None)  # the loss of this step has it already
        if values:
            self._report.values(state.global_step, values)
            self._tell(state)
        for name in ("loss", "eval_loss"):
            if not math.isfinite(values.get(name, 0.0)):
                what = "loss" if name == "loss" else "loss on the held-out rows"
                raise Diverged(
                    f"diverged: the {what} became {values[name]} at step {state.global_step}; "
                    f"lower the learning rate (now {args.learning_rate:g}) or check the model's weights"
                )

    def _measure_rate(self, state: Any) -> None:
        now = time.monotonic()
        seconds = now - self._last_time - self._pause
        if seconds > 0:
            self._rate = (state.epoch - self._last_epoch) * self._n_train / seconds
        self._last_time, self._last_epoch, self._pause = now, state.epoch, 0.0

    def _tell(self, state: Any) -> None:
        elapsed, done = time.monotonic() - self._started, state.global_step
        left = elapsed / done * (state.max_steps - done) if done else None
        self._report.progress(done, state.max_steps, left, self._rate)
