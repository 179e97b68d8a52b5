"""How a run says how it stands, in three places and with the same floats: its log, state.json and MLflow.

Knows nothing of training, processes or signals. The log is written at once; the store and state.json by a thread of their
own, so that training does not wait for a database: about once a second, and more rarely where the store is slow. What is
not in the store when a checkpoint is made lies in unsent.json, and is sent by whoever goes on from that checkpoint.
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
from gelora.runs.records.state import RunState, now, write_state
from gelora.tasks import ShownExample

_SECONDS = 1.0
_SLOWEST_SECONDS = 4.0
_COST_SHARE = 100  # between two writes lies this many times what the last one took: 1% of the time
_UNSENT = "unsent.json"

# Values that stand in state.json under a name of their own too, for the status line.
_IN_STATE: dict[str, Callable[[float], float]] = {
    "examples_per_second": float,
    "tokens_per_second": float,
    "gpu_memory_bytes": int,
    "gpu_utilisation": float,
}


class Recorder:
    """Says how a run stands. What could not be written to disk is raised at the next call; MLflow's refusals are warnings."""

    def __init__(self, folder: Path, state: RunState | None = None) -> None:
        """
        Args:
            folder: the run's.
            state: how it stood before, of a run that was queued or is resumed.

        Raises:
            StoreError: the state cannot be written.
        """
        self.folder = folder
        self.state = dataclasses.replace(
            state or RunState(started_at=now()),
            status="running",
            pid=os.getpid(),
            pid_create_time=psutil.Process().create_time(),
        )
        self.tracker: Any = None
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._pending: list[tuple[int, dict[str, float]]] = self._left_unsent()
        self._on_its_way: list[tuple[int, dict[str, float]]] = []
        self._problem: Exception | None = None
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._go_on_writing, name="recorder", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """One line into the log."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A sentence into the log, with the time."""
        self.line(f"[{now()}] {text}")

    def stage(self, text: str) -> None:
        """What begins now."""
        self.say(text)
        self.notes(stage=text)

    def notes(self, **values: Any) -> None:
        """Facts of the run into state.json, at once."""
        self._raise_problem()
        with self._lock:
            self.state = dataclasses.replace(self.state, **values)
            self._write()

    def values(self, step: int, values: dict[str, float]) -> None:
        """Log one event: repr of a float is exact, so that log, store and page agree to the last bit."""
        self._raise_problem()
        total = self.state.total_steps or "?"
        self.line(f"step {step}/{total} " + " ".join(f"{name}={value!r}" for name, value in values.items()))
        with self._lock:
            self._pending.append((step, dict(values)))

    def latest(self) -> dict[str, float]:
        """The last value of every name, those that are not yet written among them."""
        with self._lock:
            return {name: value for values in (self.state.metrics, *(v for _, v in self._pending)) for name, value in values.items()}

    def progress(self, step: int, total_steps: int, seconds_left: float | None) -> None:
        """How far training is; reaches state.json with the next heartbeat."""
        with self._lock:
            self.state.step, self.state.total_steps, self.state.seconds_left = step, total_steps, seconds_left

    def examples(self, step: int, shown: list[ShownExample]) -> None:
        """A few held-out examples with the present answers, into examples.json."""
        rows = [dataclasses.asdict(example) for example in shown]
        write_atomically(self.folder / "examples.json", json.dumps({"step": step, "rows": rows}, indent=1).encode())

    def end(self, status: str, reason: str | None) -> None:
        """The last word: MLflow first, so that who sees the end in state.json finds everything there."""
        self._ended.set()
        self._thread.join()
        self.say(f"{status}{f': {reason}' if reason else ''}")
        self._flush()
        if self.tracker is not None:
            if reason:
                self.complain(self.tracker.tag("gelora.reason", reason))
            self.complain(self.tracker.end(status))
        self.state = dataclasses.replace(self.state, status=status, reason=reason, stage="ended", ended_at=now(), seconds_left=None)
        self._write()

    def keep(self) -> None:
        """Keep everything said so far, in a file where the store does not have it yet: a checkpoint is to have all before it.

        Raises:
            StoreError: the disk is full.
        """
        self._raise_problem()
        with self._lock:
            unsent = [*self._on_its_way, *self._pending]
            if unsent:
                # A value that is no number is in the log and nowhere else, as in the store.
                finite = [(step, {name: value for name, value in values.items() if math.isfinite(value)}) for step, values in unsent]
                write_atomically(self.folder / _UNSENT, json.dumps(finite).encode())

    def complain(self, problem: str | None) -> None:
        """A warning into the log, when there is one."""
        if problem is not None:
            self.say(f"warning: {problem}")

    def _go_on_writing(self) -> None:
        pause = _SECONDS
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._flush()
            except StoreError as error:
                self._problem = error
            pause = min(_SLOWEST_SECONDS, max(_SECONDS, _COST_SHARE * (time.monotonic() - began)))

    def _flush(self) -> None:
        """The store first, then state.json: who sees a value in the state finds it in the store."""
        with self._flushing:
            with self._lock:
                if self.tracker is None and not self._ended.is_set():
                    self._write()
                    return
                pending, self._pending = self._pending, []
                self._on_its_way = pending
            problem = self.tracker.log(pending) if self.tracker is not None else None
            self.complain(problem)
            with self._lock:
                self._on_its_way = []
                if problem is None and not self._pending:
                    (self.folder / _UNSENT).unlink(missing_ok=True)
                for _, values in pending:
                    self.state.metrics |= values
                    for name in _IN_STATE.keys() & values.keys():
                        setattr(self.state, name, _IN_STATE[name](values[name]))
                self._write()

    def _left_unsent(self) -> list[tuple[int, dict[str, float]]]:
        """What an attempt before this one could not send any more."""
        try:
            return [(int(step), dict(values)) for step, values in json.loads((self.folder / _UNSENT).read_bytes())]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            self.say(f"warning: {_UNSENT} is damaged ({error}); some values of the attempt before are in its log alone")
            return []

    def _write(self) -> None:
        self.state.heartbeat_at = now()
        write_state(self.folder, self.state)

    def _raise_problem(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
