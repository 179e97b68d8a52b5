"""Layers opened in the background, once for all tabs; the last ones are kept in memory.

Knows when a layer is opened and what that may cost; draws nothing.
"""

import contextlib
from dataclasses import dataclass

from app.shared.cache import pool
from gelora.measurements import Job, MeasurementSpec, warm_up
from gelora.opened_layer import OpenedLayer, open_layer
from gelora.sources import BUNDLED_DATASET, extract_hidden_states, load_sample, states_kept


@dataclass(frozen=True)
class Opening:
    """Which layer of which measurement."""

    measurement: MeasurementSpec
    layer: int

    @property
    def key(self) -> tuple[str, str]:
        """What the work in the background is kept under."""
        return "open-layer", self.measurement.key(self.layer)


@dataclass(kw_only=True)
class OpeningJob(Job):
    """One layer being opened. may_run_model: also where the states are not kept; lacks_states: it ended since they are not."""

    wanted: Opening
    may_run_model: bool
    lacks_states: bool = False


def opened(wanted: Opening) -> OpenedLayer | None:
    """The opened layer, or None."""
    found: OpenedLayer | None = pool().result(*wanted.key)
    return found


def job_of(wanted: Opening) -> OpeningJob | None:
    """The work under way, or how it ended; None when there was none."""
    job = pool().job(*wanted.key)
    return job if isinstance(job, OpeningJob) else None


def start(wanted: Opening, may_run_model: bool = False) -> None:
    """Begin, or join what is under way. Kept states are read at once; only a pass through the model waits for its turn."""
    job = OpeningJob(wanted=wanted, may_run_model=may_run_model)
    pool().start(wanted.key, _open, job, "Opening the layer", "fewer samples or a smaller model")


def _open(job: OpeningJob) -> OpenedLayer | None:
    wanted, progress = job.wanted.measurement, job.progress
    progress("Reading the texts", 0, 0)
    sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=progress)
    kept = states_kept(wanted.model, sample, **wanted.extraction()) is not None
    if not kept and not job.may_run_model:
        job.lacks_states = True
        return None
    if not kept or wanted.pooling == "tokens":  # the one needs torch, the other a tokenizer
        warm_up().wait(progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
    with contextlib.nullcontext() if kept else pool().turn(job):
        states = extract_hidden_states(wanted.model, sample, **wanted.extraction(), device="cpu" if kept else "auto", progress=progress)
    return open_layer(states, sample, job.wanted.layer, progress=progress)
