"""The process that has the libraries and forks runs off itself, on its starter's request: `python -m gelora.runs.process.forking FD`.

Does not depend on queues or records, nor on who asks.
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from gelora.errors import RunError
from gelora.runs.process.processes import MARK

ROOM = "_" * 80  # a placeholder for a run's id, in the memory that the system shows as a process's environment
MOST_BYTES = 65536  # of a request
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
            message, given, _, _ = socket.recv_fds(channel, MOST_BYTES, 2)
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
        place = memory.read(end - begin).find(f"{MARK}={ROOM}".encode())
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
