"""Scores of a model's matrices (gradient, Fisher, EVA, spectrum), measured in the background and kept for all tabs.

Knows when that work is done and where its answers lie; draws nothing.
"""

import hashlib
import json
import threading
from dataclasses import asdict, dataclass

import streamlit as st

from app.cache import measurements, preparation, state_of
from app.jobs import WAITING, Job
from app.shelf import Shelf
from gelora.errors import DataError, InputError
from gelora.ranks import STRATEGIES, module_scores
from gelora.records import SCORE_STRATEGIES, DataChoice, ModuleScores
from gelora.sources import BUNDLED_DATASET, model_structure, select_modules

_FORMAT = 1  # raise it when the same choices would now give other scores


@dataclass(frozen=True)
class Scoring:
    """What decides the scores; two equal ones give the same."""

    model: str
    data: DataChoice
    targets: str
    max_length: int


class Scorer:
    """The scores this server knows and the work under way, one piece at a time with all other measurements."""

    def __init__(self) -> None:
        self._shelf = Shelf("scores", ModuleScores, lambda old, new: new)
        self._lock = threading.Lock()
        self._jobs: dict[Scoring, Job] = {}

    def find(self, wanted: Scoring, strategy: str) -> ModuleScores | None:
        """The scores by one strategy, from memory or disk, or None."""
        return self._shelf.find(_key(wanted, strategy))

    def missing(self, wanted: Scoring) -> list[str]:
        """The strategies whose scores are not measured."""
        return [strategy for strategy in SCORE_STRATEGIES if self.find(wanted, strategy) is None]

    def job(self, wanted: Scoring) -> Job | None:
        """The work under way or ended for these choices, or None."""
        with self._lock:
            return self._jobs.get(wanted)

    def start(self, wanted: Scoring) -> Job:
        """Begin to measure what is missing, or join what is under way."""
        with self._lock:
            job = self._jobs.get(wanted)
            if job is not None and not job.is_over:
                return job
            job = self._jobs[wanted] = Job(wanted)
        threading.Thread(target=self._measure, args=(wanted, job), name="score-matrices", daemon=True).start()
        return job

    def _measure(self, wanted: Scoring, job: Job) -> None:
        with job.to_its_end("The scoring", "fewer target modules or a smaller model"):
            with measurements().turns.next(lambda: job.progress(WAITING, 0, 0)):
                preparation().wait(job.progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
            modules = select_modules(model_structure(wanted.model), wanted.targets)
            reasons = []
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
            if device == "cuda":
                torch.cuda.empty_cache()  # a fine-tuning run may want the memory next
            if reasons:
                raise DataError(" ".join(reasons))


def _key(wanted: Scoring, strategy: str) -> str:
    identity = [_FORMAT, asdict(wanted), state_of(wanted.model), state_of(wanted.data.dataset), strategy]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


@st.cache_resource(show_spinner=False)
def scorer() -> Scorer:
    """The server's one scorer."""
    return Scorer()
