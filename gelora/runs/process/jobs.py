"""Start, resume and stop runs.

A run is a process of its own that outlives its starter, waits for its turn and then trains. Does not depend on training.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from gelora.errors import GeloraError, RunError, RunUnderWay, StoreError
from gelora.home import home, local_path
from gelora.records import RunSpec, check_range, check_whole
from gelora.runs.process import preloaded, processes, queue
from gelora.runs.process.status import current_run, list_runs, process_of, settle_lock
from gelora.runs.records.record_file import Launch, ProcessExit, StopRequest, write_record
from gelora.runs.records.state import (
    LIVE,
    RunInfo,
    RunState,
    create_folder,
    now,
    read_launch,
    read_spec,
    read_state,
    run_folder,
    write_state,
)
from gelora.runs.records.trackers import check_trackers
from gelora.runs.training.checkpoints import last_whole, step_of
from gelora.sources import bundled_models

_OF_AN_ATTEMPT = ("stop.json", "exit.json", "last_words.json")


def start_run(spec: RunSpec, runs_at_once: int = 1, report_to: Sequence[str] = (), repeat: bool = False) -> str:
    """Start a fine-tuning run in a detached process and return its id at once; it is queued while its device is busy.

    What is queued or running already is not started a second time, also where several processes start it at one moment.

    Args:
        spec: what to train on what, and how; local paths in it are made absolute, so that it can be repeated anywhere.
        runs_at_once: how many runs its device may have when it begins, itself included; at least 1.
        report_to: trackers that are told what it logs (`mlflow`, `tensorboard`, `trackio`, `wandb`, ...), with settings from
            the environment; MLflow also where `$MLFLOW_TRACKING_URI` is set. metrics.jsonl in the run's folder has all of it.
        repeat: start it although a run of an equal spec is queued or running.

    Raises:
        InputError: `runs_at_once` is not legal, or a tracker is unknown or not installed.
        RunUnderWay: a run of an equal spec (model, data, ranks, settings, seed) is queued or running.
        RunError: the process cannot be started.
        StoreError: the queue or the run's folder cannot be written.
    """
    check_whole("runs_at_once", runs_at_once, 1)
    spec = _with_absolute_paths(spec)
    launch = _by_this_process(Launch(started_at=now(), fingerprint=spec.digest(), report_to=check_trackers(report_to)), runs_at_once)
    with queue.one_start_at_a_time():
        there = None if repeat else run_under_way(spec)
        if there is not None:
            raise RunUnderWay(
                f"Run {there.id} is {there.state.status} and trains exactly this; follow it with `gelora runs {there.id}`, "
                "or ask for a repeat (--repeat, in Python repeat=True) to train it once more.",
                there.id,
            )
        folder = create_folder(spec, launch)
        try:
            _launch(folder, spec, launch)
        except GeloraError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder.name


def run_under_way(spec: RunSpec, runs: Iterable[RunInfo] | None = None) -> RunInfo | None:
    """The run of an equal spec that is queued or running, the oldest of several; None where there is none.

    Args:
        spec: what `start_run` would be given.
        runs: all runs, newest first, as `list_runs` gives them; read now when None.
    """
    live = [run for run in equal_runs(spec, runs) if run.is_live]
    return live[-1] if live else None


def equal_runs(spec: RunSpec, runs: Iterable[RunInfo] | None = None) -> list[RunInfo]:
    """All runs of an equal spec, in whatever state, newest first; arguments as of `run_under_way`."""
    digest = _with_absolute_paths(spec).digest()
    return [run for run in (list_runs() if runs is None else runs) if run.fingerprint == digest]


def resume_run(run_id: str, runs_at_once: int = 1, report_to: Sequence[str] = ()) -> str:
    """Resume a run that was stopped, failed or was killed, in the same record, from its last whole checkpoint.

    Without a checkpoint it begins again. It takes a new place in the queue. Returns its id, at once.

    Args:
        run_id: which run.
        runs_at_once, report_to: as for `start_run`; the trackers that it reported to before are told in any case.

    Raises:
        InputError: `runs_at_once` is not legal, or a tracker that it reports to is not installed.
        RunError: no run has this id, it is still going or finished, what it was asked to do is unreadable, or the process
            cannot be started.
        StoreError: the queue or the run's folder cannot be written.
    """
    check_whole("runs_at_once", runs_at_once, 1)
    folder = run_folder(run_id)
    current_run(folder)  # settles it, when it is dead
    _check_resumable(folder)
    with settle_lock(folder):
        before, spec = _check_resumable(folder)
        processes.kill_leftovers(run_id)
        checkpoint = last_whole(folder / "checkpoints")
        old = _launch_before(folder)
        launch = Launch(old.started_at or before.started_at or now(), spec.digest(), check_trackers((*old.report_to, *report_to)))
        launch = _by_this_process(launch, runs_at_once)
        for name in _OF_AN_ATTEMPT:
            (folder / name).unlink(missing_ok=True)
        write_record(folder / "launch.json", launch)  # without a pid, before state.json is live again
        again = dataclasses.replace(
            before,
            status="queued",
            reason=None,
            stage="starting",
            pid=None,
            pid_create_time=None,
            ended_at=None,
            heartbeat_at=None,
            step=step_of(checkpoint) if checkpoint else 0,
            seconds_left=None,
            slot=None,
            queue_place=None,
            attempts=before.attempts + 1,
        )
        write_state(folder, again)
        where = f"from {checkpoint.name}" if checkpoint else "from the beginning: there is no whole checkpoint"
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"[{now()}] resumed {where} (attempt {again.attempts})\n")
        try:
            _launch(folder, spec, launch)
        except GeloraError:
            write_state(folder, before)
            raise
    return run_id


def _check_resumable(folder: Path) -> tuple[RunState, RunSpec]:
    """State and spec of a run that may be resumed; a damaged state is replaced, since spec and checkpoints are what counts.

    Raises:
        RunError: it is going, finished, or its spec is unreadable.
    """
    try:
        state = read_state(folder) or RunState(status="failed")
    except StoreError:
        state = RunState(status="failed")
    if state.status in LIVE:
        raise RunError(f"Run {folder.name} is {state.status}; it needs no resuming. Follow it: gelora runs {folder.name}")
    if state.status == "finished":
        repeat = f"gelora train --spec {folder / 'spec.json'}"
        raise RunError(f"Run {folder.name} is finished; there is nothing to resume. Repeat it: {repeat}")
    try:
        return state, read_spec(folder)
    except GeloraError as error:
        raise RunError(f"Run {folder.name} cannot be resumed: {error}. Start a new one.") from error


def stop_run(run_id: str, grace_seconds: float = 30.0) -> RunInfo:
    """Ask a run to stop: it finishes its step, saves a checkpoint and its adapter, and ends; after the grace it is killed.

    Waits until the process and its children are gone. One that waits for its turn ends at once; one that has already
    ended is left as it is.

    Args:
        run_id: which run.
        grace_seconds: how long it may take before it is killed with all its children; at least 0.

    Raises:
        RunError: no run has this id, or the process cannot be signalled.
    """
    check_range("grace_seconds", grace_seconds, 0)
    folder = run_folder(run_id)
    info = current_run(folder)
    if not info.is_live:
        return info
    request = StopRequest(now(), grace_seconds)
    _leave_note(folder, request)
    process = process_of(folder)
    if process is not None:
        try:
            process.send_signal(signal.SIGTERM)
            if not processes.wait_until_gone(process, grace_seconds):
                _leave_note(folder, dataclasses.replace(request, killed=True))
                processes.kill_group(process)
                processes.wait_until_gone(process, 10.0)
        except psutil.NoSuchProcess:
            pass  # it ended by itself in between
        except (psutil.AccessDenied, PermissionError) as error:
            raise RunError(f"Run {run_id} belongs to another user; process {process.pid} cannot be stopped from here.") from error
        processes.kill_leftovers(run_id)
    return current_run(folder)


def _leave_note(folder: Path, request: StopRequest) -> None:
    try:
        write_record(folder / "stop.json", request)
    except StoreError:
        return  # a full disk: the signal alone has to do, for a run that fills a disk is one to stop


def _with_absolute_paths(spec: RunSpec) -> RunSpec:
    data = dataclasses.replace(spec.data, dataset=_absolute(spec.data.dataset))
    held_out = spec.held_out and dataclasses.replace(spec.held_out, dataset=_absolute(spec.held_out.dataset))
    folder = local_path(spec.model)
    is_folder = (folder / "config.json").is_file() and spec.model not in {entry.model_id for entry in bundled_models()}
    return dataclasses.replace(spec, data=data, held_out=held_out, model=str(folder.resolve()) if is_folder else spec.model)


def _absolute(dataset: str) -> str:
    file = local_path(dataset)
    return str(file.resolve()) if file.suffix and file.is_file() else dataset


def _by_this_process(launch: Launch, runs_at_once: int) -> Launch:
    """The launch with its starter, by which others see whether a process is still to come."""
    pid, created = processes.me()
    return dataclasses.replace(launch, starter_pid=pid, starter_create_time=created, runs_at_once=runs_at_once, launched_at=now())


def _launch(folder: Path, spec: RunSpec, launch: Launch) -> None:
    """Take a place in the queue and start the run's process.

    Raises:
        RunError: the process cannot be started.
        StoreError: queue or folder cannot be written; no process is left then.
    """
    ticket = queue.take(folder.name, spec.training.device, launch.runs_at_once)
    command = [sys.executable, "-P", "-m", "gelora.runs.process.worker", folder.name]  # -P: the working folder's files shadow no module
    log, environment = folder / "log.txt", _environment()
    try:
        process = preloaded.fork_run(folder.name, log, environment) or processes.start(command, log, folder.name, environment)
    except OSError as error:
        queue.drop(folder.name)
        raise RunError(f"The run's process cannot be started: {error}. Check memory and the limit on processes, then try again.") from error
    # The parent must fetch the child's exit status, or it stays a zombie; a thread does, and ends with the parent.
    threading.Thread(target=_fetch, args=(process, folder), name=f"reap {folder.name}", daemon=True).start()
    try:
        created = psutil.Process(process.pid).create_time()
        started: dict[str, Any] = {
            "pid": process.pid,
            "pid_create_time": created,
            "command": tuple(command),
            "taken_at_ns": ticket.taken_at_ns,
        }
        write_record(folder / "launch.json", dataclasses.replace(launch, **started))
        queue.hand_over(folder.name, process.pid, created)
    except psutil.NoSuchProcess:
        return  # it has ended already; its exit status says how
    except StoreError:
        process.kill()
        queue.drop(folder.name)
        raise


def _environment() -> dict[str, str]:
    """The environment of a run's process."""
    # Threads that wait without spinning: on a machine that is busy otherwise, spinning made a run up to ten times slower.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    return environment | {"GELORA_HOME": str(home()), "PYTHONUNBUFFERED": "1"}


def keep_ready() -> None:
    """Have the libraries loaded for the runs that this process will start: they then start at once instead of after seconds.

    Returns at once; a run that starts sooner is started the usual way. For a process that starts many runs: one that holds
    the libraries in memory waits as long as it lives.
    """
    preloaded.keep_ready(_environment())


def _fetch(process: "subprocess.Popen[bytes] | preloaded.ForkedRun", folder: Path) -> None:
    """Wait for the end of a process; how it ended goes to exit.json, for a run whose process wrote no final status."""
    returncode = process.wait()
    if returncode == 0:
        return
    try:
        write_record(folder / "exit.json", ProcessExit(process.pid, returncode, now()))
    except StoreError:
        return  # the run was deleted, or the disk is full: then all that is known is that the process is gone


def _launch_before(folder: Path) -> Launch:
    """How the run was started before; nothing where that is damaged."""
    try:
        return read_launch(folder)
    except StoreError:
        return Launch()
