"""Several adapters trained side by side on the same batches: one pass through the model for all, each as if it were alone.

Each arm has its own ranks, modules, learning rate, scaling, loss, clipping and AdamW state. Works on a task and the arms'
weights; does not depend on processes or on where results go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gelora.records import TrainingConfig
from gelora.runs.training.data_order import GroupedByLength
from gelora.runs.training.stacked import ArmWeights, Stack, stack_arms
from gelora.tasks import IGNORED, Task

_BETAS, _EPSILON, _MAX_NORM = (0.9, 0.999), 1e-8, 1.0  # the Trainer's


class ArmsAdamW:
    """AdamW on a stack: each arm clipped by its own norm and moved at its own rate, as `torch.optim.AdamW` would one alone."""

    def __init__(self, stack: Stack, learning_rates: Sequence[float], weight_decay: float) -> None:
        self._stack = stack
        self._rates = torch.tensor(learning_rates, device=stack.values.device).view(-1, 1)
        self._decay = weight_decay * stack.decays
        self._mean, self._square = torch.zeros_like(stack.values), torch.zeros_like(stack.values)
        self._step = 0

    @torch.no_grad()
    def step(self, share_of_rate: float) -> torch.Tensor:
        """One step at a share of each arm's rate, then gradients are zero; returns each arm's norm before clipping, [n_arms]."""
        values, gradients = self._stack.values, self._stack.gradients
        norms = gradients.norm(dim=1, keepdim=True)
        gradients.mul_((_MAX_NORM / (norms + 1e-6)).clamp(max=1.0))
        self._step += 1
        rates = self._rates * share_of_rate
        values.mul_(1 - rates * self._decay)
        self._mean.lerp_(gradients, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradients, gradients, value=1 - _BETAS[1])
        corrected = (self._square.sqrt() / (1 - _BETAS[1] ** self._step) ** 0.5).add_(_EPSILON)
        values.sub_(rates / (1 - _BETAS[0] ** self._step) * self._mean / corrected)
        gradients.zero_()
        return norms[:, 0]


@dataclass(frozen=True)
class RaceStep:
    """One step of all arms: losses and gradient norms, [n_arms] each."""

    step: int
    losses: torch.Tensor
    norms: torch.Tensor


def race(
    task: Task,
    arms: Sequence[ArmWeights],
    learning_rates: Sequence[float],
    config: TrainingConfig,
    seed: int,
    n_steps: int,
    warmup_steps: int,
    on_step: Callable[[RaceStep], None] = lambda step: None,
) -> Stack:
    """Train all arms in the order of rows that a lone run with this seed takes; the task's model is changed in place.

    Args:
        task: whose model is on its device, without an adapter.
        arms: what each trains.
        learning_rates: of each, at its peak.
        config: batch size and weight decay.
        seed: of the order of the rows.
        n_steps: of the whole training; warmup_steps: of them, with a rising rate.
        on_step: told after every step.
    """
    stack = stack_arms(task.model, arms)
    optimizer = ArmsAdamW(stack, learning_rates, config.weight_decay)
    task.model.train()
    device = stack.values.device
    for step, rows in enumerate(_batches(task, config, seed, n_steps)):
        batch = {name: tensor.to(device) for name, tensor in task.collate(rows).items()}
        outputs = task.model(**{name: tensor.repeat(len(arms), *[1] * (tensor.dim() - 1)) for name, tensor in batch.items()})
        (outputs.loss * len(arms)).backward()  # the mean over all rows, of which every arm has as many
        losses = arm_losses(task, outputs, batch, len(arms))
        norms = optimizer.step(_share_of_rate(step, warmup_steps, n_steps))
        on_step(RaceStep(step + 1, losses, norms))
    return stack


def _batches(task: Task, config: TrainingConfig, seed: int, n_steps: int) -> Any:
    lengths = [len(row["input_ids"]) for row in task.train]
    order = GroupedByLength(lengths, config.batch_size, seed, lambda: 0)
    for step in range(n_steps):
        epoch, within = divmod(step, order.steps_per_epoch)
        rows = order.order(epoch)[within * config.batch_size : (within + 1) * config.batch_size]
        yield [task.train[i] for i in rows]


def _share_of_rate(step: int, warmup_steps: int, n_steps: int) -> float:
    """Linear up, then linear down to 0, as the Trainer's default schedule."""
    if step < warmup_steps:
        return step / max(1, warmup_steps)
    return max(0.0, (n_steps - step) / max(1, n_steps - warmup_steps))


@torch.no_grad()
def arm_losses(task: Task, outputs: Any, batch: dict[str, torch.Tensor], n_arms: int) -> torch.Tensor:
    """The mean loss of each arm's rows, [n_arms]."""
    logits = outputs.logits.detach().float()
    by_arm = logits.view(n_arms, -1, *logits.shape[1:])
    labels = batch["labels"]
    if task.kind == "regression":
        return ((by_arm.squeeze(-1) - labels) ** 2).mean(dim=1)
    if task.kind in ("causal-lm", "instruction"):
        by_arm, labels = by_arm[:, :, :-1].flatten(1, 2), labels[:, 1:].flatten()
    return torch.stack([torch.nn.functional.cross_entropy(arm, labels, ignore_index=IGNORED) for arm in by_arm])
