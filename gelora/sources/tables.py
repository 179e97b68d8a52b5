"""Rows and columns of a dataset (bundled, a local file, or on the hub), with the roles of its columns.

Does not depend on drawing, seeds or what labels mean.
"""

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gelora.errors import DataError, HubError, InputError
from gelora.home import local_path
from gelora.records import DataChoice, Progress, ReadReport
from gelora.sources import hub
from gelora.sources.catalog import BUNDLED_DATASET
from gelora.sources.chats import Chat, with_chats
from gelora.sources.column_roles import find_roles
from gelora.sources.docstrings import read_docstrings
from gelora.sources.files import READABLE, names_a_file, read_file, without_minus_one


@dataclass(frozen=True)
class Table:
    """A dataset's columns as lists of equal length, and where they came from.

    Cells of a CSV file are texts as they are written there (`label_values` says what labels stand for).
    class_names: for columns whose whole numbers stand for named classes; report: how the rows were read; splits: those of a hub
    dataset, else empty; chats: whole chats, by the names of the columns that hold the first text of their users and the answer to it.
    """

    columns: dict[str, list[Any]]
    choice: DataChoice
    revision: str
    class_names: dict[str, tuple[str, ...]]
    report: ReadReport
    splits: tuple[str, ...] = ()
    chats: dict[tuple[str, str], list[Chat]] = field(default_factory=dict)

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
        raise InputError(f"The dataset is {name!r}; give {BUNDLED_DATASET!r}, a hub id, or {READABLE}.")
    if name == BUNDLED_DATASET:
        table = _bundled(choice, progress)
    elif names_a_file(name) or local_path(name).exists() or not hub.looks_like_id(name):
        table = _of_file(choice)
    else:
        table = _read_hub(choice)
    if not table.n_rows:
        raise DataError(f"{name} has no rows; choose other data.")
    return _settled(table)


def _bundled(choice: DataChoice, progress: Progress | None) -> Table:
    if choice.split or choice.config:
        raise InputError(f"{BUNDLED_DATASET!r} has no split or configuration; leave both empty.")
    _refuse_file_options(choice)
    found = read_docstrings(progress)
    columns: dict[str, list[Any]] = {"text": list(found.texts), "label": [found.packages[label] for label in found.labels]}
    return Table(columns, choice, found.revision, {}, ReadReport("bundled", len(found.texts)))


def _of_file(choice: DataChoice) -> Table:
    found = read_file(choice)
    return Table(found.columns, choice, found.revision, found.class_names, found.report)


def _settled(table: Table) -> Table:
    """The table with its roles in its choice, and why in its report; chats as prompt and answer, no half characters."""
    columns, n_replaced = _without_surrogates(table.columns)
    read = with_chats(columns)
    columns = read.columns
    asked, name = table.choice, table.choice.dataset
    for column in (asked.text_column, asked.pair_column, asked.label_column):
        if column and column not in columns:
            raise InputError(f"{name} has no column {column!r}; its columns are: {', '.join(columns)}.")
    roles = find_roles(columns, asked.text_column or None, asked.pair_column, asked.label_column)
    if roles.text is None:
        lists = [column for column, values in columns.items() if any(isinstance(value, list | dict) for value in values[:100])]
        nested = f" ({', '.join(lists)}: lists or objects, which are no texts)" if lists else ""
        raise DataError(f"{name} has no column with text; its columns are: {', '.join(columns)}{nested}. Choose other data.")
    if roles.pair and roles.pair == roles.text:
        raise InputError(f"{roles.pair!r} is given as text and as second text; choose two columns, or no second one.")
    choice = dataclasses.replace(asked, text_column=roles.text, pair_column=roles.pair, label_column=roles.label)
    report = dataclasses.replace(table.report, n_replaced=n_replaced, roles=roles.reasons, notes=table.report.notes + read.notes)
    return dataclasses.replace(table, columns=columns, choice=choice, report=report, chats=read.chats)


def _without_surrogates(columns: dict[str, list[Any]]) -> tuple[dict[str, list[Any]], int]:
    """The columns with U+FFFD for every lone surrogate (half a character, as JSON may spell it), and how many there were."""
    n_replaced = 0

    def mended(value: Any) -> Any:
        nonlocal n_replaced
        if isinstance(value, str):
            if value.isascii() or not (n := len(_SURROGATE.findall(value))):
                return value
            n_replaced += n
            return _SURROGATE.sub("\ufffd", value)
        if isinstance(value, list):
            return [mended(item) for item in value]
        return {mended(key): mended(item) for key, item in value.items()} if isinstance(value, dict) else value

    return {mended(name): [mended(value) for value in values] for name, values in columns.items()}, n_replaced


_SURROGATE = re.compile("[\ud800-\udfff]")


# the hub


def _refuse_file_options(choice: DataChoice) -> None:
    if not choice.names_no_text_form():
        raise InputError(f"{choice.dataset!r} is no text file, so it has no encoding, header or separator to choose; leave them empty.")


def _read_hub(choice: DataChoice) -> Table:
    from datasets import ClassLabel

    _refuse_file_options(choice)
    with _readable(choice), _quiet():
        builder = _builder(choice)
        splits = tuple(map(str, builder.info.splits or ()))
        split = choice.split or ("train" if "train" in splits else splits[0])
        if split.partition("[")[0] not in splits:
            raise InputError(f"{choice.dataset!r} has no split {split!r}; choose one of: {', '.join(splits)}.")
        data = builder.as_dataset(split=split)
        named = {name: tuple(kind.names) for name, kind in data.features.items() if isinstance(kind, ClassLabel)}
        columns = {name: list(data[name]) for name in data.column_names}
    columns = without_minus_one(columns, named)
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
