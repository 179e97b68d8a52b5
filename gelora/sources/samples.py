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
from gelora.sources.table_labels import LabelledRows, labelled_rows, text_key
from gelora.sources.tables import read_table


@dataclass(frozen=True)
class DatasetInfo:
    """What is in a dataset and what its columns are taken for.

    n_rows: of the split that was read, a file has no splits. label_sentence: what the labels are taken for, and why.
    """

    columns: tuple[str, ...]
    n_rows: int
    splits: tuple[str, ...]
    text_column: str
    pair_column: str | None
    label_column: str | None
    task: str
    label_names: tuple[str, ...] | None
    example_rows: tuple[dict[str, Any], ...]
    label_sentence: str | None = None


def describe_dataset(choice: DataChoice) -> DatasetInfo:
    """Columns, proposed roles and task of a dataset.

    Raises:
        InputError, DataError, HubError: as `load_sample`.
    """
    table = read_table(choice)
    rows = labelled_rows(table, label_is_asked=bool(choice.label_column))
    label_names = rows.label_values()[1]
    examples = tuple({name: values[i] for name, values in table.columns.items()} for i in range(min(3, table.n_rows)))
    settled = table.choice
    return DatasetInfo(
        tuple(table.columns),
        table.n_rows,
        table.splits,
        str(settled.text_column),
        settled.pair_column or None,
        rows.label_column,
        rows.task,
        label_names,
        examples,
        rows.labels.sentence() if rows.labels is not None else None,
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
    encoding: str | None = None,
    header: bool | None = None,
    separator: str | None = None,
    skip_bad_rows: bool = False,
    distinct: bool = True,
    progress: Progress | None = None,
) -> Sample:
    """Draw texts from a dataset: the same ones for the same arguments, in proportion to its classes.

    Args:
        dataset: `docstrings` (bundled), a hub id, a path to a CSV, TSV, JSON Lines, JSON, text or Parquet file, or a DataChoice
            that says it all.
        n_samples: how many rows, at least 2; fewer come back when the dataset has fewer.
        seed: of the draw.
        config, split: of a hub dataset (the default split is train).
        text_column, pair_column, label_column: found by name unless given; "" for none (not for the text).
        encoding, header, separator, skip_bad_rows: of a text file, as in `DataChoice`.
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
    _check_seed(seed)
    given = (config, split, text_column, pair_column, label_column)
    if isinstance(dataset, DataChoice):
        if any(value is not None for value in (*given, encoding, header, separator)) or skip_bad_rows:
            raise InputError("Give split and columns inside the DataChoice, not beside it.")
        choice = dataset
    else:
        choice = DataChoice(dataset, *given, encoding=encoding, header=header, separator=separator, skip_bad_rows=skip_bad_rows)
    table = read_table(choice, progress)
    rows = labelled_rows(table, label_is_asked=bool(choice.label_column))
    rng = np.random.Generator(np.random.PCG64(seed))
    pool = rng.permutation(len(rows.texts))
    if distinct:
        pool = _without_repeats(rows, pool)
    if len(pool) < 2:
        kind = "distinct text" if distinct else "text"
        raise DataError(f"{choice.dataset} has {len(pool)} usable {kind}{'' if len(pool) == 1 else 's'}; a sample needs at least 2.")
    values, names = rows.label_values()
    kept = _stratified(pool, values, int(n_samples)) if rows.task == "classification" else pool[:n_samples]
    texts = tuple(rows.texts[i] for i in kept)
    pairs = tuple(rows.pairs[i] for i in kept) if rows.pairs is not None else None
    labels = tuple(float(values[i]) for i in kept) if values is not None else None
    used = table.choice if rows.label_column else dataclasses.replace(table.choice, label_column=choice.label_column)
    source = SampleSource(used, table.revision, int(seed), int(n_samples), distinct, _digest(texts, pairs), table.report)
    return Sample(texts, pairs, labels, names, rows.task, source)


def split_sample(sample: Sample, n_eval: int, seed: int) -> tuple[Sample, Sample]:
    """Part a sample into (train, held-out): in proportion to the classes, no text in both.

    Args:
        sample: at least 2 rows.
        n_eval: rows of the second part, from 1 to len(sample) - 1. Where rows share texts (a sample that is not
            distinct), the second part can come out smaller, since such rows stay together.
        seed: of the split.

    Raises:
        InputError: n_eval or the seed is not legal.
        DataError: the rows share their texts so much that they cannot be parted.
    """
    check_range("n_eval", n_eval, 1, len(sample) - 1)
    _check_seed(seed)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(sample))
    classes = np.array(sample.labels) if sample.task == "classification" else np.zeros(len(sample))
    wanted = Counter(classes[_stratified(order, classes, n_eval)].tolist())
    held_out: set[int] = set()
    for group in _sharing_texts(sample, order):
        needs = Counter(classes[group].tolist())
        if needs <= wanted:
            wanted -= needs
            held_out.update(group)
    if not held_out:
        raise DataError(f"The {len(sample)} rows share their texts, so none can be held out; draw the sample with distinct texts.")
    return _part(sample, [i for i in order if i not in held_out]), _part(sample, [i for i in order if i in held_out])


def _sharing_texts(sample: Sample, order: np.ndarray) -> list[list[int]]:
    """Rows in groups, such that rows of different groups have no text in common; in the order of each group's first row."""
    group_of_text: dict[str, int] = {}
    groups: list[list[int]] = []
    for i in order.tolist():
        sides = [sample.texts[i]] + ([sample.text_pairs[i]] if sample.text_pairs is not None else [])
        keys = [text_key(side) for side in sides]
        met = sorted({group_of_text[key] for key in keys if key in group_of_text})
        target = met[0] if met else len(groups)
        if not met:
            groups.append([])
        groups[target].append(i)
        for other in met[1:]:  # this row joins groups that were apart until now
            groups[target] += groups[other]
            groups[other] = []
            group_of_text.update({key: target for key, group in group_of_text.items() if group == other})
        group_of_text.update(dict.fromkeys(keys, target))
    return [group for group in groups if group]


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"The seed is {seed!r}; it must be a whole number of at least 0.")


def _part(sample: Sample, rows: list[int]) -> Sample:
    texts = tuple(sample.texts[i] for i in rows)
    pairs = tuple(sample.text_pairs[i] for i in rows) if sample.text_pairs is not None else None
    labels = tuple(sample.labels[i] for i in rows) if sample.labels is not None else None
    source = dataclasses.replace(sample.source, n_samples=len(rows), texts_digest=_digest(texts, pairs))
    return Sample(texts, pairs, labels, sample.label_names, sample.task, source)


def _without_repeats(rows: LabelledRows, order: np.ndarray) -> np.ndarray:
    """The rows, in the given order, none of whose texts stands in an earlier one."""
    seen: set[str] = set()
    kept = []
    for i in order:
        sides = [text_key(rows.texts[i])] + ([text_key(rows.pairs[i])] if rows.pairs is not None else [])
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
