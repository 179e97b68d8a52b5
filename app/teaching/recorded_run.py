"""The run of the tour: what step 2 starts, how step 6 finds it again, and the recorded run that stands in for it.

Depends on specs, runs and one file of `assets/`; draws nothing.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.shared.run_reading import geometry_of, series_of
from gelora.errors import StoreError
from gelora.ranks import allocate_ranks
from gelora.records import DataChoice, IdProfile, RankPlan, RunSpec, TrainingConfig
from gelora.runs import GeometryMeasurement, RunInfo

RECORDED = Path(__file__).resolve().parents[2] / "assets" / "recorded_run.json"
HEAD_ONLY = "head only"
OFFSET, TARGETS, ROUNDING, ESTIMATOR = 1, "attention", "ceil", "twonn"
# Two passes over 2,000 texts: a minute or two on two cores. The rate is high because so few parameters learn in so few steps.
TRAINING = TrainingConfig(n_train=2000, n_eval=500, epochs=2.0, learning_rate=2e-3, log_every=5, eval_every=50)


def tour_spec(profile: IdProfile, model: str, data: DataChoice) -> RunSpec:
    """What step 2 starts: the GeLoRA rule's ranks at offset 1 by TwoNN, trained for a minute or two.

    Raises:
        InputError: the profile does not hold TwoNN.
    """
    plan = allocate_ranks(profile, TARGETS, OFFSET, ROUNDING, ESTIMATOR)
    return RunSpec(model, data, plan, TRAINING)


def same_run(one: RunSpec | None, other: RunSpec | None) -> bool:
    """Whether two specs train the same: all that counts but the digest of the profile that their ranks came from."""
    return one is not None and other is not None and _what_counts(one) == _what_counts(other)


def _what_counts(spec: RunSpec) -> RunSpec:
    """Bundled model and data under one name wherever they lie; the profile's last digits differ between processors."""
    plan: RankPlan | None = None if spec.plan is None else dataclasses.replace(spec.plan, profile_digest=None)
    return dataclasses.replace(spec, plan=plan)


def find_run(wanted: str, spec: RunSpec | None, runs: Sequence[RunInfo]) -> RunInfo | None:
    """The tour's run: the one of that id, else one under way that trains what `spec` says (another tab's), else None."""
    for run in runs:
        if run.id == wanted:
            return run
    return next((run for run in runs if run.is_live and same_run(run.spec, spec)), None)


@dataclasses.dataclass(frozen=True)
class Harvest:
    """What step 6 draws of a run, recorded or the class's own.

    series: {metric: [(step, value)]}; references: what the metric is held against, by name; geometry: the measurements of
    the dimension during training, the earliest first; metric: the name of the metric the run is judged by; n_held_out: rows it is
    evaluated on, at most; None where its spec is lost.
    """

    metric: str
    series: dict[str, list[tuple[int, float]]]
    references: dict[str, float]
    geometry: list[GeometryMeasurement]
    n_adapter_params: int
    total_steps: int
    n_held_out: int | None

    @property
    def score(self) -> float | None:
        """The last value of the metric, None before the first evaluation."""
        points = self.series.get(self.metric)
        return points[-1][1] if points else None

    @property
    def head_only(self) -> float | None:
        """The score of the head alone, None where nobody has trained it."""
        return next((value for name, value in self.references.items() if name.startswith(HEAD_ONLY)), None)


def harvest(run: RunInfo, references: Mapping[str, float]) -> Harvest:
    """What a run of this machine has logged so far, beside what it is held against.

    Raises:
        StoreError: its files cannot be read.
    """
    ordered = {name: references[name] for name in sorted(references, key=lambda name: not name.startswith(HEAD_ONLY))}
    return Harvest(
        run.state.main_metric or "eval_loss",
        series_of(run),
        ordered,
        geometry_of(run),
        run.state.n_adapter_params or 0,
        run.state.total_steps or run.state.step,
        None if run.spec is None else run.spec.training.n_eval,
    )


@dataclasses.dataclass(frozen=True)
class RecordedRun:
    """A real run of step 2's spec, made once by `python -m benchmarks.recorded_run` and kept with the code."""

    spec: RunSpec
    harvest: Harvest
    date: str
    machine: str
    command: str
    seconds: float
    curve: tuple[float, ...]

    def label(self) -> str:
        """When and where it was made, how long it took, and by which command."""
        return f"{self.date[:10]}, {self.machine}, {self.seconds:.0f} s, by {self.command}"


@functools.cache
def recorded() -> RecordedRun:
    """The recorded run.

    Raises:
        StoreError: its file is not there or damaged.
    """
    try:
        kept = json.loads(RECORDED.read_text(encoding="utf-8"))
        series = {name: [(int(step), float(value)) for step, value in points] for name, points in kept["series"].items()}
        spec = RunSpec.from_json(json.dumps(kept["spec"]))
        sizes = int(kept["n_adapter_params"]), int(kept["total_steps"]), spec.training.n_eval
        found = Harvest(
            kept["metric"], series, kept["references"], [GeometryMeasurement.of_entry(entry) for entry in kept["geometry"]], *sizes
        )
        return RecordedRun(spec, found, kept["date"], kept["machine"], kept["command"], float(kept["seconds"]), tuple(kept["curve"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        again = "python -m benchmarks.recorded_run"
        raise StoreError(f"The recorded run {RECORDED.name} cannot be read ({error}); make it again: {again}") from error
