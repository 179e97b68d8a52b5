"""Background work: a job, the queue of jobs, and the pool that starts each job once however many tabs ask for it.

Does not depend on what is done.
"""

import contextlib
import logging
import threading
import time
import traceback
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gelora.errors import Cancelled, GeloraError
from gelora.masking import without_secrets

logger = logging.getLogger(__name__)
WAITING = "Waiting for its turn"

Key = tuple[Hashable, ...]
"""What a job is for; its first part is the kind of work, a word."""


@dataclass
class Job:
    """Work under way in a thread: where it is, how long it still takes, how it ended and with what result."""

    stage: str = WAITING
    done: int = 0
    total: int = 0
    n_results: int = 0
    stage_started: float = field(default_factory=time.monotonic)
    error: str | None = None
    result: Any = None
    ended: float | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def progress(self, stage: str, done: int, total: int) -> None:
        """The library's progress callback; raises `Cancelled` after `cancel()`."""
        if self._cancelled.is_set():
            raise Cancelled("The measurement was cancelled; what was finished before is kept, nothing half-written is left.")
        if stage != self.stage or done < self.done:
            self.stage_started = time.monotonic()
        self.stage, self.done, self.total = stage, done, total

    def cancel(self) -> None:
        """Ask the work to end at its next step."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled.is_set()

    @property
    def is_over(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._over.is_set()

    def run(self, work: Callable[[], Any], what: str, smaller: str) -> None:
        """Do the work: its return value is the `result`, an exception one sentence in `error`; afterwards the job is over.

        what: the work in a word or two, as in "The measurement"; smaller: what to choose where the memory is too small.
        """
        try:
            self.result = work()
        except GeloraError as error:
            self.error = str(error)
        except MemoryError:
            self.error = f"This machine's memory is too small for it; choose {smaller}."
        except Exception as error:  # noqa: BLE001  (the thread's last resort: the page shows it, the log has the traceback)
            logger.error("%s failed\n%s", what, without_secrets(traceback.format_exc()))
            said = without_secrets(f"{type(error).__name__}: {error}")
            self.error = f"{what} failed unexpectedly ({said}); the server's log has the details."
        finally:
            self.ended = time.monotonic()
            self._over.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; returns whether it came in time."""
        return self._over.wait(timeout_seconds)

    @property
    def seconds_since_end(self) -> float:
        """Seconds since it ended; 0 while it is under way."""
        return 0.0 if self.ended is None else time.monotonic() - self.ended

    @property
    def seconds_left(self) -> float | None:
        """Time left in the present stage, or None before it can be estimated."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self.stage_started) / self.done * (self.total - self.done)


AnyJob = TypeVar("AnyJob", bound=Job)


class Turns:
    """One piece of work at a time, in the order of asking; a job asks again for each of its steps, so that a long one lets others in."""

    def __init__(self) -> None:
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def next(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Wait for one's turn and hold it; `waiting` is called meanwhile and may raise `Cancelled`."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            with self._changed:
                while self._queue[0] is not ticket:
                    waiting()
                    self._changed.wait(0.1)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()


class TaskPool:
    """Jobs in threads, the latest under each key; starting one that is under way joins it.

    The return value of the function is its job's result; of each kind the `kept` results read last stay.
    """

    def __init__(self, kept: int = 24) -> None:
        self._kept = kept
        self._lines: defaultdict[str, Turns] = defaultdict(Turns)
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Key, Job] = OrderedDict()

    def job(self, *key: Hashable) -> Job | None:
        """The work under way or ended, or None."""
        with self._lock:
            return self._jobs.get(key)

    def jobs(self, *prefix: Hashable) -> list[Job]:
        """All work whose key begins so, the oldest first."""
        with self._lock:
            return [job for key, job in self._jobs.items() if key[: len(prefix)] == prefix]

    def result(self, *key: Hashable) -> Any:
        """What the work under that key returned, or None."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None or not job.is_over or job.result is None:
                return None
            self._jobs.move_to_end(key)
            return job.result

    def start(self, key: Key, work: Callable[[AnyJob], Any], job: AnyJob, what: str, smaller: str, kept: int | None = None) -> AnyJob:
        """Start `work` on `job` in a thread, or join the one under way; one that was cancelled is not joined.

        what, smaller: of `Job.run`; kept: how many ended ones of this kind stay, as many as the pool keeps unless given.
        """
        with self._lock:
            held = self._jobs.get(key)
            if held is not None and not held.is_over and not held.is_cancelled:
                return held  # type: ignore[return-value]  # a kind of work has one kind of job
            self._jobs[key] = job
            self._jobs.move_to_end(key)
            ended = [k for k, old in self._jobs.items() if k[0] == key[0] and old.is_over]
            for old in ended[: max(0, len(ended) - (self._kept if kept is None else kept))]:
                del self._jobs[old]
        threading.Thread(target=job.run, args=(lambda: work(job), what, smaller), name=str(key[0]), daemon=True).start()
        return job

    def forget(self, *prefix: Hashable) -> None:
        """Drop the ended work whose key begins so."""
        with self._lock:
            for key in [key for key, job in self._jobs.items() if key[: len(prefix)] == prefix and job.is_over]:
                del self._jobs[key]

    def turn(self, job: Job, line: str = "models") -> AbstractContextManager[None]:
        """Wait until no other work of that line is under way, and hold it; a job asks again for each of its steps."""
        with self._lock:
            turns = self._lines[line]
        return turns.next(lambda: job.progress(WAITING, 0, 0))
