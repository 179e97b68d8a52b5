"""One leg of a race: the arms of one wave with one seed, trained, evaluated on the way, and left as what a result needs.

Does not depend on files: state to go on from comes in, state to go on from later is handed out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gelora.errors import StoreError
from gelora.records import RaceSpec, RunSpec, lone_run, resolve_device
from gelora.runs.racing.side_by_side import ArmsAdamW, beginning, train_side_by_side
from gelora.runs.racing.stacked import ArmWeights, Stack
from gelora.runs.records.paired_looks import best_arm, paired_look
from gelora.runs.records.race_progress import Leg
from gelora.runs.training.held_out import held_out_answers, lost_by_row
from gelora.runs.training.loop import runs_in_bfloat16
from gelora.runs.training.watch import Diverged, Report
from gelora.tasks import Task


@dataclass(frozen=True)
class ArmsState:
    """Arms in the middle of a leg: values, mean and square [n_arms, n_values] after `step` steps; losses [step, n_arms]."""

    step: int
    tensors: dict[str, torch.Tensor]


@dataclass
class LegTrainer:
    """Trains a leg.

    spec: of the race; task: of the leg's seed, fresh; number: of the leg, from 0; places: which of the race's arms; told:
    gets the step after every step; keep: gets the state at every evaluation and at a stop, None: nothing is evaluated on the
    way; finished: gets the trained model with the arms' beginnings.
    """

    spec: RunSpec
    race: RaceSpec
    task: Task
    number: int
    seed: int
    places: range
    report: Report
    told: Callable[[int], None]
    keep: Callable[[ArmsState], None] | None
    finished: Callable[[nn.Module, list[ArmWeights]], None]
    stop_requested: Callable[[], bool]

    def run(self, resume: ArmsState | None = None) -> Leg | None:
        """The leg, from a state of it where one is given; None where a stop was asked for.

        Raises:
            Diverged: the loss of every arm became infinite or not a number.
        """
        race, task, n_steps = self.race, self.task, self.race.n_steps
        self._labels = [race.labels[i] for i in self.places]
        arms = [race.arms[i] for i in self.places]
        alone = lone_run(self.spec, race.reference, self.seed)
        names = dict.fromkeys(name for name, _ in arms)
        beginnings = {name: beginning(task, lone_run(self.spec, name, self.seed), race.plans[name], n_steps) for name in names}
        device = resolve_device(self.spec.training.device)
        task.model.to(device)
        self._bf16 = runs_in_bfloat16(self.spec.training, device)
        self._losses: list[torch.Tensor] = []
        self._logged = (time.monotonic(), 0)
        self._diverged: set[int] = set()
        weights = [beginnings[name] for name, _ in arms]
        train_side_by_side(
            task, weights, [rate for _, rate in arms], alone, n_steps, self._seen, self._bf16, self.report.say,
            lambda stack, optimizer: self._begin(stack, optimizer, resume),
        )  # fmt: skip
        if len(self._losses) < n_steps:
            return None
        lost, counted, metrics = self._evaluated(n_steps)
        self.finished(task.model, weights)
        losses = torch.stack(self._losses).numpy()
        return Leg(losses, lost, counted, metrics, task.kind, task.main_metric, task.higher_is_better)

    def _begin(self, stack: Stack, optimizer: ArmsAdamW, resume: ArmsState | None) -> int:
        self._stack, self._optimizer = stack, optimizer
        if resume is None:
            return 0
        if resume.tensors["values"].shape != stack.values.shape:
            raise StoreError("The checkpoint's arms are laid out for another kind of device; resume the race where it began, or repeat it.")
        self._logged = (time.monotonic(), resume.step)
        stack.values.copy_(resume.tensors["values"])
        for i, tensor in enumerate(stack.beginnings):  # a decomposition may come out otherwise on another machine
            tensor.copy_(resume.tensors[f"beginning {i}"])
        optimizer.restore(resume.tensors, resume.step)
        self._losses = list(resume.tensors["losses"])
        return resume.step

    def _seen(self, step: int, losses: torch.Tensor) -> bool:
        self._losses.append(losses.float().cpu())
        n_steps, training = self.race.n_steps, self.spec.training
        self.told(step)
        stops = self.stop_requested() and step < n_steps
        every = training.log_every or max(1, n_steps // 100)
        if step % every == 0 or step in (1, n_steps):
            self._log(step)
        looks = self.keep is not None and step % evaluates_every(self.spec, self.race) == 0 and step < n_steps
        if looks:
            self._evaluated(step)
            self._logged = (time.monotonic(), step)
        if self.keep is not None and (looks or stops):
            moments = {name: tensor.cpu() for name, tensor in self._optimizer.state().items()}
            begun = {f"beginning {i}": tensor.cpu() for i, tensor in enumerate(self._stack.beginnings)}
            state = {"values": self._stack.values.cpu(), "losses": torch.stack(self._losses), **moments, **begun}
            self.keep(ArmsState(step, state))
        return stops

    def _log(self, step: int) -> None:
        losses = self._losses[-1].numpy()
        finite = np.isfinite(losses)
        for i in np.flatnonzero(~finite).tolist():
            if i not in self._diverged:
                self._diverged.add(i)
                self.report.say(f"{self._labels[i]} diverged before step {step} (seed {self.seed}); the other arms go on")
        if not finite.any():
            raise Diverged(f"diverged: the loss of every arm is not a finite number at step {step}; lower the learning rates")
        self.report.values(self.number * self.race.n_steps + step, {"loss": float(losses[finite].mean()), **self._rates(step)})
        self.report.values(step, {f"loss/{self._name(i)}": float(losses[i]) for i in np.flatnonzero(finite).tolist()})

    def _rates(self, step: int) -> dict[str, float]:
        """Rows of all arms a second since the last log or evaluation, and the GPU's memory."""
        moment = time.monotonic()
        (before, step_before), self._logged = self._logged, (moment, step)
        rates = {
            "examples_per_second": (step - step_before) * self.spec.training.batch_size * len(self.places) / max(moment - before, 1e-9)
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            rates["gpu_memory_bytes"] = float(torch.cuda.max_memory_reserved())
        return rates

    def _name(self, i: int) -> str:
        return f"{self._labels[i]}/{self.seed}"

    def _evaluated(self, step: int) -> tuple[np.ndarray, np.ndarray, tuple[dict[str, float], ...]]:
        """What each held-out row lost, and the task's metrics; reported, with the differences to the reference where it is here."""
        kept, labels = held_out_answers(self.task, len(self.places), self._bf16)
        rows = [lost_by_row(self.task, answer, labels) for answer in kept]
        lost, counted = np.stack([row for row, _ in rows]), rows[0][1]
        whole = np.isfinite(lost).all(axis=1)
        lost[~whole] = np.nan
        metrics: tuple[dict[str, float], ...] = tuple(
            self.task.score(answer, labels) if is_whole else {} for answer, is_whole in zip(kept, whole, strict=True)
        )
        means = lost.sum(axis=1) / counted.sum()
        values: dict[str, Any] = {f"eval_loss/{self._name(i)}": float(means[i]) for i in np.flatnonzero(whole).tolist()}
        metric = self.task.main_metric
        if metric != "eval_loss":
            short = metric.removeprefix("eval_")
            values |= {f"{metric}/{self._name(i)}": found[short] for i, found in enumerate(metrics) if short in found}
        names = [self.race.arms[i][0] for i in self.places]
        if self.race.reference in names and len(counted) > 1:
            every = evaluates_every(self.spec, self.race)
            look = self.number * -(-self.race.n_steps // every) + -(-step // every)
            reference = best_arm(names, means, self.race.reference)
            columns = zip(("difference", "ci_low", "ci_high"), paired_look(lost, counted, reference, look), strict=True)
            values |= {
                f"{what}/{self._name(i)}": float(column[i])
                for what, column in columns
                for i in range(len(names))
                if i != reference and np.isfinite(column[i])
            }
        self.report.values(step, values)
        return lost, counted, metrics


def evaluates_every(spec: RunSpec, race: RaceSpec) -> int:
    """Optimizer steps from one evaluation to the next."""
    return spec.training.eval_every or -(-race.n_steps // 4)
