"""A sample as token ids: batches padded on the right, and which states of a batch become which rows of the result.

Takes the tokenizer's output; does not depend on models.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gelora.errors import DataError
from gelora.records import Sample
from gelora.sources.pooling import draw_tokens, redraw_tokens

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TokenizedSample:
    """Token ids of every text.

    columns: the model's inputs by name, one list a text, each with the value that pads it; lengths: int64 [n_texts];
    drawn: for pooling "tokens" the positions drawn in each text, else None; content: for it, bool [its length] for each
    text, False at special tokens; seed: of that draw; is_padded: whether texts of unlike lengths go through the model together.
    """

    columns: dict[str, tuple[list[list[int]], int]]
    lengths: np.ndarray
    pooling: str
    drawn: list[np.ndarray] | None = None
    content: list[np.ndarray] | None = None
    seed: int = 0
    is_padded: bool = True

    def order(self) -> np.ndarray:
        """All texts, longest first, so that batches are even and memory runs out at once or never."""
        return np.argsort(-self.lengths, kind="stable")

    def n_together(self, order: np.ndarray, most: int) -> int:
        """How many of the first texts of `order` go through the model at once: `most`, without padding those of one length."""
        lengths = self.lengths[order[:most]]
        return len(lengths) if self.is_padded else int(np.argmin(np.append(lengths == lengths[0], False)))

    def batches(self, texts: np.ndarray, most: int) -> list[np.ndarray]:
        """The given texts in batches of at most `most`, in their order, without padding by length."""
        left = texts if self.is_padded else texts[np.argsort(-self.lengths[texts], kind="stable")]
        found = []
        while len(left):
            n = self.n_together(left, most)
            found.append(left[:n])
            left = left[n:]
        return found

    def positions(self) -> list[np.ndarray] | None:
        """For each text the tokens that are its rows; None for the mean, where a text is one row."""
        if self.pooling == "mean":
            return None
        if self.drawn is not None:
            return self.drawn
        return [np.array([0 if self.pooling == "cls" else length - 1]) for length in self.lengths]

    def redrawn(self, fine: list[np.ndarray]) -> list[np.ndarray]:
        """The drawn tokens, those that are not `fine` (bool [its length] for each text) replaced by further ones."""
        return redraw_tokens(self.content or [], self.drawn or [], fine, self.seed)

    def n_rows(self) -> int:
        """Rows of the result."""
        return len(self.lengths) if self.drawn is None else sum(map(len, self.drawn))

    def batch(self, texts: np.ndarray, device: str) -> "dict[str, torch.Tensor]":
        """Inputs of the model, padded on the right to the longest text of the batch."""
        import torch

        width = int(self.lengths[texts].max())
        inputs = {}
        for name, (rows, padding) in self.columns.items():
            table = np.full((len(texts), width), padding, dtype=np.int64)
            for place, i in enumerate(texts):
                table[place, : len(rows[i])] = rows[i]
            inputs[name] = torch.from_numpy(table).to(device)
        return inputs


def tokenize(tokenizer: Any, sample: Sample, max_length: int, pooling: str) -> TokenizedSample:
    """Turn texts or pairs into token ids, cut to `max_length` tokens, and draw the tokens where `pooling` asks for it.

    Raises:
        DataError: a text has no token, or no token could be drawn.
    """
    pairs = list(sample.text_pairs) if sample.text_pairs is not None else None
    encoded = tokenizer(list(sample.texts), pairs, truncation=True, max_length=max_length, padding=False, return_special_tokens_mask=True)
    ids = encoded["input_ids"]
    lengths = np.array([len(row) for row in ids])
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise DataError(f"Text {row + 1} of the sample ({sample.texts[row][:40]!r}) has no tokens for this model; leave empty texts out.")
    padding = {"input_ids": tokenizer.pad_token_id or 0, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}
    columns = {name: (encoded[name], value) for name, value in padding.items() if name in encoded}
    columns["attention_mask"] = ([[1] * len(row) for row in ids], 0)
    drawn, content = None, None
    if pooling == "tokens":
        # The tokenizer marks what it framed the text with; a special token that stands in the text itself is one too.
        special = [getattr(tokenizer, f"{role}_token_id", None) for role in ("cls", "sep", "bos", "eos", "pad", "mask")]
        marks = encoded["special_tokens_mask"]
        content = [
            (np.array(mark) == 0) & ~np.isin(row, [i for i in special if i is not None]) for mark, row in zip(marks, ids, strict=True)
        ]
        drawn = draw_tokens(content, sample.source.n_samples, sample.source.seed)
        if not any(map(len, drawn)):
            raise DataError("The texts hold special tokens only, so no token can be drawn; choose another pooling or other texts.")
    return TokenizedSample(columns, lengths, pooling, drawn, content, sample.source.seed)
