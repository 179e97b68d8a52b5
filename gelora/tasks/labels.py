"""A label column as what a task needs: class indices with names, or numbers; held-out labels by the classes of training.

Does not depend on texts, drawing or models.
"""

import numpy as np

from gelora.errors import DataError
from gelora.records import DataChoice
from gelora.sources import LabelColumn, LabelledRows


def as_classes(rows: LabelledRows, choice: DataChoice) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class index of every row, and the names of the classes.

    Raises:
        DataError: there are no labels, one class only, or the labels are numbers that cannot be classes.
    """
    labels, names = _present(rows, choice).as_classes()
    if len(np.unique(labels)) < 2:
        raise DataError(f"Every row of {choice.dataset} has the same label, so there is nothing to learn; at least two classes are needed.")
    return labels, names


def as_numbers(rows: LabelledRows, choice: DataChoice) -> np.ndarray:
    """The label of every row as a number.

    Raises:
        DataError: there are no labels, or they are words.
    """
    return _present(rows, choice).as_numbers()


def by_classes(rows: LabelledRows, choice: DataChoice, names: tuple[str, ...], training: LabelledRows) -> np.ndarray:
    """Class index of every held-out row, by the names of the training classes.

    A label is its name. Where both sides are numbers, 1 and 1.0 are one label; where one side's data name their numbers
    (`ClassLabel`) and the other has numbers alone, number i is the i-th name.

    Args:
        rows, choice: the held-out ones.
        names: of the classes in training.
        training: the rows that they come from.

    Raises:
        DataError: a label that training has no row of, or labels of another kind than the training's.
    """
    own, trained = _present(rows, choice), training.labels
    assert trained is not None  # the classes come from there
    named = trained.class_names or own.class_names
    if (named and trained.class_names != own.class_names and own.numbers and trained.numbers) and _are_other_numbers(named, trained, own):
        raise DataError(_other_kind(own, choice, own.texts[0], names))  # 1 may be the name "1" or the number of another name
    place_of: dict[object, int] = {name: i for i, name in enumerate(names)}
    if trained.class_names and not own.class_names:
        place_of |= {i: i for i in range(len(names))}
    elif trained.numbers is not None and not trained.class_names:
        place_of |= {number: place_of[text] for text, number in zip(trained.texts, trained.numbers, strict=True)}
    used = set(trained.texts)
    index: dict[str, int] = {}
    for text, number in dict(zip(own.texts, own.numbers or own.texts, strict=True)).items():
        place = place_of.get(text, place_of.get(number))
        if place is None and (own.numbers is None) != (trained.numbers is None):
            raise DataError(_other_kind(own, choice, text, names))
        if place is None or names[place] not in used:
            raise DataError(
                f"The held-out data {choice.dataset} has the label {text!r}, which no training row has "
                f"(there are: {', '.join(sorted(used))}); leave those rows out, or choose data that have the same labels."
            )
        index[text] = place
    return np.array([index[text] for text in own.texts], dtype=np.float64)


def _are_other_numbers(named: tuple[str, ...], trained: LabelColumn, own: LabelColumn) -> bool:
    """Whether one side alone has names for its numbers, and a name is the number of another."""
    is_one_sided = not (trained.class_names and own.class_names)
    return is_one_sided and any(name.isdecimal() and name != str(i) for i, name in enumerate(named))


def _other_kind(own: LabelColumn, choice: DataChoice, text: str, names: tuple[str, ...]) -> str:
    has_names = own.numbers is None or bool(own.class_names)
    kinds = ("words", "numbers") if has_names else ("numbers", "words")
    return (
        f"The held-out data {choice.dataset} has {kinds[0]} for labels, such as {text!r}, and the training data {kinds[1]} "
        f"({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}), and nothing says which number is which word. "
        "Choose held-out data with the training's labels."
    )


def _present(rows: LabelledRows, choice: DataChoice) -> LabelColumn:
    if rows.labels is None:
        raise DataError(f"{choice.dataset} has no labels, so there is nothing to learn; choose its label column or other data.")
    return rows.labels
