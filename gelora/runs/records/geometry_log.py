"""geometry.jsonl of a run: one line a measurement of the layers' dimensions during training, read back as the record it was.

Does not depend on how dimensions are measured.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gelora.errors import InputError, StoreError
from gelora.home import reason_of, write_atomically
from gelora.record_json import build_known
from gelora.records import IdEstimate

FILE = "geometry.jsonl"


@dataclasses.dataclass(frozen=True)
class GeometryMeasurement:
    """The dimension of every layer at an optimizer step of a run.

    seconds: what it cost; share: what all measurements so far cost, as a share of the time that training has taken
    without them, None before the first step. dimensions: one a layer (`layer_names`), None where there is none, for
    the reason in `note`. wanted: the ranks that the GeLoRA rule gives on this curve, by block number; installed: those
    in use, after the re-allocation where there was one (`reallocated`). intervals: the dimensions' 95% intervals, None
    where there is none; n_samples: the rows they were measured on; supported: what of `wanted` the intervals of the rises
    support; resolved: the least rise that these rows can show. Files of earlier versions lack these four.
    """

    step: int
    estimator: str
    layer_names: tuple[str, ...]
    dimensions: tuple[float | None, ...]
    seconds: float = 0.0
    share: float | None = None
    wanted: dict[str, int] = dataclasses.field(default_factory=dict)
    installed: dict[str, int] = dataclasses.field(default_factory=dict)
    reallocated: bool = False
    note: str | None = None
    intervals: tuple[tuple[float, float] | None, ...] = ()
    n_samples: int = 0
    supported: dict[str, int] = dataclasses.field(default_factory=dict)
    resolved: float | None = None

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> "GeometryMeasurement":
        """The record that a line of the file, as JSON gives it, was written from; unknown keys are left out.

        Raises:
            InputError: a field is missing or of another type, or there is not one dimension and interval a layer.
        """
        found = build_known(cls, dict(entry))
        n_layers, ends = len(found.layer_names), found.intervals
        if len(found.dimensions) != n_layers or len(ends) not in (0, n_layers) or any(pair is not None and len(pair) != 2 for pair in ends):
            raise InputError(f"A measurement of {n_layers} layers needs a dimension and an interval, or null, for each.")
        return found

    @property
    def estimates(self) -> list[IdEstimate]:
        """One estimate a layer; without intervals and rows where the file is of an earlier version."""
        n, reason = self.n_samples, self.note or "it could not be estimated"
        all_ends = [ends or (None, None) for ends in self.intervals] or [(None, None)] * len(self.dimensions)
        return [
            IdEstimate(self.estimator, value, low, high, n, n, 0.0, reason if value is None else None)
            for value, (low, high) in zip(self.dimensions, all_ends, strict=True)
        ]


def read_geometry(folder: Path) -> list[GeometryMeasurement]:
    """The measurements in a run's folder, in the order of their steps, one for each; [] when there is none.

    A line that is cut short (the process was killed while it wrote), or is no measurement, is left out.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{folder / FILE} cannot be read: {reason_of(error)}.") from error
    found: dict[int, GeometryMeasurement] = {}
    for line in text.splitlines():
        try:
            measurement = GeometryMeasurement.of_entry(json.loads(line))
        except (ValueError, TypeError, RecursionError, InputError):
            continue
        found[measurement.step] = measurement
    return [found[step] for step in sorted(found)]


class GeometryLog:
    """The file as the run writes it: always whole, one line a step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found = read_geometry(folder)

    def forget_after(self, step: int) -> None:
        """Leave out what is later than the step from which training is resumed."""
        self._found = [measurement for measurement in self._found if measurement.step <= step]
        if (self._folder / FILE).exists():
            self._write()

    def add(self, measurement: GeometryMeasurement) -> None:
        """One line more.

        Raises:
            StoreError: the disk is full or not writable; the file is then as it was.
        """
        others = [other for other in self._found if other.step != measurement.step]
        self._found = sorted([*others, measurement], key=lambda found: found.step)
        self._write()

    def has(self, step: int) -> bool:
        """Whether that step was measured."""
        return any(measurement.step == step for measurement in self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def seconds(self) -> float:
        """What all measurements cost."""
        return sum(measurement.seconds for measurement in self._found)

    @property
    def last_seconds(self) -> float:
        """What the last measurement cost; 0 before the first."""
        return self._found[-1].seconds if self._found else 0.0

    @property
    def training_seconds(self) -> float:
        """How long training had taken, without measurements, at the last one; 0 where that is not known."""
        share = self._found[-1].share if self._found else None
        return self.seconds / share if share else 0.0

    def _write(self) -> None:
        text = "".join(json.dumps(dataclasses.asdict(measurement), allow_nan=False) + "\n" for measurement in self._found)
        write_atomically(self._folder / FILE, text.encode())
