"""The rows of pooling "tokens": the text of each token, and the token with some words of context.

Tokenizes a sample once more; runs no model.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gelora.records import Sample
from gelora.sources.catalog import find_model
from gelora.sources.loading import load_tokenizer
from gelora.sources.tokenized import tokenize

_AROUND = 8  # tokens shown on either side


class DrawnToken(NamedTuple):
    """A row of the hidden states: `text` counts the sample's texts, `words` shows the token in brackets among its neighbors."""

    text: int
    words: str


def drawn_tokens(model: str, sample: Sample, max_length: int, tokens: np.ndarray | None = None) -> tuple[DrawnToken, ...]:
    """The tokens that `extract_hidden_states` draws with pooling "tokens", in the order of its rows.

    Args:
        model: a bundled name, a local folder or a hub id.
        sample: that of the states.
        max_length: that of the states, already lowered to what the model allows.
        tokens: int64 [n_rows, 2], `HiddenStates.tokens`; without it the draw as it is before sinks are replaced.

    Raises:
        HubError, InputError: the model's tokenizer is out of reach.
        DataError: a text has no token, or no token could be drawn.
    """
    tokenizer = load_tokenizer(find_model(model, weights=False))
    tokenized = tokenize(tokenizer, sample, max_length, "tokens")
    ids = tokenized.columns["input_ids"][0]

    def words_of(part: Sequence[int]) -> str:
        return " ".join(str(tokenizer.decode(list(part), skip_special_tokens=True)).split())

    if tokens is None or not len(tokens):
        tokens = np.array([(text, place) for text, positions in enumerate(tokenized.drawn or ()) for place in positions])
    rows = []
    for text, place in tokens.tolist():
        left, right = ids[text][max(0, place - _AROUND) : place], ids[text][place + 1 : place + 1 + _AROUND]
        parts = (words_of(left), f"[{words_of(ids[text][place : place + 1])}]", words_of(right))
        rows.append(DrawnToken(text, " ".join(part for part in parts if part)))
    return tuple(rows)
