"""A run's progress, written to three places with the same floats: log.txt, metrics.jsonl and state.json.

Log and metrics are written at once, state.json about once a second by a thread of its own, which is the run's heartbeat.
Trackers that a person asked for get the same values. Does not depend on training, processes or signals.
"""

import dataclasses
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from gelora.errors import StoreError
from gelora.home import write_atomically
from gelora.masking import without_secrets
from gelora.runs.records.metrics_file import begin_metrics_file
from gelora.runs.records.state import RunState, now, write_state
from gelora.runs.records.trackers import Trackers
from gelora.tasks import ShownExample

_SECONDS = 1.0

# Values that are in state.json under a name of their own too, for the status line.
_IN_STATE: dict[str, Callable[[float], float]] = {
    "examples_per_second": float,
    "tokens_per_second": float,
    "gpu_memory_bytes": int,
    "gpu_utilisation": float,
}


class Recorder:
    """Writes a run's progress. What could not be written to disk is raised at the call, of state.json at the next one."""

    def __init__(self, folder: Path, state: RunState | None = None) -> None:
        """
        Args:
            folder: the run's.
            state: the earlier state, of a run that was queued or is resumed.

        Raises:
            StoreError: the state cannot be written.
        """
        self.folder = folder
        self.state = dataclasses.replace(
            state or RunState(started_at=now()),
            status="running",
            progressed_at=None,
            step_seconds=None,
            longest_pause_seconds=0.0,
            pid=os.getpid(),
            pid_create_time=psutil.Process().create_time(),
        )
        self.trackers: Trackers | None = None
        self._lock = threading.RLock()
        self._metrics = begin_metrics_file(folder, self.state)
        self._problem: Exception | None = None
        self._went_on: tuple[float, int] | None = None  # when training last went on, and its step
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, name="recorder", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """One line into the log."""
        sys.stdout.write(without_secrets(text) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A sentence into the log, with the time."""
        self.line(f"[{now()}] {text}")

    def stage(self, text: str) -> None:
        """The stage that begins now, into log and state."""
        self.say(text)
        self.notes(stage=text, progressed_at=None)

    def notes(self, **values: Any) -> None:
        """Facts of the run into state.json, at once."""
        self._raise_problem()
        with self._lock:
            self.state = dataclasses.replace(self.state, **values)
            self._write()

    def values(self, step: int, values: dict[str, float]) -> None:
        """Log one event: repr of a float is exact, so that log, metrics and page agree to the last bit."""
        self._raise_problem()
        total = self.state.total_steps or "?"
        self.line(f"step {step}/{total} " + " ".join(f"{name}={value!r}" for name, value in values.items()))
        self._metrics.append(step, values)
        self._goes_on(self.state.step)
        if self.trackers is not None:
            self.trackers.log(step, {name: value for name, value in values.items() if math.isfinite(value)})
        with self._lock:
            self.state.metrics |= values
            for name in _IN_STATE.keys() & values.keys():
                setattr(self.state, name, _IN_STATE[name](values[name]))

    def latest(self) -> dict[str, float]:
        """The last value of every name."""
        with self._lock:
            return dict(self.state.metrics)

    def progress(self, step: int, total_steps: int, seconds_left: float | None) -> None:
        """How far training is; reaches state.json with the next heartbeat."""
        self._goes_on(step)
        with self._lock:
            self.state.step, self.state.total_steps, self.state.seconds_left = step, total_steps, seconds_left

    def _goes_on(self, step: int) -> None:
        """A sign that training goes on, which the heartbeat alone, another thread's, is not."""
        moment = time.monotonic()
        with self._lock:
            state, before = self.state, self._went_on
            if before is not None:
                state.longest_pause_seconds = max(state.longest_pause_seconds, moment - before[0])
                if step > before[1]:
                    taken = (moment - before[0]) / (step - before[1])
                    state.step_seconds = taken if state.step_seconds is None else 0.9 * state.step_seconds + 0.1 * taken
            state.progressed_at, self._went_on = now(), (moment, step)

    def examples(self, step: int, shown: list[ShownExample]) -> None:
        """A few held-out examples with the present answers, into examples.json."""
        rows = [dataclasses.asdict(example) for example in shown]
        write_atomically(self.folder / "examples.json", json.dumps({"step": step, "rows": rows}, indent=1).encode())

    def end(self, status: str, reason: str | None) -> None:
        """Record the end: trackers first, so that everything is there once state.json says so."""
        self._ended.set()
        self._thread.join()
        self.say(f"{status}{f': {reason}' if reason else ''}")
        if self.trackers is not None:
            self.trackers.end(status, reason)
        self._metrics.close()
        self.state = dataclasses.replace(
            self.state, status=status, reason=reason, stage="ended", progressed_at=None, ended_at=now(), seconds_left=None
        )
        self._write()

    def keep(self) -> None:
        """Force every value to disk: a checkpoint must have all that was logged before it.

        Raises:
            StoreError: the disk is full.
        """
        self._raise_problem()
        self._metrics.sync()

    def warn(self, sentence: str) -> None:
        """A warning into the log."""
        self.say(f"warning: {sentence}")

    def _beat(self) -> None:
        while not self._ended.wait(_SECONDS):
            try:
                with self._lock:
                    self._write()
            except StoreError as error:
                self._problem = error

    def _write(self) -> None:
        self.state.heartbeat_at = now()
        write_state(self.folder, self.state)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
