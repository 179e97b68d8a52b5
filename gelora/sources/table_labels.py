"""All rows of a dataset with their texts and labels, none drawn: what a task is trained on.

Knows which rows have text and what labels mean; knows nothing of drawing, splitting or models.
"""

from dataclasses import dataclass

import numpy as np

from gelora.sources.samples import _usable_rows
from gelora.sources.tables import Table


@dataclass(frozen=True)
class LabelledRows:
    """The rows that have text on every side.

    labels: float64 [n_rows], class indices into `label_names` or real numbers; None where there is no label column.
    task: classification, regression or unlabeled. n_left_out: rows without text on one side.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray | None
    label_names: tuple[str, ...] | None
    task: str
    n_left_out: int


def labelled_rows(table: Table) -> LabelledRows:
    """The usable rows of a table, by the columns of its `choice`.

    Raises:
        DataError: no row has text, or a label column that was asked for has missing labels or none at all.
    """
    rows = _usable_rows(table, bool(table.choice.label_column))
    return LabelledRows(rows.texts, rows.pairs, rows.labels, rows.label_names, rows.task, table.n_rows - len(rows.texts))
