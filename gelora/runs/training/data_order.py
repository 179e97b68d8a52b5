"""In which order the rows of an epoch come: shuffled, with rows of like length in one batch.

The order of an epoch follows from (seed, epoch) alone, so that a resumed run gets the
rows it would have had. Does not depend on models or on how many parts a batch is computed in.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

_BATCHES_A_GROUP = 50


def batches_of_one_length(lengths: Sequence[int], most: int) -> list[list[int]]:
    """The indices of rows in their order, in batches of at most `most` neighbors that have one length."""
    batches: list[list[int]] = []
    for i, length in enumerate(lengths):
        if not batches or len(batches[-1]) == most or lengths[batches[-1][0]] != length:
            batches.append([])
        batches[-1].append(i)
    return batches


class GroupedByLength(Sampler[int]):
    """Row indices of one epoch: a shuffle, cut into groups of 50 batches; within a group batches hold rows of like length.

    Less padding than a plain shuffle, and still every batch of an epoch in random order. The batch with the longest row
    comes first, so that a batch that does not fit in memory is noticed at once; a batch that is not full comes last.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: Callable[[], int]) -> None:
        """
        Args:
            lengths: tokens of each row.
            batch_size: rows that one optimizer step takes.
            seed: at least 0.
            epoch: which epoch begins, from 0; asked when an iteration begins.
        """
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._known: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self._epoch()).tolist())

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that one epoch takes."""
        return -(-len(self._lengths) // self._batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch in their order, [n_rows]."""
        rng = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        shuffled = rng.permutation(len(self._lengths))
        group = self._batch_size * _BATCHES_A_GROUP
        batches = []
        for start in range(0, len(shuffled), group):
            rows = shuffled[start : start + group]
            rows = rows[np.argsort(-self._lengths[rows], kind="stable")]
            batches += [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]
        partial = [batch for batch in batches if len(batch) < self._batch_size]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        full = [full[i] for i in rng.permutation(len(full))]
        if full:
            longest = int(np.argmax([self._lengths[batch].max() for batch in full]))
            full.insert(0, full.pop(longest))
        return np.concatenate([*full, *partial])

    def tokens_between(self, first_step: int, last_step: int) -> int:
        """Tokens, padding left out, that the optimizer steps first_step + 1 .. last_step took."""
        return self._tokens_until(last_step) - self._tokens_until(first_step)

    def rows_between(self, first_step: int, last_step: int) -> int:
        """Rows that the optimizer steps first_step + 1 .. last_step took."""
        return self._rows_until(last_step) - self._rows_until(first_step)

    def _rows_until(self, step: int) -> int:
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch * len(self._lengths) + min(within * self._batch_size, len(self._lengths))

    def _tokens_until(self, step: int) -> int:
        epoch, within = divmod(step, self.steps_per_epoch)
        before = epoch * int(self._lengths.sum())
        if within == 0:
            return before
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, np.cumsum(self._lengths[self.order(epoch)]))
        return before + int(self._known[1][min(within * self._batch_size, len(self._lengths)) - 1])
