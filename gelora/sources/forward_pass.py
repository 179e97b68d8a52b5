"""Forward passes: tokenised texts through a model in memory, every layer's states pooled while it runs.

Reads the states of a model's blocks by hooks; how a pooling works is in `sink_pooling`. Loads no model and keeps no file.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gelora.errors import DataError, ModelError
from gelora.records import HiddenStates, ModelStructure, Progress, SampleSource
from gelora.sources.half_blocks import Middle, find_middles, without_key_value_cache
from gelora.sources.sink_pooling import SinkPooling
from gelora.sources.structure import find_blocks, find_final_norm
from gelora.sources.tokenized import TokenizedSample

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gelora.sources.pooling import Take


def pooled_states(
    base: "nn.Module",
    texts: TokenizedSample,
    structure: ModelStructure,
    source: SampleSource,
    *,
    max_length: int,
    batch_size: int,
    dtype: str,
    final_norm: bool,
    treatment: str,
    sink_ratio: float,
    progress: Progress,
) -> HiddenStates:
    """The pooled states of all texts in every layer; texts whose sinks were not yet known are passed once more.

    Args:
        base: a base model, in evaluation mode where that is wanted.
        texts: tokenised, with their pooling.
        structure, source, max_length, dtype: recorded as given.
        batch_size: texts a forward pass; halved while the GPU's memory does not hold it.
        final_norm, treatment, sink_ratio: as in `extract_hidden_states`; the treatment is settled.
        progress: called with ("Hidden states", texts done, n), and for a second pass once more.

    Raises:
        ModelError: no hook can be attached to the model's blocks, or one text is too much for the GPU.
        DataError: a layer's states are NaN or infinite, or every text is left out.
    """
    import torch

    pooling = SinkPooling(texts, treatment, sink_ratio, structure.n_layers, structure.hidden_size)

    def pass_through(tap: Tap, order: np.ndarray, stage: str) -> None:
        nonlocal batch_size
        done = 0
        progress(stage, 0, len(order))
        while done < len(order):
            batch = order[done : done + texts.n_together(order[done:], batch_size)]
            try:
                pooled = tap(texts.batch(batch, tap.device), pooling.take(batch, tap.device))
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise _too_large(structure.model_id) from error
                pooled = None
            if pooled is None:  # outside the handler, whose traceback would keep the failed pass's tensors alive
                batch_size = len(batch) // 2
                empty_gpu_cache()
                continue
            finite = pooling.finite(batch, pooled)
            if not finite.all():
                raise _not_finite(structure.model_id, int(torch.nonzero(~finite)[0]), dtype)
            pooling.put(batch, pooled)
            done += len(batch)
            progress(stage, done, len(order))

    middles = None
    if structure.points == "halves":
        device = str(next(base.parameters()).device)
        middles = find_middles(base, structure, texts.batch(texts.order()[:1], device))
    with Tap(base, structure.hidden_size, final_norm, middles) as tap:
        pass_through(tap, texts.order(), "Hidden states")
        again = pooling.settle()
        if len(again):
            pass_through(tap, again, "Hidden states, second pass")
    values, tokens, report = pooling.result()
    values.flags.writeable = False  # the record then keeps this array instead of a copy
    return HiddenStates(
        values,
        structure.point_names,
        texts.pooling,
        max_length,
        dtype,
        final_norm,
        structure,
        source,
        report,
        tokens,
        without_padding=not texts.is_padded,
    )


def _not_finite(model_id: str, layer: int, dtype: str) -> DataError:
    where = f"block {layer}'s output" if layer else "the embeddings' output"
    advice = "use dtype float32" if dtype != "float32" else "the checkpoint's weights are damaged or it diverged; choose another"
    return DataError(f"{model_id} gives NaN or infinity from {where} on, in {dtype}; {advice}.")


class Tap:
    """Hooks that pool every layer's states as they pass by, so that only [n_points, batch, width] is ever kept.

    middles: of `find_middles`, to take the state between attention and MLP of every block too.
    """

    def __init__(self, base: "nn.Module", hidden_size: int, final_norm: bool, middles: "Sequence[Middle] | None" = None) -> None:
        self._base = base
        self._blocks = find_blocks(base)[1]
        self._norm = find_final_norm(base) if final_norm else None
        self._middles = middles or ()
        self._hooks: list[Any] = []
        self._last = 0
        self._pooled: list[torch.Tensor | None] = []
        self._shape: tuple[int, ...] = ()
        self._hidden_size = hidden_size
        self._take: Take | None = None
        self.device = str(next(base.parameters()).device)

    def __enter__(self) -> "Tap":
        step = 2 if self._middles else 1
        last = self._last = step * len(self._blocks)
        for index, block in enumerate(self._blocks):
            self._hooks.append(block.register_forward_pre_hook(self._input_hook(step * index), with_kwargs=True))
        for index, middle in enumerate(self._middles):
            if middle.is_input:
                self._hooks.append(middle.module.register_forward_pre_hook(self._input_hook(2 * index + 1), with_kwargs=True))
            else:
                self._hooks.append(middle.module.register_forward_hook(self._output_hook(2 * index + 1)))
        self._hooks.append(self._blocks[-1].register_forward_hook(self._output_hook(last)))
        if self._norm is not None:  # runs after the last block and takes its place
            self._hooks.append(self._norm.register_forward_hook(self._output_hook(last)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def __call__(self, inputs: "dict[str, torch.Tensor]", take: "Take") -> "torch.Tensor":
        """Run the model on one batch; returns float32 [n_points, rows, hidden_size] on the model's device."""
        import torch

        self._take, self._pooled = take, [None] * (self._last + 1)
        self._shape = (*inputs["input_ids"].shape, self._hidden_size)
        with torch.inference_mode(), without_key_value_cache(self._base):
            self._base(**inputs)
        pooled = [states for states in self._pooled if states is not None]
        if len(pooled) != len(self._pooled):
            raise ModelError(f"{type(self._base).__name__} does not run all of its blocks in a forward pass, so they cannot be measured.")
        return torch.stack(pooled)

    # What enters block i + 1 is what block i gives, and it includes what a few models add between the two
    # (DeBERTa-v2 xlarge's convolution), as Hugging Face's own hidden_states do.
    def _input_hook(self, index: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._keep(index, args[0] if args else kwargs.get("hidden_states"))

        return hook

    def _output_hook(self, index: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
            self._keep(index, output[0] if isinstance(output, tuple) else output)

        return hook

    def _keep(self, index: int, states: Any) -> None:
        if self._middles and index % 2 and getattr(states, "numel", int)() == math.prod(self._shape):
            states = states.reshape(self._shape)  # OPT runs its MLP on tokens in one row
        shape = tuple(getattr(states, "shape", ()))
        if shape != self._shape:
            raise ModelError(
                f"Block {max(index, 1)} of {type(self._base).__name__} has states of shape {list(shape)}, expected "
                f"{list(self._shape)} (texts, tokens, hidden_size); this model cannot be measured."
            )
        if self._take is not None:
            self._pooled[index] = self._take(index, states)


@contextmanager
def out_of_memory_as_model_error(model_id: str, device: str) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _too_large(model_id) from error


def _too_large(model_id: str) -> ModelError:
    return ModelError(f"{model_id} does not fit into the GPU's free memory; choose dtype 'bfloat16', a shorter max_length or device 'cpu'.")


def empty_gpu_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
