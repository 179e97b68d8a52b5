"""Markdown in which inserted words stand as they were typed: `md` for our own markup, `plain` for all other text. Pure, no Streamlit.

What a person, a file or a link brings is never markup: no link, picture, formula, heading, colour or icon comes of it. What has
to be broken is how Streamlit 1.67 reads Markdown: CommonMark, GitHub's tables and links, KaTeX, directives (`:red[..]`), and then,
in the text that is left, addresses, mail addresses, icons, emoji and arrows. The latter are found in the text as it is shown, so
that a backslash does not help; an empty directive does: it parts the text, and shows nothing.
"""

import re
import string
from collections.abc import Iterable
from typing import Any

_PART = ":small[]"
_PARTED = r":(?=[\w+\-/:])|www(?=\.)|@|-(?=[->])|<(?=[-=])|>(?==)|~(?==)"
_UNSAFE = re.compile(rf"(?P<parted>{_PARTED})|[\\`*_\[\]<>{{$~|]|&(?=[#\w])", re.IGNORECASE)
_AT_THE_START = re.compile(r"^( ?(?:[-+=#]*|\d{1,9}))([-+=#.)])(?=\s|$)")  # of a list, a heading, a rule
_BLANKS = re.compile(r"[ \t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


class Markdown(str):
    """Text that is our own Markdown: made by `md` and `plain`, or of a constant."""

    __slots__ = ()

    def __add__(self, other: str) -> "Markdown":
        return Markdown(str.__add__(self, plain(other)))

    def join(self, parts: Iterable[str]) -> "Markdown":
        """The parts with this between them; those that are no Markdown as `plain` shows them."""
        return Markdown(str.join(self, map(plain, parts)))


def plain(text: object) -> Markdown:
    """The text as Markdown that shows it as it is, on one line; what is our own Markdown already is passed on."""
    if isinstance(text, Markdown):
        return text
    line = _BLANKS.sub(" ", str(text)).encode(errors="replace").decode()  # half a surrogate pair cannot be sent
    return Markdown(_AT_THE_START.sub(r"\1\\\2", _UNSAFE.sub(_safe, line)))


def md(template: str, *values: object, **named: object) -> Markdown:
    """Our own Markdown with words inserted, as by `str.format`; each stands as `plain` shows it.

    template: a constant, with no placeholder inside backticks (a code span knows no escapes).
    """
    return Markdown(_Inserting().vformat(template, values, named))


def bold(text: object) -> Markdown:
    """The text as `plain` shows it, in bold."""
    return md("**{}**", text)


def _safe(found: re.Match[str]) -> str:
    text = found.group()
    escaped = text if text.isalpha() or text in "@-" else f"\\{text}"
    return escaped + _PART if found["parted"] else escaped


class _Inserting(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return plain(format(value, format_spec) if format_spec else value)
