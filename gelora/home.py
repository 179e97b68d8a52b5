"""Where state lies on disk (`GELORA_HOME`), and how a file gets there whole or not at all.

Does not depend on what is stored; imports nothing of ours but the errors.
"""

import os
import tempfile
from pathlib import Path

from gelora.errors import StoreError


def home() -> Path:
    """Folder of all state: `$GELORA_HOME`, or `~/.gelora`. Created when missing.

    Raises:
        StoreError: the folder cannot be created.
    """
    return _existing(Path(os.environ.get("GELORA_HOME") or Path.home() / ".gelora").expanduser().resolve())


def cache_dir(name: str) -> Path:
    """Folder `cache/<name>` of results that can be computed again. Created when missing."""
    return _existing(home() / "cache" / name)


def runs_dir() -> Path:
    """Folder `runs/` with one folder a fine-tuning run. Created when missing."""
    return _existing(home() / "runs")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        StoreError: the disk is full or the folder is not writable; `path` is then as it was.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or set GELORA_HOME to a writable folder."
        ) from error


def _existing(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"Cannot create {folder}: {error.strerror or error}. Set GELORA_HOME to a writable folder."
        raise StoreError(message) from error
    return folder
