"""Where state lies on disk (`GELORA_HOME`), and how a file gets there whole or not at all.

Does not depend on what is stored; imports nothing of ours but the errors.
"""

import errno
import os
import tempfile
from pathlib import Path

from gelora.errors import StoreError

_NOWHERE = Path(os.devnull) / "no file can have this name"


def home() -> Path:
    """Folder of all state: `$GELORA_HOME`, or `~/.gelora`. Created when missing.

    Raises:
        StoreError: the folder cannot be created.
    """
    return _existing(local_path(os.environ.get("GELORA_HOME") or "~/.gelora").resolve())


def cache_dir(name: str) -> Path:
    """Folder `cache/<name>` of results that can be computed again. Created when missing."""
    return _existing(home() / "cache" / name)


def runs_dir() -> Path:
    """Folder `runs/` with one folder a fine-tuning run. Created when missing."""
    return _existing(home() / "runs")


def studies_dir() -> Path:
    """Where studies are kept."""
    return _existing(home() / "studies")


def local_path(name: str | Path) -> Path:
    """The path that a person named, `~` and `~user` resolved.

    A name that no file can have (too long, a NUL in it) and a user who does not exist are a path where nothing is, so that
    whoever looks says that nothing is there.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111  (pathlib's own raises for an unknown user)
    try:
        path.stat()
    except ValueError:
        return _NOWHERE
    except OSError as error:
        return _NOWHERE if error.errno == errno.ENAMETOOLONG else path
    return path


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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # texts and labels are its owner's alone
    except OSError as error:
        message = f"Cannot create {folder}: {error.strerror or error}. Set GELORA_HOME to a writable folder."
        raise StoreError(message) from error
    return folder
