"""Work in the background by what it is of: one object a kind of work, on the server's one pool.

Does not depend on what is done, nor on how a page shows it (`app.shared.progress`).
"""

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.shared.cache import pool
from gelora.measurements import Job

Wanted = TypeVar("Wanted", bound=Hashable)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Background(Generic[Wanted, Answer]):
    """One kind of work, done once for all tabs; what it returned stays in memory, the last `kept` of it.

    Attributes:
        kind: its name in the pool.
        work: does it for what is wanted; tells the job its progress.
        what: the work in a word or two, for the sentence of an error; smaller: what to choose where the memory is too small.
        key: what of the wanted decides the answer, all of it unless given.
        kept: how many answers stay, as many as the pool keeps unless given.
    """

    kind: str
    work: Callable[[Wanted, Job], Answer]
    what: str
    smaller: str
    key: Callable[[Wanted], Hashable] = lambda wanted: wanted
    kept: int | None = None

    def answer(self, wanted: Wanted) -> Answer | None:
        """What the work returned, or None."""
        found: Answer | None = pool().result(self.kind, self.key(wanted))
        return found

    def job(self, wanted: Wanted) -> Job | None:
        """The work under way or ended, or None."""
        return pool().job(self.kind, self.key(wanted))

    def start(self, wanted: Wanted) -> Job:
        """Begin, or join what is under way."""
        work = functools.partial(self.work, wanted)
        return pool().start((self.kind, self.key(wanted)), work, Job(), self.what, self.smaller, kept=self.kept)

    def begin(self, wanted: Wanted) -> None:
        """As `start`, for a button's callback."""
        self.start(wanted)
