"""The callback that watches a training run: reports what the Trainer logs, asks whether to stop, notices divergence.

Does not depend on where reports go. Reading a clock and the GPU's counters is all it costs.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import TrainerCallback

from gelora.errors import RunError
from gelora.runs.training.checkpoints import seal
from gelora.runs.training.data_order import GroupedByLength
from gelora.tasks import ShownExample

# What the Trainer says beside the point: the same rates in other units, and times that the run's record has.
_RATES = ("runtime", "samples_per_second", "steps_per_second", "loss")
_LEFT_OUT = frozenset(
    ["total_flos", "eval_model_preparation_time", *(f"train_{rate}" for rate in _RATES), *(f"eval_{rate}" for rate in _RATES[:3])]
)
_UTILISATION_SECONDS = 1.0


class Diverged(RunError):
    """The loss is not a finite number any more."""


class Report(Protocol):
    """The receiver of a training run's values and progress."""

    def values(self, step: int, values: dict[str, float]) -> None:
        """The values of one log event, as they are: the same floats go to the log, the store and the page."""

    def progress(self, step: int, total_steps: int, seconds_left: float | None) -> None:
        """How far training is; called after every step, and at every batch of an evaluation."""

    def examples(self, step: int, shown: list[ShownExample]) -> None:
        """A few held-out examples with the model's present answers."""

    def say(self, text: str) -> None:
        """A sentence for the log."""

    def keep(self) -> None:
        """Return when everything reported so far is kept: called before a checkpoint counts."""


class Watch(TrainerCallback):
    """Reports what the Trainer logs, asks whether to stop, and ends a run whose loss is not a finite number."""

    def __init__(self, order: GroupedByLength, report: Report, stop_requested: Callable[[], bool]) -> None:
        self._order = order
        self.report = report
        self._stop_requested = stop_requested
        self._started = self._logged_at = self._pause_began = self._pause = 0.0
        self._first_step = self._logged_step = 0
        self._utilisation = _Utilisation()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = self._logged_at = time.monotonic()
        self._first_step = self._logged_step = state.global_step
        self.report.progress(state.global_step, state.max_steps, None)

    def pause(self) -> None:
        """What comes until the next step counts for the time left, but not for the throughput."""
        self._pause_began = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._pause_began:
            self._pause += time.monotonic() - self._pause_began
            self._pause_began = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tell(state)
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        elif self._stop_requested():
            control.should_training_stop = control.should_save = True

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tell(state)  # an evaluation may take long: it goes on all the same

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stop_requested():
            control.should_training_stop = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        values = {name: float(value) for name, value in (logs or {}).items() if name not in _LEFT_OUT}
        if "loss" in values:
            values |= self._rates(state)
        else:
            values.pop("epoch", None)  # the loss of this step has it already
        if values:
            self.report.values(state.global_step, values)
            self._tell(state)
        for name in ("loss", "eval_loss"):
            if not math.isfinite(values.get(name, 0.0)):
                what = "loss" if name == "loss" else "loss on the held-out rows"
                raise Diverged(
                    f"diverged: the {what} became {values[name]} at step {state.global_step}; "
                    f"lower the learning rate (now {args.learning_rate:g}) or check the model's weights"
                )

    def _rates(self, state: Any) -> dict[str, float]:
        now, step = time.monotonic(), state.global_step
        seconds = now - self._logged_at - self._pause
        rates: dict[str, float] = {}
        if seconds > 0 and step > self._logged_step:
            rates["examples_per_second"] = self._order.rows_between(self._logged_step, step) / seconds
            rates["tokens_per_second"] = self._order.tokens_between(self._logged_step, step) / seconds
        self._logged_at, self._logged_step, self._pause = now, step, 0.0
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            rates["gpu_memory_bytes"] = float(torch.cuda.max_memory_reserved())
            rates |= self._utilisation.now()
        return rates

    def _tell(self, state: Any) -> None:
        elapsed, done = time.monotonic() - self._started, state.global_step - self._first_step
        left = elapsed / done * (state.max_steps - state.global_step) if done else None
        self.report.progress(state.global_step, state.max_steps, left)


class Last(TrainerCallback):
    """Runs after all other callbacks: what is evaluated or saved is logged first, what is saved is sealed."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_evaluate or control.should_save or control.should_training_stop:
            # The loss is a mean since the last log, which no checkpoint holds: a resumed run has to begin a new mean too.
            control.should_log = True
            self._watch.pause()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.report.keep()
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class _Utilisation:
    """GPU utilisation, 0 to 1, read at most once a second; nothing without NVML."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._known: dict[str, float] = {}

    def now(self) -> dict[str, float]:
        if time.monotonic() - self._asked_at >= _UTILISATION_SECONDS:
            self._asked_at = time.monotonic()
            try:
                self._known = {"gpu_utilisation": torch.cuda.utilization() / 100}
            except (ModuleNotFoundError, RuntimeError):  # no nvidia-ml-py, or a driver that does not answer
                self._known, self._asked_at = {}, math.inf
        return self._known
