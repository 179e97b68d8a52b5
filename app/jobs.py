"""What a page can ask to be measured, and one such piece of work while it is under way.

Knows how work is named, followed and cancelled; not how it is done (`app.cache`).
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.state import Measurement
from gelora.errors import Cancelled, GeloraError
from gelora.geometry import ESTIMATORS
from gelora.records import IdProfile
from gelora.sensitivity import Sensitivity

logger = logging.getLogger(__name__)
WAITING = "Waiting for its turn"
KINDS = ("estimators", "baselines", "scales", "sensitivity")

# These share one neighbor graph and cost next to nothing beside it; every other estimator is measured by itself, after them.
_QUICK = ("twonn", "twonn-mle", "twonn-loglog", "mle", "gride", "mind", "mom")


@dataclass(frozen=True)
class Task:
    """What is to be measured: a kind out of KINDS, and of which names.

    names: estimators; for "sensitivity" the choices that are made differently, and `focus` the estimator.
    """

    kind: str
    names: tuple[str, ...]
    focus: str = ""

    def missing(self, profile: IdProfile | None, sensitivity: Sensitivity | None) -> tuple[str, ...]:
        """Those names that `profile` or `sensitivity` does not hold yet."""
        if self.kind == "sensitivity":
            return tuple(n for n in self.names if sensitivity is None or n not in {**sensitivity.curves, **sensitivity.notes})
        if profile is None:
            return self.names
        held: set[str] = set(profile.estimates)
        if self.kind == "baselines":
            held = set.intersection(*(set(curves) for curves in profile.baselines.values())) if profile.baselines else set()
        elif self.kind == "scales":
            held = {curve.estimator for curve in profile.scale_curves.values() if curve.kind == "decimation"}
        return tuple(name for name in self.names if name not in held)

    def steps(self) -> list["Task"]:
        """The task in pieces whose results are worth showing before the rest is done, the quickest first."""
        if self.kind == "sensitivity":
            return [Task(self.kind, (name,), self.focus) for name in self.names]
        quick = tuple(name for name in self.names if name in _QUICK)
        slow = [(name,) for name in self.names if name not in _QUICK]
        return [Task(self.kind, names) for names in ([quick] if quick else []) + slow]

    def words(self) -> str:
        """What is measured, for the line over the progress bar."""
        if self.kind == "sensitivity":
            return f"Sensitivity of {ESTIMATORS[self.focus].label}"
        labels = [ESTIMATORS[name].label for name in self.names]
        named = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
        return {"estimators": named, "baselines": f"Baselines of {named}", "scales": f"Other scales of {named}"}[self.kind]


@dataclass
class Job:
    """Work under way in a thread: where it is, how long it still takes, and how it ended."""

    wanted: object
    stage: str = WAITING
    done: int = 0
    total: int = 0
    n_results: int = 0
    stage_started: float = field(default_factory=time.monotonic)
    error: str | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def progress(self, stage: str, done: int, total: int) -> None:
        """The library's progress callback; ends the work when somebody asked for that."""
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
        """Whether somebody asked for its end."""
        return self._cancelled.is_set()

    @property
    def is_over(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._over.is_set()

    @contextlib.contextmanager
    def to_its_end(self, what: str, smaller: str) -> Iterator[None]:
        """Around the work itself: what goes wrong becomes one sentence in `error`, and after it the job is over.

        what: the work in a word or two, as in "The measurement"; smaller: what to choose where the memory is too small.
        """
        try:
            yield
        except GeloraError as error:
            self.error = str(error)
        except MemoryError:
            self.error = f"This machine's memory is too small for it; choose {smaller}."
        except Exception as error:  # the thread's last resort: the page shows it, the log has the traceback
            logger.exception("%s failed", what)
            self.error = f"{what} failed unexpectedly ({type(error).__name__}: {error}); the server's log has the details."
        finally:
            self._over.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; returns whether it came."""
        return self._over.wait(timeout_seconds)

    @property
    def seconds_left(self) -> float | None:
        """Time left in the present stage, or None when nothing can be said yet."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self.stage_started) / self.done * (self.total - self.done)


@dataclass(kw_only=True)
class MeasuringJob(Job):
    """One task of one measurement; again: what is there already is measured anew; now: the step under way in words."""

    wanted: Measurement
    task: Task
    again: bool = False
    now: str = ""
    read_model: bool = False

    def progress(self, stage: str, done: int, total: int) -> None:
        """As of any job; remembers whether the model was read, so that the texts went through it."""
        self.read_model = self.read_model or stage == "Reading the model"
        super().progress(stage, done, total)


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
