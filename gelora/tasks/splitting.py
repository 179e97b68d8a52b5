"""Which rows are trained on and which are held out: seeded, in proportion to classes, no text on both sides.

Takes keys of rows and classes; does not depend on files, models or what a row means.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from gelora.errors import DataError
from gelora.records import RunSpec
from gelora.sources import stratified, text_key

Keys = Sequence[tuple[str, ...]]
"""The texts of every row, one tuple a row: rows that share one are kept on one side."""


def choose_rows(
    spec: RunSpec, keys: Keys, classes: np.ndarray | None = None, own: tuple[Keys, np.ndarray | None] | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rows to train on and rows held out, as many as the spec asks or as there are.

    Args:
        spec: its `n_train`, `n_eval`, seed and names of data are read.
        keys: of the rows of `spec.data`.
        classes: [n_rows] class of every row, for proportions; None without classes.
        own: keys and classes of the rows of `spec.held_out`; None = the held-out rows are split off.

    Returns:
        Indices of rows to train on, indices of rows held out (into the rows of `own` where given), notes.

    Raises:
        DataError: too few rows, or all rows share their texts.
    """
    n_train, n_eval, name = spec.training.n_train, spec.training.n_eval, spec.data.dataset
    if own is None:
        drawn = draw(len(keys), n_train + n_eval, spec.seed, classes)
        if len(drawn) < n_train + n_eval:  # both parts shrink alike
            n_eval = max(1, round(len(drawn) * n_eval / (n_train + n_eval)))
        if len(drawn) < 4 or len(drawn) - n_eval < 2:
            raise DataError(
                f"{name} has {len(drawn)} usable row{'' if len(drawn) == 1 else 's'}; a run needs at least 4, some to train and some "
                "held out."
            )
        train, held_out = part([keys[i] for i in drawn], n_eval, spec.seed, None if classes is None else classes[drawn])
        if not len(held_out) or not len(train):
            raise DataError(
                f"The {len(drawn)} rows of {name} share their texts, so that none can be held out; choose held-out data of its own."
            )
        return drawn[train], drawn[held_out], []
    other = spec.held_out.dataset if spec.held_out else name
    train, held_out = draw(len(keys), n_train, spec.seed, classes), draw(len(own[0]), n_eval, spec.seed, own[1])
    for what, rows in ((name, train), (other, held_out)):
        if len(rows) < 2:
            raise DataError(
                f"{what} has {len(rows)} usable row{'' if len(rows) == 1 else 's'}; training and held-out data need at least 2 each."
            )
    trained = {_key(keys[i]) for i in train}
    shared = sum(_key(own[0][i]) in trained for i in held_out)
    if shared == len(held_out):
        raise DataError(f"Every held-out row of {other} is also trained on; choose other held-out data, or none to have it split off.")
    return train, held_out, [f"{shared} of {len(held_out)} held-out rows are also trained on"] if shared else []


def draw(n_rows: int, n: int, seed: int, classes: np.ndarray | None = None) -> np.ndarray:
    """Indices of `n` rows (or all) in random order, as many of each class as its share asks (largest remainder)."""
    return stratified(np.random.Generator(np.random.PCG64(seed)).permutation(n_rows), classes, n)


def part(keys: Keys, n_eval: int, seed: int, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Indices of (rows to train on, rows held out): rows that share a text stay together, so fewer than `n_eval` can come out."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(keys))
    kinds = np.zeros(len(keys)) if classes is None else classes
    group_of = _groups(keys)
    members: dict[int, list[int]] = {}
    for i in order.tolist():
        members.setdefault(int(group_of[i]), []).append(i)
    wanted = Counter(kinds[stratified(order, kinds, n_eval)].tolist())
    held_out: set[int] = set()
    for group in members.values():
        needs = Counter(kinds[group].tolist())
        if needs <= wanted:
            wanted -= needs
            held_out.update(group)
    chosen = np.array([i in held_out for i in order.tolist()], dtype=bool)
    return order[~chosen], order[chosen]


def digest_of(texts: Iterable[str]) -> str:
    """First 16 hex digits of the SHA-256 of texts in their order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\x00")
    return digest.hexdigest()[:16]


def shown_rows(n_rows: int, n: int = 6) -> list[int]:
    """A few rows, spread evenly, always the same."""
    return sorted({int(i) for i in np.linspace(0, n_rows - 1, min(n, n_rows))})


def _groups(keys: Keys) -> np.ndarray:
    """[n_rows] number of the group that a row belongs to; rows of different groups have no text in common."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[str, int] = {}
    rows, texts = [], []
    for i, key in enumerate(keys):
        for text in _key(key):
            rows.append(i)
            texts.append(len(keys) + numbers.setdefault(text, len(numbers)))
    size = len(keys) + len(numbers)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, texts)), shape=(size, size))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels[: len(keys)]


def _key(sides: tuple[str, ...]) -> tuple[str, ...]:
    """Texts that differ in case or spaces alone count as one."""
    return tuple(map(text_key, sides))
