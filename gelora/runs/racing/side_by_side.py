"""Adapters of several plans trained side by side on the same batches, each as it would be alone.

One pass through the frozen model serves all arms; each has its own ranks, modules, learning rate, loss, clipping and AdamW
state. Dropout is off. Works on a spec and plans; does not depend on processes or on where results go.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from gelora.records import INITS_OF_BASE, RankPlan, RunSpec
from gelora.runs.racing.stacked import ArmWeights, Stack, arm_weights, stack_arms
from gelora.runs.training.data_order import GroupedByLength
from gelora.runs.training.graphs import StepGraphs, widened
from gelora.runs.training.held_out import OF_TOKENS, for_all
from gelora.runs.training.loop import warmup_steps
from gelora.runs.training.methods import apply_method
from gelora.runs.training.precision import hold_frozen_in_bfloat16
from gelora.tasks import IGNORED, Task

_BETAS, _EPSILON, _MAX_NORM = (0.9, 0.999), 1e-8, 1.0  # the Trainer's


def beginning(task: Task, spec: RunSpec, plan: RankPlan, n_steps: int) -> ArmWeights:
    """What a lone run of the plan would begin with; the task's model stays as it is."""
    alone = dataclasses.replace(task, model=copy.deepcopy(task.model))
    learner = apply_method(alone, dataclasses.replace(spec, plan=plan), plan, n_steps)
    decayed = Trainer.get_decay_parameter_names(None, learner.model)  # type: ignore[arg-type]
    return arm_weights(learner.model, decayed, spec.training.init_lora_weights in INITS_OF_BASE)


def train_side_by_side(
    task: Task,
    arms: Sequence[ArmWeights],
    learning_rates: Sequence[float],
    spec: RunSpec,
    n_steps: int,
    seen: Callable[[int, torch.Tensor], bool | None],
    bf16: bool = False,
    say: Callable[[str], None] = lambda sentence: None,
    begin: "Callable[[Stack, ArmsAdamW], int]" = lambda stack, optimizer: 0,
) -> Stack:
    """Train all arms on the rows that a lone run of the spec takes, in its order; the task's model is changed in place.

    Args:
        task: whose model is on its device, without an adapter; it ends with the arms on it, for row r * B + b of a batch.
        arms: what each trains, at its beginning.
        learning_rates: of each, at its peak.
        spec: batch size, weight decay, warm-up, and the seed of the order.
        n_steps: of the whole training.
        seen: told step and losses [n_arms] after every step; True ends the training there.
        bf16: matrix products in bfloat16, frozen weights held in it.
        say: gets a sentence where steps are replayed as CUDA graphs, or cannot be.
        begin: may put values and optimizer state of a checkpoint in place; returns the steps that were taken before.
    """
    stack = stack_arms(task.model, arms)
    if bf16:
        hold_frozen_in_bfloat16(task.model)
    optimizer = ArmsAdamW(stack, learning_rates, spec.training.weight_decay)
    n_before, warmup = begin(stack, optimizer), warmup_steps(spec.training, n_steps)
    task.model.eval()  # no dropout: arms would differ by its draws
    device, losses = stack.values.device, torch.zeros(len(arms), device=stack.values.device)
    on_gpu = device.type == "cuda"

    def loss_of(batch: dict[str, torch.Tensor], _n_items: Any = None) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = task.model(**for_all(batch, len(arms))).logits
        found = mean_losses(task.kind, logits, batch["labels"], len(arms))
        losses.copy_(found.detach())
        return found.sum()

    def as_usual(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        loss = loss_of(batch)
        loss.backward()
        return loss.detach()

    graphs = StepGraphs(lambda: stack.parameters, loss_of, say) if on_gpu and not task.without_padding else None
    for step, batch in enumerate(_batches(task, spec, range(n_before, n_steps), device, graphs is not None), n_before):
        if graphs is None:
            as_usual(batch)
        else:
            graphs.step(batch, None, functools.partial(as_usual, batch))
        stack.gather_gradients()
        optimizer.step(_share_of_rate(step, warmup, n_steps))
        if seen(step + 1, losses.clone()):
            break
    return stack


class ArmsAdamW:
    """AdamW on a stack: each arm clipped by its own norm and moved at its own rate, as `torch.optim.AdamW` would move it alone."""

    def __init__(self, stack: Stack, learning_rates: Sequence[float], weight_decay: float) -> None:
        self._stack = stack
        self._rates = torch.tensor(learning_rates, device=stack.values.device).view(-1, 1)
        self._decay = weight_decay * stack.decays
        self._mean, self._square = torch.zeros_like(stack.values), torch.zeros_like(stack.values)
        self._step = 0

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, [n_arms, n_values] each, as they are at present: not a copy."""
        return {"mean": self._mean, "square": self._square}

    def restore(self, moments: Mapping[str, torch.Tensor], step: int) -> None:
        """Go on from the moments that `state` gave after `step` steps."""
        for name, tensor in self.state().items():
            tensor.copy_(moments[name])
        self._step = step

    @torch.no_grad()
    def step(self, share_of_rate: float) -> None:
        """One step at a share of each arm's rate."""
        values, gradients = self._stack.values, self._stack.gradients
        gradients.mul_((_MAX_NORM / (gradients.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0))
        self._step += 1
        rates = self._rates * share_of_rate
        values.mul_(1 - rates * self._decay)
        self._mean.lerp_(gradients, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradients, gradients, value=1 - _BETAS[1])
        root = (self._square.sqrt() / (1 - _BETAS[1] ** self._step) ** 0.5).add_(_EPSILON)
        values.sub_(rates / (1 - _BETAS[0] ** self._step) * self._mean / root)


def _batches(task: Task, spec: RunSpec, steps: range, device: torch.device, in_few_shapes: bool) -> Iterator[dict[str, torch.Tensor]]:
    size, lengths = spec.training.batch_size, [len(row["input_ids"]) for row in task.train]
    order = GroupedByLength(lengths, size, spec.seed, lambda: 0)
    collate = widened(task.collate, task.tokenizer.pad_token_id, max(lengths)) if in_few_shapes else task.collate
    is_padded = min(lengths) < max(lengths)
    for step in steps:
        epoch, within = divmod(step, order.steps_per_epoch)
        rows = order.order(epoch)[within * size : (within + 1) * size]
        batch = collate([task.train[i] for i in rows])
        if not is_padded:
            del batch["attention_mask"]  # a mask that hides nothing costs the faster kernels of attention
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def _share_of_rate(step: int, warmup: int, n_steps: int) -> float:
    """Linear up, then linear down to 0, as the Trainer's default schedule."""
    return step / warmup if step < warmup else max(0.0, (n_steps - step) / max(1, n_steps - warmup))


def mean_losses(kind: str, logits: torch.Tensor, labels: torch.Tensor, n_arms: int) -> torch.Tensor:
    """The mean loss of each arm's rows, [n_arms]; logits [n_arms * n_rows, ...], labels of one arm's rows."""
    if kind == "regression":
        return ((logits.float().view(n_arms, -1) - labels) ** 2).mean(dim=1)
    if kind in OF_TOKENS:
        labels = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)  # what each token is to be followed by
    truth = labels.flatten().repeat(n_arms)
    each = nn.functional.cross_entropy(logits.reshape(len(truth), -1).float(), truth, ignore_index=IGNORED, reduction="none")
    return each.view(n_arms, -1).sum(dim=1) / (labels != IGNORED).sum()
