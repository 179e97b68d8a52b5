"""Drawing a Sample from a dataset's rows: seeded, stratified where there are classes, no text twice.

Knows labels and draws; knows nothing of files, the hub or models.
"""

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import DataError, InputError
from gelora.records import DataChoice, Progress, Sample, SampleSource, check_range
from gelora.sources.tables import Table, is_missing, read_table

MAX_CLASSES = 50


@dataclass(frozen=True)
class DatasetInfo:
    """What is in a dataset and what its columns are taken for; `n_rows` counts the split that was read."""

    columns: tuple[str, ...]
    n_rows: int
    text_column: str
    pair_column: str | None
    label_column: str | None
    task: str
    label_names: tuple[str, ...] | None
    example_rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Rows:
    """Rows that can be drawn: texts are not empty, labels are numbers."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray | None
    label_names: tuple[str, ...] | None
    task: str


def describe_dataset(choice: DataChoice) -> DatasetInfo:
    """Columns, proposed roles and task of a dataset.

    Raises:
        InputError, DataError, HubError: as `load_sample`.
    """
    table = read_table(choice)
    rows = _usable_rows(table)
    examples = tuple({name: values[i] for name, values in table.columns.items()} for i in range(min(3, table.n_rows)))
    settled = table.choice
    return DatasetInfo(
        tuple(table.columns),
        table.n_rows,
        str(settled.text_column),
        settled.pair_column,
        settled.label_column,
        rows.task,
        rows.label_names,
        examples,
    )


def load_sample(
    dataset: str | DataChoice,
    n_samples: int = 1000,
    seed: int = 0,
    *,
    config: str | None = None,
    split: str | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    distinct: bool = True,
    progress: Progress | None = None,
) -> Sample:
    """Draw texts from a dataset: the same ones for the same arguments, in proportion to its classes.

    Args:
        dataset: `docstrings` (bundled), a hub id, a path to .jsonl, .csv or .parquet, or a DataChoice that says it all.
        n_samples: how many rows, at least 2; fewer come back when the dataset has fewer.
        seed: of the draw.
        config, split: of a hub dataset (the default split is train).
        text_column, pair_column, label_column: found by name unless given; "" for none (not for the text).
        distinct: let no text occur twice, also not across the two sides of a pair (near duplicates ruin an estimate).
        progress: told how far reading is.

    Returns:
        A Sample whose task is classification (labels are class indices), regression, or unlabeled.

    Raises:
        InputError: an argument, file or column is not legal.
        DataError: no usable rows, or labels that are missing or no numbers.
        HubError: a hub id is unknown or out of reach.
    """
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer):
        raise InputError(f"n_samples is {n_samples!r}; it must be a whole number of at least 2.")
    check_range("n_samples", n_samples, 2)
    check_range("seed", seed, 0)
    given = (config, split, text_column, pair_column, label_column)
    if isinstance(dataset, DataChoice):
        if any(value is not None for value in given):
            raise InputError("Give split and columns inside the DataChoice, not beside it.")
        choice = dataset
    else:
        choice = DataChoice(dataset, *given)
    table = read_table(choice, progress)
    rows = _usable_rows(table)
    rng = np.random.Generator(np.random.PCG64(seed))
    pool = rng.permutation(len(rows.texts))
    if distinct:
        pool = _without_repeats(rows, pool)
    if len(pool) < 2:
        raise DataError(f"{choice.dataset} has {len(pool)} usable distinct texts; a sample needs at least 2.")
    kept = _stratified(pool, rows.labels, int(n_samples)) if rows.task == "classification" else pool[:n_samples]
    texts = tuple(rows.texts[i] for i in kept)
    pairs = tuple(rows.pairs[i] for i in kept) if rows.pairs is not None else None
    labels = tuple(float(rows.labels[i]) for i in kept) if rows.labels is not None else None
    source = SampleSource(table.choice, table.revision, int(seed), int(n_samples), distinct, _digest(texts, pairs))
    return Sample(texts, pairs, labels, rows.label_names, rows.task, source)


def split_sample(sample: Sample, n_eval: int, seed: int) -> tuple[Sample, Sample]:
    """Part a sample into (train, held-out); in proportion to the classes, and with no row in both.

    Args:
        sample: at least 2 rows.
        n_eval: rows of the second part, from 1 to len(sample) - 1.
        seed: of the split.

    Raises:
        InputError: n_eval is not legal.
    """
    check_range("n_eval", n_eval, 1, len(sample) - 1)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(sample))
    labels = np.array(sample.labels) if sample.task == "classification" else None
    held_out = set((_stratified(order, labels, n_eval) if labels is not None else order[:n_eval]).tolist())
    return _part(sample, [i for i in order if i not in held_out]), _part(sample, [i for i in order if i in held_out])


def _part(sample: Sample, rows: list[int]) -> Sample:
    texts = tuple(sample.texts[i] for i in rows)
    pairs = tuple(sample.text_pairs[i] for i in rows) if sample.text_pairs is not None else None
    labels = tuple(sample.labels[i] for i in rows) if sample.labels is not None else None
    source = dataclasses.replace(sample.source, n_samples=len(rows), texts_digest=_digest(texts, pairs))
    return Sample(texts, pairs, labels, sample.label_names, sample.task, source)


def _usable_rows(table: Table) -> _Rows:
    """Rows with text on every side; their labels as numbers."""
    choice, columns = table.choice, table.columns
    texts = columns[str(choice.text_column)]
    pairs = columns[choice.pair_column] if choice.pair_column else None
    usable = [i for i, text in enumerate(texts) if _has_text(text) and (pairs is None or _has_text(pairs[i]))]
    if not usable:
        kinds = "empty or not text" if any(not is_missing(text) for text in texts) else "missing"
        raise DataError(f"All {len(texts)} rows of column {choice.text_column!r} in {choice.dataset} are {kinds}; choose another column.")
    kept_pairs = [str(pairs[i]) for i in usable] if pairs is not None else None
    kept_texts = [str(texts[i]) for i in usable]
    if choice.label_column is None:
        return _Rows(kept_texts, kept_pairs, None, None, "unlabeled")
    task, labels, names = _labels([columns[choice.label_column][i] for i in usable], choice, table.class_names)
    return _Rows(kept_texts, kept_pairs, labels, names, task)


def _has_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _labels(values: list[Any], choice: DataChoice, class_names: tuple[str, ...] | None) -> tuple[str, np.ndarray, tuple[str, ...] | None]:
    """Task, labels as numbers, class names: few different whole numbers or words are classes, other numbers a quantity."""
    n_missing = sum(is_missing(value) for value in values)
    if n_missing:
        raise DataError(
            f"{n_missing} of {len(values)} rows of the label column {choice.label_column!r} in {choice.dataset} are missing or NaN; "
            "repair them, or choose no label column."
        )
    strange = next((v for v in values if not isinstance(v, str | int | float | np.integer | np.floating)), None)
    if strange is not None:
        raise DataError(
            f"The label column {choice.label_column!r} in {choice.dataset} holds {type(strange).__name__} values; choose another column."
        )
    different = sorted(set(values), key=lambda v: (isinstance(v, str), v))
    has_words = any(isinstance(value, str) for value in different)
    is_whole = not has_words and all(float(value).is_integer() for value in different)
    if (has_words or is_whole) and len(different) <= MAX_CLASSES and len(different) <= max(2, len(values) // 2):
        if class_names and is_whole and all(0 <= int(v) < len(class_names) for v in different):
            return "classification", np.array([int(v) for v in values], dtype=np.float64), class_names
        place = {value: i for i, value in enumerate(different)}
        names = tuple(str(int(v)) if is_whole else str(v) for v in different)
        return "classification", np.array([place[v] for v in values], dtype=np.float64), names
    if has_words:
        raise DataError(
            f"The label column {choice.label_column!r} in {choice.dataset} has {len(different)} different words in {len(values)} rows; "
            f"classes are at most {MAX_CLASSES}. Choose another label column, or none."
        )
    return "regression", np.array([float(v) for v in values]), None


def _without_repeats(rows: _Rows, order: np.ndarray) -> np.ndarray:
    """The rows, in the given order, none of whose texts stands in an earlier one."""
    seen: set[str] = set()
    kept = []
    for i in order:
        sides = [" ".join(rows.texts[i].lower().split())]
        if rows.pairs is not None:
            sides.append(" ".join(rows.pairs[i].lower().split()))
        if len(set(sides)) == len(sides) and not seen.intersection(sides):
            seen.update(sides)
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def _stratified(order: np.ndarray, labels: np.ndarray | None, n: int) -> np.ndarray:
    """The first rows of `order`, as many of each class as its share asks (largest remainder), in that order."""
    if labels is None or n >= len(order):
        return order[:n]
    classes = labels[order]
    counts = Counter(classes.tolist())
    shares = {label: n * count / len(order) for label, count in counts.items()}
    take = {label: int(share) for label, share in shares.items()}
    by_remainder = sorted(shares, key=lambda label: (take[label] - shares[label], label))
    for label in by_remainder[: n - sum(take.values())]:
        take[label] += 1
    kept = []
    for i, label in zip(order, classes.tolist(), strict=True):
        if take[label] > 0:
            take[label] -= 1
            kept.append(i)
    return np.array(kept, dtype=np.int64)


def _digest(texts: tuple[str, ...], pairs: tuple[str, ...] | None) -> str:
    digest = hashlib.sha256()
    for side in (texts, pairs or ()):
        for text in side:
            digest.update(text.encode() + b"\x00")
        digest.update(b"\x01")
    return digest.hexdigest()[:16]
