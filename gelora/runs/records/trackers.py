"""Trackers a person asked for (MLflow, TensorBoard, Weights & Biases, Trackio, ...) are told what a run logs.

Through the callbacks of `transformers.integrations`, so that each takes its settings from the environment as it does
beside a Trainer (MLFLOW_TRACKING_URI, WANDB_PROJECT, TENSORBOARD_LOGGING_DIR, ...). The run's own files are its truth:
a tracker that fails during training is a warning. Does not depend on training.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gelora.errors import InputError, StoreError
from gelora.home import home, made
from gelora.masking import without_secrets
from gelora.records import check_choice

# transformers' name for a tracker, and the modules of which it needs one.
TRACKERS = {
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "comet_ml": ("comet_ml",),
    "swanlab": ("swanlab",),
}
PROJECT = "gelora"
_PIP = {"mlflow": "'gelora-lab[mlflow]'", "comet_ml": "comet-ml"}
_MAX_PARAM_CHARS = 500
_END_SECONDS = 60.0
_MLFLOW_STATUS = {"finished": "FINISHED", "stopped": "KILLED"}


def installed_trackers() -> tuple[str, ...]:
    """The trackers that can be reported to here."""
    return tuple(name for name, modules in TRACKERS.items() if any(importlib.util.find_spec(module) for module in modules))


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The trackers that a run reports to: those asked for, and MLflow where $MLFLOW_TRACKING_URI names a server.

    Raises:
        InputError: one of them is unknown or not installed.
    """
    server = "MLFLOW_TRACKING_URI" in os.environ
    asked = tuple(dict.fromkeys((*names, "mlflow") if server else names))
    for name in asked:
        check_choice("report_to", name, tuple(TRACKERS))
        if name not in installed_trackers():
            why = "MLFLOW_TRACKING_URI is set, but MLflow" if name not in names else f"The tracker {name!r}"
            raise InputError(
                f"{why} is not installed: pip install {_PIP.get(name, name)}, or {'unset it' if name not in names else 'leave it out'}."
            )
    return asked


class Trackers:
    """One run as its trackers see it. All calls are made in one thread of its own: training waits for none of them."""

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        params: Mapping[str, Any],
        mlflow_run_id: str | None,
        complain: Callable[[str], None],
    ) -> None:
        """Begin the run in every tracker, or go on with it where it is resumed.

        Args:
            names: as `check_trackers` gives them; with none, all calls do nothing.
            folder: the run's; its name is the run's name there.
            params: what a tracker shows as the run's settings.
            mlflow_run_id: of the attempt before, None for a first one.
            complain: takes a sentence when a tracker fails later; called from another thread.

        Raises:
            StoreError: one of them cannot be begun.
        """
        self.mlflow_run_id = mlflow_run_id
        self._complain = complain
        self._said: set[str] = set()
        self._callbacks: list[Any] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trackers")
        if names:
            self._thread.submit(self._begin, tuple(names), folder, dict(params)).result()

    def _begin(self, names: Sequence[str], folder: Path, params: dict[str, Any]) -> None:
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from transformers.integrations import get_reporting_integration_callbacks

        os.environ.update(_environment(folder.name, self.mlflow_run_id) | os.environ)
        self._arguments: Any = TrainingArguments(output_dir=str(folder), run_name=folder.name, report_to="none", use_cpu=True)
        self._arguments.to_dict = lambda: {name: str(value)[:_MAX_PARAM_CHARS] for name, value in params.items()}
        self._arguments.project, self._arguments.trackio_static_space_id = PROJECT, False
        if "mlflow" in names and os.environ["MLFLOW_TRACKING_URI"] == _local_store():
            _make_experiment()
        self._state, self._control = TrainerState(is_world_process_zero=True, is_local_process_zero=True), TrainerControl()
        for name in names:
            try:
                (callback,) = (kind() for kind in get_reporting_integration_callbacks([name]))
                callback.on_train_begin(self._arguments, self._state, self._control, model=None, processing_class=None)
            except Exception as error:  # every tracker has its own base of errors
                raise StoreError(
                    f"The tracker {name} cannot be begun: {first_line(error)}. Check its settings, or leave it out."
                ) from error
            self._callbacks.append(callback)
            if name == "mlflow":
                import mlflow

                self.mlflow_run_id = mlflow.active_run().info.run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Report one event; returns at once."""
        if self._callbacks:
            self._watched(self._thread.submit(self._log, step, dict(values)))

    def _log(self, step: int, values: dict[str, float]) -> None:
        self._state.global_step = step
        for callback in self._callbacks:
            callback.on_log(self._arguments, self._state, self._control, logs=dict(values), model=None)

    def keep(self, folder: Path, name: str) -> None:
        """Copy the files of a folder to where a tracker keeps artifacts; MLflow does. Waits for it."""
        if any(map(self._is_mlflow, self._callbacks)):
            copying = self._thread.submit(self._copy, folder, name)
            self._watched(copying)
            copying.exception()

    @staticmethod
    def _copy(folder: Path, name: str) -> None:
        import mlflow

        mlflow.log_artifacts(str(folder), name)

    @staticmethod
    def _is_mlflow(callback: Any) -> bool:
        return type(callback).__name__ == "MLflowCallback"

    def end(self, status: str, reason: str | None) -> None:
        """Close the run as finished, failed or stopped, when all has been sent; waits a minute at most."""
        if self._callbacks:
            closing = self._thread.submit(self._end, status, reason)
            self._watched(closing)
            try:
                closing.exception(timeout=_END_SECONDS)
            except TimeoutError:
                self._complain(f"a tracker did not end within {_END_SECONDS:.0f} s; what it has not sent is in metrics.jsonl")
        self._thread.shutdown(wait=False)

    def _end(self, status: str, reason: str | None) -> None:
        for callback in self._callbacks:
            if self._is_mlflow(callback):
                import mlflow

                mlflow.flush_async_logging()
                mlflow.set_tags({"gelora.reason": reason[:_MAX_PARAM_CHARS]} if reason else {})
                mlflow.end_run(_MLFLOW_STATUS.get(status, "FAILED"))
            callback.on_train_end(self._arguments, self._state, self._control, model=None)

    def _watched(self, call: "Future[None]") -> None:
        call.add_done_callback(self._say_failure)

    def _say_failure(self, call: "Future[None]") -> None:
        error = call.exception()
        if error is not None and (sentence := f"a tracker failed ({first_line(error)}); metrics.jsonl has all values") not in self._said:
            self._said.add(sentence)
            self._complain(sentence)


def close_in_mlflow(mlflow_run_id: str, status: str, reason: str | None) -> None:
    """Close there a run whose process died without doing so."""
    os.environ.update(_environment(mlflow_run_id, None) | os.environ)
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    if reason:
        client.set_tag(mlflow_run_id, "gelora.reason", reason[:_MAX_PARAM_CHARS])
    client.set_terminated(mlflow_run_id, _MLFLOW_STATUS.get(status, "FAILED"))


def _local_store() -> str:
    return f"sqlite:///{made(home()) / 'mlflow.db'}"


def _make_experiment() -> None:
    """The experiment of the store under GELORA_HOME, its files there too: MLflow would put them into the working folder."""
    from mlflow.tracking import MlflowClient

    name, client = os.environ["MLFLOW_EXPERIMENT_NAME"], MlflowClient(_local_store())
    if client.get_experiment_by_name(name) is None:
        client.create_experiment(name, artifact_location=(home() / "artifacts").as_uri())


def _environment(run_name: str, mlflow_run_id: str | None) -> dict[str, str]:
    """What trackers read where a person has set nothing: our project, the same run after a resume, no telemetry, no long waits."""
    return {
        "WANDB_PROJECT": PROJECT,
        "WANDB_RUN_ID": run_name,
        "WANDB_RESUME": "allow",
        "MLFLOW_EXPERIMENT_NAME": PROJECT,
        "MLFLOW_TRACKING_URI": _local_store(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    } | ({"MLFLOW_RUN_ID": mlflow_run_id} if mlflow_run_id else {})


def first_line(error: BaseException) -> str:
    """What is wrong, in a line; passwords and tokens are left out."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return without_secrets(line)[:300]
