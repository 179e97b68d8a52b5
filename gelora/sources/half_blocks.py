"""Where, in a model's blocks, the residual stream is between attention and MLP: found by one forward pass, not by names.

Of sequential blocks with their norms before or after; a parallel block has no such place. Does not depend on pooling.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gelora.errors import ModelError
from gelora.records import ModelStructure
from gelora.sources.structure import find_blocks

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Middle:
    """A module whose input (or output) is the state between a block's attention and its MLP."""

    module: "nn.Module"
    is_input: bool


def find_middles(base: "nn.Module", structure: ModelStructure, batch: "dict[str, torch.Tensor]") -> list[Middle]:
    """The place in every block, from what its modules got and gave for one batch.

    The first linear map of the MLP says it. Where it got the output of a norm: if the block itself ends in a norm
    (BERT), that output is the state; else (Llama, GPT-2) the norm's input. Where it got no norm's output (OLMo 2), its own
    input is the state.

    Args:
        base: a base model, in evaluation mode. structure: its structure, whole or halved.
        batch: one text or more, as the model takes it.

    Raises:
        ModelError: the blocks are parallel (attention and MLP both start from the block's input: GPT-J, GPT-NeoX,
            Falcon), or attention and MLP are not to be told apart (a mixture of experts without a linear map of its own).
    """
    import torch

    blocks, halved = find_blocks(base)[1], structure.halved
    of_mlp = {module.name: (module.block - 1) // 2 for module in halved.modules if module.block % 2 == 0}
    seen = [_Seen(n_attention=sum(m.block == 2 * i + 1 for m in halved.modules)) for i in range(len(blocks))]
    hooks: list[Any] = []
    for name, index in of_mlp.items():
        module = base.get_submodule(name) if name in dict(base.named_modules()) else None
        if module is not None:
            hooks.append(module.register_forward_pre_hook(seen[index].at_mlp))
    for block, found in zip(blocks, seen, strict=True):
        hooks.append(block.register_forward_pre_hook(found.at_start, with_kwargs=True))
        hooks.append(block.register_forward_hook(found.at_end))
        for module in block.modules():
            if module is not block and "norm" in type(module).__name__.lower() and not any(module.children()):
                hooks.append(module.register_forward_hook(found.at_norm))
    try:
        with torch.inference_mode(), without_key_value_cache(base):
            base(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [found.middle(structure.model_id, number) for number, found in enumerate(seen, start=1)]


class _Seen:
    """What passed through one block."""

    def __init__(self, n_attention: int) -> None:
        self._n_attention = n_attention
        self._start: Any = None
        self._end: Any = None
        self._norms: list[tuple[nn.Module, Any, Any]] = []
        self._mlp: tuple[nn.Module, Any] | None = None

    def at_start(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._start = args[0] if args else kwargs.get("hidden_states")

    def at_end(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        self._end = output[0] if isinstance(output, tuple) else output

    def at_norm(self, module: "nn.Module", args: tuple[Any, ...], output: Any) -> None:
        self._norms.append((module, args[0], output))

    def at_mlp(self, module: "nn.Module", args: tuple[Any, ...]) -> None:
        if self._mlp is None and args:
            self._mlp = (module, args[0])

    def middle(self, model_id: str, number: int) -> Middle:
        advice = "measure it at its blocks (points blocks)."
        if self._mlp is None or not self._n_attention or self._start is None or self._mlp[1].numel() != self._start.numel():
            raise ModelError(f"In block {number} of {model_id} attention and MLP are not two halves that can be told apart; {advice}")
        linear, given = self._mlp
        state, place = given, Middle(linear, True)
        fed_by = next((norm for norm in reversed(self._norms) if _same(norm[2], given)), None)
        if fed_by is not None:
            norm, before, after = fed_by
            ends_in_norm = any(_same(output, self._end) for _, _, output in self._norms)
            state, place = (after, Middle(norm, False)) if ends_in_norm else (before, Middle(norm, True))
        if _same(state.reshape(self._start.shape), self._start):
            raise ModelError(
                f"The blocks of {model_id} are parallel: attention and MLP start from the same state, so that there is none between them; "
                f"{advice}"
            )

        return place


def _same(one: Any, other: Any) -> bool:
    import torch

    return one is other or (one is not None and other is not None and one.shape == other.shape and bool(torch.equal(one, other)))


@contextmanager
def without_key_value_cache(base: "nn.Module") -> Iterator[None]:
    """Decoders keep keys and values of all layers for generation, which does not happen here."""
    config: Any = base.config
    text_config = config.get_text_config()
    before = getattr(text_config, "use_cache", None)
    if before is not None:
        text_config.use_cache = False
    try:
        yield
    finally:
        if before is not None:
            text_config.use_cache = before
