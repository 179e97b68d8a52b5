"""A local file as columns and a report of how it was read.

Gives each ending its reader; does not depend on roles of columns, labels or draws.
"""

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from gelora.errors import InputError
from gelora.home import local_path, reason_of
from gelora.records import DataChoice, ReadReport
from gelora.sources.delimited import is_tabbed, read_delimited, unique_names
from gelora.sources.file_bytes import check_kind, decoded, unpacked
from gelora.sources.json_rows import read_json

FILE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".parquet")
"""Of files that can be read; all but Parquet also packed with gzip (.csv.gz)."""

READABLE = "a CSV, TSV, JSON Lines, JSON, Parquet or text file (.csv .tsv .jsonl .json .parquet .txt, also .gz)"
"""The same in words, for help texts."""

_FOREIGN = re.compile(r"\.(xlsx?|ods|zip|gz|bz2|xz|zst|arrow|xml|html?|feather|pq|pkl|npy|h5|pdf|docx?|png|jpe?g)$", re.IGNORECASE)
_LINES = re.compile(r"\r\n|\n|\r")


class FileRows(NamedTuple):
    """A file's columns, the names of classes behind numbers, a digest of its bytes, and how it was read."""

    columns: dict[str, list[Any]]
    class_names: dict[str, tuple[str, ...]]
    revision: str
    report: ReadReport


def ending_of(name: str) -> str | None:
    """The ending by which a file is read, without .gz; None where it is none of FILE_ENDINGS."""
    path = Path(name.strip())
    ending = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    return ending if ending in FILE_ENDINGS else None


def names_a_file(name: str) -> bool:
    """Whether a name is that of a file, there or not, rather than of a dataset on the hub."""
    return ending_of(name) is not None or bool(_FOREIGN.search(name.strip()))


def read_file(choice: DataChoice) -> FileRows:
    """Read the file that `choice` names.

    Raises:
        InputError: there is no such file, it is of another kind, or rows do not fit; one sentence with line and remedy.
    """
    name = choice.dataset
    path, ending, kinds = local_path(name), ending_of(name), ", ".join(FILE_ENDINGS)
    if path.is_dir():
        raise InputError(f"{name!r} is a folder; give one file: {kinds}.")
    if not path.is_file():
        raise InputError(f"There is no file {name!r}. Give a {kinds} file, or a hub id such as stanfordnlp/sst2.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {name!r}: {reason_of(error)}.") from error
    if not content.strip():
        raise InputError(f"The file {name!r} is empty; it needs at least two rows.")
    revision = hashlib.sha256(content).hexdigest()[:16]
    if ending is not None:
        content = unpacked(name, content)
    check_kind(name, content, ending == ".parquet")
    if ending is None:
        raise InputError(f"{name!r} ends in {path.suffix or 'nothing'!r}; files of these kinds can be read: {kinds}, also with .gz.")
    if choice.split or choice.config:
        raise InputError(f"{name!r} is a file and has no split or configuration; leave both empty.")
    if ending == ".parquet":
        if not choice.names_no_text_form():
            raise InputError(f"{name!r} is Parquet, which has no choice of encoding, header or separator; leave them empty.")
        columns, class_names, notes = _parquet(name, content)
        return FileRows(columns, class_names, revision, ReadReport("Parquet", _n_rows(columns), notes=notes))
    text, encoding = decoded(name, content, choice.encoding)
    if ending in (".csv", ".tsv") or (ending == ".txt" and (choice.separator or is_tabbed(text))):
        return _delimited(choice, text, encoding, revision)
    if choice.header is not None or choice.separator is not None:
        raise InputError(f"{name!r} is no table with a header and separator; leave both choices empty.")
    if ending == ".txt":
        lines = [line for line in _LINES.split(text) if line.strip()]
        return FileRows({"text": lines}, {}, revision, ReadReport("text", len(lines), encoding=encoding))
    found = read_json(name, text, choice.skip_bad_rows)
    names = dict.fromkeys(key for row in found.rows for key in row)
    columns = {key: [row.get(key) for row in found.rows] for key in names}
    report = ReadReport(found.kind, len(found.rows), found.n_misfits, found.misfits, encoding=encoding)
    return FileRows(columns, {}, revision, report)


def _delimited(choice: DataChoice, text: str, encoding: str, revision: str) -> FileRows:
    found = read_delimited(choice.dataset, text, choice.header, choice.skip_bad_rows, choice.separator)
    columns = {name: [row[i] for row in found.rows] for i, name in enumerate(found.names)}
    report = ReadReport(
        "CSV",
        len(found.rows),
        found.n_misfits,
        found.misfits,
        encoding=encoding,
        separator=found.dialect.separator,
        quote=found.dialect.quote,
        has_header=found.has_header,
        n_comments=found.n_comments,
    )
    return FileRows(columns, {}, revision, report)


def _n_rows(columns: dict[str, list[Any]]) -> int:
    return len(next(iter(columns.values()), ()))


def _parquet(name: str, content: bytes) -> tuple[dict[str, list[Any]], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Columns, names of classes (-1 is no class), and what was renamed."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        table = pyarrow.parquet.ParquetFile(io.BytesIO(content)).read()  # read_table refuses two columns of one name
        values = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name!r} cannot be read as Parquet: {' '.join(str(error).split())[:300]}") from error
    names = unique_names(table.column_names)
    renamed = [f"A second column {old!r} is called {new!r}." for old, new in zip(table.column_names, names, strict=True) if old != new]
    columns = dict(zip(names, values, strict=True))
    class_names = _class_names_in(table.schema.metadata or {})
    return without_minus_one(columns, class_names), class_names, tuple(renamed)


def without_minus_one(columns: dict[str, list[Any]], class_names: dict[str, tuple[str, ...]]) -> dict[str, list[Any]]:
    """The columns with None for -1 where a column's numbers stand for classes: so `datasets` leaves a class out."""
    return {
        name: [None if value == -1 else value for value in values] if name in class_names else values for name, values in columns.items()
    }


def _class_names_in(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The class names that `datasets` writes into a Parquet file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: tuple(map(str, feature["names"])) for name, feature in features.items() if "names" in feature}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # the numbers then stand for themselves
