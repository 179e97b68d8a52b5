"""Space reserved at the start for a run's final status and reason, so that they can be written on a full disk.

The file is written in place, into blocks it has already: where a new file finds no room, this one still does.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from gelora.errors import StoreError
from gelora.home import write_atomically
from gelora.runs.records.record_file import read_record

_NAME = "last_words.json"
_N_BYTES = 4096


@dataclass(frozen=True)
class _FinalStatus:
    status: str
    reason: str | None


def reserve(folder: Path) -> None:
    """Write the empty file, `last_words.json`.

    Raises:
        StoreError: the disk is full already.
    """
    write_atomically(folder / _NAME, b" " * _N_BYTES)


def write(folder: Path, status: str, reason: str | None) -> None:
    """Write how a run ended, in place.

    Raises:
        OSError: the file is not there or cannot be written.
    """
    text = json.dumps({"status": status, "reason": reason[: _N_BYTES // 8] if reason else None}).encode().ljust(_N_BYTES)
    with (folder / _NAME).open("r+b") as file:
        file.write(text[:_N_BYTES])
        file.flush()
        os.fsync(file.fileno())


def last_message(folder: Path) -> tuple[str, str | None] | None:
    """Status and reason, None when nothing was written."""
    try:
        written = read_record(folder / _NAME, _FinalStatus)
    except StoreError:
        return None  # still empty, or cut short
    return (written.status, written.reason) if written is not None and written.status in ("failed", "stopped", "finished") else None
