"""Scores of a model's matrices (gradient, Fisher, EVA, spectrum), measured in the background and kept for all tabs.

Knows when that work is done and where its answers lie; draws nothing.
"""

from dataclasses import asdict, dataclass

import streamlit as st

from app.cache import device_of_work, key_of, measurements, state_of
from app.jobs import WAITING, Job
from app.preparation import preparation
from app.shelf import Shelf
from app.works import Works
from gelora.errors import DataError, InputError
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


class Scorer(Works[Scoring, Job]):
    """The scores this server knows and the work under way, one piece at a time with all other measurements."""

    def __init__(self) -> None:
        super().__init__("score-matrices")
        self._shelf = Shelf("scores", ModuleScores, lambda old, new: new)

    def find(self, wanted: Scoring, strategy: str) -> ModuleScores | None:
        """The scores by one strategy, from memory or disk, or None."""
        return self._shelf.find(_key(wanted, strategy))

    def missing(self, wanted: Scoring) -> list[str]:
        """The strategies whose scores are not measured."""
        return [strategy for strategy in SCORE_STRATEGIES if self.find(wanted, strategy) is None]

    def job(self, wanted: Scoring) -> Job | None:
        """The work under way or ended for these choices, or None."""
        return self._job(wanted)

    def start(self, wanted: Scoring) -> Job:
        """Begin to measure what is missing, or join what is under way."""
        return self._begin(wanted, lambda: Job(wanted), lambda job: self._measure(wanted, job))

    def _measure(self, wanted: Scoring, job: Job) -> None:
        with job.to_its_end("The scoring", "fewer target modules or a smaller model"):
            with measurements().turns.next(lambda: job.progress(WAITING, 0, 0)):
                preparation().wait(job.progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
            modules = select_modules(model_structure(wanted.model), wanted.targets)
            reasons = []
            with device_of_work() as device:
                for strategy in self.missing(wanted):
                    with measurements().turns.next(lambda: job.progress(WAITING, 0, 0)):
                        try:
                            scores = module_scores(
                                strategy, wanted.model, wanted.data, modules,
                                max_length=wanted.max_length, device=device, progress=job.progress,
                            )  # fmt: skip
                        except (DataError, InputError) as error:  # one that this data does not allow does not end the others
                            reasons.append(f"{STRATEGIES[strategy].label}: {error}")
                            continue
                    self._shelf.add(_key(wanted, strategy), scores)
                    job.n_results += 1
            if reasons:
                raise DataError(" ".join(reasons))


def _key(wanted: Scoring, strategy: str) -> str:
    return key_of(SCORE_DEFINITIONS[strategy], asdict(wanted), state_of(wanted.model), state_of(wanted.data.dataset), strategy)


@st.cache_resource(show_spinner=False)
def scorer() -> Scorer:
    """The server's one scorer."""
    return Scorer()
