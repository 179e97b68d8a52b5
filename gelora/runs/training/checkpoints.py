"""Checkpoints that are whole or do not count: the last file of one, complete.json, lists all others with their sizes.

Knows folders and files; knows nothing of what a checkpoint holds.
"""

import json
import os
import re
import shutil
from pathlib import Path

from gelora.home import write_atomically

SEAL = "complete.json"
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(checkpoint: Path) -> None:
    """Say that every file of a checkpoint is written: they are forced to disk, then listed in complete.json.

    Raises:
        OSError: the disk is full or not writable; the checkpoint does not count then.
    """
    sizes = {}
    for file in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        sizes[file.relative_to(checkpoint).as_posix()] = file.stat().st_size
    write_atomically(checkpoint / SEAL, json.dumps({"step": step_of(checkpoint), "files": sizes}, indent=1).encode())


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has all the files that its seal lists, in their sizes."""
    try:
        listed = json.loads((checkpoint / SEAL).read_bytes())["files"]
        return bool(listed) and all((checkpoint / name).stat().st_size == size for name, size in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def step_of(checkpoint: Path) -> int:
    """The optimizer step at which a checkpoint was made, -1 for a folder that is none."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else -1


def all_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or not, the latest first; none when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if step_of(p) >= 0), key=step_of, reverse=True)


def last_whole(folder: Path) -> Path | None:
    """The latest whole checkpoint in `folder`, None when there is none."""
    return next((checkpoint for checkpoint in all_checkpoints(folder) if is_whole(checkpoint)), None)


def clear(folder: Path, keep: Path | None) -> None:
    """Remove what is not whole, and what is later than `keep`: a run that goes on from there makes it again."""
    for checkpoint in all_checkpoints(folder):
        if not is_whole(checkpoint) or step_of(checkpoint) > (step_of(keep) if keep else -1):
            shutil.rmtree(checkpoint)
