"""What single cells stand for: missing, a text, or a number that gives the cell back as it was written.

Does not depend on files, roles of columns or draws.
"""

import math
import re
from decimal import Decimal
from typing import Any

Number = int | float | Decimal

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,999}")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.([0-9]+)|-?[0-9](?:\.[0-9]+)?e[+-][0-9]+")
_QUANTITY = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def is_missing(value: Any) -> bool:
    """None, NaN, or the empty text (which is how a CSV file leaves a value out)."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def has_text(value: Any) -> bool:
    """Whether a cell is a text that holds more than spaces."""
    return isinstance(value, str) and bool(value.strip())


def as_quantity(text: str) -> float | None:
    """The number that a text is, however it is written (1.10, +2, 1E3); None for words and for codes such as 01 or 1_0."""
    number = float(text) if _QUANTITY.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def numbers_as_written(texts: list[str]) -> list[Number] | None:
    """The numbers that texts are, where each gives its text back and no two texts are one number; else None.

    All are whole numbers or written as Python writes a float, or all have the same number of decimals (4.00, 3.75).
    """
    different = list(dict.fromkeys(texts))
    for read in (_as_python_writes, _with_decimals(different)):
        numbers = {text: number for text in different if (number := read(text)) is not None}
        if len(numbers) == len(different) == len(set(numbers.values())):
            return [numbers[text] for text in texts]
    return None


def _as_python_writes(text: str) -> Number | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    return number if _DECIMAL.fullmatch(text) and repr(number := float(text)) == text else None


def _with_decimals(texts: list[str]) -> Any:
    found = _DECIMAL.fullmatch(texts[0]) if texts else None
    n_decimals = len(found[1]) if found and found[1] else None

    def read(text: str) -> Number | None:
        if n_decimals is None or not _DECIMAL.fullmatch(text):
            return None
        return number if f"{(number := float(text)):.{n_decimals}f}" == text else None

    return read


def are_texts(values: list[Any]) -> bool:
    """Whether a column holds texts: strings, and not all of them numbers; empty ones alone are texts too."""
    first = [value for value in values[:1000] if value is not None and value == value]
    if not first or not all(isinstance(value, str) for value in first):
        return False
    present = [value.strip() for value in first if value.strip()]
    return not present or any(as_quantity(text) is None for text in present)
