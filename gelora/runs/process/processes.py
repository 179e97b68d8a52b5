"""Processes of runs: started apart from their starter, found again, ended with all their children.

Depends on nothing of a run but its id, which its processes carry in their environment. A process is identified by pid and
create time, never by pid alone.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "GELORA_RUN_ID"
"""The environment variable that every process of a run carries."""

_CLOCK_SECONDS = 2.0  # create times follow the system clock, which may be adjusted a little meanwhile
_POLL_SECONDS = 0.05


def me() -> tuple[int, float]:
    """Pid and create time of this process."""
    return os.getpid(), psutil.Process().create_time()


def start(command: Sequence[str], log: Path, run_id: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, that outlives this one; its output is appended to `log`.

    Raises:
        OSError: the process cannot be started.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment) | {MARK: run_id},
            start_new_session=True,
            close_fds=True,
        )


def find(pid: int | None, create_time: float | None, run_id: str | None = None) -> psutil.Process | None:
    """The process with this pid and create time, None when it is gone or a zombie.

    A create time that differs is another process, unless the process carries the run's id: then the clock was set.
    """
    if pid is None or create_time is None:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        same = abs(process.create_time() - create_time) <= _CLOCK_SECONDS
        return process if same or (run_id is not None and _carries(process, run_id)) else None
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: a pid that no system has
        return None


def of_run(run_id: str) -> list[psutil.Process]:
    """All live processes that carry the run's id."""
    return [process for process in psutil.process_iter() if _carries(process, run_id)]


def _carries(process: psutil.Process, run_id: str) -> bool:
    try:
        return process.environ().get(MARK) == run_id and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except (psutil.Error, OSError):  # another user's, or gone since it was listed
        return False


def wait_until_gone(process: psutil.Process, seconds: float) -> bool:
    """Whether the process ends within so many seconds; a zombie has ended."""
    created, deadline = process.create_time(), time.monotonic() + seconds
    while find(process.pid, created) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def kill_group(process: psutil.Process) -> None:
    """Kill a process and all of its group, when it leads one."""
    try:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, psutil.NoSuchProcess):
        return  # it ended by itself in between


def kill_leftovers(run_id: str, seconds: float = 5.0) -> int:
    """Kill every process that still carries the run's id, and wait for their end; returns how many there were."""
    left = [process for process in of_run(run_id) if process.pid != os.getpid()]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=seconds)
    return len(left)
