"""What a run process does: `python -m gelora.runs.worker RUN_ID`.

Reads the spec, trains, and says how it stands in three places at once, with the same floats: the log (standard output),
state.json and MLflow. SIGTERM asks it to stop: at once while it is setting up, after the step when it trains.
"""

import dataclasses
import errno
import importlib.metadata
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from gelora.errors import ChecksumError, DataError, GeloraError, HubError, InputError, ModelError, StoreError
from gelora.records import RunSpec
from gelora.runs.state import LIVE, RunState, now, read_json, read_spec, read_state, run_folder, write_state

_HEARTBEAT_SECONDS = 1.0
_KINDS: dict[type[GeloraError], str] = {
    DataError: "data",
    InputError: "input",
    ModelError: "model",
    HubError: "hub",
    ChecksumError: "checksum",
    StoreError: "store",
}


class StopRequested(BaseException):
    """Raised by SIGTERM while nothing is worth saving; not an Exception, so that no library swallows it."""


class StopSwitch:
    """SIGTERM, as a question that training asks and as an exception while `raises` is set."""

    def __init__(self) -> None:
        self.requested = False
        self.raises = True

    def __call__(self) -> bool:
        return self.requested

    def install(self) -> None:
        """Take over SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def arm(self, raises: bool) -> None:
        """Set whether the next SIGTERM raises; raises now if one has come already."""
        self.raises = raises
        if self.requested:
            raise StopRequested

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.requested = True
        if self.raises:
            raise StopRequested


class Recorder:
    """Says how a run stands: log line, state.json, MLflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = RunState(status="running", pid=os.getpid(), pid_create_time=psutil.Process().create_time(), started_at=now())
        self.tracker: Any = None
        self._last_write = 0.0
        self._write()

    def line(self, text: str) -> None:
        """One line into the log."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def stage(self, text: str) -> None:
        """What begins now."""
        self.state.stage = text
        self.line(f"[{now()}] {text}")
        self._write()

    def notes(self, **values: Any) -> None:
        """Facts of the run into state.json."""
        self.state = dataclasses.replace(self.state, **values)
        self._write()

    def values(self, step: int, values: dict[str, float]) -> None:
        """Log one event: repr of a float is exact, so that log, store and page agree to the last bit."""
        total = self.state.total_steps or "?"
        self.line(f"step {step}/{total} " + " ".join(f"{name}={value!r}" for name, value in values.items()))
        if self.tracker is not None:  # before state.json, so that who sees a step there finds it in the store
            self.complain(self.tracker.log(values, step))
        self.state.metrics |= values
        self.state.step = step
        self._write()

    def progress(self, step: int, total_steps: int, seconds_left: float | None, examples_per_second: float | None) -> None:
        """Keep the heartbeat going, once a second at most."""
        self.state.step, self.state.total_steps = step, total_steps
        self.state.seconds_left, self.state.examples_per_second = seconds_left, examples_per_second
        if step == 0 or time.monotonic() - self._last_write > _HEARTBEAT_SECONDS:
            self._write()

    def end(self, status: str, reason: str | None) -> None:
        """The last word: MLflow first, so that who sees the end in state.json finds everything there."""
        self.line(f"[{now()}] {status}{f': {reason}' if reason else ''}")
        if self.tracker is not None:
            if reason:
                self.complain(self.tracker.tag("gelora.reason", reason))
            self.complain(self.tracker.end(status))
        self.state = dataclasses.replace(self.state, status=status, reason=reason, stage="ended", ended_at=now(), seconds_left=None)
        self._write()

    def complain(self, problem: str | None) -> None:
        """A warning into the log, when there is one."""
        if problem is not None:
            self.line(f"[{now()}] warning: {problem}")

    def _write(self) -> None:
        self.state.heartbeat_at, self._last_write = now(), time.monotonic()
        write_state(self.folder, self.state)


def work(spec: RunSpec, recorder: Recorder, stop: StopSwitch) -> tuple[str, str | None]:
    """Do the run; returns its final status and reason."""
    from gelora.runs.tracking import Tracker

    recorder.stage("loading the libraries")
    from gelora.runs.adapters import save_adapter
    from gelora.runs.tasks import build_task
    from gelora.runs.training import choose_device, train

    _quiet_libraries()
    recorder.notes(device=choose_device(spec.training))
    stop.arm(raises=False)  # a record that is opened halfway would stay open for ever
    recorder.tracker = Tracker(recorder.folder.name, _params(spec), _tags(spec, recorder.folder.name))
    recorder.notes(mlflow_run_id=recorder.tracker.id)
    stop.arm(raises=True)
    recorder.stage("loading data and model")
    task = build_task(spec, _progress_lines(recorder))
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
    done = train(task, spec.training, spec.seed, recorder.folder / "checkpoints", recorder, stop)
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


def _reason(error: Exception, spec: RunSpec | None) -> str:
    """Why a run failed, in words that begin with the kind of failure."""
    text = str(error).strip()
    if isinstance(error, GeloraError):
        kind = _KINDS.get(type(error))
        return f"{kind}: {text}" if kind else text
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "not enough memory" in text.lower():
        batch = f" (batch_size is {spec.training.batch_size}, max_length {spec.training.max_length})" if spec else ""
        return f"out of memory: lower batch_size or max_length, or choose a smaller model{batch}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk full: free some space or set GELORA_HOME to another disk"
    last = text.splitlines()[-1] if text else "no message"
    return f"error: {type(error).__name__}: {last[:300]}; the log has the traceback"


def _one_gpu() -> None:
    """The Trainer would spread over every GPU it sees; a run here is one process on one GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the run of the given id to its end; returns 0 when it finished or was stopped, 1 when it failed, 2 for a bad call."""
    stop = StopSwitch()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if len(given) != 1:
            raise InputError("Usage: python -m gelora.runs.worker RUN_ID")
        folder = run_folder(given[0])
        before = read_state(folder)
        if before is not None and before.status not in LIVE:
            raise InputError(f"Run {given[0]} is already {before.status}; start a new one.")
        stop.install()
        recorder = Recorder(folder)
    except GeloraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except StopRequested:
        return 0  # who asked finds stop.json and writes the end
    spec: RunSpec | None = None
    try:
        if read_json(folder / "stop.json") is not None:
            raise StopRequested
        _one_gpu()
        spec = read_spec(folder)
        status, reason = work(spec, recorder, stop)
    except StopRequested:
        status, reason = "stopped", "stopped before training began"
    except Exception as error:  # noqa: BLE001  (every failure of a run ends as a sentence in its record)
        stop.raises = False
        if not isinstance(error, GeloraError):
            traceback.print_exc()
        status, reason = "failed", _reason(error, spec)
    stop.raises = False
    recorder.end(status, reason)
    return 1 if status == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
