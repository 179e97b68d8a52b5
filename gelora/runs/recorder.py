"""How a run says how it stands, in three places at once and with the same floats: its log, state.json and MLflow.

Knows nothing of training, processes or signals.
"""

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from gelora.runs.state import RunState, now, write_state

_HEARTBEAT_SECONDS = 1.0


class Recorder:
    """Says how a run stands: log line, state.json, MLflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = RunState(status="running", pid=os.getpid(), pid_create_time=psutil.Process().create_time(), started_at=now())
        self.tracker: Any = None
        self._last_write = 0.0
        self._write()

    def line(self, text: str) -> None:
        """One line into the log."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def stage(self, text: str) -> None:
        """What begins now."""
        self.state.stage = text
        self.line(f"[{now()}] {text}")
        self._write()

    def notes(self, **values: Any) -> None:
        """Facts of the run into state.json."""
        self.state = dataclasses.replace(self.state, **values)
        self._write()

    def values(self, step: int, values: dict[str, float]) -> None:
        """Log one event: repr of a float is exact, so that log, store and page agree to the last bit."""
        total = self.state.total_steps or "?"
        self.line(f"step {step}/{total} " + " ".join(f"{name}={value!r}" for name, value in values.items()))
        if self.tracker is not None:  # before state.json, so that who sees a step there finds it in the store
            self.complain(self.tracker.log(values, step))
        self.state.metrics |= values
        self.state.step = step
        self._write()

    def progress(self, step: int, total_steps: int, seconds_left: float | None, examples_per_second: float | None) -> None:
        """Keep the heartbeat going, once a second at most."""
        self.state.step, self.state.total_steps = step, total_steps
        self.state.seconds_left, self.state.examples_per_second = seconds_left, examples_per_second
        if step == 0 or time.monotonic() - self._last_write > _HEARTBEAT_SECONDS:
            self._write()

    def end(self, status: str, reason: str | None) -> None:
        """The last word: MLflow first, so that who sees the end in state.json finds everything there."""
        self.line(f"[{now()}] {status}{f': {reason}' if reason else ''}")
        if self.tracker is not None:
            if reason:
                self.complain(self.tracker.tag("gelora.reason", reason))
            self.complain(self.tracker.end(status))
        self.state = dataclasses.replace(self.state, status=status, reason=reason, stage="ended", ended_at=now(), seconds_left=None)
        self._write()

    def complain(self, problem: str | None) -> None:
        """A warning into the log, when there is one."""
        if problem is not None:
            self.line(f"[{now()}] warning: {problem}")

    def _write(self) -> None:
        self.state.heartbeat_at, self._last_write = now(), time.monotonic()
        write_state(self.folder, self.state)
