"""Scores of a model's matrices (gradient, Fisher, EVA, spectrum), measured in the background and kept for all tabs.

Knows when that work is done and where its answers lie; draws nothing.
"""

import functools
from dataclasses import asdict, dataclass

import streamlit as st

from app.shared.cache import pool
from gelora.errors import DataError, InputError
from gelora.measurements import Job, ResultStore, device_of_work, file_state, key_of, warm_up
from gelora.ranks import STRATEGIES, module_scores
from gelora.records import SCORE_DEFINITIONS, SCORE_STRATEGIES, DataChoice, ModuleScores
from gelora.sources import BUNDLED_DATASET, model_structure, select_modules


@dataclass(frozen=True)
class Scoring:
    """What decides the scores; two equal ones give the same."""

    model: str
    data: DataChoice
    targets: str
    max_length: int


@st.cache_resource(show_spinner=False)
def _scores() -> ResultStore[ModuleScores]:
    return ResultStore("scores", ModuleScores, lambda old, new: new)


def scores_of(wanted: Scoring, strategy: str) -> ModuleScores | None:
    """The scores by one strategy, from memory or disk, or None."""
    return _scores().find(_key(wanted, strategy))


def missing(wanted: Scoring) -> list[str]:
    """The strategies whose scores are not measured."""
    return [strategy for strategy in SCORE_STRATEGIES if scores_of(wanted, strategy) is None]


def job_of(wanted: Scoring) -> Job | None:
    """The work under way or ended for these choices, or None."""
    return pool().job("score-matrices", wanted)


def start(wanted: Scoring) -> None:
    """Begin to measure what is missing, or join what is under way."""
    pool().start(
        ("score-matrices", wanted), functools.partial(_score, wanted), Job(), "The scoring", "fewer target modules or a smaller model"
    )


def _score(wanted: Scoring, job: Job) -> None:
    with pool().turn(job):
        warm_up().wait(job.progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
    modules = select_modules(model_structure(wanted.model), wanted.targets)
    reasons = []
    with device_of_work() as device:
        for strategy in missing(wanted):
            with pool().turn(job):
                try:
                    scores = module_scores(
                        strategy, wanted.model, wanted.data, modules, max_length=wanted.max_length, device=device, progress=job.progress
                    )
                except (DataError, InputError) as error:  # one that this data does not allow does not end the others
                    reasons.append(f"{STRATEGIES[strategy].label}: {error}")
                    continue
            _scores().add(_key(wanted, strategy), scores)
            job.n_results += 1
    if reasons:
        raise DataError(" ".join(reasons))


def _key(wanted: Scoring, strategy: str) -> str:
    return key_of(SCORE_DEFINITIONS[strategy], asdict(wanted), file_state(wanted.model), file_state(wanted.data.dataset), strategy)
