"""How a text's token states become rows of the sample: one vector a text, or tokens drawn from all texts.

Takes tensors and lengths; does not depend on models, tokenizers or files.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    Take = Callable[[int, torch.Tensor], torch.Tensor]  # layer and states -> rows


def masked_mean(states: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """The mean over the tokens of each text at which `mask` [batch, n_tokens] is set; zeros where it is set nowhere.

    Args:
        states: [batch, n_tokens, hidden_size] in any float type; what stands at other places does not matter, NaN included.

    Returns:
        float32 [batch, hidden_size].
    """
    import torch

    # Places that do not count are replaced, not multiplied by 0: a model may leave NaN or infinity there.
    sums = torch.where(mask.unsqueeze(-1), states.float(), 0.0).sum(dim=1)
    return sums / mask.sum(dim=1).clamp(min=1)[:, None]


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


def redraw_tokens(content: Sequence[np.ndarray], drawn: Sequence[np.ndarray], fine: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """The tokens drawn, with those that are not `fine` replaced by a further draw among all that are fine and were not drawn.

    Args:
        content: as in `draw_tokens`.
        drawn: what it gave.
        fine: for each text, bool [its length].
        seed: that of the draw; the further one follows from it.

    Returns:
        As `draw_tokens`; fewer tokens where not enough are fine.
    """
    stays = [p[ok[p]] for p, ok in zip(drawn, fine, strict=True)]
    candidates = []
    for mask, positions, ok in zip(content, drawn, fine, strict=True):
        free = mask & ok
        free[positions] = False
        candidates.append(free)
    n_missing = sum(map(len, drawn)) - sum(map(len, stays))
    n_free = int(sum(map(np.sum, candidates)))
    if not n_missing or not n_free:
        return stays
    further = draw_tokens(candidates, n_missing, int(np.random.default_rng([seed, 1]).integers(2**31)))
    return [np.sort(np.concatenate(both)) for both in zip(stays, further, strict=True)]
