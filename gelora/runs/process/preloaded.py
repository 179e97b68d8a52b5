"""Runs that need not load their libraries: one process has torch, transformers and PEFT in memory, and forks them off itself.

A forked run is a process like any other run's: its own session, log, environment and id to be found by. It is for a
process that starts many runs, such as the dashboard; a run that starts while none is ready is started the usual way. Does
not depend on queues or records. On Linux only: elsewhere libraries do not survive a fork. What the
process itself does is `forking`'s.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from gelora.runs.process.forking import MOST_BYTES, ROOM
from gelora.runs.process.processes import MARK

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.1
# Variables that libraries read when they are loaded begin so: a run whose starter has others cannot be forked.
_READ_AT_LOADING = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TORCH_", "PYTORCH_", "CUDA_", "OMP_", "MKL_", "OPENBLAS_", "PYTHON", "LD_")


class ForkedRun:
    """A run's process, as its starter holds it: what `subprocess.Popen` would be."""

    def __init__(self, pid: int, answers: BinaryIO) -> None:
        self.pid = pid
        self._answers = answers

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; returns its exit status, negative for a signal, 0 where nobody is left who knows it."""
        with self._answers:
            return int(self._answers.readline() or 0)


class _Preloaded:
    """The process that has the libraries, as seen by the one that starts runs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment, self._code = _read_at_loading(environment), _code_state()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gelora.runs.process.forking", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Whether there is a GPU is asked of the driver's library: CUDA itself does not survive a fork.
                env={MARK: ROOM} | dict(environment) | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lock = threading.Lock()
        self._is_ready = False

    def is_of_use(self, environment: Mapping[str, str]) -> bool:
        """Whether a run it forks would be the run that a fresh process is: alive, the same code, the same environment."""
        return not self.has_ended() and self._code == _code_state() and self._environment == _read_at_loading(environment)

    def has_ended(self) -> bool:
        """Whether there is no such process any more."""
        return self._process.poll() is not None

    def is_ready(self) -> bool:
        """Whether the libraries are loaded."""
        with self._lock:
            if not self._is_ready and select.select([self._channel], [], [], 0)[0]:
                self._is_ready = self._channel.recv(16) != b""
            return self._is_ready

    def fork(self, run_id: str, log: Path, environment: Mapping[str, str]) -> ForkedRun | None:
        """A run's process; None when the process that should fork has gone or does not answer."""
        request = json.dumps({"run_id": run_id, "environment": dict(environment), "folder": str(Path.cwd())}).encode()
        if len(request) > MOST_BYTES:
            return None
        reader, writer = os.pipe()
        answers = os.fdopen(reader, "rb")
        try:
            with log.open("ab") as output:
                socket.send_fds(self._channel, [request], [output.fileno(), writer])
        except OSError:
            answers.close()
            return None
        finally:
            os.close(writer)
        if not select.select([answers], [], [], _ANSWER_SECONDS)[0]:
            self.end()  # so that it forks nothing later; a pid that came meanwhile is read all the same
        if pid := int(answers.readline() or 0):
            return ForkedRun(pid, answers)
        answers.close()
        return None

    def end(self) -> None:
        """End the process; runs it has forked go on."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


_kept: list[_Preloaded] = []
_kept_lock = threading.Lock()


def keep_ready(environment: Mapping[str, str]) -> None:
    """Have the libraries loaded for runs that this process will start with such an environment; returns at once.

    The process ends with this one. Calls while one of use is there change nothing.
    """
    if sys.platform != "linux":
        return
    with _kept_lock:
        if _kept and _kept[0].is_of_use(environment):
            return
        _forget()
        _kept.append(_Preloaded(environment))


def wait_until_ready() -> bool:
    """Wait for the libraries; False when nobody loads them."""
    while True:
        with _kept_lock:
            if not _kept or _kept[0].has_ended():
                return False
            if _kept[0].is_ready():
                return True
        time.sleep(_POLL_SECONDS)


def fork_run(run_id: str, log: Path, environment: Mapping[str, str]) -> ForkedRun | None:
    """A run's process that has the libraries already; None where none is ready, or it would not be as a fresh one."""
    with _kept_lock:
        if not _kept or not _kept[0].is_of_use(environment) or not _kept[0].is_ready():
            return None
        forked = _kept[0].fork(run_id, log, environment)
        if forked is None:
            _forget()
        return forked


def _forget() -> None:
    while _kept:
        _kept.pop().end()


def _read_at_loading(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_LOADING)}


def _code_state() -> tuple[int, int]:
    """Number of our files and when the last was changed: a run is of the code that lies on disk when it starts."""
    times = [file.stat().st_mtime_ns for file in Path(__file__).parents[2].rglob("*.py")]
    return len(times), max(times)
