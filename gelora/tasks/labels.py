"""A label column as what a task needs: class indices with names, or numbers; held-out labels by the classes of training.

Knows values of labels; knows nothing of texts, drawing or models.
"""

import numpy as np

from gelora.errors import DataError
from gelora.records import DataChoice
from gelora.sources import LabelledRows

_MAX_CLASSES = 1000


def as_classes(rows: LabelledRows, choice: DataChoice) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class index of every row, and the names of the classes.

    Raises:
        DataError: there are no labels, one class only, or the labels are numbers that cannot be classes.
    """
    labels = _present(rows, choice)
    names = rows.label_names
    if rows.task == "regression":
        different, places = np.unique(labels, return_inverse=True)
        if len(different) > _MAX_CLASSES or not np.all(different == np.floor(different)):
            example = next((value for value in different.tolist() if value != int(value)), different[-1])
            raise DataError(
                f"The label column {choice.label_column!r} of {choice.dataset} holds {len(different)} different numbers, such as "
                f"{example:g}, which are no classes; choose the task regression, or another label column."
            )
        labels, names = places.astype(np.float64), tuple(str(int(value)) for value in different)
    if names is None:
        names = tuple(str(i) for i in range(int(labels.max()) + 1))
    if len(np.unique(labels)) < 2:
        raise DataError(f"Every row of {choice.dataset} has the same label, so there is nothing to learn; at least two classes are needed.")
    return labels, names


def as_numbers(rows: LabelledRows, choice: DataChoice) -> np.ndarray:
    """The label of every row as a number.

    Raises:
        DataError: there are no labels, they are words, or all equal.
    """
    labels = _present(rows, choice)
    if rows.task == "classification" and rows.label_names:
        values: list[float] = []
        for name in rows.label_names:
            try:
                values.append(float(name))
            except ValueError:
                raise DataError(
                    f"The label column {choice.label_column!r} of {choice.dataset} holds words, such as {name!r}, and regression needs "
                    "numbers; choose the task classification, or a column of numbers."
                ) from None
        labels = np.array(values)[labels.astype(np.int64)]
    return labels


def by_classes(rows: LabelledRows, choice: DataChoice, names: tuple[str, ...], trained: set[str]) -> np.ndarray:
    """Class index of every held-out row, by the names of the training classes.

    Where one side has names and the other numbers alone, number i is the i-th name.

    Args:
        rows, choice: the held-out ones.
        names: of the classes in training.
        trained: those of them that the training data has rows of.

    Raises:
        DataError: a label that training has no row of.
    """
    labels, own = _as_any_classes(rows, choice)
    place = {name: i for i, name in enumerate(names)}
    index: dict[int, int] = {}
    for label in np.unique(labels).astype(int).tolist():
        name = own[label]
        if name not in place:
            by_number = str(label) if rows.label_names and not _all_numbers(own) else name
            if by_number in place:  # training has numbers, the held-out rows names
                name = by_number
            elif name.isdecimal() and int(name) < len(names) and not _all_numbers(names):
                name = names[int(name)]
        if name not in place or name not in trained:
            raise DataError(
                f"The held-out data {choice.dataset} has the label {own[label]!r}, which no training row has "
                f"(there are: {', '.join(sorted(trained))}); leave those rows out, or choose data that have the same labels."
            )
        index[label] = place[name]
    return np.array([index[int(label)] for label in labels], dtype=np.float64)


def _as_any_classes(rows: LabelledRows, choice: DataChoice) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `as_classes`, for rows that may be of one class."""
    labels = _present(rows, choice)
    if rows.task == "classification" and rows.label_names and len(np.unique(labels)) < 2:
        return labels, rows.label_names
    return as_classes(rows, choice)


def _present(rows: LabelledRows, choice: DataChoice) -> np.ndarray:
    if rows.labels is None:
        raise DataError(f"{choice.dataset} has no labels, so there is nothing to learn; choose its label column or other data.")
    return rows.labels


def _all_numbers(names: tuple[str, ...]) -> bool:
    return all(name.lstrip("-").isdecimal() for name in names)
