"""Layers opened in the background, once for all tabs; the last ones are kept in memory.

Knows when a layer is opened and what that may cost; draws nothing.
"""

import contextlib
from dataclasses import asdict, dataclass

import streamlit as st

from app.cache import key_of, measurements, state_of
from app.jobs import WAITING, Job
from app.preparation import preparation
from app.state import Measurement
from app.works import Answers, Works
from gelora.opened_layer import OpenedLayer, open_layer
from gelora.sources import BUNDLED_DATASET, extract_hidden_states, load_sample, states_kept

_KEPT = 16  # opened layers; the one looked at longest ago goes first


@dataclass(frozen=True)
class Opening:
    """Which layer of which measurement."""

    measurement: Measurement
    layer: int


@dataclass(kw_only=True)
class OpeningJob(Job):
    """One layer being opened. may_run_model: also where the states are not kept; lacks_states: it ended since they are not."""

    wanted: Opening
    may_run_model: bool
    lacks_states: bool = False


class Openings(Works[str, OpeningJob]):
    """The layers that this server has opened and those being opened."""

    def __init__(self) -> None:
        super().__init__("open-layer")
        self._opened: Answers[str, OpenedLayer] = Answers()

    def find(self, wanted: Opening) -> OpenedLayer | None:
        """The opened layer, or None."""
        return self._opened.find(_key(wanted))

    def job(self, wanted: Opening) -> OpeningJob | None:
        """The work under way, or how it ended without a layer; None when there was none."""
        return self._job(_key(wanted))

    def start(self, wanted: Opening, may_run_model: bool = False) -> OpeningJob:
        """Begin, or join what is under way. Kept states are read at once; only a pass through the model waits for its turn."""
        key = _key(wanted)
        return self._begin(key, lambda: OpeningJob(wanted=wanted, may_run_model=may_run_model), lambda job: self._run(key, job))

    def _run(self, key: str, job: OpeningJob) -> None:
        with job.to_its_end("Opening the layer", "fewer samples or a smaller model"):
            opened = _open(job)
            if opened is None:
                job.lacks_states = True
                return
            self._opened.add(key, opened, _KEPT)
            self._forget(key)


def _open(job: OpeningJob) -> OpenedLayer | None:
    wanted, progress = job.wanted.measurement, job.progress
    progress("Reading the texts", 0, 0)
    sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=progress)
    kept = states_kept(wanted.model, sample, **wanted.extraction()) is not None
    if not kept and not job.may_run_model:
        return None
    if not kept or wanted.pooling == "tokens":  # the one needs torch, the other a tokenizer
        preparation().wait(progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
    with contextlib.nullcontext() if kept else measurements().turns.next(lambda: progress(WAITING, 0, 0)):
        states = extract_hidden_states(wanted.model, sample, **wanted.extraction(), device="cpu" if kept else "auto", progress=progress)
    return open_layer(states, sample, job.wanted.layer, progress=progress)


def _key(wanted: Opening) -> str:
    measured = wanted.measurement
    return key_of(asdict(measured), state_of(measured.data.dataset), state_of(measured.model), wanted.layer)


@st.cache_resource(show_spinner=False)
def openings() -> Openings:
    """The server's one store of opened layers."""
    return Openings()
