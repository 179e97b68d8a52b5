"""Pooling with attention sinks in mind: every token's norm is recorded while the model runs, and the rows are settled after it.

Works on tensors, lengths and norms; runs no model and reads no file.

A sink is found by the median norm of *all* tokens of the sample in a layer, known only at the end. So the pass pools with
the median of what was seen so far, and only the texts whose sinks are others by the exact median are passed once more; the
answer depends on neither batch size nor order. Beside the result it holds one float32 a layer and token (at most
max_length / hidden_size of the states' own size) and the pooled states of at most 512 rows with all tokens kept.
"""

from typing import TYPE_CHECKING

import numpy as np

from gelora.errors import DataError
from gelora.records import SinkReport
from gelora.sources.pooling import masked_mean
from gelora.sources.tokenized import TokenizedSample

if TYPE_CHECKING:
    import torch

    from gelora.sources.pooling import Take

_VARIANCE_ROWS = 512


class SinkPooling:
    """The rows of a sample as they fill up: `take` a batch, `put` what came of it, `settle`, and once more for what that names."""

    def __init__(self, texts: TokenizedSample, treatment: str, ratio: float, n_layers: int, hidden_size: int) -> None:
        """
        Args:
            texts: tokenised.
            treatment: "drop", "keep" or "unit", as in `SinkReport`.
            ratio: norms over the median above which a token is a sink.
            n_layers: blocks of the model; there are n_layers + 1 layers.
            hidden_size: width of the states.
        """
        self._texts, self._treatment, self._ratio, self._n = texts, treatment, ratio, n_layers + 1
        self._ends = np.cumsum(texts.lengths)
        self._norms = np.full((self._n, int(self._ends[-1])), np.nan, dtype=np.float32)
        self._passed = np.zeros(len(texts.lengths), dtype=bool)
        self._used = np.full((self._n, len(texts.lengths)), np.inf, dtype=np.float32)  # the threshold each text was pooled with
        self._threshold: np.ndarray | None = None  # of what was seen so far
        self._n_batches = 0
        self._sinks: np.ndarray | None = None  # bool [n_layers + 1, n_tokens], once it is settled
        self._set_positions(texts.positions())
        rows = texts.n_rows()
        self._values = np.empty((self._n, rows, hidden_size), dtype=np.float32)
        self._sample_rows = np.unique(np.linspace(0, rows - 1, min(rows, _VARIANCE_ROWS)).round().astype(int))
        self._kept_rows = np.empty((self._n, len(self._sample_rows), hidden_size), dtype=np.float32)
        self._batch_norms: list[torch.Tensor | None] = []
        self._batch_kept: list[torch.Tensor | None] = []
        self._batch_threshold = np.empty(0, dtype=np.float32)

    def take(self, batch: np.ndarray, device: str) -> "Take":
        """The pooling of a batch of texts in a layer, from (layer, states) to its rows."""
        import torch

        lengths = torch.tensor(self._texts.lengths[batch].tolist(), device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
        self._batch_norms, self._batch_kept = [None] * self._n, [None] * self._n
        self._batch_threshold = np.full(self._n, np.inf, dtype=np.float32) if self._threshold is None else self._threshold
        if self._positions is not None:
            places = [self._positions[i] for i in batch]
            of_batch = torch.tensor(np.repeat(np.arange(len(batch)), [len(p) for p in places]), dtype=torch.long, device=device)
            at = torch.tensor(np.concatenate(places), dtype=torch.long, device=device)
        of_sample = torch.tensor(np.flatnonzero(np.isin(batch, self._sample_rows)), device=device)
        settled = self._settled_sinks(batch, device) if self._sinks is not None else None

        def pooled(layer: int, states: "torch.Tensor") -> "torch.Tensor":
            states = states.float()
            norms = torch.linalg.vector_norm(states, dim=-1)
            self._batch_norms[layer] = norms
            if self._positions is not None:
                rows = states[of_batch, at]
                return rows / _nonzero(norms[of_batch, at])[:, None] if self._treatment == "unit" and settled is not None else rows
            if self._treatment == "keep":
                return masked_mean(states, mask)
            if settled is None and len(of_sample):
                self._batch_kept[layer] = masked_mean(states[of_sample], mask[of_sample])
            if self._treatment == "unit":
                return masked_mean(states / _nonzero(norms)[:, :, None], mask)
            if settled is not None:
                return masked_mean(states, mask & ~settled[layer])
            if self._threshold is None:
                self._batch_threshold[layer] = _threshold(norms[mask].cpu().numpy(), self._ratio)
            return masked_mean(states, mask & ~(norms > float(self._batch_threshold[layer])))

        return pooled

    def finite(self, batch: np.ndarray, pooled: "torch.Tensor") -> "torch.Tensor":
        """bool [n_layers + 1]: whether every token's state of the batch just run is finite, one that is left out as a sink too."""
        import torch

        lengths = torch.tensor(self._texts.lengths[batch].tolist(), device=pooled.device)
        norms = torch.stack([norms for norms in self._batch_norms if norms is not None])
        mask = torch.arange(norms.shape[2], device=norms.device) < lengths[:, None]
        return torch.isfinite(pooled).all(dim=-1).all(dim=-1) & torch.where(mask, torch.isfinite(norms), True).all(dim=-1).all(dim=-1)

    def put(self, batch: np.ndarray, pooled: "torch.Tensor") -> None:
        """Take down what `take` gave for every layer, [n_layers + 1, rows, hidden_size]."""
        import torch

        self._values[:, self._rows_of(batch)] = pooled.cpu().numpy()
        if self._sinks is not None:
            return
        norms = torch.stack([norms for norms in self._batch_norms if norms is not None]).cpu().numpy()
        for place, text in enumerate(batch):
            self._norms[:, self._span(text)] = norms[:, place, : self._texts.lengths[text]]
        self._used[:, batch] = self._batch_threshold[:, None]
        self._passed[batch] = True
        if self._batch_kept[0] is not None:
            of_sample = batch[np.isin(batch, self._sample_rows)]
            kept = torch.stack([rows for rows in self._batch_kept if rows is not None]).cpu().numpy()
            self._kept_rows[:, np.searchsorted(self._sample_rows, of_sample)] = kept
        self._n_batches += 1
        if self._treatment == "drop" and self._positions is None and self._n_batches & (self._n_batches - 1) == 0:  # 1, 2, 4, 8 ...
            seen = np.repeat(self._passed, self._texts.lengths)
            self._threshold = np.array([_threshold(norms[seen], self._ratio) for norms in self._norms], dtype=np.float32)

    def settle(self) -> np.ndarray:
        """After all texts: the exact sinks. Returns the texts that have to be passed once more, longest first.

        Raises:
            DataError: every text is left out.
        """
        thresholds = np.array([_threshold(norms, self._ratio) for norms in self._norms], dtype=np.float32)
        self._sinks = self._norms > thresholds[:, None]
        self._shares, self._largest = self._sinks.mean(axis=1), self._norms.max(axis=1) / np.where(np.isinf(thresholds), np.nan, thresholds)
        self._largest *= self._ratio
        self._left_out = np.empty(0, dtype=np.int64)
        self._chosen, self._n_replaced = np.empty(0), 0
        if self._positions is not None:
            return self._settle_positions()
        if self._treatment != "drop":
            return np.empty(0, dtype=np.int64)
        starts = self._ends - self._texts.lengths
        changed = np.zeros(len(self._ends), dtype=bool)
        empty = np.zeros(len(self._ends), dtype=bool)
        for norms, used, sinks in zip(self._norms, self._used, self._sinks, strict=True):
            differ = sinks != (norms > np.repeat(used, self._texts.lengths))
            changed |= np.logical_or.reduceat(differ, starts)
            empty |= np.logical_and.reduceat(sinks, starts)
        self._left_out = np.flatnonzero(empty)
        self._check_some_left()
        return self._longest_first(np.flatnonzero(changed & ~empty))

    def result(self) -> tuple[np.ndarray, np.ndarray, SinkReport]:
        """float32 [n_layers + 1, n_rows, hidden_size], tokens as `HiddenStates` has them, and the report."""
        rows_of_sample, values = self._sample_rows, self._values
        if self._positions is not None and self._treatment == "unit":
            at = self._flat(self._tokens())
            for layer in range(self._n):
                values[layer] /= _nonzero_array(self._norms[layer, at])[:, None]
        kept = np.array([_first_direction(rows) for rows in self._kept_rows]) if self._has_kept_rows() else None
        if self._positions is None and len(self._left_out):
            rows_of_sample = np.setdiff1d(rows_of_sample, self._left_out)
        rows_of_sample = rows_of_sample[rows_of_sample < values.shape[1]]
        pooled = np.array([_first_direction(rows[rows_of_sample]) for rows in values])
        if self._positions is None and len(self._left_out):
            values = self._values = np.delete(values, self._left_out, axis=1)
        report = SinkReport(
            treatment=self._treatment,
            ratio=float(self._ratio),
            n_tokens=int(self._ends[-1]),
            shares=self._shares,
            largest_norms=self._largest,
            first_direction_kept=pooled if kept is None else kept,
            first_direction=pooled,
            chosen_shares=self._chosen,
            n_replaced=self._n_replaced,
            left_out=tuple(map(int, self._left_out)),
        )
        tokens = np.empty((0, 2), dtype=np.int64) if self._positions is None else self._tokens()
        return values, tokens, report

    def _settle_positions(self) -> np.ndarray:
        """The same where every row is a token: which rows get another one."""
        assert self._positions is not None and self._sinks is not None
        before = self._tokens()
        of_rows = self._sinks[:, self._flat(before)]
        self._chosen = of_rows.mean(axis=1)
        self._kept_rows[:] = self._values[:, self._sample_rows]
        bad = of_rows.any(axis=0)
        if self._treatment != "drop" or not bad.any():
            return np.empty(0, dtype=np.int64)
        anywhere = np.asarray(self._sinks.any(axis=0))
        fine = [~anywhere[self._span(text)] for text in range(len(self._ends))]
        old = self._positions
        if self._texts.pooling == "tokens":
            self._set_positions(self._texts.redrawn(fine))
        else:
            nearest = [np.flatnonzero(ok[: int(p[0]) + 1])[-1:] for ok, p in zip(fine, old, strict=True)]
            self._set_positions(nearest)
            self._left_out = np.flatnonzero([len(p) == 0 for p in nearest])
        self._n_replaced = int(bad.sum()) - len(self._left_out)
        after = self._tokens()
        self._check_some_left()
        place = {(int(text), int(position)): row for row, (text, position) in enumerate(before)}
        source = np.array([place.get((int(text), int(position)), -1) for text, position in after])
        for layer in range(self._n):
            self._values[layer, : len(source)] = self._values[layer, source]
        self._values = self._values[:, : len(source)]
        return self._longest_first(np.unique(after[source < 0, 0]))

    def _set_positions(self, positions: list[np.ndarray] | None) -> None:
        """The tokens of each text that are its rows, text after text; None where a text is one row."""
        self._positions = positions
        self._starts = np.concatenate([[0], np.cumsum([len(p) for p in positions or ()])])

    def _rows_of(self, batch: np.ndarray) -> np.ndarray:
        """Rows of the result that a batch of texts fills."""
        if self._positions is None:
            return batch
        return np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in batch])

    def _check_some_left(self) -> None:
        n_rows = len(self._ends) - len(self._left_out) if self._positions is None else len(self._tokens())
        if n_rows == 0:
            raise DataError(
                f"Every token that pooling {self._texts.pooling!r} could take is an attention sink in some layer (norm above "
                f"{self._ratio:g} times the median); choose sinks 'keep' or 'unit', or longer texts."
            )

    def _settled_sinks(self, batch: np.ndarray, device: str) -> "torch.Tensor":
        import torch

        assert self._sinks is not None
        table = np.zeros((self._n, len(batch), int(self._texts.lengths[batch].max())), dtype=bool)
        for place, text in enumerate(batch):
            table[:, place, : self._texts.lengths[text]] = self._sinks[:, self._span(text)]
        return torch.from_numpy(table).to(device)

    def _tokens(self) -> np.ndarray:
        assert self._positions is not None
        texts = np.repeat(np.arange(len(self._positions)), [len(p) for p in self._positions])
        return np.column_stack([texts, np.concatenate(self._positions)]).astype(np.int64)

    def _flat(self, tokens: np.ndarray) -> np.ndarray:
        """Where tokens lie among all tokens of the sample."""
        flat: np.ndarray = (self._ends - self._texts.lengths)[tokens[:, 0]] + tokens[:, 1]
        return flat

    def _span(self, text: int) -> slice:
        return slice(int(self._ends[text] - self._texts.lengths[text]), int(self._ends[text]))

    def _has_kept_rows(self) -> bool:
        return self._positions is not None or self._treatment != "keep"

    def _longest_first(self, texts: np.ndarray) -> np.ndarray:
        return texts[np.argsort(-self._texts.lengths[texts], kind="stable")]


def _threshold(norms: np.ndarray, ratio: float) -> np.float32:
    """ratio medians; infinity where the median is 0, as nothing can be told there."""
    median = float(np.median(norms))
    return np.float32(ratio * median) if median > 0 else np.float32(np.inf)


def _nonzero(norms: "torch.Tensor") -> "torch.Tensor":
    """Norms to divide by: a state of zeros stays one."""
    return norms.masked_fill(norms == 0, 1.0)


def _nonzero_array(norms: np.ndarray) -> np.ndarray:
    return np.where(norms == 0, np.float32(1), norms)


def _first_direction(rows: np.ndarray) -> float:
    """Share of the variance in the first principal direction; NaN for fewer than two rows or rows that are all equal."""
    from scipy.linalg import eigh

    if len(rows) < 2:
        return float("nan")
    centred = rows.astype(np.float64) - rows[0]
    centred -= centred.mean(axis=0)
    product = centred @ centred.T if len(rows) < rows.shape[1] else centred.T @ centred
    total = float(np.trace(product))
    if total <= 0:
        return float("nan")
    last = len(product) - 1
    return min(float(eigh(product, eigvals_only=True, subset_by_index=[last, last])[0]) / total, 1.0)
