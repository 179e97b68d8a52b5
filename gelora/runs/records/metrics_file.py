"""metrics.jsonl: every value that a run logged, in the run's own folder; one JSON object a line, in the order of logging.

    {"step": 40, "time": 1764424800.125, "loss": 1.7684, "learning_rate": 0.0005}

Read it with `history`, or with `pandas.read_json(path, lines=True)`. Does not depend on training, processes or trackers.
"""

import errno
import json
import math
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gelora.errors import StoreError
from gelora.home import home, reason_of
from gelora.runs.records.state import RunState, read_state, run_folder

NAME = "metrics.jsonl"
_RESERVED = ("step", "time")


class MetricsFile:
    """Appends to a run's metrics.jsonl: a line is there whole when `append` returns, and on the disk after `sync`.

    A last line that a kill or a full disk cut short is removed when the file is opened again.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            StoreError: the file cannot be opened or mended.
        """
        self.path = folder / NAME
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._file).st_size
            whole = self.path.read_bytes().rfind(b"\n") + 1 if size else 0
            if whole != size:
                os.ftruncate(self._file, whole)
        except OSError as error:
            raise _refused(self.path, error) from error

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Write one event; values that are not finite are left out (the log has them), and no line where none is left.

        Raises:
            StoreError: the disk is full or the file is gone; nothing of the line stays.
        """
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value) and name not in _RESERVED}
        if not finite:
            return
        line = json.dumps({"step": int(step), "time": round(time.time(), 3), **finite}).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, "no room for the whole line")
        except OSError as error:
            os.ftruncate(self._file, before)
            raise _refused(self.path, error) from error

    def sync(self) -> None:
        """Have everything on the disk: a checkpoint is to have all that was logged before it.

        Raises:
            StoreError: the disk is full.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise _refused(self.path, error) from error

    def close(self) -> None:
        """No more is appended."""
        os.close(self._file)


def begin_metrics_file(folder: Path, state: RunState) -> MetricsFile:
    """The run's file to append to; a run that an earlier version began gets what that one kept elsewhere.

    Raises:
        StoreError: the file cannot be written, or what the earlier version kept cannot be read.
    """
    is_new = not (folder / NAME).exists()
    file = MetricsFile(folder)
    if is_new:
        for name, series in values_before(state).items():
            for step, value in series:
                file.append(step, {name: value})
    unsent = folder / "unsent.json"  # values that it had not yet sent
    if unsent.exists():
        try:
            for step, values in json.loads(unsent.read_bytes()):
                file.append(step, values)
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"{unsent} is damaged ({error}); remove it and resume: log.txt has the same values") from error
        unsent.unlink()
    return file


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(f"The run's values cannot be written to {path}: {reason_of(error)}, then resume the run.")


def history(run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every logged value of a run, at full precision: {metric name: [(optimizer step, value), ...] by step}.

    Of a step that was trained again after a resume, the later value counts. Empty while nothing has been logged.

    Raises:
        RunError: no run has this id.
        StoreError: the file cannot be read, or a line of it is damaged.
    """
    return read_history(run_folder(run_id))


def read_history(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What `history` says, by the run's folder; of runs from before metrics.jsonl, what the SQLite file of MLflow has."""
    path = folder / NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is being written
    except FileNotFoundError:
        state = read_state(folder)
        return values_before(state) if state is not None else {}
    except OSError as error:
        raise StoreError(f"{NAME} cannot be read: {reason_of(error)}.") from error
    found: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            json.dumps([*event], ensure_ascii=False).encode()  # a lone surrogate could not be shown
            step = int(event["step"])
            for name, value in event.items():
                if name not in _RESERVED:
                    found.setdefault(name, {})[step] = float(value)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise StoreError(f"{NAME} is damaged in line {number} ({error}); log.txt has the same values") from error
    return {name: sorted(values.items()) for name, values in sorted(found.items())}


def values_before(state: RunState) -> dict[str, list[tuple[int, float]]]:
    """The values of a run of an earlier version, which lie in GELORA_HOME/mlflow.db; {} for a run that has none there."""
    database = home() / "mlflow.db"
    if state.mlflow_run_id is None or not database.is_file():
        return {}
    query = "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND NOT is_nan ORDER BY key, timestamp"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            rows: list[Any] = connection.execute(query, (state.mlflow_run_id,)).fetchall()
    except sqlite3.Error as error:
        raise StoreError(
            f"The values of this run lie in {database}, which cannot be read ({error}); log.txt has the same values"
        ) from error
    found: dict[str, dict[int, float]] = {}
    for name, step, value in rows:
        found.setdefault(name, {})[int(step)] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}
