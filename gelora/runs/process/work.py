"""What a run does once it has a device: load data and model, apply the method, train, save the adapter; or race its arms.

Does not depend on processes, queues or signals; called by the worker, and ended by a stop switch.
"""

import dataclasses
import gc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gelora.home import local_path
from gelora.records import RankPlan, RunSpec, resolve_device
from gelora.runs.records import provenance_record
from gelora.runs.records.recorder import Recorder
from gelora.runs.training.checkpoints import check_fits, last_undamaged, step_of


class Stop(Protocol):
    """Whether a stop was asked for, and whether asking raises (while nothing is worth saving)."""

    def __call__(self) -> bool: ...

    def arm(self, raises: bool) -> None: ...


def work(spec: RunSpec, recorder: Recorder, stop: Stop, report_to: Sequence[str] = ()) -> tuple[str, str | None]:
    """Do the run, from its last whole checkpoint where it has one; returns its final status and reason.

    report_to: the trackers that are told what it logs.
    """
    recorder.stage("loading the libraries")
    from gelora.runs.training.adapters import save_learner
    from gelora.runs.training.geometry_probe import GeometryProbe
    from gelora.runs.training.loop import total_steps, train
    from gelora.runs.training.methods import apply_method
    from gelora.runs.training.reallocation import plan_in_use
    from gelora.tasks import build_task

    gc.freeze()  # the libraries' objects stay: to look through them at every collection takes seconds
    _quiet_libraries()
    folder = recorder.folder
    device = resolve_device(spec.training.device)
    provenance_record.gather(spec, folder, device)
    recorder.notes(device=device)

    recorder.stage("loading data and model")
    if spec.race is not None:
        return _race(spec, recorder, stop, report_to)
    checkpoint = last_undamaged(folder / "checkpoints", recorder.warn)
    task = build_task(spec, _progress_lines(recorder))
    n_steps = total_steps(spec.training, len(task.train))
    plan = (plan_in_use(checkpoint) if checkpoint else None) or spec.plan
    learner = apply_method(task, spec, plan, n_steps)
    if checkpoint is not None:
        check_fits(checkpoint, learner.model)
    _introduce(spec, recorder, stop, report_to, task, learner.n_adapter_params, learner.n_head_params, learner.notes)
    probe = GeometryProbe(task, learner.model, spec, plan, folder, recorder.values, recorder.say)

    stop.arm(raises=False)
    recorder.stage(f"training from step {step_of(checkpoint)}" if checkpoint else "training")
    done = train(task, learner, spec.training, spec.seed, folder / "checkpoints", recorder, stop, checkpoint, probe)
    recorder.stage("saving the adapter" if learner.is_adapter else "saving the model")
    learner = _with_final_ranks(learner, probe.plan)
    recorder.notes(n_adapter_params=learner.n_adapter_params)
    adapter = save_learner(task, learner, folder / "adapter", recorder.latest())
    if recorder.trackers is not None:
        recorder.trackers.keep(adapter, "adapter")
    if done:
        return "finished", None
    return "stopped", f"stopped at step {recorder.state.step}; checkpoint and adapter are saved"


def _race(spec: RunSpec, recorder: Recorder, stop: Stop, report_to: Sequence[str]) -> tuple[str, str | None]:
    """Race the arms; the result goes to the run's folder."""
    from gelora.runs.racing.run import RaceTrainer
    from gelora.runs.records.race_result import write_result

    def described(task: Any, n_head_params: int) -> None:
        assert spec.plan is not None and spec.race is not None
        _introduce(spec, recorder, stop, report_to, task, spec.plan.n_adapter_params, n_head_params, ())
        recorder.line(f"a race of {', '.join(spec.race.labels)}; the parameters are those of the reference {spec.race.reference}")
        stop.arm(raises=False)

    result = RaceTrainer(spec, recorder, _progress_lines(recorder), recorder.folder, stop, described).run()
    if result is None:
        return "stopped", f"stopped at step {recorder.state.step}; checkpoint is saved"
    write_result(recorder.folder, result)
    return "finished", None


def _introduce(
    spec: RunSpec, recorder: Recorder, stop: Stop, report_to: Sequence[str], task: Any, n_adapter_params: int, n_head_params: int,
    notes: Sequence[str],
) -> None:  # fmt: skip
    """Say what is trained on what, in state, provenance, trackers and log."""
    from gelora.runs.records.trackers import Trackers

    recorder.notes(
        task=task.kind,
        main_metric=task.main_metric,
        higher_is_better=task.higher_is_better,
        majority_accuracy=task.majority_accuracy,
        n_adapter_params=n_adapter_params,
        n_head_params=n_head_params,
    )
    provenance = provenance_record.add(recorder.folder, data_digest=task.texts_digest, model_revision=str(task.entry.revision))
    stop.arm(raises=False)  # a tracker's run that is opened halfway would stay open for ever
    params = _params(spec) | provenance_record.tags(provenance)
    recorder.trackers = Trackers(report_to, recorder.folder, params, recorder.state.mlflow_run_id, recorder.warn)
    recorder.notes(mlflow_run_id=recorder.trackers.mlflow_run_id)
    stop.arm(raises=True)
    _describe(spec, recorder, task, n_adapter_params, n_head_params, notes)


def _with_final_ranks(learner: Any, plan: RankPlan | None) -> Any:
    """The learner with the ranks at the end of training: re-allocated, or found by AdaLoRA."""
    from gelora.ranks import count_parameters

    if learner.method == "adalora":
        found = learner.found_plan()
        return dataclasses.replace(learner, n_adapter_params=found.n_adapter_params)
    if learner.method != "lora" or plan is learner.plan:
        return learner
    n_adapter, n_head = count_parameters(learner.model)
    return dataclasses.replace(learner, plan=plan, n_adapter_params=n_adapter, n_head_params=n_head)


def _describe(spec: RunSpec, recorder: Recorder, task: Any, n_adapter_params: int, n_head_params: int, notes: Sequence[str]) -> None:
    """What a person should know before it begins, into the log."""
    recorder.line(f"{len(task.train):,} rows to train on, {len(task.held_out):,} held out; {task.kind}")
    recorder.line(f"{n_adapter_params:,} adapter parameters and {n_head_params:,} of the head, on {recorder.state.device}")
    for sentence in task.as_read:
        recorder.line(f"data: {sentence}")
    for note in (*task.notes, *notes):
        recorder.line(f"note: {note}")
    if spec.plan is not None and spec.model not in (spec.plan.model_id, str(local_path(spec.plan.model_id).resolve())):
        recorder.line(f"note: the plan was made for {spec.plan.model_id}; every module it names is there in the same shape")
    if task.majority_accuracy is not None:
        recorder.values(0, {"majority_accuracy": task.majority_accuracy})


def _progress_lines(recorder: Recorder) -> Callable[[str, int, int], None]:
    stages: set[str] = set()

    def tell(stage: str, _done: int, _total: int) -> None:
        if stage not in stages:
            stages.add(stage)
            recorder.stage(stage)

    return tell


def _quiet_libraries() -> None:
    """No progress bars and no load reports in the log: they hide the lines that matter."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def _params(spec: RunSpec) -> dict[str, Any]:
    params: dict[str, Any] = {"model": spec.model, "seed": spec.seed}
    params |= {f"data.{name}": value for name, value in dataclasses.asdict(spec.data).items() if value is not None}
    if spec.held_out is not None:
        params |= {f"held_out.{name}": value for name, value in dataclasses.asdict(spec.held_out).items() if value is not None}
    params |= {f"training.{name}": value for name, value in dataclasses.asdict(spec.training).items()}
    if spec.race is not None:
        params |= {"race.arms": ", ".join(spec.race.labels), "race.seeds": spec.race.seeds, "race.n_steps": spec.race.n_steps}
    if spec.plan is not None:
        plan = spec.plan
        params |= {"plan.strategy": plan.strategy, "plan.offset": plan.offset, "plan.rounding": plan.rounding}
        params |= {"plan.estimator": plan.estimator, "plan.target_modules": plan.target_modules}
        params |= {"plan.block_ranks": " ".join(f"{block}:{r}" for block, r in plan.block_ranks().items())}
    return params
