"""The status of runs, the same for any number of dashboards and shells, since it is read from disk alone.

A run whose process died without writing its end is settled by the first reader: its processes are ended, its end is
written. Works on the records of a run's folder and its process; does not depend on training.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from gelora.errors import StoreError
from gelora.home import reason_of
from gelora.runs.process import processes, reasons
from gelora.runs.records import final_status, trackers
from gelora.runs.records.record_file import Launch, ProcessExit, StopRequest, read_record
from gelora.runs.records.state import LIVE, RunInfo, RunState, describe, now, read_launch, read_state, run_folder, run_folders, write_state
from gelora.runs.training.checkpoints import last_whole

_START_SECONDS = 60.0  # how long a folder may be without a process while its starter lives
_ORPHAN_SECONDS = 2.0  # and when its starter is dead
_LOCK_SECONDS = 20.0
_ENDED_KEPT = 4096
_ended: dict[Path, tuple[tuple[tuple[int, int, int] | None, ...], RunInfo]] = {}  # ended runs as they were read, by folder
_EXIT_SECONDS = 1.0  # how long the starter, when it lives, gets to say how the process ended


def run_info(run_id: str) -> RunInfo:
    """A run's status now; one whose process is gone without having written its end is settled as failed.

    Raises:
        RunError: no run has this id.
    """
    return current_run(run_folder(run_id))


def list_runs() -> list[RunInfo]:
    """All runs, newest first; a damaged folder is a failed run that says what is damaged."""
    found = []
    for folder in run_folders():
        try:
            found.append(current_run(folder))
        except FileNotFoundError:
            continue  # deleted by another process since the folder was listed
    return found


def wait_for(run_id: str, on_update: Callable[[RunInfo], None] | None = None, poll_seconds: float = 0.5) -> RunInfo:
    """Wait until a run has ended; `on_update` is called at every poll. Interrupting the wait leaves the run alone.

    Raises:
        RunError: no run has this id.
    """
    while True:
        info = run_info(run_id)
        if on_update is not None:
            on_update(info)
        if not info.is_live:
            return info
        time.sleep(poll_seconds)


def current_run(folder: Path) -> RunInfo:
    """The run in a folder as it is now; one that has ended is read again only when one of its records has changed."""
    stamps = _stamps(folder)
    kept = _ended.get(folder)
    if kept is not None and kept[0] == stamps:
        return kept[1]
    info, has_ended = _read(folder)
    if has_ended:
        while len(_ended) >= _ENDED_KEPT:
            _ended.pop(next(iter(_ended)), None)
        _ended[folder] = (stamps, info)  # the stamps were taken before: what is written meanwhile is read next time
    return info


def _stamps(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when a record of the run is rewritten."""
    found: list[tuple[int, int, int] | None] = []
    for name in ("spec.json", "launch.json", "state.json", "notes.json"):
        try:
            status = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _read(folder: Path) -> tuple[RunInfo, bool]:
    """The run, and whether its own record says that it has ended."""
    launch = Launch()
    try:
        launch = read_launch(folder)
        state = read_state(folder) or RunState()
    except StoreError as error:
        damaged = RunState(status="failed", reason=str(error), started_at=launch.started_at)
        return describe(folder, damaged, launch), False
    has_ended = state.status not in LIVE
    if not has_ended and not _lives(folder, state, launch):
        state = _settle(folder)
    return describe(folder, state, launch), has_ended


def process_of(folder: Path) -> psutil.Process | None:
    """The run's process, None when there is none."""
    state, launch = read_state(folder) or RunState(), read_launch(folder)
    pid, created = _identity(state, launch)
    if pid is not None:
        return processes.find(pid, created, folder.name)
    return next(iter(processes.of_run(folder.name)), None)  # started, but not on record yet


@contextmanager
def settle_lock(folder: Path) -> Iterator[None]:
    """Held while state.json is written by another process than the worker, and by the worker when it takes over.

    Raises:
        StoreError: another process holds it for long, or the folder is not writable.
    """
    try:
        with FileLock(folder / ".settle.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise StoreError(f"The record of {folder.name} is being written by another process; try again.") from error
    except OSError as error:
        raise StoreError(f"The record of {folder.name} cannot be written: {reason_of(error)}.") from error


def _identity(state: RunState, launch: Launch) -> tuple[int | None, float | None]:
    known = (state.pid, state.pid_create_time), (launch.pid, launch.pid_create_time)
    return next(((pid, created) for pid, created in known if pid is not None and created is not None), (None, None))


def _lives(folder: Path, state: RunState, launch: Launch) -> bool:
    pid, created = _identity(state, launch)
    if pid is not None:
        return processes.find(pid, created, folder.name) is not None
    if processes.of_run(folder.name):
        return True
    written = folder / ("launch.json" if launch.launched_at or launch.starter_pid else "spec.json")
    age = time.time() - written.stat().st_mtime if written.exists() else math.inf
    return age < (_START_SECONDS if _starter_lives(launch) else _ORPHAN_SECONDS)


def _starter_lives(launch: Launch) -> bool:
    return processes.find(launch.starter_pid, launch.starter_create_time) is not None


def _settle(folder: Path) -> RunState:
    """End a run whose process is dead. The worker writes its own end before it dies, so its state is read again first."""
    state = RunState(status="failed", reason=reasons.LOST)
    try:
        with settle_lock(folder):
            state = read_state(folder) or RunState()
            launch = read_launch(folder)
            if state.status not in LIVE or _lives(folder, state, launch):
                return state
            processes.kill_leftovers(folder.name)
            state.status, state.reason = _verdict(folder, state, launch)
            state.ended_at, state.seconds_left, state.stage = now(), None, "ended"
            state.queue_place = None
            write_state(folder, state)
        _close_in_mlflow(folder, state, launch)
    except StoreError as error:  # a full disk: say it now, write it down when there is room
        state.status = "failed" if state.status in LIVE else state.status
        state.reason = f"{state.reason or reasons.LOST} ({error})"
    return state


def _close_in_mlflow(folder: Path, state: RunState, launch: Launch) -> None:
    """Close the run in MLflow too, where it reported there: in a thread, since a server may be slow."""

    def act() -> None:
        try:
            trackers.close_in_mlflow(str(state.mlflow_run_id), state.status, state.reason)
        except Exception as error:  # noqa: BLE001  (MLflow, SQLAlchemy and requests each have their own base of errors)
            with (folder / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"[{now()}] warning: MLflow was not told that the run is {state.status}: {trackers.first_line(error)}\n")

    if state.mlflow_run_id is not None and "mlflow" in launch.report_to:
        threading.Thread(target=act, name="close in MLflow").start()


def _verdict(folder: Path, state: RunState, launch: Launch) -> tuple[str, str | None]:
    message = final_status.last_message(folder)
    if message is not None:
        return message
    stop = read_record(folder / "stop.json", StopRequest)
    if stop is None:
        return "failed", _how_it_died(folder, state, launch)
    checkpoint = last_whole(folder / "checkpoints")
    kept = f"the last checkpoint is checkpoints/{checkpoint.name}" if checkpoint else "there is no checkpoint"
    if stop.killed:
        return "stopped", f"it did not stop within {stop.grace_seconds:g} s and was killed; {kept}"
    if state.step == 0:
        return "stopped", "stopped before training began"
    return "stopped", f"the process ended while it was stopping; {kept}"


def _how_it_died(folder: Path, state: RunState, launch: Launch) -> str:
    pid, created = _identity(state, launch)
    if created is not None and created < psutil.boot_time() - 60:
        return "lost: the machine was restarted during the run; resume it"
    deadline = time.monotonic() + _EXIT_SECONDS
    while (ended := read_record(folder / "exit.json", ProcessExit)) is None or ended.pid != pid:
        if time.monotonic() > deadline or not _starter_lives(launch):
            return reasons.of_death(None)
        time.sleep(0.02)
    return reasons.of_death(ended.returncode)
