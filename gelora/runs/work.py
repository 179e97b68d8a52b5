"""What a run is made of: data and model, a method put on it, training, what is left behind.

Knows nothing of processes, queues or signals; is asked for by the worker, and told by a stop switch to end.
"""

import dataclasses
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from gelora.records import RunSpec
from gelora.runs.recorder import Recorder


class Stop(Protocol):
    """Whether a stop was asked for, and whether asking raises (while nothing is worth saving)."""

    def __call__(self) -> bool: ...

    def arm(self, raises: bool) -> None: ...


def work(spec: RunSpec, recorder: Recorder, stop: Stop) -> tuple[str, str | None]:
    """Do the run; returns its final status and reason."""
    from gelora.runs.tracking import Tracker

    recorder.stage("loading the libraries")
    from gelora.runs.adapters import save_adapter
    from gelora.runs.tasks import build_task
    from gelora.runs.training import choose_device, train

    _quiet_libraries()
    recorder.notes(device=choose_device(spec.training))
    stop.arm(raises=False)  # a record that is opened halfway would stay open for ever
    recorder.tracker = Tracker(recorder.folder.name, _params(spec), _tags(spec, recorder.folder.name), recorder.state.mlflow_run_id)
    recorder.notes(mlflow_run_id=recorder.tracker.id)
    stop.arm(raises=True)
    recorder.stage("loading data and model")
    old = build_task(spec, _progress_lines(recorder))
    from types import SimpleNamespace

    from transformers import DataCollatorWithPadding

    from gelora.runs.checkpoints import last_whole
    from gelora.tasks import Task

    task = old
    new = Task(
        kind=old.kind, model=old.model, tokenizer=old.tokenizer, entry=old.entry, train=old.train, held_out=old.held_out,
        collate=DataCollatorWithPadding(old.tokenizer), reduce=lambda x, _: x[0] if isinstance(x, tuple | list) else x,
        score=old.metrics, show=lambda _: [], main_metric=old.main_metric, higher_is_better=True, label_names=old.label_names,
        majority_accuracy=old.majority_accuracy, random_keys=(), reloaded_keys=old.reloaded_keys, peft_task_type="SEQ_CLS",
        auto_class="AutoModelForSequenceClassification", texts_digest=old.texts_digest,
    )  # fmt: skip
    learner = SimpleNamespace(model=old.model, callbacks=[])
    recorder.notes(
        task=task.kind,
        main_metric=task.main_metric,
        majority_accuracy=task.majority_accuracy,
        n_adapter_params=task.n_adapter_params,
        n_head_params=task.n_head_params,
    )
    recorder.line(f"{len(task.train)} rows to train on, {len(task.held_out)} held out; {task.kind}, {task.n_labels} outputs")
    recorder.line(f"{task.n_adapter_params:,} adapter parameters and {task.n_head_params:,} of the head, on {recorder.state.device}")
    if spec.plan is not None and spec.model not in (spec.plan.model_id, str(Path(spec.plan.model_id).expanduser().resolve())):
        recorder.line(f"note: the plan was made for {spec.plan.model_id}; every module it names is there in the same shape")
    if task.majority_accuracy is not None:
        recorder.values(0, {"majority_accuracy": task.majority_accuracy})
    recorder.tracker.tag("gelora.texts_digest", task.texts_digest)
    recorder.tracker.tag("gelora.model_revision", str(task.entry.revision))

    stop.arm(raises=False)
    recorder.stage("training")
    checkpoint = last_whole(recorder.folder / "checkpoints") if recorder.state.attempts > 1 else None
    done = train(new, learner, spec.training, spec.seed, recorder.folder / "checkpoints", recorder, stop, checkpoint)
    recorder.stage("saving the adapter")
    adapter = save_adapter(task, recorder.folder / "adapter", recorder.state.metrics)
    recorder.complain(recorder.tracker.keep(adapter, "adapter"))
    if done:
        return "finished", None
    return "stopped", f"stopped at step {recorder.state.step}; checkpoint and adapter are saved"


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
    params |= {f"training.{name}": value for name, value in dataclasses.asdict(spec.training).items()}
    if spec.plan is not None:
        plan = spec.plan
        params |= {"plan.strategy": plan.strategy, "plan.offset": plan.offset, "plan.rounding": plan.rounding}
        params |= {"plan.estimator": plan.estimator, "plan.target_modules": plan.target_modules}
        params |= {"plan.block_ranks": " ".join(f"{block}:{r}" for block, r in plan.block_ranks().items())}
    return params


def _tags(spec: RunSpec, run_id: str) -> dict[str, str]:
    packages = ("gelora-lab", "torch", "transformers", "peft", "accelerate", "datasets")
    tags = {f"version.{name}": _version(name) for name in packages}
    return tags | {"gelora.run_id": run_id, "gelora.fingerprint": spec.digest()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"  # run from a checkout, or a package that this run does not need
