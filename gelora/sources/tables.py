"""Rows and columns of a dataset, wherever it lies: the bundled one, a local file, the hub; which column is what.

Knows files, columns and detection by name; knows nothing of drawing, seeds or labels' meaning.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gelora.errors import DataError, HubError, InputError
from gelora.records import DataChoice, Progress
from gelora.sources import hub
from gelora.sources.catalog import BUNDLED_DATASET
from gelora.sources.docstrings import docstring_rows

FILE_ENDINGS = (".jsonl", ".csv", ".parquet")

_TEXT_NAMES = (
    "text",
    "sentence",
    "sentence1",
    "premise",
    "question",
    "question1",
    "content",
    "document",
    "review",
    "body",
    "instruction",
    "title",
)
_PAIR_OF = {
    "sentence1": ("sentence2",),
    "premise": ("hypothesis",),
    "question1": ("question2",),
    "question": ("sentence", "context"),
    "sentence": ("question",),
    "text": ("text_pair", "text2"),
    "text1": ("text2",),
    "query": ("passage",),
}
_LABEL_NAMES = ("label", "labels", "target", "score", "class", "category", "sentiment", "stars", "rating")
_NEVER_TEXT = ("idx", "id", "source", "url", "guid", "index")


@dataclass(frozen=True)
class Table:
    """A dataset's columns as lists of equal length, where they came from, and the names of its classes where known."""

    columns: dict[str, list[Any]]
    choice: DataChoice
    revision: str
    class_names: tuple[str, ...] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


def read_table(choice: DataChoice, progress: Progress | None = None) -> Table:
    """Read the dataset that `choice` names and settle its columns; the returned choice has no None left but for absent columns.

    Raises:
        InputError: the file is missing, unreadable or of an unknown kind, or a column is not there.
        DataError: there are no rows, or no column with text.
        HubError: a hub id is unknown or out of reach.
    """
    name = choice.dataset
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"The dataset is {name!r}; give {BUNDLED_DATASET!r}, a hub id, or a file ({', '.join(FILE_ENDINGS)}).")
    if name == BUNDLED_DATASET:
        rows, revision = docstring_rows(progress)
        table = Table({key: [row[key] for row in rows] for key in ("text", "label")}, choice, revision)
    elif Path(name).suffix.lower() in FILE_ENDINGS or Path(name).expanduser().exists() or name.startswith(("/", ".", "~")):
        table = _read_file(choice, Path(name).expanduser())
    else:
        table = _read_hub(choice)
    if not table.n_rows:
        raise DataError(f"{name} has no rows.")
    return dataclasses.replace(table, choice=_settled(table))


def _settled(table: Table) -> DataChoice:
    """The choice with its columns: as asked where asked, else by name; "" means none."""
    asked, columns = table.choice, table.columns
    for column in (asked.text_column, asked.pair_column, asked.label_column):
        if column and column not in columns:
            raise InputError(f"{asked.dataset} has no column {column!r}; its columns are: {', '.join(columns)}.")
    text = asked.text_column or _detect_text(columns)
    if text is None:
        raise DataError(f"{asked.dataset} has no column with text; its columns are: {', '.join(columns)}. Name one.")
    pair = asked.pair_column
    if pair is None:
        pair = next((name for name in _PAIR_OF.get(text, ()) if name in columns and _is_text(columns[name])), None)
    label = asked.label_column
    if label is None:
        label = next((name for name in _LABEL_NAMES if name in columns and name not in (text, pair)), None)
    return dataclasses.replace(asked, text_column=text, pair_column=pair or None, label_column=label or None)


def _detect_text(columns: dict[str, list[Any]]) -> str | None:
    texts = [name for name, values in columns.items() if name not in _NEVER_TEXT and _is_text(values)]
    return next((name for name in _TEXT_NAMES if name in texts), None) or next((n for n in texts if n not in _LABEL_NAMES), None)


def _is_text(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values[:100])


# local files


def _read_file(choice: DataChoice, path: Path) -> Table:
    ending = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{choice.dataset!r} is a folder; give one file: {', '.join(FILE_ENDINGS)}.")
    if not path.is_file():
        raise InputError(
            f"There is no file {choice.dataset!r}. Give a {', '.join(FILE_ENDINGS)} file, or a hub id such as stanfordnlp/sst2."
        )
    if ending not in FILE_ENDINGS:
        raise InputError(
            f"{choice.dataset!r} ends in {ending or 'nothing'!r}; files of these kinds can be read: {', '.join(FILE_ENDINGS)}."
        )
    if choice.split or choice.config:
        raise InputError(f"{choice.dataset!r} is a file and has no split or configuration; leave both empty.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {choice.dataset!r}: {error.strerror or error}.") from error
    read = {".jsonl": _jsonl_columns, ".csv": _csv_columns, ".parquet": _parquet_columns}[ending]
    return Table(read(choice.dataset, content), choice, hashlib.sha256(content).hexdigest()[:16])


def _jsonl_columns(name: str, content: bytes) -> dict[str, list[Any]]:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{name!r} is not UTF-8 text (byte {error.start}); is it really JSON Lines?") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{name!r}, line {number} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f'{name!r}, line {number} is {type(row).__name__}; every line must be an object such as {{"text": "..."}}.')
        rows.append(row)
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in names}


def _csv_columns(name: str, content: bytes) -> dict[str, list[Any]]:
    import io

    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", keep_default_na=True, na_values=[""])
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{name!r} cannot be read as CSV: {str(error).strip().splitlines()[0]}") from error
    return _from_frame(frame)


def _parquet_columns(name: str, content: bytes) -> dict[str, list[Any]]:
    import io

    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (ValueError, OSError) as error:  # pyarrow's errors are children of these
        raise InputError(f"{name!r} cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    return _from_frame(frame)


def _from_frame(frame: Any) -> dict[str, list[Any]]:
    return {str(column): frame[column].tolist() for column in frame.columns}


# the hub


def _read_hub(choice: DataChoice) -> Table:
    from datasets import ClassLabel, load_dataset
    from datasets.exceptions import DatasetsError

    split = choice.split or "train"
    revision = None if hub.is_offline() else _revision_or_none(choice.dataset)
    if revision is None and not _is_cached(choice.dataset):
        hub.dataset_revision(choice.dataset)  # says in words why not
    try:
        data = load_dataset(choice.dataset, choice.config, split=split, revision=revision)
    except ValueError as error:  # unknown configuration or split; the message lists the legal ones
        raise InputError(f"{choice.dataset!r}: {_one_line(error)}") from error
    except (DatasetsError, OSError, RuntimeError) as error:
        raise HubError(f"The dataset {choice.dataset!r} cannot be loaded: {_one_line(error)}") from error
    names = next(
        (tuple(f.names) for c, f in data.features.items() if isinstance(f, ClassLabel) and c == (choice.label_column or "label")), None
    )
    columns = {column: list(data[column]) for column in data.column_names}
    settled = dataclasses.replace(choice, split=split)
    return Table(columns, settled, revision or str(getattr(data, "_fingerprint", "cached")), names)


def _revision_or_none(dataset: str) -> str | None:
    try:
        return hub.dataset_revision(dataset)
    except HubError:
        if _is_cached(dataset):
            return None
        raise


def _is_cached(dataset: str) -> bool:
    """Whether the datasets library keeps this id on disk already."""
    from datasets import config

    return (Path(config.HF_DATASETS_CACHE) / dataset.replace("/", "___").lower()).is_dir()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def is_missing(value: Any) -> bool:
    """None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))
