"""One try of the campaign: what it is given, what it tells, and the ways in which it can go wrong. Knows no kind of fault."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FAULTS = ("lost", "wrong", "traceback")
"""A run or its work is gone; an answer is untrue, late or none; a person was shown a traceback."""


class Fault(Exception):
    """What went wrong in a try. fault: one of FAULTS; cause: a sentence."""

    def __init__(self, fault: str, cause: str) -> None:
        super().__init__(cause)
        self.fault, self.cause = fault, cause


@dataclass
class Try:
    """One try. rng: follows from seed and number; material: what `prepare` made; folder: an empty one, GELORA_HOME of this try.

    case: what is tried, in words; facts: what was seen beside. Both are set by the kind's `attempt`.
    """

    number: int
    rng: random.Random
    material: Path
    folder: Path
    case: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of fault. prepare(material): makes once what all tries share; attempt(try): raises `Fault` where something is wrong.

    limit_seconds: a try without an answer for so long hangs, which is wrong.
    """

    name: str
    prepare: Callable[[Path], None]
    attempt: Callable[[Try], None]
    limit_seconds: float


def require(condition: Any, fault: str, cause: str) -> None:
    """Raise unless the condition holds."""
    if not condition:
        raise Fault(fault, cause)
