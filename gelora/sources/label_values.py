"""A label column as classes or as numbers, each value identified by the text with which it is written: "01" is not "1".

Does not depend on files, texts, draws or models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.sources.cell_values import Number, as_quantity, is_missing, numbers_as_written

MAX_CLASSES = 1000
MAX_NUMBERED_CLASSES = 50
"""Whole numbers that differ more are a quantity unless the task says otherwise; words can be nothing else than classes."""


@dataclass(frozen=True)
class LabelColumn:
    """The labels of rows, none of them missing.

    where: the column and its dataset in words, for errors; texts: of every row, as written but for spaces at the edges.
    numbers: exact, of every row, where all of them are numbers that give their texts back; None for words.
    class_names: the names that the data give to the numbers 0, 1, ...; `numbers` are those, `texts` the names.
    n_trimmed: labels that had spaces at their edges; asked: the task that a person chose, None to follow the values.
    """

    where: str
    texts: tuple[str, ...]
    numbers: tuple[Number, ...] | None
    class_names: tuple[str, ...] | None = None
    n_trimmed: int = 0
    asked: str | None = None

    @property
    def task(self) -> str | None:
        """What the labels are: classification (few different whole numbers, or words), regression; None for neither."""
        if self.asked is not None or self.class_names:
            return self.asked or "classification"
        if self.numbers is None:
            if self._are_few(MAX_CLASSES):
                return "classification"
            return "regression" if all(as_quantity(text) is not None for text in self.texts) else None
        if self._are_whole and self._are_few(MAX_NUMBERED_CLASSES):
            return "classification"
        if all(_is_exact(number) for number in self.numbers):
            return "regression"
        return "classification" if self._are_few(MAX_CLASSES) else None

    @property
    def problem(self) -> str:
        """Why the column is neither classes nor numbers, as the end of a sentence."""
        different = dict.fromkeys(self.texts)
        example = next((text for text in different if as_quantity(text) is None), next(iter(different)))
        kind = "words" if self.numbers is None else "whole numbers beyond 2^53, which no model's output holds exactly,"
        return (
            f"has {len(different)} different {kind} in {len(self.texts)} rows, such as {example!r}; classes are at most {MAX_CLASSES}, and "
            "half as many as rows unless the task classification is chosen"
        )

    def as_classes(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Class index of every row (float64 [n_rows]) and the names of the classes, in the order of their numbers or words.

        Raises:
            DataError: the labels are numbers that cannot be classes, or too many words.
        """
        if self.class_names and self.numbers is not None:
            return np.array([float(number) for number in self.numbers]), self.class_names
        name_of: dict[Any, str] = dict(zip(self.texts if self.numbers is None else self.numbers, self.texts, strict=True))
        fraction = next((name for number, name in name_of.items() if self.numbers is not None and number != int(number)), None)
        if len(name_of) > MAX_CLASSES or (fraction is not None and not self._are_few(MAX_NUMBERED_CLASSES)):
            kind, otherwise = ("words", "") if self.numbers is None else ("numbers", "the task regression, or ")
            raise DataError(
                f"{self.where} holds {len(name_of)} different {kind}, such as {fraction or next(iter(name_of.values()))}, which are no "
                f"classes (at most {MAX_CLASSES}); choose {otherwise}another label column."
            )
        values = sorted(name_of)
        index = {value: float(i) for i, value in enumerate(values)}
        return np.array([index[value] for value in self.numbers or self.texts]), tuple(name_of[value] for value in values)

    def as_numbers(self) -> np.ndarray:
        """The label of every row as a number, float64 [n_rows].

        Raises:
            DataError: the labels are words, or numbers that float64 does not hold.
        """
        word = next((text for text in self.texts if as_quantity(text) is None), None) if self.numbers is None or self.class_names else None
        if word is not None:
            raise DataError(
                f"{self.where} holds words, such as {word!r}, and regression needs numbers; choose the task classification, or a column "
                "of numbers."
            )
        if self.numbers is None or self.class_names:
            return np.array([float(text) for text in self.texts])
        inexact = next((number for number in self.numbers if not _is_exact(number)), None)
        if inexact is not None:
            raise DataError(
                f"{self.where} holds {inexact}, which is no number that regression can hold exactly (whole numbers up to 2^53); choose the "
                "task classification, or another label column."
            )
        return np.array([float(number) for number in self.numbers])

    def sentence(self) -> str:
        """What the labels are taken for, and what was done to them."""
        if self.task == "regression":
            values = self.as_numbers()
            said = f"{self.where} is taken for a number, from {values.min():g} to {values.max():g} (regression)."
            if self.numbers is None:
                said += " Some numbers are written in more than one way, such as 1.10 and 1.1; each is taken by its value."
        else:
            names = self.as_classes()[1]
            shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
            said = f"{self.where} is taken for {len(names)} class{'' if len(names) == 1 else 'es'}: {shown} (classification)."
        if self.n_trimmed:
            n = self.n_trimmed
            said += f" {n:,} label{' has' if n == 1 else 's have'} spaces at the edges, which were left out."
        return said

    @property
    def _are_whole(self) -> bool:
        return self.numbers is not None and all(number == int(number) for number in self.numbers)

    def _are_few(self, limit: int) -> bool:
        return len(set(self.texts)) <= min(limit, max(2, len(self.texts) // 2))


def read_labels(values: Sequence[Any], where: str, class_names: tuple[str, ...] | None = None, asked: str | None = None) -> LabelColumn:
    """The labels of rows, from the cells of their column.

    Args:
        values: none of them missing; texts, numbers, decimals or truth values.
        where: "The label column 'x' of DATASET", for errors.
        class_names: of the numbers 0, 1, ..., where the data name them.
        asked: classification or regression where a person chose.

    Raises:
        DataError: an infinite number, or a number and a text that are written alike.
    """
    texts = [_written(value) for value in values]
    n_trimmed = sum(isinstance(value, str) and value != text for value, text in zip(values, texts, strict=True))
    kinds = {bool if isinstance(value, bool) else str if isinstance(value, str) else float for value in values}
    numbers: list[Number] | None = None
    if kinds == {str}:
        numbers = numbers_as_written(texts)
    elif kinds == {float}:
        if any(isinstance(value, float) and math.isinf(value) for value in values):
            raise DataError(f"{where} has infinite values; repair them, or choose no label column.")
        numbers = list(values)
    elif len(kinds) > 1:
        kind_of: dict[str, bool] = {}
        for value, text in zip(values, texts, strict=True):
            if kind_of.setdefault(text, isinstance(value, str)) != isinstance(value, str):
                raise DataError(
                    f"{where} has {text} both as a text and as a number or truth value; write it in one way, or choose no label."
                )
    if class_names and numbers is not None and all(number == int(number) and 0 <= number < len(class_names) for number in numbers):
        return LabelColumn(where, tuple(class_names[int(number)] for number in numbers), tuple(numbers), class_names, 0, asked)
    return LabelColumn(where, tuple(texts), None if numbers is None else tuple(numbers), None, n_trimmed, asked)


def is_label_missing(value: Any) -> bool:
    """Whether a cell holds no label: missing, or spaces alone."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def is_label(value: Any) -> bool:
    """Whether a value is of a kind that labels can be of."""
    return isinstance(value, str | int | float | Decimal)


def _written(value: str | bool | Number) -> str:
    """A label as it is written; a whole number without a fraction, whichever type holds it."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def _is_exact(number: Number) -> bool:
    """Whether float64 holds the number so that it reads back."""
    try:
        held = float(number)
    except OverflowError:
        return False
    return held == number or (isinstance(number, Decimal) and Decimal(repr(held)) == number)
