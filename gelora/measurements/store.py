"""Results of measurements in memory and on disk by key, each of which grows as more of it is measured; and what a key is made of.

Does not depend on what the records are for.
"""

import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock

from gelora.errors import InputError, StoreError
from gelora.home import cache_dir, local_path, made, reason_of, write_atomically
from gelora.record_json import Record

logger = logging.getLogger(__name__)
Result = TypeVar("Result", bound=Record)


class ResultStore(Generic[Result]):
    """Records of one kind in `cache/<name>`; what is added under a key is merged into what is there.

    A file that another process has changed is read again; a damaged one is dropped. Where the disk takes nothing, memory
    keeps the record for this server's life.
    """

    def __init__(self, name: str, kind: type[Result], merge: Callable[[Result, Result], Result]) -> None:
        self._name, self._kind, self._merge = name, kind, merge
        self._lock = threading.RLock()
        self._held: dict[str, tuple[Result, tuple[int, int] | None]] = {}  # with the file's time and size; None: not on disk

    def find(self, key: str) -> Result | None:
        """The record under `key`, or None."""
        with self._lock:
            record, seen = self._held.get(key, (None, None))
            state = _state(self._path(key))
            if state != seen:  # written by another process, gone, or not yet read
                record = None if state is None else self._read(self._path(key))
                self._held.pop(key, None)
                if record is not None:
                    self._held[key] = (record, state)
            return record

    def add(self, key: str, record: Result) -> None:
        """Merge `record` into the one under `key`."""
        with self._lock, self._alone():
            old = self.find(key)
            record = record if old is None else self._merge(old, record)
            try:
                made(self._path(key).parent)
                write_atomically(self._path(key), record.to_json().encode())
            except StoreError as error:
                logger.warning("A measurement is shown but could not be kept on disk: %s", error)
            self._held[key] = (record, _state(self._path(key)))

    def _path(self, key: str) -> Path:
        return cache_dir(self._name) / f"{key}.json"

    def _read(self, path: Path) -> Result | None:
        try:
            return self._kind.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            logger.warning("%s cannot be read and is measured again: %s", path, reason_of(error))
        except (UnicodeDecodeError, InputError) as error:
            logger.warning("%s is damaged and is measured again: %s", path, error)
            with contextlib.suppress(OSError):  # a read-only disk keeps it
                path.unlink()
        return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other servers with the same data folder out, where the disk can hold a lock."""
        lock = FileLock(cache_dir(self._name) / ".lock")
        try:
            made(cache_dir(self._name))
            lock.acquire(timeout=30)
        except (StoreError, OSError) as error:  # a full or read-only disk, or another server that hangs: nothing is lost but its part
            logger.warning("Measurements are kept without a lock: %s", error)
        try:
            yield
        finally:
            lock.release()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def key_of(*identity: object) -> str:
    """A digest of what an answer depends on, given as values that JSON can write."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def file_state(name: str) -> list[object]:
    """Size and time of a local file or of a local model's files, so that a changed one is measured again."""
    path = local_path(name)
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if path.is_dir() and (path / "config.json").is_file():
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(path.iterdir()) if file.is_file()]
    return []
