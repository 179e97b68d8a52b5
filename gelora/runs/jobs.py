"""Run processes: start, find again, stop, list, delete.

Knows processes, signals and the records of a run's folder; knows nothing of training or MLflow beyond opening the
store. A process is known by pid and create time, never by pid alone; it has its own session and writes into a file,
so that it outlives whoever started it. Disk is the only truth: any number of dashboards and shells may look at once.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from gelora.errors import RunError, StoreError
from gelora.home import home
from gelora.records import RunSpec, check_range
from gelora.runs import tracking
from gelora.runs.state import (
    LIVE,
    RunInfo,
    RunState,
    create_folder,
    describe,
    last_checkpoint,
    now,
    read_json,
    read_state,
    run_folder,
    run_folders,
    write_json,
    write_state,
)
from gelora.sources import bundled_models

LOST = "killed or lost: the process ended without a word; see the log"
_START_SECONDS = 60.0  # how long a folder may be without a process before its starter counts as dead
_POLL_SECONDS = 0.05


def start_run(spec: RunSpec) -> str:
    """Start a fine-tuning run in a detached process and return its id at once.

    Args:
        spec: what to train on what, and how; local paths in it are made absolute, so that it can be repeated anywhere.

    Raises:
        RunError: the process cannot be started.
        StoreError: the run store or the run's folder cannot be made.
    """
    tracking.ensure_store()  # once, here: a database made by several children at a time would cost each of them seconds
    spec = _with_absolute_paths(spec)
    folder = create_folder(spec)
    command = [sys.executable, "-P", "-m", "gelora.runs.worker", folder.name]  # -P: the working folder's files shadow no module
    # Threads that wait without spinning: on a machine that is busy otherwise, spinning made a run up to ten times slower.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    environment |= {"GELORA_HOME": str(home()), "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUNBUFFERED": "1"}
    try:
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True, close_fds=True
            )
        identity = {"pid": process.pid, "pid_create_time": psutil.Process(process.pid).create_time()}
    except (OSError, psutil.Error) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RunError(f"The run's process cannot be started: {error}. Check memory and the limit on processes, then try again.") from error
    # Whoever lives on must fetch the child's exit status, or it stays a zombie; a thread does, and dies with us.
    threading.Thread(target=process.wait, name=f"reap {folder.name}", daemon=True).start()
    write_json(folder / "launch.json", identity | {"started_at": now(), "fingerprint": spec.digest(), "command": command})
    return folder.name


def _with_absolute_paths(spec: RunSpec) -> RunSpec:
    data = spec.data
    file = Path(data.dataset).expanduser()
    if file.suffix and file.is_file():
        data = dataclasses.replace(data, dataset=str(file.resolve()))
    folder = Path(spec.model).expanduser()
    is_folder = (folder / "config.json").is_file() and spec.model not in {entry.model_id for entry in bundled_models()}
    model = str(folder.resolve()) if is_folder else spec.model
    return dataclasses.replace(spec, data=data, model=model)


def run_info(run_id: str) -> RunInfo:
    """How a run stands now; one whose process is gone without a word is settled as failed.

    Raises:
        RunError: no run has this id.
    """
    return _look(run_folder(run_id))


def list_runs() -> list[RunInfo]:
    """All runs, newest first; a damaged folder is a failed run that says what is damaged."""
    found = []
    for folder in run_folders():
        try:
            found.append(_look(folder))
        except FileNotFoundError:
            continue  # deleted by another process since the folder was listed
    return found


def _look(folder: Path) -> RunInfo:
    launch: dict[str, Any] = {}
    try:
        launch = read_json(folder / "launch.json") or {}
        state = read_state(folder) or RunState()
    except StoreError as error:
        return describe(folder, RunState(status="failed", reason=f"damaged: {error}", started_at=launch.get("started_at")), launch)
    if state.status in LIVE and not _lives(folder, state, launch):
        state = _settle(folder)
    return describe(folder, state, launch)


def _lives(folder: Path, state: RunState, launch: dict[str, Any]) -> bool:
    identities = [(state.pid, state.pid_create_time), (launch.get("pid"), launch.get("pid_create_time"))]
    known = [(pid, created) for pid, created in identities if pid is not None and created is not None]
    if not known:
        return time.time() - folder.stat().st_mtime < _START_SECONDS
    return _process(*known[0]) is not None


def _process(pid: int, create_time: float) -> psutil.Process | None:
    """The process with this pid and create time (to 2 s, for the clock may be set), None when it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - create_time) > 2.0 or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _settle(folder: Path) -> RunState:
    """Write the end of a run whose process is dead. The worker writes its own end before it dies, so look again first."""
    try:
        with FileLock(folder / ".settle.lock", timeout=10):
            state = read_state(folder) or RunState()
            if state.status not in LIVE:
                return state
            state.status, state.reason = _verdict(folder, state)
            state.ended_at, state.seconds_left, state.stage = now(), None, "ended"
            write_state(folder, state)
            return state
    except (OSError, StoreError) as error:  # a full disk: say it, and settle the run when there is room
        return RunState(status="failed", reason=f"{LOST} ({error})")


def _verdict(folder: Path, state: RunState) -> tuple[str, str]:
    stop = read_json(folder / "stop.json")
    if stop is None:
        return "failed", LOST
    checkpoint = last_checkpoint(folder)
    kept = f"the last checkpoint is checkpoints/{checkpoint.name}" if checkpoint else "there is no checkpoint"
    if stop.get("killed"):
        return "stopped", f"it did not stop within {stop.get('grace_seconds', 0):g} s and was killed; {kept}"
    if state.step == 0:
        return "stopped", "stopped before training began"
    return "stopped", f"the process ended while it was stopping; {kept}"


def stop_run(run_id: str, grace_seconds: float = 30.0) -> RunInfo:
    """Ask a run to stop: it finishes its step, saves a checkpoint and its adapter, and ends; after the grace it is killed.

    Waits until the process is gone. A run that has already ended is left as it is.

    Args:
        run_id: which run.
        grace_seconds: how long it may take before it is killed with all its children; at least 0.

    Raises:
        RunError: no run has this id, or the process cannot be signalled.
    """
    check_range("grace_seconds", grace_seconds, 0)
    folder = run_folder(run_id)
    info = _look(folder)
    if not info.is_live:
        return info
    request: dict[str, Any] = {"requested_at": now(), "grace_seconds": grace_seconds}
    write_json(folder / "stop.json", request)
    process = _wait_for_process(folder)
    if process is None:
        return _look(folder)
    try:
        process.send_signal(signal.SIGTERM)
        if not _gone(process, grace_seconds):
            write_json(folder / "stop.json", request | {"killed": True})
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            _gone(process, 10.0)
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass  # it ended by itself in between
    except (psutil.AccessDenied, PermissionError) as error:
        raise RunError(f"Run {run_id} belongs to another user; process {process.pid} cannot be stopped from here.") from error
    return _look(folder)


def _wait_for_process(folder: Path) -> psutil.Process | None:
    """The run's process; a run that is just being started gets some seconds to have one."""
    deadline = time.monotonic() + 5.0
    while True:
        state, launch = read_state(folder) or RunState(), read_json(folder / "launch.json") or {}
        pid, created = (state.pid, state.pid_create_time) if state.pid else (launch.get("pid"), launch.get("pid_create_time"))
        if pid is not None and created is not None:
            return _process(pid, created)
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_SECONDS)


def _gone(process: psutil.Process, seconds: float) -> bool:
    created, deadline = process.create_time(), time.monotonic() + seconds
    while _process(process.pid, created) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def wait_for(run_id: str, on_update: Callable[[RunInfo], None] | None = None, poll_seconds: float = 0.5) -> RunInfo:
    """Wait until a run has ended; `on_update` gets its state at every look. Interrupting the wait leaves the run alone.

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


def log_tail(run_id: str, n_lines: int = 40) -> str:
    """The last lines of a run's log, "" when there is none yet.

    Raises:
        RunError: no run has this id.
    """
    path = run_folder(run_id) / "log.txt"
    n_bytes = 400 * max(n_lines, 1)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - n_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    lines = text.splitlines()
    if size > n_bytes and len(lines) > 1:
        lines = lines[1:]  # the first one is cut
    return "\n".join(lines[-n_lines:])


def delete_run(run_id: str) -> None:
    """Delete a run that has ended: its folder (log, checkpoints, adapter) and its record in the run store.

    Raises:
        RunError: no run has this id, or it is still going.
        StoreError: the run store cannot be opened; nothing is deleted then.
    """
    folder = run_folder(run_id)
    info = _look(folder)
    if info.is_live:
        raise RunError(f"Run {run_id} is {info.status}; stop it first (`gelora stop {run_id}`), then delete it.")
    if info.mlflow_run_id is not None:
        tracking.forget(info.mlflow_run_id)
    doomed = folder.with_name(f".deleted-{run_id}")
    try:
        folder.rename(doomed)  # at once out of every list, however long the removal takes
        shutil.rmtree(doomed)
    except OSError as error:
        raise StoreError(f"The folder of {run_id} cannot be removed: {error}.") from error
