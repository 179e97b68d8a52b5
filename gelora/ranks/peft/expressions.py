"""Regular expressions from an untrusted config, which PEFT would give to Python's `re`: matched here under a time limit.

PEFT puts an expression of its own round each field's text. One such text can keep `re` busy for hours on a single
name, and no thread can stop it; `regex` looks at a clock. So no expression from a file ever reaches `re` with a name.
"""

import functools
import re
import time
import warnings
from collections.abc import Iterable
from typing import Any

import regex

from gelora.errors import InputError
from gelora.ranks.peft.lora_names import matches

SECONDS = 2.0
"""Processor time that all expressions of one adapter may take together; those of usual configs take hundredths of it."""

LONGEST = 100_000
"""Characters of an expression; one that names every matrix of a 70B model in full has 30,000."""

_WHOLE = {"target_modules": "{}", "exclude_modules": "{}"}  # fields whose text has to fit the whole name
_FORMS = _WHOLE | {
    "rank_pattern": r"(.*\.)?({})$",
    "alpha_pattern": r"(.*\.)?({})$",
    "modules_to_save": r"(^|.*\.){}($|\..*)",
    "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
}
"""What PEFT makes of a text in each field before it matches a module's name from its beginning."""

_PATTERNS = ("rank_pattern", "alpha_pattern")
_LITERAL = re.compile(r"(?:\w|-|\\[^\w\s])+")  # words with escaped dots: what `re.escape` writes
_CANNOT_HANG = re.compile(r"(?:\w|[-.]|\\[^\w\s])+")  # the same with plain dots, as EVA writes it: nothing to go back over
_ONLY_IN_REGEX = re.compile(r"(?<!\\)\{(?!\d*,?\d*\})|(?<=\[)\[")  # fuzzy counts and POSIX sets, which `re` reads as letters


class Expressions:
    """The expressions in one adapter's config, compiled once; all of them share one limit of time."""

    def __init__(self, where: str, seconds: float | None = None) -> None:
        """`where` names the file in sentences; `seconds` is the limit, `SECONDS` where it is None."""
        self._where = where
        self._seconds = self._left = SECONDS if seconds is None else seconds
        self._compiled: dict[tuple[str, str], Any] = {}

    def check(self, field: str, text: str) -> None:
        """Raise InputError unless `re` takes the text, as PEFT puts it, for a regular expression."""
        if field in _PATTERNS and _literal_ending(text) is not None:
            return
        if len(text) > LONGEST:
            raise InputError(
                f"In {self._where} {field} has a text of {len(text):,} characters; {LONGEST:,} are read at most. Name fewer modules."
            )
        whole, started = _FORMS[field].replace("{}", text), time.thread_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of what a later `re` will read otherwise
                as_peft = re.compile(whole)
            is_safe = field in _PATTERNS and _CANNOT_HANG.fullmatch(text)
            self._compiled[field, text] = as_peft if is_safe else regex.compile(_ONLY_IN_REGEX.sub(r"\\\g<0>", whole), regex.V0)
        except (re.error, regex.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"In {self._where} {field}: {short(text)} is no regular expression ({error}), as which PEFT reads it; correct it."
            ) from error
        self._left -= time.thread_time() - started

    def fits(self, field: str, text: str, name: str) -> bool:
        """Whether PEFT would say that the text in this field means the name."""
        return self._match(field, text, name) is not None

    def layer_number(self, text: str, name: str) -> int | None:
        """The number after the text of a layers_pattern in a name, or None."""
        found = self._match("layers_pattern", text, name)
        return None if found is None else int(found["idx"])

    def first_fitting(self, field: str, patterns: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """{name: the first of the patterns that it fits}, PEFT's rule for r and alpha; names that fit none are left out."""
        places = {key: place for place, key in enumerate(patterns)}
        by_ending: dict[str, str] = {}
        for key in places:  # hundreds of literal keys, as an export of a plan has them, are looked up and not tried one by one
            ending = _literal_ending(key)
            if ending is not None:
                by_ending.setdefault(ending, key)
        others = [key for key in places if _literal_ending(key) is None]
        found = {}
        for name in names:
            literal = min((by_ending[end] for end in endings(name) if end in by_ending), key=places.__getitem__, default=None)
            before = (key for key in others if literal is None or places[key] < places[literal])
            first = next((key for key in before if self.fits(field, key, name)), literal)
            if first is not None:
                found[name] = first
        return found

    def _match(self, field: str, text: str, name: str) -> Any:
        ending = _literal_ending(text) if field in _PATTERNS else None
        if ending is not None:
            return True if matches(ending, name) else None
        if (field, text) not in self._compiled:
            self.check(field, text)
        pattern, started = self._compiled[field, text], time.thread_time()
        if isinstance(pattern, re.Pattern):
            return pattern.match(name)
        match = pattern.fullmatch if field in _WHOLE else pattern.match
        try:
            if self._left <= 0:
                raise TimeoutError
            found = match(name, timeout=self._left)
        except TimeoutError as error:
            self._left = 0.0
            raise InputError(
                f"In {self._where} {field} has the expression {short(text)}, which takes longer than {self._seconds:g} s to compare "
                f"with module names such as {name}, and PEFT might never end; write it more simply, or name the modules."
            ) from error
        self._left -= time.thread_time() - started
        return found


def endings(name: str) -> list[str]:
    """A dotted name and all that PEFT takes for it: what follows each of its dots."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


@functools.lru_cache(maxsize=8192)
def _literal_ending(text: str) -> str | None:
    """What a pattern without any operator means, as plain text; None where it has one."""
    return re.sub(r"\\(.)", r"\1", text) if _LITERAL.fullmatch(text) else None


def short(given: Any) -> str:
    """What was given, as Python writes it, cut to 80 characters."""
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."
