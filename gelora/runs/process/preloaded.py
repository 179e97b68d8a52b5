"""Runs that need not load their libraries: one process has torch, transformers and PEFT in memory, and forks runs off itself.

A forked run is a process like any other run's: its own session, log, environment and id to be found by. It is for a
process that starts many runs, such as the dashboard; a run that starts while none is ready is started the usual way. Does
not depend on queues or records. On Linux only: elsewhere libraries do not survive a fork.
"""

import contextlib
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn

from gelora.errors import RunError
from gelora.runs.process.processes import MARK

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.1
_ROOM = "_" * 80  # a placeholder for a run's id, in the memory that the system shows as a process's environment
_MOST_BYTES = 65536
# Variables that libraries read when they are loaded begin so: a run whose starter has others cannot be forked.
_READ_AT_LOADING = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TORCH_", "PYTORCH_", "CUDA_", "OMP_", "MKL_", "OPENBLAS_", "PYTHON", "LD_")

_LIBRARIES = (
    "gelora.runs.process.work",
    "gelora.runs.training.adapters",
    "gelora.runs.training.geometry_probe",
    "gelora.runs.training.loop",
    "gelora.runs.training.methods",
    "sklearn.metrics",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)


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
                [sys.executable, "-P", "-m", "gelora.runs.process.preloaded", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Whether there is a GPU is asked of the driver's library: CUDA itself does not survive a fork.
                env={MARK: _ROOM} | dict(environment) | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
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
        if len(request) > _MOST_BYTES:
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


# The process itself


def serve(channel: socket.socket) -> None:
    """Load the libraries, say so, and fork a run at every request, until whoever asks is gone."""
    room = _room_for_mark()
    _load()
    if _has_gpu_open():
        return
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    waiting = selectors.DefaultSelector()
    waiting.register(channel, selectors.EVENT_READ)
    waiting.register(woken, selectors.EVENT_READ)
    answers: dict[int, int] = {}
    channel.send(b"ready")
    while True:
        for key, _ in waiting.select():
            if key.fd == woken:
                os.read(woken, 512)
                _tell_ends(answers)
                continue
            message, given, _, _ = socket.recv_fds(channel, _MOST_BYTES, 2)
            if not message:
                return
            log, answer = given
            pid = os.fork()
            if pid == 0:
                _be_the_run(json.loads(message), log, [channel.detach(), woken, wake, answer, *answers.values()], room)
            os.close(log)
            answers[pid] = answer
            _say(answer, pid)


def _load() -> None:
    """Import what a run imports; nothing is computed, since threads that have worked do not survive a fork either."""
    for module in _LIBRARIES:
        importlib.import_module(module)


def _has_gpu_open() -> bool:
    """Whether a library has begun CUDA, which no child could use then."""
    return any(link.resolve() == Path("/dev/nvidia-uvm") for link in Path("/proc/self/fd").iterdir())


def _tell_ends(answers: dict[int, int]) -> None:
    for pid in list(answers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _say(answers[pid], os.waitstatus_to_exitcode(status))
            os.close(answers.pop(pid))


def _say(answer: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left who wants to know
        os.write(answer, b"%d\n" % number)


def _be_the_run(request: dict, log: int, not_its_own: list[int], room: int) -> NoReturn:
    """What the child does: become a run's process in all that others see of it, run, and end."""
    code = 1
    try:
        from gelora.runs.process import worker

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for descriptor in not_its_own:
            os.close(descriptor)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.environ.clear()
        os.environ.update(request["environment"] | {MARK: request["run_id"]})
        _write_mark(room, request["run_id"])
        with contextlib.suppress(OSError):  # the folder may have been deleted
            os.chdir(request["folder"])
        if _cuda_was_begun():
            os.execv(sys.executable, [sys.executable, "-P", "-m", "gelora.runs.process.worker", request["run_id"]])
        code = worker.main([request["run_id"]])
    finally:
        worker.leave(code)


def _cuda_was_begun() -> bool:
    """Whether the process that this one was forked off had begun CUDA, so that PyTorch would refuse it here."""
    import torch

    return bool(torch.cuda._is_in_bad_fork())


def _room_for_mark() -> int:
    """Where in memory the placeholder for a run's id lies.

    Raises:
        RunError: the system does not say.
    """
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    begin, end = int(fields[47]), int(fields[48])  # env_start and env_end, see proc_pid_stat(5)
    with Path("/proc/self/mem").open("rb") as memory:
        memory.seek(begin)
        place = memory.read(end - begin).find(f"{MARK}={_ROOM}".encode())
    if place < 0:
        raise RunError("The environment of this process is not where the system says.")
    return begin + place + len(MARK) + 1


def _write_mark(room: int, run_id: str) -> None:
    """Show the run's id as this process's environment: others find the processes of a run by it."""
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        memory.seek(room)
        memory.write(run_id.encode().ljust(len(run_id) + 1, b"\0"))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given)
