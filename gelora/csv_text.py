"""The one way to CSV text: cells that a spreadsheet would take for a formula are kept as text. Does not depend on what the rows are."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]inf")
_TO_QUOTE = re.compile(r'[",\r\n]')


def csv_text(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV with a header, numbers at full precision, nothing for None and NaN.

    A text that begins with = + - @, a tab or a carriage return gets an apostrophe before it, unless it is a number: a
    spreadsheet would run it, and labels, texts and column names come from other people's files.
    """
    lines = (",".join(map(_cell, row)) or '""' for row in (header, *rows))
    return "".join(f"{line}\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = str(value)
    if _FORMULA.match(text) and not isinstance(value, int | float) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"{}"'.format(text.replace('"', '""')) if _TO_QUOTE.search(text) else text
