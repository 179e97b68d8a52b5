"""The callback that measures the layers' dimensions while a model is trained, and re-allocates ranks where asked.

Works on the Trainer's events; what is measured is in `probe_sample`, what is written in `geometry_log`, how ranks change in
`reallocation`. Does not depend on processes or on where reports go.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from gelora.errors import GeloraError, InputError, ModelError
from gelora.geometry import ESTIMATORS, resolution
from gelora.ranks import check_reallocatable, rule_ranks
from gelora.records import IdProfile, ModelStructure, RankPlan, RunSpec, check_choice
from gelora.runs.records.geometry_log import GeometryLog, GeometryMeasurement
from gelora.runs.training.probe_sample import N_NEIGHBORS, ProbeSample
from gelora.runs.training.reallocation import plan_in_use, reallocate, reallocation_steps, resize_to, save_plan
from gelora.sources import model_structure
from gelora.tasks import Task

COST_SHARE = 0.1
"""What measuring may cost at most, as a share of the time that training takes without it."""


class GeometryProbe(TrainerCallback):
    """Measures the intrinsic dimension of every layer, on a fixed sample, with the model that is being trained.

    It measures at the start, at every evaluation, before ranks are re-allocated, and at the planned end, and writes
    each measurement into geometry.jsonl. One at an evaluation is left out when it would bring the cost of them all over
    `COST_SHARE` of the training's time, foreseen from its pace; the next line says so. A run that is stopped is not
    measured once more: it has to end soon. A layer without a dimension, or a measurement that failed, is null with the
    reason in the note, and never ends a run.

    After the optimizer step that is nearest to each share of `reallocate_at`, ranks are re-allocated by the rule on a
    measurement of that moment, adapters and the optimizer's state are resized, and a checkpoint is asked for. Every
    checkpoint keeps the plan in use (plan.json), with which a resumed run is built.
    """

    def __init__(
        self,
        task: Task,
        model: Any,
        spec: RunSpec,
        plan: RankPlan | None,
        folder: Path,
        report: Callable[[int, dict[str, float]], None],
        say: Callable[[str], None] = lambda text: None,
        structure: ModelStructure | None = None,
    ) -> None:
        """
        Args:
            task: what is learned; its held-out rows are the probe.
            model: the learner's, with its method applied.
            spec: what defines the run.
            plan: the ranks in use, None for a method that has none.
            folder: of the run.
            report: gets the dimensions of each measurement, {"id/layer_00": ...}; undefined ones are left out.
            say: gets sentences for the log.
            structure: of the model without adapters; found from its config when it is not given.

        Raises:
            InputError: ranks are to be re-allocated, but there is no probe or no plan, or a rank may come out as 0,
                or the adapters cannot be resized; or an unknown estimator.
            ModelError: the same, and the model cannot be measured.
        """
        config = spec.training
        check_choice("probe_estimator", config.probe_estimator, tuple(ESTIMATORS))
        self.plan = plan
        self._spec, self._model, self._folder = spec, model, folder
        self._first_plan = plan
        self._report, self._say = report, say
        self._sample = self._made_sample(task, structure) if config.probe_size else None
        self._log = GeometryLog(folder)
        self._began = time.perf_counter()
        self._spent_before = self._trained_before = 0.0
        self._skipped: list[int] = []
        if config.reallocate_at:
            self._check_reallocation()

    def rewind(self, checkpoint: Path | None) -> None:
        """Give the model the ranks it had at a checkpoint (None: when it was built), before that is loaded into it.

        Raises:
            StoreError, InputError: the checkpoint's plan cannot be read.
        """
        plan = (plan_in_use(checkpoint) if checkpoint else None) or self._first_plan
        if plan is not None and self.plan is not None and plan.ranks != self.plan.ranks:
            resize_to(self._model, plan)
        self.plan = plan

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._log.forget_after(state.global_step)
        self._began, self._spent_before = time.perf_counter(), self._log.seconds
        self._trained_before = self._log.training_seconds
        if not len(self._log):
            self._warm_up(bool(args.bf16))
            self._measure(args, state)
        self._began, self._spent_before = time.perf_counter(), self._log.seconds

    def on_step_end(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        steps = reallocation_steps(self._spec.training.reallocate_at, state.max_steps)
        if state.global_step in steps and self._measure(args, state, optimizer):
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._log.has(state.global_step):
            return
        if state.global_step < state.max_steps and not self._affordable(state):
            self._skipped.append(state.global_step)
            return
        self._measure(args, state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.plan is not None:
            save_plan(self.plan, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps and not self._log.has(state.global_step):
            self._measure(args, state)

    def _measure(self, args: Any, state: Any, optimizer: Any = None) -> bool:
        """Measure, write and report; with an optimizer also re-allocate ranks. Returns whether ranks changed."""
        if self._sample is None:
            return False
        began, step, estimator = time.perf_counter(), state.global_step, self._spec.training.probe_estimator
        curve: tuple[float | None, ...] = (None,) * len(self._sample.layer_names)
        intervals: tuple[tuple[float, float] | None, ...] = ()
        wanted: dict[str, int] = {}
        supported: dict[str, int] = {}
        resolved = None
        notes = []
        old = self.plan
        try:
            profile = self._sample.profile(self._model, bool(args.bf16))
        except (GeloraError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # Whatever an estimator stumbles over, training has nothing to do with it.
            notes.append(str(error) if isinstance(error, GeloraError) else f"{estimator} failed: {type(error).__name__}: {error}")
            if optimizer is not None:
                notes.append("so ranks were not re-allocated")
        else:
            curve = tuple(None if np.isnan(d) else float(d) for d in profile.dimensions(estimator))
            intervals = _intervals(profile, estimator)
            found = resolution(profile, estimator)
            resolved = None if found is None else found.rise
            notes += _undefined(profile, estimator)
            if old is not None:
                wanted = _by_block(old, rule_ranks(old, profile, estimator))
                supported = _by_block(old, rule_ranks(old, profile, estimator, supported_only=True))
            if old is not None and optimizer is not None:
                self.plan, sentence = reallocate(self._model, old, profile, estimator, optimizer, self._spec.seed, step)
                notes.append(sentence)
                self._say(f"step {step}: {sentence}")
        if self._skipped:
            steps = ", ".join(str(skipped) for skipped in self._skipped)
            notes.append(f"not measured at step {steps}: that would have cost more than {COST_SHARE:.0%} of the training's time")
            self._skipped = []
        seconds = time.perf_counter() - began
        trained = self._trained_seconds() - seconds if step else 0.0
        measurement = GeometryMeasurement(
            step=step,
            seconds=seconds,
            share=(self._log.seconds + seconds) / trained if trained > 0 else None,
            estimator=estimator,
            layer_names=self._sample.layer_names,
            dimensions=curve,
            wanted=wanted,
            installed={} if self.plan is None else _by_block(self.plan, self.plan.ranks),
            reallocated=self.plan is not old,
            note="; ".join(notes) or None,
            intervals=intervals,
            n_samples=len(self._sample.rows),
            supported=supported,
            resolved=resolved,
        )
        self._log.add(measurement)
        values = {f"id/layer_{layer:02d}": dimension for layer, dimension in enumerate(curve) if dimension is not None}
        if values:
            self._report(step, values)
        return measurement.reallocated

    def _warm_up(self, bf16: bool) -> None:
        if self._sample is None:
            return
        try:
            self._sample.warm_up(self._model, bf16)
        except (GeloraError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return  # the measurement that follows says what is wrong, in its note

    def _affordable(self, state: Any) -> bool:
        """Whether one measurement more, beside those that will be made in any case, stays within the share."""
        steps = reallocation_steps(self._spec.training.reallocate_at, state.max_steps)
        n_more = 2 + sum(step > state.global_step for step in steps)  # this one and the last one
        foreseen = self._trained_seconds() / state.global_step * state.max_steps
        return self._log.seconds + n_more * self._log.last_seconds <= COST_SHARE * foreseen

    def _trained_seconds(self) -> float:
        """Seconds of training without measurements, those of a process before this one among them."""
        return self._trained_before + time.perf_counter() - self._began - (self._log.seconds - self._spent_before)

    def _made_sample(self, task: Task, structure: ModelStructure | None) -> ProbeSample | None:
        try:
            return ProbeSample(task, self._spec, structure or model_structure(self._spec.model))
        except ModelError as error:
            if self._spec.training.reallocate_at:
                raise
            self._say(f"the dimension of the layers is not measured: {error}")
            return None

    def _check_reallocation(self) -> None:
        if self._sample is None or self.plan is None:
            raise InputError("Ranks can be re-allocated (reallocate_at) by a rank plan and a probe: set probe_size, such as 256.")
        if len(self._sample.rows) < N_NEIGHBORS + 2:
            raise InputError(
                f"Ranks can be re-allocated (reallocate_at) only by a probe of at least {N_NEIGHBORS + 2} different held-out rows; "
                f"there are {len(self._sample.rows)}. Raise probe_size or hold out more rows."
            )
        check_reallocatable(self.plan)
        resize_to(self._model, self.plan)  # changes nothing, but says if it could not


def _by_block(plan: RankPlan, ranks: dict[str, int]) -> dict[str, int]:
    """The largest rank in each block, by its number as text: JSON has no other keys."""
    result: dict[str, int] = {}
    for module in plan.modules:
        result[str(module.block)] = max(result.get(str(module.block), 0), ranks[module.name])
    return result


def _intervals(profile: IdProfile, estimator: str) -> tuple[tuple[float, float] | None, ...]:
    return tuple(None if e.ci_low is None or e.ci_high is None else (e.ci_low, e.ci_high) for e in profile.estimates[estimator])


def _undefined(profile: IdProfile, estimator: str) -> list[str]:
    """Why layers have no dimension, each reason once."""
    layers: dict[str, list[str]] = {}
    for name, estimate in zip(profile.layer_names, profile.estimates[estimator], strict=True):
        if estimate.dimension is None:
            layers.setdefault(str(estimate.note).rstrip("."), []).append(name)
    return [f"no dimension at {', '.join(names)}: {reason}" for reason, names in layers.items()]
