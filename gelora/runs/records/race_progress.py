"""How far a race is, as its checkpoints hold it, and the result that follows once every leg is done.

A leg is one seed of one wave of arms: what trains at one time. Does not depend on how arms are trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gelora.record_json import Record
from gelora.records import RaceSpec
from gelora.runs.records.race_result import Arm, RaceResult


@dataclass(frozen=True, eq=False)
class Leg(Record):
    """What the arms of one wave left with one seed.

    training_losses: [n_steps, n_arms]; lost: [n_arms, n_held_out] and counted: [n_held_out], as in `RaceResult`; metrics: of
    each arm the task's own; task, main_metric, higher_is_better: the task's.
    """

    training_losses: np.ndarray
    lost: np.ndarray
    counted: np.ndarray
    metrics: tuple[dict[str, float], ...]
    task: str
    main_metric: str
    higher_is_better: bool


@dataclass(frozen=True, eq=False)
class RaceProgress(Record):
    """The waves of a race, each the number of its arms in their order, and the legs that are done, seed by seed."""

    waves: tuple[int, ...]
    legs: tuple[Leg, ...] = ()

    def places(self, wave: int) -> range:
        """Which arms train in a wave."""
        first = sum(self.waves[:wave])
        return range(first, first + self.waves[wave])

    def to_do(self, race: RaceSpec) -> Iterator[tuple[int, int, range]]:
        """Number, seed and arms of each leg that is not done."""
        for number in range(len(self.legs), len(race.seeds) * len(self.waves)):
            seed, wave = divmod(number, len(self.waves))
            yield number, race.seeds[seed], self.places(wave)

    def result(self, race: RaceSpec) -> RaceResult:
        """The result of a race whose legs are all done."""
        n = len(self.waves)
        by_seed = [self.legs[i : i + n] for i in range(0, len(self.legs), n)]
        first = self.legs[0]
        return RaceResult(
            arms=tuple(Arm(name, rate, race.plans[name]) for name, rate in race.arms),
            seeds=race.seeds,
            task=first.task,
            main_metric=first.main_metric,
            higher_is_better=first.higher_is_better,
            n_steps=race.n_steps,
            training_losses=np.stack([np.concatenate([leg.training_losses for leg in legs], axis=1) for legs in by_seed]),
            lost=tuple(np.concatenate([leg.lost for leg in legs]) for legs in by_seed),
            counted=tuple(legs[0].counted for legs in by_seed),
            metrics=tuple(tuple(found for leg in legs for found in leg.metrics) for legs in by_seed),
        )
