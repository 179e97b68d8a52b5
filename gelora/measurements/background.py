"""Measurements of a server: each runs once in a thread for all tabs, in turn with all other work on models.

Does not depend on how a measurement is carried out, which is in `gelora.measurements.measuring`.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gelora.measurements import durations
from gelora.measurements.jobs import Job, TaskPool
from gelora.measurements.measuring import device_of_work, measure, profile_store
from gelora.measurements.quantity import Quantity
from gelora.measurements.similarity import measured_similarity, similarity_store
from gelora.measurements.spec import MeasurementSpec
from gelora.measurements.store import ResultStore
from gelora.measurements.warming import warm_up
from gelora.records import IdProfile, LayerSimilarity
from gelora.sensitivity import Sensitivity, measure_sensitivity
from gelora.sources import BUNDLED_DATASET


@dataclass(kw_only=True)
class MeasuringJob(Job):
    """One quantity of one measurement; again: what is there already is measured again; now: the step under way in words."""

    wanted: MeasurementSpec
    quantity: Quantity
    again: bool = False
    now: str = ""
    read_model: bool = False

    def progress(self, stage: str, done: int, total: int) -> None:
        """As of any job; remembers whether the model was loaded, that is whether the texts went through it."""
        self.read_model = self.read_model or stage == "Reading the model"
        super().progress(stage, done, total)


class Measurements:
    """All results on this server and the jobs that make new ones; one job works at a time, shared by all tabs."""

    def __init__(self, pool: TaskPool | None = None) -> None:
        self.pool = pool or TaskPool()
        self._profiles = profile_store()
        self._sensitivities = ResultStore("sensitivity", Sensitivity, _merge_sensitivities)
        self._similarities = similarity_store()
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def find(self, wanted: MeasurementSpec) -> IdProfile | None:
        """All that is measured of it so far, from memory or disk, or None."""
        return self._profiles.find(wanted.key())

    def add(self, wanted: MeasurementSpec, profile: IdProfile) -> None:
        """Take a profile that was measured elsewhere for this measurement's.

        Raises:
            InputError: what is measured here already has other neighbors, metric or half-samples.
        """
        self._profiles.add(wanted.key(), profile)

    def find_sensitivity(self, wanted: MeasurementSpec, estimator: str) -> Sensitivity | None:
        """How one estimator's curve depends on the choices, as far as it is measured, or None."""
        return self._sensitivities.find(wanted.key(estimator))

    def find_similarity(self, wanted: MeasurementSpec) -> LayerSimilarity | None:
        """How alike the layers are, or None."""
        return self._similarities.find(wanted.key())

    def missing(self, wanted: MeasurementSpec, quantity: Quantity) -> tuple[str, ...]:
        """Those names of the quantity that are not measured yet."""
        if quantity.kind == "similarity":
            return quantity.names if self.find_similarity(wanted) is None else ()
        if quantity.kind == "sensitivity":
            return quantity.missing(None, self.find_sensitivity(wanted, quantity.focus))
        return quantity.missing(self.find(wanted), None)

    def jobs(self, wanted: MeasurementSpec) -> list[MeasuringJob]:
        """The jobs of this measurement, under way or ended, the oldest first."""
        return [job for job in self.pool.jobs("measure", wanted.key()) if isinstance(job, MeasuringJob)]

    def start(self, wanted: MeasurementSpec, quantity: Quantity, again: bool = False) -> MeasuringJob | None:
        """Start measuring what the quantity lacks, or join the job that does; None when nothing is missing.

        again: measure all of it, whatever is there.
        """
        names = quantity.names if again else self.missing(wanted, quantity)
        if not names:
            return None
        key = ("measure", wanted.key())
        with self._lock:
            live = [job for job in self.jobs(wanted) if not job.is_over and not job.is_cancelled]
            live = [job for job in live if (job.quantity.kind, job.quantity.focus) == (quantity.kind, quantity.focus)]
            left = tuple(name for name in names if not any(name in job.quantity.names for job in live))
            if not left:
                return live[-1]
            self.pool.forget(*key)  # what an earlier one ended with is no longer news
            job = MeasuringJob(wanted=wanted, quantity=replace(quantity, names=left), again=again)
            number = next(self._numbers)
            return self.pool.start((*key, number), self._measure, job, "The measurement", "fewer samples or a smaller model")

    def _measure(self, job: MeasuringJob) -> None:
        with self.pool.turn(job):
            warm_up().wait(job.progress, data_too=job.wanted.data.dataset == BUNDLED_DATASET)
        with device_of_work() as device:
            if job.quantity.kind == "sensitivity":
                self._measure_sensitivity(job, device)
                return
            if job.quantity.kind == "similarity":
                with self._turn(job, job.quantity):
                    measured_similarity(job.wanted, self._similarities, again=job.again, device=device, progress=job.progress)
                return
            with durations.noted(job.wanted, job.quantity, lambda: job.read_model):
                measure(
                    self._profiles, job.wanted, job.quantity,
                    again=job.again, device=device, turn=lambda step: self._turn(job, step), progress=job.progress,
                )  # fmt: skip

    @contextlib.contextmanager
    def _turn(self, job: MeasuringJob, step: Quantity | None) -> Iterator[None]:
        job.now = "" if step is None else step.words()
        with self.pool.turn(job):
            yield
        job.n_results += step is not None

    def _measure_sensitivity(self, job: MeasuringJob, device: str) -> None:
        choices = {name: getattr(job.wanted, name) for name in ("n_samples", "seed", "distinct")} | job.wanted.extraction()
        for step in job.quantity.steps():
            with self._turn(job, step):
                result = measure_sensitivity(
                    job.wanted.model, job.wanted.data, **choices,
                    estimator=step.focus, vary=step.names, device=device, progress=job.progress,
                )  # fmt: skip
                self._sensitivities.add(job.wanted.key(step.focus), result)


def _merge_sensitivities(one: Sensitivity, other: Sensitivity) -> Sensitivity:
    return replace(
        other,
        base={**one.base, **other.base},
        curves={**one.curves, **other.curves},
        half_widths={**one.half_widths, **other.half_widths},
        notes={**one.notes, **other.notes},
    )
