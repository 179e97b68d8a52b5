"""Drawing a Sample from a dataset's rows: seeded, stratified where there are classes, no text twice.

Does not depend on files, the hub or models.
"""

import dataclasses
import hashlib
from collections import Counter

import numpy as np

from gelora.errors import DataError, InputError
from gelora.records import MOST_SEED, DataChoice, Progress, Sample, SampleSource, check_whole
from gelora.sources.table_labels import LabelledRows, labelled_rows, text_key
from gelora.sources.tables import read_table


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
    n_samples, seed = check_whole("n_samples", n_samples, 2), check_whole("The seed", seed, 0, MOST_SEED)
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
    kept = stratified(pool, values, n_samples) if rows.task == "classification" else pool[:n_samples]
    texts = tuple(rows.texts[i] for i in kept)
    pairs = tuple(rows.pairs[i] for i in kept) if rows.pairs is not None else None
    labels = tuple(float(values[i]) for i in kept) if values is not None else None
    used = table.choice if rows.label_column else dataclasses.replace(table.choice, label_column=choice.label_column)
    source = SampleSource(used, table.revision, seed, n_samples, distinct, _digest(texts, pairs), table.report)
    return Sample(texts, pairs, labels, names, rows.task, source)


def stratified(order: np.ndarray, labels: np.ndarray | None, n: int) -> np.ndarray:
    """The first `n` rows of `order`, or of each class as many as its share of them asks (largest remainder), in that order.

    Args:
        order: numbers of rows.
        labels: [n_rows] class of every row, also of those that are not in `order`; None without classes.
        n: rows to take; all where there are fewer.
    """
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


def _digest(texts: tuple[str, ...], pairs: tuple[str, ...] | None) -> str:
    digest = hashlib.sha256()
    for side in (texts, pairs or ()):
        for text in side:
            digest.update(text.encode() + b"\x00")
        digest.update(b"\x01")
    return digest.hexdigest()[:16]
