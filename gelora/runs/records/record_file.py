"""The small JSON records of a run's folder, read with every field checked, so that a damaged file is one sentence.

Does not depend on processes or training, nor on what the records mean beyond their fields' types.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from gelora.errors import InputError, StoreError
from gelora.home import reason_of, write_atomically
from gelora.record_json import build_known, no_constant

_R = TypeVar("_R")


@dataclass(frozen=True)
class Launch:
    """launch.json: when and with what a run was started; who starts its process, and the process once it is there.

    taken_at_ns: when its place in the queue was taken; report_to: its trackers; times are UTC in ISO 8601.
    """

    started_at: str | None = None
    fingerprint: str | None = None
    report_to: tuple[str, ...] = ()
    runs_at_once: int = 1
    starter_pid: int | None = None
    starter_create_time: float | None = None
    launched_at: str | None = None
    taken_at_ns: int | None = None
    pid: int | None = None
    pid_create_time: float | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class StopRequest:
    """stop.json: that a run was asked to stop, and whether it was killed since it did not."""

    requested_at: str | None = None
    grace_seconds: float = 0.0
    killed: bool = False


@dataclass(frozen=True)
class ProcessExit:
    """exit.json: how a run's process ended, by its starter."""

    pid: int | None = None
    returncode: int | None = None
    ended_at: str | None = None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None when there is no such file.

    Raises:
        StoreError: the file is there, but cannot be read or holds something else.
    """
    try:
        data = json.loads(path.read_bytes(), parse_constant=no_constant)
        json.dumps(data, ensure_ascii=False).encode()  # a lone surrogate could be neither shown nor written
    except FileNotFoundError:
        return None
    except RecursionError as error:
        raise StoreError(f"{path.name} is damaged (nested too deeply)") from error
    except OSError as error:
        raise StoreError(f"{path.name} cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise StoreError(f"{path.name} is damaged ({error})") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path.name} is damaged (it holds no object)")
    return data


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write `data` whole or not at all."""
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False).encode())


def write_record(path: Path, record: Launch | StopRequest | ProcessExit) -> None:
    """Write a record of this file whole or not at all."""
    write_json(path, dataclasses.asdict(record))


def read_record(path: Path, kind: type[_R]) -> _R | None:
    """The record in a file, None when there is no such file; what a later version added is left out.

    Raises:
        StoreError: the file cannot be read, a field has another type, a number is not finite or a time is none.
    """
    data = read_json(path)
    if data is None:
        return None
    try:
        return build_known(kind, {name: _checked(name, value) for name, value in data.items()})
    except (InputError, ValueError, OverflowError) as error:
        raise StoreError(f"{path.name} is damaged ({error})") from error


def _checked(name: str, value: Any) -> Any:
    """The value; numbers within it are finite, and a time has its zone."""
    if isinstance(value, dict):
        return {key: _checked(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
    if name.endswith("_at") and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{name} is {value!r}, no time in ISO 8601") from error
        return value if moment.tzinfo else moment.replace(tzinfo=UTC).isoformat()
    return value
