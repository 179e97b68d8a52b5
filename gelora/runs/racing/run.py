"""A race from its first step to its result: seeds and waves one after another, checkpoints, exact resume.

What one wave does with one seed is `leg`'s. Does not depend on processes or signals.
"""

import dataclasses
import gc
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gelora.errors import InputError, StoreError
from gelora.records import Progress, RunSpec, check_task_can_race, lone_run, resolve_device
from gelora.runs.racing.arms import arm_file, save_arm
from gelora.runs.racing.leg import ArmsState, LegTrainer
from gelora.runs.racing.side_by_side import beginning
from gelora.runs.racing.stacked import ArmWeights
from gelora.runs.racing.waves import arms_bytes, free_bytes, waves
from gelora.runs.records.race_progress import RaceProgress
from gelora.runs.records.race_result import RaceResult
from gelora.runs.training import checkpoints
from gelora.runs.training.held_out import OF_TOKENS
from gelora.runs.training.loop import runs_in_bfloat16
from gelora.runs.training.watch import Report
from gelora.tasks import Task, build_task

_ARMS, _PROGRESS = "arms.safetensors", "progress.json"


class RaceTrainer:
    """Carries out the race of a spec."""

    def __init__(
        self,
        spec: RunSpec,
        report: Report,
        progress: Progress,
        folder: Path | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
        described: Callable[[Task, int], None] = lambda task, n_head_params: None,
    ) -> None:
        """
        Args:
            spec: from `race_run`.
            report: gets values, sentences and how far the race is.
            progress: gets the stages.
            folder: the run's, for checkpoints and arms; None keeps neither and evaluates at the end alone.
            stop_requested: asked after every step.
            described: gets the first task, with the parameters of its head, before it is trained.

        Raises:
            InputError: the spec is no race.
        """
        if spec.race is None:
            raise InputError("This spec is no race; make one with race_run.")
        self.spec, self.race = spec, spec.race
        self._report, self._progress, self._stop, self._described = report, progress, stop_requested, described
        self._folder = folder
        self._done = RaceProgress((len(self.race.arms),))

    def run(self) -> RaceResult | None:
        """Train, from the last whole checkpoint where there is one; None where a stop was asked for, after a checkpoint.

        Raises:
            Diverged: the loss of every arm became infinite or not a number.
            GeloraError: data, model, device or disk do not allow it.
        """
        checkpoint = self._last_checkpoint()
        task: Task | None = None
        if len(self._done.legs) < len(self.race.seeds) * len(self._done.waves):
            task = self._first_task(self.race.seeds[len(self._done.legs) // len(self._done.waves)], checkpoint is None)
        n_steps, total = self.race.n_steps, self.race.n_steps * len(self.race.seeds) * len(self._done.waves)
        first, began = (checkpoints.step_of(checkpoint) if checkpoint else 0), time.monotonic()
        for number, seed, places in self._done.to_do(self.race):
            before = number * n_steps

            def told(step: int, seed: int = seed, before: int = before, n_arms: int = len(places)) -> None:
                left = (time.monotonic() - began) / (before + step - first) * (total - before - step)
                self._progress(f"Racing {n_arms} arms, seed {seed}", step, n_steps)
                self._report.progress(before + step, total, left)

            resume = self._state(checkpoint, before) if checkpoint is not None else None
            leg = self._leg(task or self._task(seed), number, seed, places, told).run(resume)
            task = checkpoint = None
            if leg is None:
                return None
            self._done = dataclasses.replace(self._done, legs=(*self._done.legs, leg))
            self._save(before + n_steps, None)
            gc.collect()
            if self._stop() and before + n_steps < total:
                return None
        return self._done.result(self.race)

    def _leg(self, task: Task, number: int, seed: int, places: range, told: Callable[[int], None]) -> LegTrainer:
        def keep(state: ArmsState) -> None:
            self._save(number * self.race.n_steps + state.step, state)

        def finished(model: nn.Module, weights: Sequence[ArmWeights]) -> None:
            for place, (arm, beginning_of_arm) in enumerate(zip(places, weights, strict=True)):
                if self._folder is not None:
                    save_arm(arm_file(self._folder, seed, arm), model, place, beginning_of_arm)

        return LegTrainer(
            self.spec, self.race, task, number, seed, places, self._report, told,
            None if self._folder is None else keep, finished, self._stop,
        )  # fmt: skip

    def _task(self, seed: int) -> Task:
        return build_task(dataclasses.replace(self.spec, seed=seed, race=None), self._progress)

    def _first_task(self, seed: int, is_start: bool) -> Task:
        """The task that this attempt begins with; where the race begins, its waves are settled by it."""
        task = self._task(seed)
        check_task_can_race(task.kind)
        alone = lone_run(self.spec, self.race.reference, seed)
        heads = beginning(task, alone, self.race.plans[self.race.reference], self.race.n_steps).heads
        n_head = sum(value.numel() for head in heads.values() for value in head.values())
        self._described(task, n_head)
        if is_start:
            self._done = RaceProgress(self._waves(task, n_head))
        return task

    def _waves(self, task: Task, n_head_params: int) -> tuple[int, ...]:
        device = resolve_device(self.spec.training.device)
        length = max(len(row["input_ids"]) for row in task.train)
        dtype = "bfloat16" if runs_in_bfloat16(self.spec.training, device) else "float32"
        n_arms, free = len(self.race.arms), free_bytes(device)

        def bytes_of(n: int) -> int:
            return arms_bytes(self.spec, n, length, dtype, n_head_params, task.kind in OF_TOKENS)

        found = waves(n_arms, bytes_of, free)
        if len(found) > 1:
            self._report.say(
                f"{n_arms} arms side by side would take about {bytes_of(n_arms) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: they "
                f"train in {len(found)} waves of at most {found[0]}, with the beginnings and the order of rows that all at once would have"
            )
        return found

    def _last_checkpoint(self) -> Path | None:
        if self._folder is None:
            return None
        folder = self._folder / "checkpoints"
        found = checkpoints.last_undamaged(folder, self._report.say)
        checkpoints.clear(folder, found)
        if found is not None:
            self._done = RaceProgress.from_json((found / _PROGRESS).read_text(encoding="utf-8"))
        return found

    def _state(self, checkpoint: Path, before: int) -> ArmsState | None:
        step = checkpoints.step_of(checkpoint) - before
        return ArmsState(step, load_file(checkpoint / _ARMS)) if step > 0 else None

    def _save(self, step: int, state: ArmsState | None) -> None:
        """A checkpoint at a step of the whole race: the legs that are done, and the state of the one under way."""
        if self._folder is None:
            return
        self._report.keep()
        folder = self._folder / "checkpoints"
        checkpoint = folder / f"checkpoint-{step}"
        try:
            shutil.rmtree(checkpoint, ignore_errors=True)
            checkpoint.mkdir(parents=True)
            (checkpoint / _PROGRESS).write_text(self._done.to_json(), encoding="utf-8")
            if state is not None:
                save_file(state.tensors, checkpoint / _ARMS)
            checkpoints.seal(checkpoint)
            for old in checkpoints.all_checkpoints(folder)[checkpoints.KEPT :]:
                shutil.rmtree(old)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"A checkpoint cannot be written to {checkpoint}: {error}. Free some space, then resume the run.") from error
