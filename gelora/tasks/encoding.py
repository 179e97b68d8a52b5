"""Texts as token rows, rows as padded batches, and the checks that a model can read them.

Gives what a model's `forward` takes; does not depend on labels' meaning or metrics.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gelora.errors import ModelError
from gelora.sources import ModelEntry
from gelora.tasks.task import Row

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a token that no loss counts."""


@dataclass(frozen=True)
class EncodedTexts:
    """rows: one a text, without labels; n_cut: texts that were longer; empty: indices of texts without a token of their own."""

    rows: list[Row]
    n_cut: int
    empty: frozenset[int]


def encode(tokenizer: Any, model: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int | None) -> EncodedTexts:
    """Texts, or pairs of texts, as rows of at most `max_length` tokens (None = whole)."""
    sides = [list(texts)] if pairs is None else [list(texts), list(pairs)]
    cut: dict[str, Any] = {"truncation": False} if max_length is None else {"truncation": True, "max_length": max_length}
    encoded = tokenizer(*sides, **cut, return_special_tokens_mask=True, verbose=False)
    names = input_names(model, encoded)
    rows = [{name: encoded[name][i] for name in names} for i in range(len(texts))]
    n_cut = sum(bool(encoding.overflowing) for encoding in encoded.encodings or ())
    empty = frozenset(i for i, mask in enumerate(encoded["special_tokens_mask"]) if sum(mask) == len(mask))
    return EncodedTexts(rows, n_cut, empty)


def input_names(model: Any, encoded: Any) -> list[str]:
    """The columns of a tokenizer's answer that the model takes; the mask wherever it does no harm, since it tells a row's length."""
    known = inspect.signature(model.forward).parameters
    takes_more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    names = ("input_ids", "attention_mask", "token_type_ids")
    return [name for name in names if name in encoded and (name in known or (takes_more and name == "attention_mask"))]


def check_vocabulary(rows: Sequence[Row], model: Any, entry: ModelEntry) -> None:
    """Raise ModelError where a token has no embedding: a GPU would only say that something was asserted."""
    size = model.get_input_embeddings().weight.shape[0]
    highest = max((max(row["input_ids"]) for row in rows), default=0)
    if highest >= size:
        raise ModelError(
            f"The tokenizer of {entry.model_id} gives token {highest}, and its model has embeddings for {size} only; "
            "choose a model whose tokenizer is its own."
        )


def padding_collator(tokenizer: Any) -> "Callable[[list[Row]], dict[str, torch.Tensor]]":
    """Rows -> a batch, padded on the right to the longest row; labels of tokens are padded with `IGNORED`."""
    import torch

    padding = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id, "labels": IGNORED}

    def collate(rows: list[Row]) -> "dict[str, torch.Tensor]":
        width = max(len(row["input_ids"]) for row in rows)
        batch = {}
        for name, first in rows[0].items():
            if isinstance(first, list):
                batch[name] = torch.tensor([row[name] + [padding[name]] * (width - len(row[name])) for row in rows], dtype=torch.long)
            else:
                kind = torch.float32 if isinstance(first, float) else torch.long
                batch[name] = torch.tensor([row[name] for row in rows], dtype=kind)
        return batch

    return collate


def logits_alone(outputs: Any) -> Any:
    """The first of what a model answers: some answer with more than logits (past keys and values)."""
    return outputs[0] if isinstance(outputs, tuple | list) else outputs


def by_length(rows: Sequence[Row]) -> list[int]:
    """Indices of rows from the shortest to the longest."""
    return sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))


def sentence_of_counts(n: int, one: str, many: str) -> str:
    """ "1 row is ..." or "7 rows are ..."."""
    return f"{n:,} {one if n == 1 else many}"
