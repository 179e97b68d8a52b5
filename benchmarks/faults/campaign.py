"""Tries of one kind, so many at once, each in a process with a time limit; a journal from which an interrupted campaign goes on.

What is silent beyond its limit is asked once more, before it counts as a hang. Does not depend on what is tried.
"""

import contextlib
import json
import os
import queue
import select
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.attempt import Kind

_PREPARE_SECONDS = 900.0


class _Hand:
    """A process that carries out tries; a new one is started when it hangs or dies."""

    def __init__(self, kind: Kind, seed: int, material: Path, home: Path) -> None:
        self._kind, self._home = kind, home
        self._command = [sys.executable, "-m", "benchmarks.faults.attempts", kind.name, str(seed), str(material), str(home)]
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, line: str, seconds: float) -> dict[str, Any]:
        """The answer to a line; one that says so where there is none in time. A new process prepares itself first."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if line != "prepare" and (made := self.ask("prepare", _PREPARE_SECONDS))["fault"] is not None:
                return {"number": int(line), "case": "", **made}
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
        answer = b""
        while not answer.endswith(b"\n"):
            left = seconds - (time.monotonic() - began)
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                cause = f"no answer within {seconds:g} s"
                break
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                cause = f"the process of the try ended with {process.wait()}"
                break
            answer += part
        else:
            return dict(json.loads(answer))
        self.end()
        number = {"number": int(line)} if line.isdigit() else {}
        return number | {"case": "", "fault": "wrong", "cause": cause, "is_silent": True, "seconds": round(time.monotonic() - began, 2)}

    def end(self) -> None:
        """End the process, and every other that has this hand's folder in its environment."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("GELORA_HOME", "").startswith(f"{self._home}/"):
                    process.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def run(kind: Kind, seed: int, n_tries: int, n_jobs: int, work: Path, minutes: float) -> list[dict[str, Any]]:
    """The rows of all tries, those of earlier calls among them, in the order of their numbers.

    Args:
        kind: what is tried.
        seed: tries follow from it, from the kind and from their number.
        n_tries: in all.
        n_jobs: tries at once.
        work: a folder for journal, material and the tries' homes; the same folder goes on where it was.
        minutes: begin no try after so long.

    Raises:
        SystemExit: the material cannot be made.
    """
    material, journal = work / "material", work / f"{kind.name}-{seed}.jsonl"
    material.mkdir(parents=True, exist_ok=True)
    rows = {row["number"]: row for row in _read(journal) if row["number"] < n_tries}
    deadline = time.monotonic() + minutes * 60
    first = _Hand(kind, seed, material, work / "homes" / kind.name / "0")
    made = first.ask("prepare", _PREPARE_SECONDS)
    if made["fault"] is not None:
        first.end()
        raise SystemExit(f"The material of {kind.name} cannot be made: {made['cause']}")
    hands = [first, *(_Hand(kind, seed, material, work / "homes" / kind.name / str(i)) for i in range(1, n_jobs))]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(n_tries):
        if number not in rows:
            waiting.put(number)
    lock = threading.Lock()

    def work_off(hand: _Hand) -> None:
        try:
            while time.monotonic() < deadline:
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                row = hand.ask(str(number), kind.limit_seconds)
                if row.get("is_silent"):  # perhaps the machine was busy with others: what hangs does so again
                    row = {**hand.ask(str(number), 2 * kind.limit_seconds), "asked_twice": True}
                with lock:
                    rows[number] = row
                    with journal.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    if row["fault"] is not None:
                        print(f"{kind.name} {number}: {row['fault']}: {row['case']}: {row['cause']}", flush=True)
        finally:
            hand.end()

    threads = [threading.Thread(target=work_off, args=(hand,)) for hand in hands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [rows[number] for number in sorted(rows)]


def _read(journal: Path) -> list[dict[str, Any]]:
    """The tries of earlier calls; a last line that was cut short is tried again."""
    if not journal.is_file():
        return []
    text = journal.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        journal.write_text(whole)
    return [json.loads(line) for line in whole.splitlines()]
