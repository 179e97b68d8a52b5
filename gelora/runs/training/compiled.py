"""The blocks of a model compiled by `torch.compile` for the length of a training: what lies between matrix products is fused.

One block is compiled and serves all that are built alike. Does not depend on what is trained or how.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch._dynamo
from torch import nn

from gelora.errors import ModelError
from gelora.sources import find_blocks

_VARIANTS = 64  # of a block: with and without a mask, at other widths, where ranks are laid out otherwise


@contextmanager
def compiled_blocks(model: nn.Module, trial: Callable[[], object], say: Callable[[str], None]) -> Iterator[None]:
    """The model with compiled blocks within the context, where they can be compiled; as it was after it.

    Args:
        model: on its device.
        trial: one forward and backward pass, which shows whether the blocks can be compiled; its gradients are dropped.
        say: gets a sentence where they cannot.
    """
    try:
        blocks = find_blocks(model)[1]
    except ModelError:
        blocks = []  # one block that serves as all layers, say: nothing alike to compile once
    for block in blocks:
        block.compile()
    try:
        torch._dynamo.config.recompile_limit = max(_VARIANTS, torch._dynamo.config.recompile_limit)
        try:
            trial()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what Dynamo and Inductor raise: no C compiler, an operation that they do not know
            _as_before(blocks)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            say(f"blocks of this model cannot be compiled and run as usual: {reason[:200]}")
        model.zero_grad(set_to_none=True)
        yield
    finally:
        _as_before(blocks)


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """The model within `compiled_blocks`, run as usual: an evaluation has other shapes, each of which would be compiled anew."""
    kept = [(module, module._compiled_call_impl) for module in model.modules() if module._compiled_call_impl is not None]
    _as_before([module for module, _ in kept])
    try:
        yield
    finally:
        for module, compiled in kept:
            module._compiled_call_impl = compiled


def _as_before(blocks: list[nn.Module]) -> None:
    for block in blocks:
        block._compiled_call_impl = None  # what `Module.compile` sets, and no call takes back
