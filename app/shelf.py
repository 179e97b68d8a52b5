"""Results of measurements, kept in memory and on disk by key, each of which grows as more of it is measured.

Knows how records are kept and merged; not what they are for.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock

from gelora.errors import InputError, StoreError
from gelora.home import cache_dir, write_atomically
from gelora.record_json import Record

logger = logging.getLogger(__name__)
Kept = TypeVar("Kept", bound=Record)


class Shelf(Generic[Kept]):
    """Records of one kind in `cache/<name>`; what is added under a key is merged into what lies there.

    A file that another process has changed is read again; a damaged one is dropped. Where the disk takes nothing, memory
    keeps the record for this server's life.
    """

    def __init__(self, name: str, kind: type[Kept], merge: Callable[[Kept, Kept], Kept]) -> None:
        self._name, self._kind, self._merge = name, kind, merge
        self._lock = threading.RLock()
        self._held: dict[str, tuple[Kept, tuple[int, int] | None]] = {}  # with the file's time and size; None: not on disk

    def find(self, key: str) -> Kept | None:
        """What lies under `key`, or None."""
        with self._lock:
            record, seen = self._held.get(key, (None, None))
            state = _state(self._path(key))
            if state != seen:  # written by another process, gone, or not yet read
                record = None if state is None else self._read(self._path(key))
                self._held.pop(key, None)
                if record is not None:
                    self._held[key] = (record, state)
            return record

    def add(self, key: str, record: Kept) -> None:
        """Merge `record` into what lies under `key`."""
        with self._lock, self._alone():
            old = self.find(key)
            record = record if old is None else self._merge(old, record)
            try:
                write_atomically(self._path(key), record.to_json().encode())
            except StoreError as error:
                logger.warning("A measurement is shown but could not be kept on disk: %s", error)
                self._path(key).unlink(missing_ok=True)
            self._held[key] = (record, _state(self._path(key)))

    def _path(self, key: str) -> Path:
        return cache_dir(self._name) / f"{key}.json"

    def _read(self, path: Path) -> Kept | None:
        try:
            return self._kind.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, InputError) as error:
            logger.warning("%s is damaged and will be measured again: %s", path, error)
            path.unlink(missing_ok=True)
            return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other servers at the same state folder out, where the disk can hold a lock."""
        lock = FileLock(cache_dir(self._name) / ".lock")
        try:
            lock.acquire(timeout=30)
        except OSError as error:  # a full or read-only disk, or another server that hangs: nothing is lost but its part
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
