"""Whether a table's first row names its columns: by rule; where the rule is unsure, an error asks the user.

Takes rows of cells; does not depend on files, separators or quoting.
"""

import re
from collections.abc import Iterable

from gelora.errors import InputError
from gelora.sources.column_roles import is_known_name


def looks_like_names(cells: list[str], others: list[list[str]]) -> bool:
    """Whether a row names columns: by usual names, or short words that are no values and stand in no row below."""
    names = [cell.strip() for cell in cells]
    below = [row for row in others if len(row) == len(cells)]
    if any(name and any(row[i].strip() == name for row in below) for i, name in enumerate(names)):
        return False  # a value like those under it
    if any(is_known_name(name) for name in names):
        return True
    return any(names) and all(len(name) <= 60 and len(name.split()) <= 3 and not _is_value(name) for name in names)


def _is_value(name: str) -> bool:
    """A number, or the end of a sentence: no name of a column."""
    return bool(re.fullmatch(r"[-+]?[\d.,:/ -]*\d[\d.,:/ -]*%?", name)) or name.endswith((".", "!", "?"))


def ask_where_in_doubt(name: str, cells: list[str], others: list[list[str]], separators: Iterable[str]) -> None:
    """Raise InputError where the first row may be data, or is one cell over rows that any of `separators` parts into equal numbers."""
    if not looks_like_names(cells, others):
        columns = "column_1" if len(cells) == 1 else f"column_1 to column_{len(cells)}"
        raise InputError(
            f"{name!r} may have no header: its first row is {shown_cells(cells)}. Say whether that row names the columns "
            f"(header: yes or no); without a header they are called {columns}."
        )
    if len(cells) == 1 and not is_known_name(cells[0].strip()):
        for separator in separators:
            counts = {row[0].count(separator) for row in others}
            if len(others) > 1 and len(counts) == 1 and counts != {0}:
                raise InputError(
                    f"{name!r} has one cell in its first row ({shown_cells(cells)}) and {counts.pop() + 1} in every other; take away what "
                    "stands above the header, name the separator, or say that the first row is the header (header: yes)."
                )


def shown_cells(cells: list[str]) -> str:
    """The first four cells, long ones cut, for a sentence."""
    shown = ", ".join(repr(cell if len(cell) <= 30 else cell[:29] + "…") for cell in cells[:4])
    return shown + (", ..." if len(cells) > 4 else "")
