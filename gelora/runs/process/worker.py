"""What a run process does: `python -m gelora.runs.process.worker RUN_ID`: wait for its turn, then work.

SIGTERM or SIGINT asks it to stop: at once while it waits or is setting up, after the step when it trains. Every end is a sentence in
the run's record. Nothing heavy is loaded before its turn has come. What the run does then is `work`'s.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import psutil

from gelora.errors import GeloraError, InputError, StoreError
from gelora.masking import without_secrets
from gelora.records import RunSpec
from gelora.runs.process import processes, queue, reasons
from gelora.runs.process.status import settle_lock
from gelora.runs.process.work import work
from gelora.runs.records import final_status
from gelora.runs.records.recorder import Recorder
from gelora.runs.records.state import LIVE, RunState, now, read_launch, read_spec, read_state, run_folder, write_state

_HEARTBEAT_SECONDS = 3.0


class StopRequested(BaseException):
    """Raised by SIGTERM or SIGINT while nothing is worth saving; not an Exception, so that no library swallows it."""


class StopSwitch:
    """SIGTERM and SIGINT, as a flag that training polls and as an exception while `raises` is set."""

    def __init__(self) -> None:
        self.requested = False
        self.raises = False

    def __call__(self) -> bool:
        return self.requested

    def install(self) -> None:
        """Take over both signals, also where they were inherited as ignored."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def arm(self, raises: bool) -> None:
        """Set whether the next signal raises; raises now if one has come already."""
        self.raises = raises
        if self.requested:
            raise StopRequested

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.requested = True
        if self.raises:
            raise StopRequested


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the run of the given id.

    Returns 0 when it finished or was stopped, 1 when it failed, 2 for a bad call, 74 when its end could be written nowhere.
    """
    stop = StopSwitch()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if len(given) != 1:
            raise InputError("Usage: python -m gelora.runs.process.worker RUN_ID")
        folder = run_folder(given[0])
        stop.install()
        state = _take_over(folder)
    except GeloraError as error:
        sys.stderr.write(f"{error}\n")
        return reasons.EXIT_UNRECORDED if isinstance(error, StoreError) else 2
    recorder: Recorder | None = None
    spec: RunSpec | None = None
    try:
        final_status.reserve(folder)
        spec = read_spec(folder)
        slot = _wait(folder, state, spec, stop)
        state = dataclasses.replace(state, slot=slot, queue_place=None)
        recorder = Recorder(folder, state)
        stop.arm(raises=True)
        status, reason = work(spec, recorder, stop, read_launch(folder).report_to)
    except StopRequested:
        status, reason = "stopped", _stopped_early(state)
    except Exception as error:  # noqa: BLE001  (every failure of a run ends as a sentence in its record)
        stop.raises = False
        if not isinstance(error, GeloraError):
            _try_to_print_traceback()
        status, reason = "failed", reasons.of_error(error, spec)
    stop.raises = False
    return _end(folder, recorder, state, status, reason)


def _take_over(folder: Path) -> RunState:
    """Record this process as the run's.

    Raises:
        InputError: the run has ended.
        StoreError: its state is damaged or cannot be written.
    """
    with settle_lock(folder):
        state = read_state(folder) or RunState(started_at=now())
        if state.status not in LIVE:
            raise InputError(f"Run {folder.name} is already {state.status}; resume it, or start a new one.")
        pid, created = processes.me()
        state = dataclasses.replace(state, status="queued", pid=pid, pid_create_time=created, heartbeat_at=now())
        write_state(folder, state)
        return state


def _wait(folder: Path, state: RunState, spec: RunSpec, stop: StopSwitch) -> str:
    """Wait for the run's turn, and let this process see its device alone; returns the device's slot."""
    launch = read_launch(folder)
    pid, created = processes.me()
    ticket = queue.Ticket(folder.name, launch.taken_at_ns or time.time_ns(), spec.training.device, launch.runs_at_once, pid, created)
    said: dict[str, Any] = {"place": None, "at": 0.0}

    def tell(place: int) -> None:
        if place == said["place"] and time.monotonic() - said["at"] < _HEARTBEAT_SECONDS:
            return
        if said["place"] is None:
            _print(f"[{now()}] waiting for its turn")
        said.update(place=place, at=time.monotonic())
        state.queue_place, state.stage, state.heartbeat_at = place, "waiting for its turn", now()
        write_state(folder, state)

    def asked_to_stop() -> bool:
        return stop.requested or (folder / "stop.json").exists()

    slot = queue.wait_for_turn(ticket, asked_to_stop, tell)
    if slot is None or asked_to_stop():
        raise StopRequested
    if slot.visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.visible  # the Trainer would spread over every GPU it sees
    return slot.name


def _stopped_early(state: RunState) -> str:
    if state.attempts > 1 and state.step > 0:
        return f"stopped before training went on; the last checkpoint is checkpoints/checkpoint-{state.step}"
    return "stopped before training began"


def _end(folder: Path, recorder: Recorder | None, state: RunState, status: str, reason: str | None) -> int:
    """Write the end of the run: the usual way, or the state alone, or into the space reserved for it."""
    code = 1 if status == "failed" else 0
    try:
        if recorder is not None:
            recorder.end(status, reason)
            return code
    except Exception as error:  # noqa: BLE001  (the disk may be full, the log and the store with it: the state is tried alone)
        if status != "failed":
            status, reason = "failed", reasons.of_error(error, None)
        code = 1
    if recorder is not None:
        state = recorder.state
    ended = dataclasses.replace(state, status=status, reason=reason, stage="ended", ended_at=now(), seconds_left=None, queue_place=None)
    try:
        write_state(folder, ended)
        _print(f"[{now()}] {status}{f': {reason}' if reason else ''}")
    except StoreError:
        try:
            final_status.write(folder, status, reason)
        except OSError:
            return reasons.EXIT_UNRECORDED
    return code


def _try_to_print_traceback() -> None:
    try:
        sys.stderr.write(without_secrets(traceback.format_exc()))
    except OSError:
        return  # the log is on a full disk; the reason says so


def _print(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:
        return  # as above


def leave(code: int) -> NoReturn:
    """End at once, children first: taking the libraries down in order takes seconds that the next run in turn would wait."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    with contextlib.suppress(OSError):  # the log may be on a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
