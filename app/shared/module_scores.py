"""Module scores (gradient, Fisher, EVA, spectrum) of a model, measured in the background and kept for all tabs.

Draws nothing.
"""

from dataclasses import asdict, dataclass

from app.shared.background import Background
from app.shared.cache import pool, store
from gelora.errors import DataError, InputError
from gelora.measurements import Job, ResultStore, device_of_work, file_state, key_of, warm_up
from gelora.ranks import STRATEGIES, module_scores
from gelora.records import SCORE_DEFINITIONS, SCORE_STRATEGIES, DataChoice, ModuleScores
from gelora.sources import BUNDLED_DATASET, model_structure, select_modules


@dataclass(frozen=True)
class ScoresSpec:
    """What decides the scores; two equal ones give the same."""

    model: str
    data: DataChoice
    targets: str
    max_length: int


def _scores() -> ResultStore[ModuleScores]:
    return store("scores", ModuleScores)


def scores_of(wanted: ScoresSpec, strategy: str) -> ModuleScores | None:
    """The scores by one strategy, from memory or disk, or None."""
    return _scores().find(_key(wanted, strategy))


def look_back_of(plan_digest: str) -> ModuleScores | None:
    """What the trained adapter used whose ranks were imported as the plan of that digest, or None."""
    return _scores().find(_look_back_key(plan_digest)) if plan_digest else None


def keep_look_back(plan_digest: str, scores: ModuleScores) -> None:
    """Keep what an imported adapter used, so that a link to its plan has it too."""
    _scores().add(_look_back_key(plan_digest), scores)


def _look_back_key(plan_digest: str) -> str:
    return key_of(SCORE_DEFINITIONS["look-back"], "look-back", plan_digest)


def missing(wanted: ScoresSpec) -> list[str]:
    """The strategies whose scores are not measured."""
    return [strategy for strategy in SCORE_STRATEGIES if scores_of(wanted, strategy) is None]


def _measure(wanted: ScoresSpec, job: Job) -> None:
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


MEASURING = Background("score-modules", _measure, "Scoring the modules", "fewer target modules or a smaller model")
"""Measures what is missing of a `ScoresSpec`; the answers are in the store."""


def _key(wanted: ScoresSpec, strategy: str) -> str:
    return key_of(SCORE_DEFINITIONS[strategy], asdict(wanted), file_state(wanted.model), file_state(wanted.data.dataset), strategy)
