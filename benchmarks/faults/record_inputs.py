"""Records of a run that are damaged in any way: the run is one row, others stand, every reader gives a result or a sentence."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Kind, Try, require

_OBJECTS = ("spec.json", "launch.json", "state.json", "stop.json", "exit.json", "examples.json", "provenance.json", "notes.json")
_LINES = ("metrics.jsonl", "geometry.jsonl")
_TEXTS = ("log.txt", "last_words.json")
_MADE: dict[str, Any] = {
    "stop.json": {"requested_at": "2026-01-01T00:00:00+00:00", "grace_seconds": 30.0, "killed": True},
    "exit.json": {"pid": 7, "returncode": -9, "ended_at": "2026-01-01T00:00:00+00:00"},
    "last_words.json": {"status": "failed", "reason": "disk full"},
    "notes.json": {"name": "first try", "text": "it diverged", "tags": ["baseline"]},
}


def attempt(found: Try) -> None:
    """One to three files of one run are damaged beside a run that is whole.

    Raises:
        Fault: the whole run is not listed as it is, the damaged one is not listed, or a reader says what is no sentence.
    """
    rng, runs = found.rng, found.folder / "runs"
    source = small_runs.folder_of_finished(found.material, "reallocated-0")
    whole, odd_one = runs / "20260101-000000-model-rows-0001", runs / "20260101-000000-model-rows-0002"
    for folder in (whole, odd_one):
        folder.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_file() and file.suffix in (".json", ".jsonl", ".txt"):
                shutil.copy(file, folder)
    damaged = sorted(rng.sample((*_OBJECTS, *_LINES, *_TEXTS), rng.randint(1, 3)))
    if rng.random() < 0.4:  # of a run that seems to be going on
        state = json.loads((odd_one / "state.json").read_text())
        (odd_one / "state.json").write_text(json.dumps(state | {"status": rng.choice(("queued", "running")), "ended_at": None}))
    for name in damaged:
        _damage(found, odd_one / name)
    found.case = ", ".join(damaged)
    found.facts["answers"] = _read(found, whole.name, odd_one.name)


def _damage(found: Try, file: Path) -> None:
    rng = found.rng
    known = file.read_bytes().strip() if file.is_file() else b""
    known = known or json.dumps(_MADE.get(file.name, {})).encode()
    how = rng.random()
    if how < 0.05:
        file.unlink(missing_ok=True)
    elif how < 0.08:
        file.unlink(missing_ok=True)
        file.mkdir()
    elif how < 0.1:
        file.unlink(missing_ok=True)
        file.symlink_to(rng.choice(("/nowhere", file.name, "/dev/null", "..")))
    elif file.suffix == ".json":
        file.write_bytes(odd.json_bytes(rng, json.loads(known)))
    elif file.suffix == ".jsonl" and how < 0.7:
        lines = known.splitlines()
        lines[rng.randrange(len(lines))] = odd.json_bytes(rng, json.loads(lines[-1]))[:20000]
        file.write_bytes(b"\n".join(lines))
    else:
        file.write_bytes(odd.bytes_changed(rng, known))


def _read(found: Try, whole: str, odd_one: str) -> dict[str, str]:
    """Every reader of runs, and how it answered."""
    from gelora.runs import differences, examples, geometry, history, list_runs, log_tail, provenance, resume_run, run_info, summarise

    listed = {info.id: info for info in list_runs()}
    require(whole in listed and listed[whole].state.status == "finished", "lost", "the whole run is not listed as finished")
    require(odd_one in listed, "lost", "the damaged run is not listed")
    specs = {info.id: info.spec for info in listed.values() if info.spec is not None}
    readers: dict[str, Callable[[], Any]] = {
        reader.__name__: partial(reader, odd_one) for reader in (run_info, history, geometry, examples, provenance, log_tail)
    }
    readers |= {"summarise": lambda: summarise(listed.values(), "eval_accuracy"), "differences": lambda: differences(specs)}
    for arguments in (["runs"], ["runs", "--json"], ["runs", odd_one], ["runs", odd_one, "--csv", "-"]):
        readers[" ".join(arguments)] = partial(odd.command, *arguments)
    with mock.patch("gelora.runs.process.jobs._launch"):
        answers = {name: odd.answered(act) for name, act in readers.items()}
        answers["resume_run"] = odd.answered(partial(resume_run, odd_one))
    return {name.replace(odd_one, "ID"): answer for name, answer in answers.items()}


def prepare(material: Path) -> None:
    """Runs to be damaged."""
    small_runs.make(material)
    odd.limit_memory()


KINDS = (Kind("records", prepare, attempt, odd.LIMIT_SECONDS),)
