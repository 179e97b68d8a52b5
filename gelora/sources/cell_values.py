"""What the values of a column stand for: cells of a text file as numbers, where all of them are.

Knows values; does not depend on files, roles of columns or draws.
"""

from typing import Any


def is_missing(value: Any) -> bool:
    """None, NaN, or the empty text (which is how a CSV file leaves a value out)."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def numbers(values: list[Any]) -> list[Any]:
    """Cell texts as whole numbers or floats where every one that is not empty is one (an empty cell is then None); else as given."""
    if not any(values) or not all(value is None or isinstance(value, str) for value in values):
        return values
    for kind in (int, float):
        try:
            return [None if is_missing(value) else kind(value) for value in values]
        except ValueError:
            continue
    return values


def are_texts(values: list[Any]) -> bool:
    """Whether a column holds texts: strings, and not all of them numbers."""
    first = [value for value in values[:1000] if not is_missing(value)]
    return bool(first) and all(isinstance(value, str) for value in first) and numbers(first) is first
