"""geometry.jsonl of a run: one line a measurement of the layers' dimensions during training.

Knows the file and its form; knows nothing of how dimensions are measured.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from gelora.errors import StoreError
from gelora.home import write_atomically

FILE = "geometry.jsonl"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement, at an optimizer step.

    seconds: what it cost; share: what all measurements so far cost, as a share of the time that training has taken
    without them, None before the first step. dimensions: one a layer (`layer_names`), None where there is none, for
    the reason in `note`. wanted: the ranks that the GeLoRA rule gives on this curve, by block number; installed: those
    in use, after the re-allocation where there was one (`reallocated`).
    intervals: the dimensions' 95% intervals, None
    where there is none; n_samples: the rows they were measured on; supported: what of `wanted` the intervals of the rises
    support; resolved: the least rise that these rows can show. Files of earlier versions lack these four.
    """

    step: int
    seconds: float
    share: float | None
    estimator: str
    layer_names: tuple[str, ...]
    dimensions: tuple[float | None, ...]
    wanted: dict[str, int]
    installed: dict[str, int]
    reallocated: bool
    note: str | None
    intervals: tuple[tuple[float, float] | None, ...] = ()
    n_samples: int = 0
    supported: dict[str, int] = dataclasses.field(default_factory=dict)
    resolved: float | None = None


def read_geometry(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a run's folder, in the order of their steps, as plain values; [] when there is none.

    A line that is cut short (the process was killed while it wrote) is left out.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{folder / FILE} cannot be read ({error.strerror}); see that it is a readable file.") from error
    found: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            found[int(entry["step"])] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return [found[step] for step in sorted(found)]


class GeometryLog:
    """The file as the run writes it: always whole, one line a step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = read_geometry(folder)

    def forget_after(self, step: int) -> None:
        """Leave out what is later than the step from which training goes on."""
        self._lines = [line for line in self._lines if line["step"] <= step]
        if (self._folder / FILE).exists():
            self._write()

    def add(self, measurement: Measurement) -> None:
        """One line more.

        Raises:
            StoreError: the disk is full or not writable; the file is then as it was.
        """
        kept = [line for line in self._lines if line["step"] != measurement.step]
        self._lines = sorted([*kept, dataclasses.asdict(measurement)], key=lambda line: line["step"])
        self._write()

    def has(self, step: int) -> bool:
        """Whether that step was measured."""
        return any(line["step"] == step for line in self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def seconds(self) -> float:
        """What all measurements cost."""
        return sum(line["seconds"] for line in self._lines)

    @property
    def last_seconds(self) -> float:
        """What the last measurement cost; 0 before the first."""
        return float(self._lines[-1]["seconds"]) if self._lines else 0.0

    @property
    def training_seconds(self) -> float:
        """How long training had taken, without measurements, at the last one; 0 where that is not known."""
        share = self._lines[-1]["share"] if self._lines else None
        return self.seconds / share if share else 0.0

    def _write(self) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in self._lines)
        write_atomically(self._folder / FILE, text.encode())
