"""Three demonstrations on bundled data, each one click: what they choose, and the one that measures first and then trains.

Draws nothing: `pages/home.py` draws the buttons.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app import state
from app.shared.cache import measurements, pool
from gelora.errors import Cancelled, InputError, RunUnderWay
from gelora.measurements import Job, MeasurementSpec, Quantity
from gelora.ranks import allocate_ranks
from gelora.records import RunSpec, TrainingConfig
from gelora.runs import keep_ready, start_run

_RISES = {"n": 500, "estimators": ["twonn", "mle"], "offset": 2}  # a sample of the bundled sentences at which some point estimates rise
TRAINING = TrainingConfig(n_train=1200, n_eval=200, epochs=1.0, max_length=64, probe_size=128)


@dataclass(frozen=True)
class Demo:
    """title: the button; words: what will be seen; takes: how long, from nothing and when all is measured; page: where it leads.

    choices: those that are no defaults.
    """

    title: str
    words: str
    takes: str
    takes_measured: str
    page: str
    icon: str
    choices: Mapping[str, object]


DEMOS = {
    "curve": Demo(
        "See the curve",
        "1,000 sentences go through all six blocks of MiniLM; four estimators say how many dimensions each layer fills.",
        "about 20 s on two CPU cores", "measured already: opens at once", "layers", ":material/stacked_line_chart:", {},
    ),
    "offset": Demo(
        "Choose the offset",
        "500 sentences: by TwoNN's point estimates some blocks rise, within their intervals. Drag the offset and see what rank costs.",
        "about 20 s on two CPU cores", "measured already: opens at once", "ranks", ":material/view_comfy_alt:", _RISES,
    ),
    "train": Demo(
        "Train and watch",
        "Those ranks are trained on 1,200 sentences, to tell which package each is from; loss, score and geometry move live.",
        "about a minute on two CPU cores", "about 40 s on two CPU cores", "finetune", ":material/model_training:", _RISES,
    ),
}  # fmt: skip


def choose(name: str) -> None:
    """Set the session's choices to those of a demonstration; a button's callback, before any widget is drawn."""
    kept = {"run", "teach", *state.choices_of("calibration")}  # choices that no demonstration touches
    for key, field in state.FIELDS.items():
        if key not in kept:
            value = DEMOS[name].choices.get(key, field.default)
            st.session_state[key] = value.copy() if isinstance(value, list | dict) else value


def is_measured(name: str) -> bool:
    """Whether the curve that a demonstration begins with is there."""
    chosen = {key: DEMOS[name].choices.get(key, field.default) for key, field in state.FIELDS.items()}
    wanted = state.measurement_of(chosen)
    return measurements().find(wanted) is not None


@dataclass(kw_only=True)
class TrainingDemo(Job):
    """A measurement and the run that follows it; run_id: once it is started."""

    run_id: str | None = None


def start(measurement: MeasurementSpec, wanted: Quantity, offset: int) -> TrainingDemo:
    """Begin in the background: measure what is missing, then start the run, or find the one under way; who asks meanwhile joins it."""
    work = functools.partial(_train, measurement, wanted, offset)
    return pool().start(("demo",), work, TrainingDemo(stage="Beginning"), "The demonstration", "a smaller model")


def _train(measurement: MeasurementSpec, wanted: Quantity, offset: int, job: TrainingDemo) -> None:
    measuring = measurements().start(measurement, wanted)
    if measuring is not None:
        keep_ready()  # while it is measured
    while measuring is not None and not measuring.wait(0.1):
        try:
            job.progress(measuring.stage, measuring.done, measuring.total)
        except Cancelled:
            measuring.cancel()
            raise
    if measuring is not None and measuring.error:
        raise InputError(measuring.error)
    profile = measurements().find(measurement)
    if profile is None:
        raise InputError("The curve that the ranks follow from is not there; press the button again.")
    job.progress("Starting the run's process", 0, 0)
    plan = allocate_ranks(profile, "attention", offset)
    spec = RunSpec(measurement.model, measurement.data, plan, TRAINING)
    try:
        job.run_id = start_run(spec)
    except RunUnderWay as equal:
        job.run_id = equal.run_id
