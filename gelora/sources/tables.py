"""Rows and columns of a dataset, wherever it lies: the bundled one, a local file, the hub; which column is what.

Knows files, columns and detection by name; knows nothing of drawing, seeds or what labels mean.
"""

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gelora.errors import DataError, HubError, InputError
from gelora.records import DataChoice, Progress, ReadReport
from gelora.sources import hub
from gelora.sources.catalog import BUNDLED_DATASET
from gelora.sources.cell_values import are_texts, is_missing
from gelora.sources.docstrings import read_docstrings

FILE_ENDINGS = (".jsonl", ".csv", ".parquet")

_TEXT_NAMES = (
    *("text", "sentence", "sentence1", "premise", "question1", "question", "text1", "content", "document", "review", "body"),
    *("comment", "tweet", "message", "query", "instruction", "prompt", "article", "passage", "context", "title"),
)
_PAIR_OF = {
    "sentence1": ("sentence2",),
    "premise": ("hypothesis",),
    "question1": ("question2",),
    "question": ("context", "sentence"),
    "text": ("text_pair", "text2"),
    "text1": ("text2",),
    "query": ("passage",),
}
_LABEL_NAMES = ("label", "labels", "score", "target", "class", "category", "sentiment", "stars", "rating", "similarity_score")
_NEVER = frozenset(["idx", "id", "source", "url", "guid", "index"])
_OTHER_ENDINGS = re.compile(r"\.(json|tsv|txt|xlsx?|gz|zip|arrow|xml|feather|pq)$", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A dataset's columns as lists of equal length, and where they came from.

    Cells of a CSV file are texts as they are written there (`label_values` says what labels stand for).
    class_names: for columns whose whole numbers stand for named classes; report: how the rows were read; splits: those of a hub
    dataset, else empty.
    """

    columns: dict[str, list[Any]]
    choice: DataChoice
    revision: str
    class_names: dict[str, tuple[str, ...]]
    report: ReadReport
    splits: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0


def read_table(choice: DataChoice, progress: Progress | None = None) -> Table:
    """Read the dataset that `choice` names and settle its columns.

    The choice of the table says what was used. In it a pair or label column of None means that none was found, "" that
    none was wanted; so it reads the same again.

    Raises:
        InputError: the file is missing, unreadable or of an unknown kind, or a column, split or configuration is not there.
        DataError: there are no rows, or no column with text.
        HubError: a hub id is unknown or out of reach.
    """
    name = choice.dataset
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"The dataset is {name!r}; give {BUNDLED_DATASET!r}, a hub id, or a file ({', '.join(FILE_ENDINGS)}).")
    path = Path(name).expanduser()
    if name == BUNDLED_DATASET:
        table = _bundled(choice, progress)
    elif path.suffix.lower() in FILE_ENDINGS or _OTHER_ENDINGS.search(name) or path.exists() or not hub.looks_like_id(name):
        table = _read_file(choice, path)
    else:
        table = _read_hub(choice)
    if not table.n_rows:
        raise DataError(f"{name} has no rows; choose other data.")
    return dataclasses.replace(table, choice=_settled(table))


def _bundled(choice: DataChoice, progress: Progress | None) -> Table:
    if choice.split or choice.config:
        raise InputError(f"{BUNDLED_DATASET!r} has no split or configuration; leave both empty.")
    found = read_docstrings(progress)
    columns: dict[str, list[Any]] = {"text": list(found.texts), "label": [found.packages[label] for label in found.labels]}
    return Table(columns, choice, found.revision, {}, ReadReport("bundled", len(found.texts)))


def _settled(table: Table) -> DataChoice:
    asked, columns = table.choice, table.columns
    for column in (asked.text_column, asked.pair_column, asked.label_column):
        if column and column not in columns:
            raise InputError(f"{asked.dataset} has no column {column!r}; its columns are: {', '.join(columns)}.")
    text = asked.text_column or _detect_text(columns)
    if text is None:
        raise DataError(f"{asked.dataset} has no column with text; its columns are: {', '.join(columns)}. Choose other data.")
    pair, label = asked.pair_column, asked.label_column
    by_name = {name.lower(): name for name in columns}
    if pair is None:
        partners = (by_name.get(partner) for partner in _PAIR_OF.get(text.lower(), ()))
        pair = next((name for name in partners if name and name != label and are_texts(columns[name])), None)
    if label is None:
        found = (by_name.get(name) for name in _LABEL_NAMES)
        label = next((name for name in found if name and name not in (text, pair) and _could_label(columns[name])), None)
    if pair and pair == text:
        raise InputError(f"{pair!r} is given as text and as second text; choose two columns, or no second one.")
    return dataclasses.replace(asked, text_column=text, pair_column=pair, label_column=label)


def _detect_text(columns: dict[str, list[Any]]) -> str | None:
    texts = {name.lower(): name for name in columns if name.lower() not in _NEVER and are_texts(columns[name])}
    known = next((texts[name] for name in _TEXT_NAMES if name in texts), None)
    return known or next((name for lower, name in texts.items() if lower not in _LABEL_NAMES), None)


def _could_label(values: list[Any]) -> bool:
    """Whether there is any label: test sets are often published with an empty column."""
    return any(not is_missing(value) for value in values)


# local files


def _read_file(choice: DataChoice, path: Path) -> Table:
    name, ending, kinds = choice.dataset, path.suffix.lower(), ", ".join(FILE_ENDINGS)
    if path.is_dir():
        raise InputError(f"{name!r} is a folder; give one file: {kinds}.")
    if not path.is_file():
        raise InputError(f"There is no file {name!r}. Give a {kinds} file, or a hub id such as stanfordnlp/sst2.")
    if ending not in FILE_ENDINGS:
        raise InputError(f"{name!r} ends in {ending or 'nothing'!r}; files of these kinds can be read: {kinds}.")
    if choice.split or choice.config:
        raise InputError(f"{name!r} is a file and has no split or configuration; leave both empty.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {name!r}: {error.strerror or error}.") from error
    if not content.strip():
        raise InputError(f"The file {name!r} is empty; it needs at least two rows.")
    read = {".jsonl": _jsonl_columns, ".csv": _csv_columns, ".parquet": _parquet_columns}[ending]
    columns, class_names = read(name, content)
    n_rows = len(next(iter(columns.values()), ()))
    report = ReadReport({".jsonl": "JSON Lines", ".csv": "CSV", ".parquet": "Parquet"}[ending], n_rows)
    return Table(columns, choice, hashlib.sha256(content).hexdigest()[:16], class_names, report)


_Columns = tuple[dict[str, list[Any]], dict[str, tuple[str, ...]]]


def _jsonl_columns(name: str, content: bytes) -> _Columns:
    rows = []
    for number, line in enumerate(_text(name, content).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name!r}, line {number} is not JSON ({error}); every line must be an object.") from error
        if not isinstance(row, dict):
            raise InputError(f'{name!r}, line {number} is {type(row).__name__}; every line must be an object such as {{"text": "..."}}.')
        rows.append(row)
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in names}, {}


def _csv_columns(name: str, content: bytes) -> _Columns:
    """Every value as it stands in the file, so that the text "NA" stays one and the code 01 is not 1."""
    import pandas as pd

    header = _text(name, content).lstrip("\n").split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    try:
        frame = pd.read_csv(io.BytesIO(content), sep=separator, encoding="utf-8-sig", dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, pd.errors.ParserError) as error:  # the parser's errors name the line
        raise InputError(f"{name!r} cannot be read as CSV: {_one_line(error)}") from error
    return {str(column): frame[column].tolist() for column in frame.columns}, {}


def _parquet_columns(name: str, content: bytes) -> _Columns:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        columns = {column: table[column].to_pylist() for column in table.column_names}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name!r} cannot be read as Parquet: {_one_line(error)}") from error
    class_names = _class_names_in(table.schema.metadata or {})
    return _without_minus_one(columns, class_names), class_names


def _without_minus_one(columns: dict[str, list[Any]], named: Iterable[str]) -> dict[str, list[Any]]:
    """The columns with None for -1 where numbers stand for classes: so `datasets` leaves a class out."""
    return columns | {name: [None if value == -1 else value for value in columns[name]] for name in named if name in columns}


def _class_names_in(metadata: dict[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """The class names that `datasets` writes into a Parquet file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: tuple(map(str, feature["names"])) for name, feature in features.items() if "names" in feature}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # the numbers then stand for themselves


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name!r} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8, or check that it is no other kind."
        ) from error


# the hub


def _read_hub(choice: DataChoice) -> Table:
    from datasets import ClassLabel

    with _readable(choice), _quiet():
        builder = _builder(choice)
        splits = tuple(map(str, builder.info.splits or ()))
        split = choice.split or ("train" if "train" in splits else splits[0])
        if split.partition("[")[0] not in splits:
            raise InputError(f"{choice.dataset!r} has no split {split!r}; choose one of: {', '.join(splits)}.")
        data = builder.as_dataset(split=split)
        named = {name: tuple(kind.names) for name, kind in data.features.items() if isinstance(kind, ClassLabel)}
        columns = {name: list(data[name]) for name in data.column_names}
    columns = _without_minus_one(columns, named)
    config = choice.config or (None if builder.config.name == "default" else builder.config.name)
    settled = dataclasses.replace(choice, config=config, split=split)
    report = ReadReport("hub dataset", len(data))
    return Table(columns, settled, str(builder.hash), named, report, splits)


def _builder(choice: DataChoice) -> Any:
    """The prepared dataset: what `datasets` keeps, else files that lie in the hub's cache, else a download."""
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError
    from datasets.packaged_modules.cache.cache import Cache

    name, cache = choice.dataset, str(hub.datasets_cache())
    try:  # the library itself asks the hub first, and without a network that takes half a minute
        return Cache(
            repo_id=name, dataset_name=name.split("/")[-1], config_name=choice.config, version="auto", hash="auto", cache_dir=cache
        )
    except (ValueError, OSError, KeyError) as error:  # not there, or only a part of it
        if "multiple" in str(error):
            raise
    snapshot = hub.cached_snapshot(name, "dataset", ["*.parquet", "*.csv", "*.jsonl", "*.json", "*.md"])
    if snapshot is not None:
        try:
            builder = load_dataset_builder(str(snapshot), choice.config, cache_dir=cache)
            builder.download_and_prepare()
        except (DatasetsError, FileNotFoundError):
            pass  # it holds the dataset's card alone
        else:
            builder.hash = snapshot.name
            return builder
    revision = hub.ask_hub(name, "dataset").sha
    builder = load_dataset_builder(name, choice.config, cache_dir=cache, revision=revision)
    builder.download_and_prepare()
    return builder


@contextmanager
def _readable(choice: DataChoice) -> Iterator[None]:
    """What the library says of a wrong configuration or damaged data, as one sentence."""
    from datasets.exceptions import DatasetsError

    try:
        with hub.hub_errors(choice.dataset, "dataset"):
            yield
    except ValueError as error:  # an unknown or missing configuration, with the legal ones listed
        raise InputError(f"{choice.dataset!r}: {_one_line(error)}") from error
    except (DatasetsError, RuntimeError) as error:
        raise HubError(f"The dataset {choice.dataset!r} cannot be read: {_one_line(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and notes of `datasets` while it reads; as they were before, afterwards."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging as datasets_logging

    level, had_bars = datasets_logging.get_verbosity(), not are_progress_bars_disabled()
    datasets_logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        datasets_logging.set_verbosity(level)
        if had_bars:
            enable_progress_bars()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
