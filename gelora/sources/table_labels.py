"""All rows of a dataset with their texts and labels, none drawn: what a task is trained on.

Knows which rows have text and what labels mean; knows nothing of drawing, splitting or models.
"""

from dataclasses import dataclass

from gelora.sources.label_values import LabelColumn
from gelora.sources.samples import _usable_rows
from gelora.sources.tables import Table


@dataclass(frozen=True)
class LabelledRows:
    """The rows that have text on every side.

    labels: of every row, None where there is no label column. task: classification, regression or unlabeled.
    n_left_out: rows without text on one side, or whose class the data leave out.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: LabelColumn | None
    task: str
    n_left_out: int


def labelled_rows(table: Table, label_task: str | None = None) -> LabelledRows:
    """The usable rows of a table, by the columns of its `choice`.

    label_task: classification or regression where the labels are wanted for that, whatever their values look like.

    Raises:
        DataError: no row has text, or a label column that was asked for has missing labels or none at all.
    """
    rows = _usable_rows(table, bool(table.choice.label_column), label_task)
    return LabelledRows(rows.texts, rows.pairs, rows.labels, rows.task, table.n_rows - len(rows.texts))
