"""Whether a model's states of a text depend on the padding beside it, found by running one text alone and padded.

Attention that is masked leaves padding out. FNet's Fourier transforms, Nystromformer's and ConvBERT's convolutions do not: their
states of a text in a padded batch are other states. Works on a model in memory; does not depend on which models there are.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from gelora.errors import ModelError
from gelora.sources.forward_pass import Tap
from gelora.sources.tokenized import TokenizedSample

if TYPE_CHECKING:
    import torch
    from torch import nn

_N_TOKENS = 16
_TOLERANCE = 1e-3  # of a state's length; masked models differ by 1e-6 in float32
_HALF_TOLERANCE = 0.2  # of half of a layer's states: rounding to bfloat16 differs from one shape to the next


def suited_to(base: "nn.Module", texts: TokenizedSample, hidden_size: int) -> TokenizedSample:
    """The texts, to be run without padding where the model's states depend on it.

    Raises:
        ModelError: no hook can be attached to the model's blocks.
    """
    return replace(texts, is_padded=not depends_on_padding(base, texts, hidden_size))


def depends_on_padding(base: "nn.Module", texts: TokenizedSample, hidden_size: int) -> bool:
    """Whether a layer's states of a text change when as much padding as it has tokens, masked, stands after it.

    Two forward passes of one text of at most 16 tokens: the first text that has so many, else the longest.

    Args:
        base: a base model in evaluation mode, on any device.
        hidden_size: its width.

    Raises:
        ModelError: no hook can be attached to the model's blocks, or it takes texts of one length alone.
    """
    import torch

    enough = (texts.lengths >= _N_TOKENS).nonzero()[0]
    i = int(enough[0]) if len(enough) else int(texts.lengths.argmax())
    n = min(int(texts.lengths[i]), _N_TOKENS)

    def states(n_padding: int) -> "torch.Tensor":
        row = {name: [*column[i][:n], *[padding] * n_padding] for name, (column, padding) in texts.columns.items()}
        try:
            return tap(
                {name: torch.tensor([values], device=tap.device) for name, values in row.items()}, lambda _, states: states[0, :n].clone()
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ModelError(f"{type(base).__name__} cannot be run on a text of {n + n_padding} tokens ({error}).") from error

    with Tap(base, hidden_size, final_norm=False) as tap:
        alone, padded = states(0), states(n)
    is_exact = alone.dtype == torch.float32 and not torch.is_autocast_enabled(tap.device.partition(":")[0])
    changes = (padded.float() - alone.float()).norm(dim=-1) / alone.float().norm(dim=-1).clamp_min(1e-30)
    return bool((changes > _TOLERANCE).any() if is_exact else (changes.median(dim=1).values > _HALF_TOLERANCE).any())
