"""How attention sinks were treated while a sample was pooled, and what that changed, layer by layer.

A sink is a token whose norm is far above that of the layer's other tokens: the first token of a decoder's text and some
delimiters, in nearly every recent decoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gelora.errors import InputError
from gelora.record_json import Record, read_only
from gelora.records.checks import SINKS, check_choice, check_range

SINK_RATIO = 5.0
"""A token is a sink in a layer where its norm exceeds this many medians of the layer's norms."""
SINK_RATIOS = (float(np.nextafter(1, 2)), 1e9)
"""The least and the largest legal ratio."""
ONE_DIRECTION = 0.9
"""A layer is marked when more than this share of its variance lies in one direction."""
_CHOSEN_SHARE = 0.05
_JUMP = 2.0


def default_sinks(pooling: str) -> str:
    """What is done about sinks unless it is chosen: "drop" where tokens are many (mean, tokens), "keep" for cls and last."""
    return "drop" if pooling in ("mean", "tokens") else "keep"


def legal_sinks(pooling: str) -> tuple[str, ...]:
    """What can be done about sinks, the pooling's default first; before the first token none lies that could take its place."""
    return (default_sinks(pooling), *(s for s in SINKS if s != default_sinks(pooling) and (s, pooling) != ("drop", "cls")))


def resolved_sinks(sinks: str | None, sink_ratio: float, pooling: str) -> str:
    """The treatment that is meant, checked; None is the pooling's default.

    Raises:
        InputError: no such treatment, a ratio of 1 or less, or "drop" for pooling "cls", before which no token lies.
    """
    chosen = default_sinks(pooling) if sinks is None else sinks
    check_choice("treatment of attention sinks", chosen, SINKS)
    check_range("sink_ratio", sink_ratio, *SINK_RATIOS)
    if chosen not in legal_sinks(pooling):
        raise InputError(
            "Pooling 'cls' takes the first token, and no token lies before it that could take its place; choose sinks 'keep' or 'unit', "
            "or another pooling."
        )
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class SinkReport(Record):
    """The treatment of attention sinks and their mark on every layer.

    A token is a sink in a layer where its norm exceeds `ratio` times the median norm there of all `n_tokens` tokens of the
    sample, padding not counted. treatment: "drop" (left out of the mean; for tokens and last replaced by a token that is
    a sink in no layer), "keep", or "unit" (every token scaled to length 1).

    All arrays are float64 [n_layers + 1], NaN where undefined. shares: share of all tokens that are sinks, from 0 to 1;
    largest_norms: largest norm over median; first_direction_kept, first_direction: share of the variance in the first
    principal direction with all tokens kept, and as pooled, over the same rows (at most 512, evenly spaced);
    chosen_shares: share of the rows whose token, as pooling cls, last or tokens chose it first, is a sink (empty for mean).
    n_replaced: rows that got another token. left_out: places in the sample of the texts that are in no layer, since all
    of their tokens are sinks in one.
    """

    treatment: str
    ratio: float
    n_tokens: int
    shares: np.ndarray
    largest_norms: np.ndarray
    first_direction_kept: np.ndarray
    first_direction: np.ndarray
    chosen_shares: np.ndarray
    n_replaced: int = 0
    left_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_choice("treatment", self.treatment, SINKS)
        for name in ("shares", "largest_norms", "first_direction_kept", "first_direction", "chosen_shares"):
            array = read_only(getattr(self, name), np.float64)
            if array.shape != self.shares.shape and not (name == "chosen_shares" and array.size == 0):
                raise InputError(f"{name} has shape {array.shape}; expected one number a layer, {len(self.shares)}.")
            object.__setattr__(self, name, array)

    @property
    def choice(self) -> tuple[str, float, tuple[int, ...]]:
        """What two measurements must share to be of the same rows: treatment, ratio, texts left out."""
        return (self.treatment, self.ratio, self.left_out)

    def emergence_block(self) -> int | None:
        """The block after which sinks stand out: where the largest norm over median grows most, at least twofold and past the ratio.

        None where no block does. Counted from 1. The one block in which massive activations emerge is described by Sun et al.,
        arXiv 2402.17762, and arXiv 2605.08504.
        """
        norms = self.largest_norms
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.where((norms[1:] > self.ratio) & (norms[1:] >= _JUMP * norms[:-1]), norms[1:] / norms[:-1], 0.0)
        return int(growth.argmax()) + 1 if growth.size and growth.max() > 0 else None

    def one_direction_layers(self) -> tuple[int, ...]:
        """Layers of whose variance, as pooled, more than 90% lies in one direction: their dimension says little."""
        return tuple(int(i) for i in np.flatnonzero(self.first_direction > ONE_DIRECTION))

    def chosen_is_sink(self) -> tuple[int, float] | None:
        """(layer, share) where the token that was chosen first is a sink most often, when that is in more than 5% of the rows."""
        if not self.chosen_shares.size or not self.chosen_shares.max() > _CHOSEN_SHARE:
            return None
        layer = int(self.chosen_shares.argmax())
        return layer, float(self.chosen_shares[layer])

    def layer_sentence(self, layer: int) -> str:
        """What sinks are at one layer: how many, how long, and how much of the variance lies in one direction."""
        said = f"{self.shares[layer]:.1%} of the tokens are attention sinks" if self.shares[layer] else "No token is an attention sink"
        if np.isfinite(self.largest_norms[layer]):
            said += f", the largest norm is {self.largest_norms[layer]:.1f} times the median"
        kept, pooled = self.first_direction_kept[layer], self.first_direction[layer]
        if np.isfinite(pooled):
            said += f"; one direction holds {pooled:.0%} of the variance"
            said += f", {kept:.0%} with all tokens as they are" if np.isfinite(kept) and f"{kept:.0%}" != f"{pooled:.0%}" else ""
        return f"{said}."

    def sentences(self, layer_names: Sequence[str]) -> list[str]:
        """What a person must know of sinks beside the curve, a sentence each; none where there is nothing to say."""
        said = []
        if self.shares.any():
            where = int(self.shares.argmax())
            done = {
                "drop": "left out" if not self.chosen_shares.size else "replaced",
                "keep": "kept",
                "unit": "scaled to length 1 as all are",
            }
            largest = int(np.nanargmax(self.largest_norms))
            said.append(
                f"Attention sinks, {done[self.treatment]}: up to {self.shares[where]:.1%} of the tokens ({layer_names[where]}), the "
                f"largest norm {self.largest_norms[largest]:.0f} times the median ({layer_names[largest]})."
            )
        block = self.emergence_block()
        if block is not None:
            said.append(
                f"They emerge in block {block}, which raises the largest norm over the median from {self.largest_norms[block - 1]:.1f} "
                f"to {self.largest_norms[block]:.1f}."
            )
        chosen = self.chosen_is_sink()
        if chosen is not None:
            layer, share = chosen
            after = f" {self.n_replaced:,} rows got another token." if self.treatment == "drop" else ""
            said.append(f"The token that the pooling takes is a sink in {share:.0%} of the rows at {layer_names[layer]}.{after}")
        if self.left_out:
            said.append(f"{len(self.left_out):,} texts are left out, since all of their tokens are sinks in some layer.")
        return [*said, *self.one_direction_sentences(layer_names)]

    def one_direction_sentences(self, layer_names: Sequence[str]) -> list[str]:
        """Which layers have nearly all variance in one direction, in one sentence; none where there is no such layer."""
        where = ", ".join(layer_names[i] for i in self.one_direction_layers())
        return [f"More than 90% of the variance lies in one direction at {where}: the dimension there says little."] if where else []
