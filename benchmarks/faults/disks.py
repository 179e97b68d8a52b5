"""Disks that fill up or become read-only under a run or a command: a sentence that says so, and nothing lost once there is room.

Mounts a tmpfs for each try, which takes a superuser on Linux.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Fault, Kind, Try, require
from benchmarks.faults.kills import go_on
from benchmarks.faults.small_runs import folder_of_finished, info_of, spec_named, uninterrupted, until

_TRY_SECONDS = 600.0
_COPY = "20260101-000000-model-rows-0001"


def attempt(found: Try) -> None:
    """A run on a disk too small for it, a command on a full disk, or a command on a read-only one.

    Raises:
        Fault: the answer does not say what is the matter, the list is not right, or the run cannot go on when there is room.
    """
    kinds = (_run_on_a_small_disk, _commands_on_a_full_disk, _commands_on_a_read_only_disk)
    disk = found.folder / "disk"
    with _mounted(disk):
        os.environ["GELORA_HOME"] = str(disk / "home")
        kinds[found.number % len(kinds)](found, disk)


@contextlib.contextmanager
def _mounted(disk: Path) -> Iterator[None]:
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _remount(disk: Path, options: str) -> None:
    _mount("-o", f"remount,{options}", str(disk))


def _run_on_a_small_disk(found: Try, disk: Path) -> None:
    from gelora.errors import StoreError
    from gelora.runs import list_runs, start_run

    small_runs.ready()
    kib = found.rng.choice((4, 16, 40, 100, 200, 300, 400, 500, 700, 900))
    found.case = f"run, {kib} KiB"
    (disk / "home").mkdir(exist_ok=True)
    _remount(disk, f"size={kib}k")
    try:
        run_id = start_run(spec_named(found.material, "lora-0"))
    except StoreError as error:
        found.facts["said"] = str(error)
        require("o space left" in str(error) or "disk is full" in str(error), "wrong", f"of a full disk is said: {error}")
        require(not list_runs(), "wrong", "a run that could not be started is listed")
        return
    until(lambda: not info_of(run_id).is_live, "the end of the run")
    state = info_of(run_id).state
    found.facts["said"] = f"{state.status}: {state.reason}"
    require(run_id in {info.id for info in list_runs()}, "lost", "the run is not listed")
    require(state.status in ("failed", "finished"), "wrong", f"the run is {state.status}")
    _remount(disk, "size=64m")
    reason = info_of(run_id).state.reason or ""  # as it is written, now that there is room
    is_said = reason.startswith("disk full") or "o space left" in reason or "no room" in reason
    require(state.status == "finished" or is_said, "wrong", f"of a full disk is said: {reason}")
    go_on(found, run_id, uninterrupted(found.material, "lora-0"), with_traceback=True)


_COMMANDS = (
    ("runs",), ("runs", "--json"), ("runs", _COPY), ("runs", _COPY, "--log"), ("runs", _COPY, "--delete"), ("doctor",), ("resume", _COPY),
    ("measure", "--json", "profile.json"), ("plan", "--json", "plan.json"), ("train", "--rank", "2", "--detach"), ("estimators",),
    ("preview",), ("stop", _COPY),
)  # fmt: skip
_READS = ("runs", "estimators", "preview")


def _command(found: Try, disk: Path, state: str, words: tuple[str, ...], must: tuple[str, ...]) -> None:
    """Give one command; of one that only reads a result is due, of others a result or a sentence that names what is the matter."""
    model, rows = ("--model", str(found.material / "model")), ("--dataset", str(found.material / "rows.jsonl"))
    more = {"measure": (*model, *rows, "--n-samples", "40", "--device", "cpu"), "plan": (*model, "--strategy", "uniform"),
            "train": (*model, *rows, "--device", "cpu"), "preview": rows}.get(words[0], ())  # fmt: skip
    written = [str(disk / word) if word.endswith(".json") else word for word in words]
    found.case = f"gelora {' '.join(words).replace(_COPY, 'ID')}, {state}"
    said = odd.command(*written, *more)
    found.facts["said"] = said[:400]
    if not said.startswith("exit status 0") and words[0] != "doctor":  # which ends with 1 where it has found something
        is_read = words[0] in _READS and "--delete" not in words
        due = (*must, *{"resume": ("finished",), "stop": ("already",)}.get(words[0], ()))
        require(not is_read, "wrong", f"what only reads does not answer: {said[:300]}")
        require(any(word in said for word in due), "wrong", f"does not say what is the matter: {said[:300]}")
    require("damaged" not in said, "wrong", f"speaks of damage: {said[:300]}")


def _with_a_finished_run(found: Try, disk: Path) -> None:
    shutil.copytree(folder_of_finished(found.material, "lora-0"), disk / "home" / "runs" / _COPY)


def _commands_on_a_full_disk(found: Try, disk: Path) -> None:
    _with_a_finished_run(found, disk)
    used = shutil.disk_usage(disk).used
    _remount(disk, f"size={used}")
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    _command(found, disk, "disk full", found.rng.choice(_COMMANDS), ("o space left", "full"))
    _check_the_run(found, disk)


def _commands_on_a_read_only_disk(found: Try, disk: Path) -> None:
    _with_a_finished_run(found, disk)
    _remount(disk, "ro")
    _command(found, disk, "read-only", found.rng.choice(_COMMANDS), ("ead-only",))
    _remount(disk, "rw")
    _check_the_run(found, disk)


def _check_the_run(found: Try, disk: Path) -> None:
    from gelora.runs import list_runs

    if "--delete" in found.case:
        return
    listed = {info.id: info.state.status for info in list_runs()}
    if listed.get(_COPY) != "finished":
        raise Fault("lost", f"the finished run is {json.dumps(listed)}")


KINDS = (Kind("disks", small_runs.make, attempt, _TRY_SECONDS),)
