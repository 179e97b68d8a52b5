"""What can be read of a run by its id: its held-out examples, geometry, provenance and log.

Does not depend on how the files are written.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any

from gelora.errors import StoreError
from gelora.home import reason_of
from gelora.record_json import Record
from gelora.runs.records.geometry_log import GeometryMeasurement, read_geometry
from gelora.runs.records.notes import RunNotes, write_notes
from gelora.runs.records.race_result import RaceResult, read_result
from gelora.runs.records.record_file import read_json, read_record
from gelora.runs.records.state import run_folder


@dataclass(frozen=True, slots=True, eq=False)
class _Example(Record):
    """A row of examples.json."""

    given: str
    truth: str
    prediction: str
    right: bool | None = None


@dataclass(frozen=True)
class _Examples:
    """examples.json."""

    step: int
    rows: tuple[_Example, ...]


def examples(run_id: str) -> dict[str, Any] | None:
    """A few held-out examples at the latest evaluation, {"step", "rows": [{"given", "truth", "prediction", "right"}]}; None before it.

    Raises:
        RunError: no run has this id.
        StoreError: the file is damaged.
    """
    found = read_record(run_folder(run_id) / "examples.json", _Examples)
    return asdict(found) if found is not None else None


def provenance(run_id: str) -> dict[str, Any]:
    """What a run was made with and of: versions, commit, digests, device, the command to repeat it; {} before it is known.

    Raises:
        RunError: no run has this id.
        StoreError: the file is damaged.
    """
    found = read_json(run_folder(run_id) / "provenance.json") or {}
    words = found.get("command") or ""
    if not isinstance(words, str) and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise StoreError("provenance.json is damaged (its command is no text)")
    return found


def set_notes(run_id: str, notes: RunNotes) -> None:
    """Give a run, whatever its state, a name, notes and tags in place of those it has.

    Raises:
        RunError: no run has this id.
        StoreError: the disk is full or not writable.
    """
    write_notes(run_folder(run_id), notes)


def race_result(run_id: str) -> RaceResult | None:
    """What a run that is a race has left; None before its end, and of any other run.

    Raises:
        RunError: no run has this id.
        StoreError: the file is damaged.
    """
    return read_result(run_folder(run_id))


def geometry(run_id: str) -> list[GeometryMeasurement]:
    """The measurements of intrinsic dimension during training, in the order of their steps, one for each step.

    Raises:
        RunError: no run has this id.
        StoreError: the file cannot be read.
    """
    return read_geometry(run_folder(run_id))


def log_tail(run_id: str, n_lines: int = 40) -> str:
    """The last lines of a run's log, "" when there is none yet.

    Raises:
        RunError: no run has this id.
        StoreError: the file cannot be read.
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
    except OSError as error:
        raise StoreError(f"The log {path} cannot be read: {reason_of(error)}.") from error
    lines = text.splitlines()
    if size > n_bytes and len(lines) > 1:
        lines = lines[1:]  # the first one is cut
    return "\n".join(lines[-n_lines:])
