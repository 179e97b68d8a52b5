"""Where state lies on disk (`GELORA_HOME`), and how a file gets there whole or not at all.

Does not depend on what is stored; imports nothing of ours but the errors.
"""

import errno
import os
import tempfile
from pathlib import Path

from gelora.errors import GeloraError, StoreError

_NOWHERE = Path(os.devnull) / "no file can have this name"
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "mount the disk writable",
    errno.EACCES: "see whose it is and who may use it",
    errno.EPERM: "see whose it is and who may use it",
    errno.EIO: "the disk may be failing, see the system's log",
    errno.EMFILE: "too many files are open, raise the limit (`ulimit -n`)",
}


def home() -> Path:
    """Folder of all state: `$GELORA_HOME`, or `~/.gelora`. Whoever reads makes no folder, so that a read-only one can be read."""
    return local_path(os.environ.get("GELORA_HOME") or "~/.gelora").resolve()


def cache_dir(name: str) -> Path:
    """Folder `cache/<name>` of results that can be computed again; `made` before something is written there."""
    return home() / "cache" / name


def runs_dir() -> Path:
    """Folder `runs/` with one folder a fine-tuning run; `made` before something is written there."""
    return home() / "runs"


def made(folder: Path) -> Path:
    """The folder, created when missing; texts and labels are its owner's alone.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        for one in (home(), folder):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"Cannot create {folder}: {reason_of(error)}, or set GELORA_HOME to a writable folder."
        raise StoreError(message) from error
    return folder


def reason_of(error: OSError) -> str:
    """What the system refused, and what can be done about it, as the end of a sentence."""
    text = error.strerror or str(error) or type(error).__name__
    return f"{text}; {_ADVICE.get(error.errno or 0, 'see that the place is there and can be used')}"


def check_readable(path: Path, error_class: type[GeloraError]) -> None:
    """Raise `error_class` unless the file can be opened: libraries that read it themselves call it missing or damaged."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise error_class(f"{path} cannot be read: {reason_of(error)}.") from error


def studies_dir() -> Path:
    """Folder `studies/`, where studies are kept; `made` before something is written there."""
    return home() / "studies"


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


def is_taken(folder: Path) -> bool:
    """Whether something is at the place of a folder that is to be written whole: a file, or a folder that is not empty."""
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


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
        raise StoreError(f"Cannot write {path}: {reason_of(error)}, or set GELORA_HOME to a writable folder.") from error
