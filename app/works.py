"""Pieces of work in threads, by what they are for: who asks for one that is under way joins it; the last answers stay in memory.

Knows neither what is done nor what came of it; one piece of work is a `Job` (`app.jobs`).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from app.jobs import Job

Key = TypeVar("Key", bound=Hashable)
Running = TypeVar("Running", bound=Job)
Answer = TypeVar("Answer")


class Works(Generic[Key, Running]):
    """Work under way or ended, the latest of each key."""

    def __init__(self, thread_name: str) -> None:
        self._thread_name = thread_name
        self._jobs_lock = threading.Lock()
        self._jobs: dict[Key, Running] = {}

    def _job(self, key: Key) -> Running | None:
        """The work under way or ended, or None."""
        with self._jobs_lock:
            return self._jobs.get(key)

    def _begin(self, key: Key, make: Callable[[], Running], work: Callable[[Running], None]) -> Running:
        """Begin `work` of the job that `make` gives, or join the one under way; one that was cancelled is not joined."""
        with self._jobs_lock:
            job = self._jobs.get(key)
            if job is not None and not job.is_over and not job.is_cancelled:
                return job
            job = self._jobs[key] = make()
        threading.Thread(target=work, args=(job,), name=self._thread_name, daemon=True).start()
        return job

    def _forget(self, key: Key) -> None:
        with self._jobs_lock:
            self._jobs.pop(key, None)


class Answers(Generic[Key, Answer]):
    """The last answers; the one looked at longest ago goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Answer] = OrderedDict()

    def find(self, key: Key) -> Answer | None:
        """The answer, or None."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def add(self, key: Key, answer: Answer, most: int) -> None:
        """Keep an answer, and of all no more than `most`."""
        with self._lock:
            self._held[key] = answer
            while len(self._held) > most:
                self._held.popitem(last=False)
