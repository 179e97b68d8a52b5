"""Parameters, metrics, tags and files of runs in MLflow: a SQLite store under GELORA_HOME, or $MLFLOW_TRACKING_URI.

Knows MLflow, and that a run has an id; knows nothing of processes or training. Only finite values are sent (SQLite
would keep an infinity as the largest float); a loss that is not finite ends the run and stands in its log and reason.
"""

import functools
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gelora.errors import GeloraError, RunError, StoreError
from gelora.home import home
from gelora.runs.records.state import read_state, run_folder

EXPERIMENT = "gelora"
_MAX_PARAM_CHARS = 500
_WORDS = {"finished": "FINISHED", "stopped": "KILLED"}
_ready: set[str] = set()
_ready_lock = threading.Lock()


def tracking_uri() -> str:
    """`$MLFLOW_TRACKING_URI` when set, else the SQLite store under GELORA_HOME."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def ensure_store() -> None:
    """Make the run store and its experiment when they are not there; cheap when they are.

    A new store takes some seconds; it is made under a lock and renamed into place, so that two processes that ask at
    once make one, and a killed one leaves nothing half-made. Call it before a process that logs is started.

    Raises:
        StoreError: the store cannot be made or reached.
    """
    uri = tracking_uri()
    local = home() / "mlflow.db" if not os.environ.get("MLFLOW_TRACKING_URI") else None
    with _ready_lock:
        if uri in _ready and (local is None or local.is_file()):
            return
        import filelock

        try:
            with filelock.FileLock(home() / "mlflow.lock", timeout=120):
                if local is not None and not local.is_file():
                    _create(local)
                elif _client(uri).get_experiment_by_name(EXPERIMENT) is None:
                    _client(uri).create_experiment(EXPERIMENT, artifact_location=None if local is None else _artifacts())
        except Exception as error:  # MLflow, SQLAlchemy, requests and filelock each have their own base of errors
            raise StoreError(f"The run store {uri} cannot be opened: {_first_line(error)}. {_advice(local)}") from error
        _ready.add(uri)


def _create(database: Path) -> None:
    unfinished = database.with_name(f".{database.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    uri = f"sqlite:///{unfinished}"
    try:
        _client(uri).create_experiment(EXPERIMENT, artifact_location=_artifacts())
        _client.cache_clear()
        unfinished.rename(database)
    finally:
        unfinished.unlink(missing_ok=True)


def _artifacts() -> str:
    return (home() / "artifacts").as_uri()


def _advice(local: Path | None) -> str:
    if local is None:
        return "Check MLFLOW_TRACKING_URI, or unset it to use the store under GELORA_HOME."
    return f"If the file is damaged, move {local} away; runs keep their folders and logs, and a new store is made."


@functools.lru_cache(maxsize=8)
def _client(uri: str) -> Any:
    # Settings have to stand before the first import: no telemetry, and a server that is away is said within seconds.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(uri)


class Tracker:
    """One run in the store, as its worker writes it. Values that could not be written are kept and sent with the next."""

    def __init__(self, run_name: str, params: Mapping[str, Any], tags: Mapping[str, str], run_id: str | None = None) -> None:
        """Begin a run in the store, or go on with the one of `run_id`; where the store has lost that one, begin anew.

        Raises:
            StoreError: the store cannot be opened or written.
        """
        ensure_store()
        self._client = _client(tracking_uri())
        self._pending: list[Any] = []
        try:
            from mlflow.entities import Param

            if run_id is not None and self._take_up(run_id):
                self.id: str = run_id
                return
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            self.id = self._client.create_run(experiment.experiment_id, run_name=run_name, tags=dict(tags)).info.run_id
            entries = [Param(key, str(value)[:_MAX_PARAM_CHARS]) for key, value in params.items()]
            self._client.log_batch(self.id, params=entries)
        except Exception as error:  # MLflow, SQLAlchemy and requests each have their own base of errors
            raise StoreError(f"The run store {tracking_uri()} cannot be written: {_first_line(error)}.") from error

    def _take_up(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def log(self, events: Sequence[tuple[int, Mapping[str, float]]]) -> str | None:
        """Send the finite values of some (step, {name: value}) in one call; returns what went wrong, in words, or None."""
        from mlflow.entities import Metric

        moment = int(time.time() * 1000)
        self._pending += [
            Metric(name, float(value), moment, step) for step, values in events for name, value in values.items() if math.isfinite(value)
        ]
        if not self._pending:
            return None
        try:
            for start in range(0, len(self._pending), 1000):  # MLflow's limit for one call
                self._client.log_batch(self.id, metrics=self._pending[start : start + 1000])
            self._pending = []
        except Exception as error:  # noqa: BLE001  (a store that is busy or away for a moment must not end a training run)
            return f"the run store did not take {len(self._pending)} values ({_first_line(error)}); they are sent again with the next"
        return None

    def tag(self, name: str, value: str) -> str | None:
        """Set one tag; returns what went wrong, in words, or None."""
        return _tried("tag", lambda: self._client.set_tag(self.id, name, value[:_MAX_PARAM_CHARS]))

    def keep(self, folder: Path, name: str) -> str | None:
        """Copy the files of `folder` into the run's artifacts under `name`; returns what went wrong, or None."""
        return _tried("artifacts", lambda: self._client.log_artifacts(self.id, str(folder), name))

    def end(self, status: str) -> str | None:
        """Close the run as finished, failed or stopped; returns what went wrong, in words, or None."""
        return _tried("end of the run", lambda: self._client.set_terminated(self.id, _WORDS.get(status, "FAILED")))


def _tried(what: str, action: Any) -> str | None:
    try:
        action()
    except Exception as error:  # noqa: BLE001  (what the store refuses must not make a finished run a failed one)
        return f"the run store did not take the {what}: {_first_line(error)}"
    return None


def history(run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every logged value of a run, at full precision: {metric name: [(optimizer step, value), ...] by step}.

    Of a step that was trained again after a resume, the later value counts.

    Empty while the run has not yet opened its record in the store.

    Raises:
        RunError: no run has this id.
        StoreError: the store cannot be read.
    """
    folder = run_folder(run_id)
    state = read_state(folder)
    if state is None or state.mlflow_run_id is None:
        return {}
    ensure_store()
    try:
        client = _client(tracking_uri())
        names = sorted(client.get_run(state.mlflow_run_id).data.metrics)
        series = {name: client.get_metric_history(state.mlflow_run_id, name) for name in names}
    except Exception as error:  # MLflow, SQLAlchemy and requests each have their own base of errors
        raise StoreError(f"The values of {run_id} cannot be read from {tracking_uri()}: {_first_line(error)}. Its log has them.") from error
    return {name: _by_step(found) for name, found in series.items()}


def _by_step(found: Sequence[Any]) -> list[tuple[int, float]]:
    latest = {int(m.step): float(m.value) for m in sorted(found, key=lambda m: m.timestamp) if math.isfinite(m.value)}
    return sorted(latest.items())


def close(mlflow_run_id: str, status: str, reason: str | None) -> str | None:
    """Close a run whose process died without doing so, as failed or stopped; returns what went wrong, in words, or None."""

    def act() -> None:
        ensure_store()
        client = _client(tracking_uri())
        if reason:
            client.set_tag(mlflow_run_id, "gelora.reason", reason[:_MAX_PARAM_CHARS])
        client.set_terminated(mlflow_run_id, _WORDS.get(status, "FAILED"))

    return _tried("end of the run", act)


def forget(mlflow_run_id: str) -> None:
    """Delete a run from the store; one that the store does not know is no error.

    Raises:
        RunError: the store is there, but refuses.
    """
    try:
        ensure_store()
        _client(tracking_uri()).delete_run(mlflow_run_id)
    except GeloraError:
        raise
    except Exception as error:  # MLflow, SQLAlchemy and requests each have their own base of errors
        if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
            return
        raise RunError(f"The run store did not delete the run: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
