"""Long work of the dashboard, done once for all tabs: measurements in the background, what they gave kept in memory and on disk.

Knows when work must be done and who waits for it; draws nothing.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

import streamlit as st

from app import pace
from app.jobs import WAITING, MeasuringJob, Task, Turns
from app.kept import Kept
from app.preparation import preparation
from app.shelf import Shelf
from app.state import Measurement
from gelora.geometry import add_baselines, add_scale_curves, estimate_profile, merge_profiles, unlike_layers
from gelora.records import HiddenStates, IdProfile, ModelStructure
from gelora.sensitivity import Sensitivity, measure_sensitivity
from gelora.sources import (
    BUNDLED_DATASET,
    extract_hidden_states,
    head_size,
    load_sample,
    model_structure,
)

_FORMAT = 5  # raise it when the same measurement would now give other numbers


class Measurements:
    """All results that this server knows and the jobs that make new ones; one job works at a time, for all tabs."""

    def __init__(self) -> None:
        self._profiles = Shelf("profiles", IdProfile, _merge_profiles)
        self._sensitivities = Shelf("sensitivity", Sensitivity, _merge_sensitivities)
        self._lock = threading.Lock()
        self.turns = Turns()  # also of work on models that is no measurement of dimensions
        self._jobs: dict[str, list[MeasuringJob]] = {}

    def find(self, measurement: Measurement) -> IdProfile | None:
        """All that is measured of it so far, from memory or disk, or None."""
        return self._profiles.find(_key(measurement))

    def add(self, measurement: Measurement, profile: IdProfile) -> None:
        """Take a profile that was measured elsewhere for this measurement's.

        Raises:
            InputError: what is measured here already has other neighbors, metric or half-samples.
        """
        self._profiles.add(_key(measurement), profile)

    def find_sensitivity(self, measurement: Measurement, estimator: str) -> Sensitivity | None:
        """What is known of how one estimator's curve hangs on the choices, or None."""
        return self._sensitivities.find(_key(measurement, estimator))

    def missing(self, measurement: Measurement, task: Task) -> tuple[str, ...]:
        """Those names of the task that are not measured yet."""
        if task.kind == "sensitivity":
            return task.missing(None, self.find_sensitivity(measurement, task.focus))
        return task.missing(self.find(measurement), None)

    def jobs(self, measurement: Measurement) -> list[MeasuringJob]:
        """The jobs of this measurement, under way or ended, the oldest first."""
        with self._lock:
            return list(self._jobs.get(_key(measurement), []))

    def start(self, measurement: Measurement, task: Task, again: bool = False) -> MeasuringJob | None:
        """Begin to measure what the task lacks, or join the job that is at it; None when nothing is missing.

        again: measure all of it, whatever is there.
        """
        names = task.names if again else self.missing(measurement, task)
        if not names:
            return None
        with self._lock:
            jobs = self._jobs.setdefault(_key(measurement), [])
            live = [j for j in jobs if not j.is_over and not j.is_cancelled and (j.task.kind, j.task.focus) == (task.kind, task.focus)]
            left = tuple(name for name in names if not any(name in job.task.names for job in live))
            if not left:
                return live[-1]
            jobs[:] = [job for job in jobs if not job.is_over]  # what an earlier one ended with is no longer news
            job = MeasuringJob(wanted=measurement, task=replace(task, names=left), again=again)
            jobs.append(job)
        threading.Thread(target=self._run, args=(job,), name=f"measure-{task.kind}", daemon=True).start()
        return job

    def _run(self, job: MeasuringJob) -> None:
        with job.to_its_end("The measurement", "fewer samples or a smaller model"):
            self._measure(job)

    def _turn(self, job: MeasuringJob, step: Task | None = None) -> AbstractContextManager[None]:
        job.now = "" if step is None else step.words()
        return self.turns.next(lambda: job.progress(WAITING, 0, 0))

    def _measure(self, job: MeasuringJob) -> None:
        with self._turn(job):
            preparation().wait(job.progress, data_too=job.wanted.data.dataset == BUNDLED_DATASET)
        with device_of_work() as device:
            if job.task.kind == "sensitivity":
                self._measure_sensitivity(job, device)
            else:
                with pace.noted(job):
                    self._measure_profile(job, device)

    def _measure_profile(self, job: MeasuringJob, device: str) -> None:
        key, kind = _key(job.wanted), job.task.kind
        with self._turn(job):
            states = _states(job, device)
        profile, names = self.find(job.wanted), job.task.names
        if kind == "scales":
            names = tuple(dict.fromkeys([*names, "plateau"]))  # what is marked on GRIDE's scale curve
        if profile is not None and unlike_layers(profile, states) is not None:  # model or data are others by now
            profile, names = None, tuple(dict.fromkeys([*names, *profile.estimates]))
        lacking = names if job.again and kind == "estimators" else Task("estimators", names).missing(profile, None)
        for step in Task("estimators", lacking).steps():
            with self._turn(job, step):
                result = estimate_profile(states, step.names, device=device, progress=job.progress)
            self._profiles.add(key, result)
            profile = result
            job.n_results += 1
        if kind == "estimators":
            return
        add = add_baselines if kind == "baselines" else add_scale_curves
        for step in job.task.steps():
            with self._turn(job, step):
                result = add(states, only(self._profiles.find(key) or profile, step.names), device=device, progress=job.progress)
            self._profiles.add(key, result)
            job.n_results += 1

    def _measure_sensitivity(self, job: MeasuringJob, device: str) -> None:
        choices = {name: getattr(job.wanted, name) for name in ("n_samples", "seed", "distinct")} | job.wanted.extraction()
        for step in job.task.steps():
            with self._turn(job, step):
                result = measure_sensitivity(
                    job.wanted.model, job.wanted.data, **choices,
                    estimator=step.focus, vary=step.names, device=device, progress=job.progress,
                )  # fmt: skip
            self._sensitivities.add(_key(job.wanted, step.focus), result)
            job.n_results += 1


@contextlib.contextmanager
def device_of_work() -> Iterator[str]:
    """The device for work on a model, "cuda" where there is one; after work that went well its cached memory is given back."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    yield device
    if device == "cuda":
        torch.cuda.empty_cache()  # a fine-tuning run may want the memory next


def only(profile: IdProfile, names: Sequence[str]) -> IdProfile:
    """The profile with those of its estimators that are in `names`, in that order; the same record each time."""
    return _RESTRICTED.get(profile, tuple(names), lambda: _only(profile, names))


_RESTRICTED: Kept[IdProfile] = Kept(32)


def _only(profile: IdProfile, names: Sequence[str]) -> IdProfile:
    held = [name for name in names if name in profile.estimates]
    scales = {key: curve for key, curve in profile.scale_curves.items() if curve.kind == "neighbors" or curve.estimator in held}
    return replace(
        profile,
        estimates={name: profile.estimates[name] for name in held},
        subsamples={name: profile.subsamples[name] for name in held if name in profile.subsamples},
        scale_curves=scales,
        baselines={kind: {n: c for n, c in curves.items() if n in held} for kind, curves in profile.baselines.items()},
    )


def _states(job: MeasuringJob, device: str) -> HiddenStates:
    wanted = job.wanted
    sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=job.progress)
    return extract_hidden_states(wanted.model, sample, **wanted.extraction(), device=device, progress=job.progress)


def _merge_profiles(old: IdProfile, new: IdProfile) -> IdProfile:
    """Both as one; the new one alone when the old one is of a model or of data that have changed since."""
    return merge_profiles(old, new) if unlike_layers(old, new) is None else new


def _merge_sensitivities(one: Sensitivity, other: Sensitivity) -> Sensitivity:
    return replace(
        other,
        base={**one.base, **other.base},
        curves={**one.curves, **other.curves},
        half_widths={**one.half_widths, **other.half_widths},
        notes={**one.notes, **other.notes},
    )


def _key(measurement: Measurement, estimator: str = "") -> str:
    return key_of(_FORMAT, asdict(measurement), state_of(measurement.data.dataset), state_of(measurement.model), estimator)


def key_of(*identity: object) -> str:
    """A short name for what an answer hangs on, given as values that JSON can write."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def state_of(name: str) -> list[object]:
    """Size and time of a local file or of a local model's files, so that a changed one is measured again."""
    path = Path(name).expanduser()
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if path.is_dir() and (path / "config.json").is_file():
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(path.iterdir()) if file.is_file()]
    return []


@st.cache_resource(show_spinner=False)
def measurements() -> Measurements:
    """The server's one store of measurements."""
    return Measurements()


@st.cache_data(show_spinner="Reading the model's configuration ...", max_entries=32)
def structure(model: str) -> ModelStructure:
    """A model's structure from its configuration alone.

    Raises:
        GeloraError: the model is unknown or unreachable, or has no shape that can be adapted.
    """
    return model_structure(model)


@st.cache_data(show_spinner="Counting the head's parameters ...", max_entries=32)
def head_parameters(model: str, n_labels: int) -> int:
    """Parameters of a classifier's head, trained and saved beside the adapter, from the configuration alone.

    Raises:
        GeloraError: the model is unknown or unreachable, or has no classifier.
    """
    return head_size(model, n_labels)
