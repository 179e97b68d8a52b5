"""All rows of a dataset that have text, with their labels: what samples are drawn from and tasks are trained on.

Finds which rows have text and what labels mean; does not depend on drawing, splitting or models.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.sources.cell_values import has_text, is_missing
from gelora.sources.label_values import LabelColumn, is_label, is_label_missing, read_labels
from gelora.sources.tables import Table


@dataclass(frozen=True)
class LabelledRows:
    """The rows that have text on every side.

    labels: of every row, none missing; None where there is no label column. label_column: the one they came from.
    n_left_out: rows without text on one side, or whose class the data leave out.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: LabelColumn | None
    label_column: str | None = None
    n_left_out: int = 0

    @property
    def task(self) -> str:
        """classification, regression or unlabeled."""
        return "unlabeled" if self.labels is None else str(self.labels.task)

    def label_values(self) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
        """Class indices and names, or real numbers and None."""
        if self.labels is None:
            return None, None
        return self.labels.as_classes() if self.task == "classification" else (self.labels.as_numbers(), None)


def labelled_rows(table: Table, label_task: str | None = None, label_is_asked: bool = True) -> LabelledRows:
    """The usable rows of a table, by the columns of its `choice`.

    Args:
        table: read, its roles settled.
        label_task: classification or regression where the labels are wanted for that, whatever their values look like.
        label_is_asked: whether a person named the label column; one that was only guessed to be a label may prove to be none.

    Raises:
        DataError: no row has text, or a label column that was asked for has missing labels or none at all.
    """
    choice, columns = table.choice, table.columns
    texts = columns[str(choice.text_column)]
    pairs = columns[choice.pair_column] if choice.pair_column else None
    usable = [i for i, text in enumerate(texts) if has_text(text) and (pairs is None or has_text(pairs[i]))]
    if not usable:
        kinds = "empty or not text" if any(not is_missing(text) for text in texts) else "missing"
        raise DataError(f"All {len(texts)} rows of column {choice.text_column!r} in {choice.dataset} are {kinds}; choose another column.")
    column, labels = choice.label_column, None
    if column:
        class_names = table.class_names.get(column)
        cells = columns[column]
        problem = _no_label([cells[i] for i in usable])
        if problem is None:
            labelled = [i for i in usable if not is_label_missing(cells[i])]
            n_missing = len(usable) - len(labelled)
            if n_missing and not class_names:  # a class that is left out is said so by the data themselves, as -1
                raise DataError(
                    f"{n_missing} of {len(usable)} rows of the label column {column!r} in {choice.dataset} are missing or NaN; "
                    "repair them, or choose no label column."
                )
            where = f"The label column {column!r} of {choice.dataset}"
            labels = read_labels([cells[i] for i in labelled], where, class_names, label_task or choice.label_task)
            if labels.task is None:
                problem, labels = labels.problem, None
            else:
                usable = labelled
        if problem is not None and label_is_asked:
            raise DataError(f"The column {column!r} in {choice.dataset} {problem}. Choose another label column, or none.")
    kept_texts = [texts[i] for i in usable]
    kept_pairs = [pairs[i] for i in usable] if pairs is not None else None
    return LabelledRows(kept_texts, kept_pairs, labels, column if labels is not None else None, table.n_rows - len(usable))


def text_key(text: str) -> str:
    """Texts that differ in case or spaces alone count as one."""
    return " ".join(text.lower().split())


def _no_label(cells: list[Any]) -> str | None:
    """Why a column cannot be a label at all, or None."""
    present = [value for value in cells if not is_label_missing(value)]
    if not present:
        return "has no label in any row"
    strange = next((value for value in present if not is_label(value)), None)
    return f"holds {type(strange).__name__} values, which are no labels" if strange is not None else None
