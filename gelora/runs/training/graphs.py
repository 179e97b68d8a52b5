"""Forward and backward pass of a training step, recorded once for every shape of a batch and replayed as a CUDA graph.

On small models a GPU waits for Python most of the time: a step is as long as the list of its kernels. Replaying takes that
list away and leaves the numbers. Does not depend on optimizers or the rest of the loop.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_NARROWEST = 16
_MOST_WIDTHS = 12
_WARM_STEPS = 4
_MOST_GRAPHS = 64
_WAITING_SHARE = 0.3  # of a step's time; a GPU that needs longer than this after Python is done is busy anyway

Batch = dict[str, torch.Tensor]


@dataclass
class _Recorded:
    graph: Any
    inputs: Batch
    n_items: torch.Tensor | None
    loss: torch.Tensor
    gradients: list[torch.Tensor | None]


class StepGraphs:
    """Takes training steps: the first ones as usual, then by replaying, where that pays; where it cannot be, as usual again.

    After a step every trained parameter has its gradient in `grad`, as after `backward()`. Gradients of an earlier step must
    be gone by then (`zero_grad` sets them to None): they are not added to. Recordings are dropped when the parameters lie
    elsewhere than before, as after a change of ranks.
    """

    def __init__(
        self,
        parameters_of: Callable[[], list[nn.Parameter]],
        loss_of: Callable[[Batch, Any], torch.Tensor],
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            parameters_of: what the optimizer trains at present, on a CUDA device.
            loss_of: (batch, number of items or None) -> the loss, a tensor without dimensions.
            say: gets a sentence when steps begin to be replayed, or cannot be.
        """
        self._parameters_of, self._loss_of, self._say = parameters_of, loss_of, say
        self._recorded: dict[Any, _Recorded] = {}
        self._seen: set[Any] = set()
        self._parameters: list[nn.Parameter] = []
        self._memory: list[tuple[int, int]] = []
        self._n_steps = 0
        self._waiting: list[float] = []
        self._pool: Any = None
        self._is_on: bool | None = None  # None until it is known whether the GPU waits for Python

    def step(self, inputs: Batch, n_items: Any, as_usual: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Gradients and loss of one batch; `as_usual` takes the step without a recording."""
        self._n_steps += 1
        if self._is_on is None:
            return self._watched(as_usual)
        plain_count = n_items is None or isinstance(n_items, torch.Tensor)
        if not self._is_on or not plain_count:
            return as_usual()
        self._drop_if_changed()
        key = (*((name, tuple(tensor.shape), tensor.dtype) for name, tensor in inputs.items()), n_items is None)
        if key in self._recorded:
            return self._replayed(self._recorded[key], inputs, n_items)
        if key not in self._seen or len(self._recorded) >= _MOST_GRAPHS:
            self._seen.add(key)  # a shape that comes once only is not worth a recording
            return as_usual()
        try:
            self._recorded[key] = self._record(inputs, n_items)
        except RuntimeError as error:  # an operation that cannot be recorded, or no memory left for a second pool
            self._give_up(error)
            return as_usual()
        return self._replayed(self._recorded[key], inputs, n_items)

    def _watched(self, as_usual: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A step as usual, timed: how long the GPU is busy after Python is done."""
        torch.cuda.synchronize()
        began = time.perf_counter()
        loss = as_usual()
        enqueued = time.perf_counter()
        torch.cuda.synchronize()
        ended = time.perf_counter()
        if self._n_steps > 1:  # the first step loads kernels
            self._waiting.append((ended - enqueued) / (ended - began))
        if self._n_steps >= _WARM_STEPS:
            self._is_on = sorted(self._waiting)[len(self._waiting) // 2] < _WAITING_SHARE
            if self._is_on:
                self._say("the GPU waits for Python: steps are recorded once for every shape of a batch, and replayed")
        return loss

    def _drop_if_changed(self) -> None:
        parameters = self._parameters_of()
        memory = [(parameter.data_ptr(), parameter.numel()) for parameter in parameters]
        if memory != self._memory:
            self._forget()
            self._seen.clear()
            self._parameters, self._memory = parameters, memory

    def _forget(self) -> None:
        """Drop every recording, and the memory pool with them: PyTorch takes no new recordings into a pool without any."""
        self._recorded.clear()
        self._pool = None

    def _record(self, inputs: Batch, n_items: torch.Tensor | None) -> _Recorded:
        held = {name: tensor.clone() for name, tensor in inputs.items()}
        held_items = None if n_items is None else n_items.to(next(iter(held.values())).device).clone()
        for parameter in self._parameters:
            parameter.grad = None
        torch.cuda.synchronize()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            loss = self._loss_of(dict(held), held_items)
            loss.backward()
            loss = loss.detach()
        gradients = [parameter.grad for parameter in self._parameters]
        return _Recorded(graph, held, held_items, loss, gradients)

    def _replayed(self, recorded: _Recorded, inputs: Batch, n_items: torch.Tensor | None) -> torch.Tensor:
        for name, tensor in inputs.items():
            recorded.inputs[name].copy_(tensor, non_blocking=True)
        if recorded.n_items is not None and n_items is not None:
            recorded.n_items.copy_(n_items, non_blocking=True)
        recorded.graph.replay()
        for parameter, gradient in zip(self._parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.loss.clone()

    def _give_up(self, error: RuntimeError) -> None:
        self._is_on = False
        self._forget()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(generator.clone_state())  # a recording that failed leaves the old state waiting for its end
        for parameter in self._parameters:
            parameter.grad = None
        gc.collect()
        torch.cuda.synchronize()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._say(f"steps of this model cannot be recorded and are taken as usual: {reason[:200]}")


def widened(collate: Callable[[Any], Batch], pad_token_id: int, longest: int) -> Callable[[Any], Batch]:
    """`collate`, with batches padded to a multiple of 16 tokens (32, 48 ... for long rows), but not beyond `longest`.

    At most 12 shapes of whole batches occur, since recording one takes as long as some steps.
    """
    step = _NARROWEST * -(-longest // (_NARROWEST * _MOST_WIDTHS))
    fill = {"input_ids": pad_token_id, "labels": -100}

    def collate_wider(rows: Any) -> Batch:
        batch = collate(rows)
        width = batch["input_ids"].shape[1]
        missing = min(-(-width // step) * step, longest) - width
        if missing <= 0:
            return batch
        return {
            name: nn.functional.pad(tensor, (0, missing), value=fill.get(name, 0))
            if tensor.dim() == 2 and tensor.shape[1] == width
            else tensor
            for name, tensor in batch.items()
        }

    return collate_wider
