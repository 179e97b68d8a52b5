"""Delimited text as rows: the dialect is detected, then verified on every row; no row is changed to fit.

clevercsv (van den Burg et al. 2019, https://doi.org/10.1007/s10618-019-00646-y) proposes the separator among those that stand in the
header line, and settles quoting where two readings fit every row. On 44 small made files with a separator (four separators; quoted,
unquoted and lone quotes; line ends in cells; no header) separator and quoting were right 44 times so, 33 times without the header
line. DuckDB's sniff_csv, asked without it, was right 37 times: three errors were commas in texts, which the header line would mend,
four were two lone quotes taken for one long cell, which it would not. A header without a separator is one column, with no proposal.
Does not depend on encodings, roles of columns or what cells stand for.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gelora.errors import InputError
from gelora.sources.table_header import ask_where_in_doubt, looks_like_names, shown_cells

SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
_SAMPLE = 32_000  # characters that the detection sees; the proof sees all
_N_SHOWN = 5
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Dialect:
    """separator: "" for one column; quote: "" where quotes are part of the text; escape: "\\" where a quote in a cell is written so."""

    separator: str
    quote: str = '"'
    escape: str = ""
    skips_spaces: bool = False


@dataclass(frozen=True)
class DelimitedRows:
    """names: of the columns, each once; rows: cells as written; n_misfits: rows left out, `misfits` the first, with their lines."""

    names: list[str]
    rows: list[list[str]]
    dialect: Dialect
    has_header: bool
    n_misfits: int
    misfits: tuple[str, ...]
    n_comments: int


@dataclass(frozen=True)
class _Reading:
    """Records by the line each begins on; `n_misfits` have another number of cells than the first; None is a broken quote."""

    dialect: Dialect
    records: list[tuple[int, list[str]]]
    n_misfits: int

    @property
    def width(self) -> int:
        return len(self.records[0][1]) if self.records else 0

    @property
    def has_full_cells(self) -> bool:
        """Whether a cell holds a separator or a line end, which only quoting allows."""
        apart = re.compile(f"[\r\n{re.escape(self.dialect.separator)}]")
        return any(apart.search(cell) for _, cells in self.records for cell in cells)


def read_delimited(
    name: str, text: str, header: bool | None = None, skip_misfits: bool = False, separator: str | None = None
) -> DelimitedRows:
    """All rows of a CSV, TSV, semicolon- or pipe-separated text.

    Args:
        name: of the file, for errors.
        text: decoded, without a byte order mark.
        header: whether the first row names the columns; None to have it found, and asked where it is in doubt.
        skip_misfits: leave out rows that do not fit the header, counted in `misfits`; else they are an error.
        separator: a word of SEPARATORS, "none" for one column; None to have it found.

    Raises:
        InputError: rows that do not fit, a quote that is never closed, or a first row that may be data.
    """
    declared, text, n_above = _declared_separator(text)
    comments, text = _leading_comments(text)
    n_above += len(comments)
    marks = {"none": ""} | SEPARATORS
    reading = _without_spaces(_fitting(text, declared if separator is None else marks[separator]))
    if not reading.records:
        raise InputError(f"{name!r} holds no rows; it needs a header and at least two rows.")
    (_, cells), *others = reading.records
    below = [row for _, row in others]
    if comments and not looks_like_names(cells, below):  # a header behind the comment mark, as genomics has it
        names = _cells_of(comments[-1].lstrip("#").strip(), reading.dialect)
        if len(names) == reading.width > 1 and looks_like_names(names, [row for _, row in reading.records]):
            comments, others, cells, header = comments[:-1], reading.records, names, True
    if header is None:
        ask_where_in_doubt(name, cells, below, SEPARATORS.values() if reading.dialect.separator == "" and separator is None else ())
    has_header = header is not False
    if not has_header:
        others, cells = reading.records, [f"column_{i}" for i in range(1, reading.width + 1)]
    rows, misfits, n_comments = [], [], len(comments)
    for number, row in others:
        if len(row) == reading.width:
            rows.append(row)
        elif row[0].startswith("#"):
            n_comments += 1
        else:
            misfits.append((number + n_above, row))
    said = tuple(f"line {number}: {len(row)} cells ({shown_cells(row)})" for number, row in misfits[:_N_SHOWN])
    if misfits and not skip_misfits:
        number, row = misfits[0]
        raise InputError(_misfit_sentence(name, number, row, cells, len(misfits), reading.dialect))
    kept = [i for i, cell in enumerate(cells) if cell.strip() or any(row[i] for row in rows)]
    names = unique_names([cells[i].strip() or f"column_{i + 1}" for i in kept])
    if len(kept) < len(cells):
        rows = [[row[i] for i in kept] for row in rows]
    return DelimitedRows(names, rows, reading.dialect, has_header, len(misfits), said, n_comments)


def unique_names(names: list[str]) -> list[str]:
    """The names, the second of two equal ones with its number: text, text (2)."""
    taken: set[str] = set()
    result = []
    for name in names:
        number, chosen = 1, name
        while chosen in taken:
            number += 1
            chosen = f"{name} ({number})"
        taken.add(chosen)
        result.append(chosen)
    return result


def is_tabbed(text: str) -> bool:
    """Whether every line has the same number of tabs, one at least: columns, not one text a line."""
    counts = {line.count("\t") for line in _LINE_END.split(text) if line.strip()}
    return len(counts) == 1 and counts != {0}


# the dialect


def _declared_separator(text: str) -> tuple[str | None, str, int]:
    """Excel's first line `sep=;`: (separator or None, the text after it, lines taken away)."""
    found = re.match(r'"?sep=(.)"?[,;\t|]*(\r\n|\n|\r)', text, re.IGNORECASE)
    return (found[1], text[found.end() :], 1) if found else (None, text, 0)


def _leading_comments(text: str) -> tuple[list[str], str]:
    """Lines that begin with # before the first that does not; none where all do."""
    comments: list[str] = []
    begins = 0
    while text.startswith("#", begins):
        found = _LINE_END.search(text, begins)
        if not found:
            return [], text
        comments.append(text[begins : found.start()])
        begins = found.end()
    return comments, text[begins:]


def _fitting(text: str, declared: str | None) -> _Reading:
    """The first reading that fits every row, the likeliest first; else the one that fits most."""
    first_line = next((line for line in _LINE_END.split(text[:_SAMPLE]) if line.strip()), "")
    present = [mark for mark in SEPARATORS.values() if mark in first_line] if declared is None else [declared]
    sample = text if len(text) <= _SAMPLE else text[: max(text.rfind("\n", 0, _SAMPLE), text.rfind("\r", 0, _SAMPLE)) + 1]
    proposed = _proposal(sample or text[:_SAMPLE], present)
    order = sorted(present, key=lambda mark: mark != proposed.separator) or [""]
    tried = []
    for separator in order:
        quoted = _read(text, Dialect(separator))
        if '"' not in text:
            bare = quoted and replace(quoted, dialect=Dialect(separator, ""))
            quoted = None
        else:
            bare = _read(text, Dialect(separator, ""))
        chosen = _settled(quoted, bare, proposed.quote)
        if chosen:
            return chosen
        tried += [reading for reading in (quoted, bare) if reading]
        for dialect in _rarer(separator):
            if (dialect.quote or dialect.escape) and dialect.quote not in text:
                continue
            reading = _read(text, dialect)
            if reading and not reading.n_misfits and reading.width > 1:
                return reading
    return min(tried, key=lambda reading: reading.n_misfits)


def _without_spaces(reading: _Reading) -> _Reading:
    """Cells without the space that follows every separator, where it follows every one."""
    later = [cell for _, cells in reading.records for cell in cells[1:]]
    if not later or not all(cell.startswith(" ") for cell in later):
        return reading
    records = [(line, [cells[0], *(cell.lstrip(" ") for cell in cells[1:])]) for line, cells in reading.records]
    return replace(reading, dialect=replace(reading.dialect, skips_spaces=True), records=records)


def _proposal(sample: str, separators: list[str]) -> Dialect:
    from clevercsv import Sniffer
    from clevercsv.exceptions import NoDetectionResult

    if not any(separators):
        return Dialect("")
    try:
        found = Sniffer().sniff(sample, delimiters=separators)
    except NoDetectionResult:
        found = None
    if found is None or found.delimiter not in separators:
        return Dialect(separators[0])
    return Dialect(found.delimiter, found.quotechar or "")


def _settled(quoted: _Reading | None, bare: _Reading | None, proposed_quote: str) -> _Reading | None:
    """Of both readings the one that fits; where both do, quotes are quoting unless a cell would swallow rows that fit by themselves."""
    fit = [reading for reading in (quoted, bare) if reading and not reading.n_misfits]
    if len(fit) < 2:
        return fit[0] if fit else None
    if fit[0].has_full_cells and fit[0].dialect.separator and not proposed_quote:
        return fit[1]
    return fit[0]


def _rarer(separator: str) -> Iterator[Dialect]:
    yield Dialect(separator, '"', skips_spaces=True)
    yield Dialect(separator, '"', "\\")
    yield Dialect(separator, "'")
    yield Dialect(separator, "", "\\")


def _read(text: str, dialect: Dialect) -> _Reading | None:
    """The records by a dialect; None where its quotes are broken."""
    if not dialect.separator and not dialect.quote:
        lines = [(i, [line]) for i, line in enumerate(_LINE_END.split(text), start=1) if line.strip()]
        return _Reading(dialect, lines, 0)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.separator or "\x1f",
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
        doublequote=not dialect.escape,
        skipinitialspace=dialect.skips_spaces,
        strict=True,
    )
    records, begins = [], 1
    try:
        for cells in reader:
            if cells:
                records.append((begins, cells))
            begins = reader.line_num + 1
    except csv.Error:
        return None
    width = len(records[0][1]) if records else 0
    n_misfits = sum(len(cells) != width and not cells[0].startswith("#") for _, cells in records)
    return _Reading(dialect, records, n_misfits)


def _cells_of(line: str, dialect: Dialect) -> list[str]:
    reading = _read(line, dialect)
    return reading.records[0][1] if reading and reading.records else []


def _misfit_sentence(name: str, line: int, row: list[str], names: list[str], n: int, dialect: Dialect) -> str:
    mark = {"\t": "tab", " ": "space"}.get(dialect.separator, dialect.separator)
    more = f" (and {n - 1:,} more rows)" if n > 1 else ""
    return (
        f"{name!r}, line {line} has {len(row)} cell{'' if len(row) == 1 else 's'} ({shown_cells(row)}){more}, and the header "
        f"{len(names)} ({shown_cells(names)}); put cells that hold the separator {mark!r} in double quotes, name another "
        "separator, or have such rows left out."
    )
