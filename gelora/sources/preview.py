"""What a dataset looks like under the roles that its columns were given: first rows, counts, labels, and how each column is read.

Does not depend on drawing, models or how a preview is shown.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass

from gelora.errors import DataError
from gelora.record_json import Record
from gelora.records import DataChoice, Progress, ReadReport, check_whole
from gelora.sources.cell_values import has_text
from gelora.sources.label_values import LabelColumn
from gelora.sources.table_labels import labelled_rows, text_key
from gelora.sources.tables import Table, read_table

_LONGEST_CELL = 300
_MOST_LABELS = 50


@dataclass(frozen=True, slots=True, eq=False)
class DataPreview(Record):
    """A dataset as it was read.

    choice: with the columns that were settled, "" where there is none; columns, splits: those there are.
    rows: the first ones, by role (text, second text, label), cells cut to 300 characters.
    n_rows: rows of the table; n_empty: those without text on one side; n_unlabelled: of the others, those whose label is missing;
    n_usable: what is left; n_distinct: of those with text, the rows whose texts stand in no earlier one;
    longest: characters of the longest text.
    task: classification, regression or unlabeled; label_counts: rows of each class, the most frequent 50 first; n_classes: all.
    label_range: least and greatest number of a regression, else empty.
    taken_for: sentences on what was taken for what. problem: why the data cannot be measured or trained on so, or None.
    """

    choice: DataChoice
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    report: ReadReport
    rows: tuple[dict[str, str], ...]
    n_rows: int
    n_empty: int
    n_unlabelled: int
    n_usable: int
    n_distinct: int
    longest: int
    task: str
    label_counts: dict[str, int]
    n_classes: int
    label_range: tuple[float, ...]
    taken_for: tuple[str, ...]
    problem: str | None


def preview_dataset(choice: DataChoice, n_rows: int = 5, progress: Progress | None = None) -> DataPreview:
    """Read a dataset and say what it looks like under its roles.

    Labels that cannot be used, or texts that are all empty, are the preview's `problem`: other columns can then be chosen.

    Args:
        choice: the data; roles that are None are found.
        n_rows: how many of the first rows come along, at least 1.
        progress: told how far reading is.

    Raises:
        InputError, DataError, HubError: the data cannot be read at all, as `read_table` has it.
    """
    check_whole("n_rows", n_rows, 1)
    return preview_of(read_table(choice, progress), n_rows)


def preview_of(table: Table, n_rows: int = 5, with_labels: bool = True) -> DataPreview:
    """`preview_dataset` of a table that is already read; without labels the label column holds answers and is only shown."""
    used, columns = table.choice, table.columns
    sides = [columns[name] for name in (used.text_column, used.pair_column) if name]
    with_text = [i for i in range(table.n_rows) if all(has_text(side[i]) for side in sides)]
    labels, n_usable, problem = None, len(with_text), None
    task, counts, numbers = "unlabeled", Counter[str](), None
    try:
        asked = table if with_labels else dataclasses.replace(table, choice=dataclasses.replace(used, label_column=""))
        rows = labelled_rows(asked)
        values, names = rows.label_values()
        labels, n_usable, task = rows.labels, len(rows.texts), rows.task
        if labels is not None and names:
            counts = Counter(labels.texts)
        elif values is not None:
            numbers = values
    except DataError as error:
        problem = str(error)
    seen: set[str] = set()
    n_distinct = 0
    for i in with_text:
        keys = {text_key(side[i]) for side in sides}
        n_distinct += len(keys) == len(sides) and not keys & seen
        seen |= keys
    roles = {"text": used.text_column, "second text": used.pair_column, "label" if with_labels else "answer": used.label_column}
    return DataPreview(
        choice=used,
        columns=tuple(columns),
        splits=table.splits,
        report=table.report,
        rows=tuple({role: _cell(table, name, i) for role, name in roles.items() if name} for i in range(min(n_rows, table.n_rows))),
        n_rows=table.n_rows,
        n_empty=table.n_rows - len(with_text),
        n_unlabelled=len(with_text) - n_usable,
        n_usable=n_usable,
        n_distinct=n_distinct,
        longest=max((len(side[i]) for i in with_text for side in sides), default=0),
        task=task,
        label_counts=dict(counts.most_common(_MOST_LABELS)),
        n_classes=len(counts),
        label_range=() if numbers is None else (float(numbers.min()), float(numbers.max())),
        taken_for=_taken_for(table, labels),
        problem=problem,
    )


def _taken_for(table: Table, labels: LabelColumn | None) -> tuple[str, ...]:
    used = table.choice
    said = [
        f"{used.text_column!r} is the text"
        + (f", {used.pair_column!r} the second text." if used.pair_column else ", and there is no second one.")
    ]
    if labels is not None:
        said.append(labels.sentence())
    elif not used.label_column:
        said.append("No column is taken for the label.")
    return (*said, *table.report.roles, *table.report.notes)


def _cell(table: Table, column: str, row: int) -> str:
    value, names = table.columns[column][row], table.class_names.get(column)
    if names and isinstance(value, int) and 0 <= value < len(names):
        value = names[value]
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
