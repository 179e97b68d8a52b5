"""How a text's token states become rows of the sample: one vector a text, or tokens drawn from all texts.

Knows tensors and lengths; knows no model, tokenizer or file.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    Take = Callable[[torch.Tensor], torch.Tensor]


def pool_by(pooling: str, lengths: Sequence[int], device: str) -> "Take":
    """The function that pools one batch's states, padded on the right, into one vector a text.

    Args:
        pooling: "mean" over all tokens that are not padding, [CLS] and [SEP] among them, as sentence-transformers does;
            "cls" the first token; "last" the last token that is not padding.
        lengths: tokens of each text of the batch, padding not counted; at least 1.
        device: where the states will be.

    Returns:
        A function from [batch, n_tokens, hidden_size] in any float type to float32 [batch, hidden_size].
    """
    import torch

    counts = torch.tensor(lengths, device=device)
    if pooling == "mean":
        mask = (torch.arange(int(counts.max()), device=device) < counts[:, None]).unsqueeze(-1)
        # Padded places are replaced, not multiplied by 0: a model may leave NaN or infinity there.
        return lambda states: torch.where(mask, states.float(), 0.0).sum(dim=1) / counts[:, None]
    places = torch.zeros_like(counts) if pooling == "cls" else counts - 1
    texts = torch.arange(len(lengths), device=device)
    return lambda states: states[texts, places].float()


def take_tokens(positions: Sequence[np.ndarray], device: str) -> "Take":
    """The function that takes the tokens at `positions` (one array a text of the batch) as rows, text after text.

    Returns:
        A function from [batch, n_tokens, hidden_size] to float32 [total number of positions, hidden_size].
    """
    import torch

    texts = torch.tensor(np.repeat(np.arange(len(positions)), [len(p) for p in positions]), device=device)
    places = torch.tensor(np.concatenate(positions), device=device)
    return lambda states: states[texts, places].float()


def draw_tokens(content: Sequence[np.ndarray], n_tokens: int, seed: int) -> list[np.ndarray]:
    """Draw `n_tokens` of all content tokens, each equally likely, none twice; all of them when there are fewer.

    Args:
        content: for each text, bool [its length], False at special tokens.
        n_tokens: how many to draw, at least 1.
        seed: the same seed, texts and number give the same tokens.

    Returns:
        For each text the drawn positions in order: int64, empty where none was drawn.
    """
    positions = [np.flatnonzero(mask) for mask in content]
    ends = np.cumsum([len(p) for p in positions])
    total = int(ends[-1]) if len(ends) else 0
    chosen = np.arange(total)
    if total > n_tokens:
        chosen = np.sort(np.random.default_rng(seed).choice(total, size=n_tokens, replace=False))
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    starts = ends - [len(p) for p in positions]
    return [p[part - start] for p, part, start in zip(positions, parts, starts, strict=True)]
