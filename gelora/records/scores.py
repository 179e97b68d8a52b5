"""The record of module scores: one a matrix, and EVA's spectrum of its inputs."""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from gelora.errors import InputError
from gelora.record_json import Record, read_only
from gelora.records.checks import check_choice, check_range, check_whole

SCORE_DEFINITIONS = {"gradient": 2, "fisher": 1, "eva": 1, "weight-spectrum": 1, "look-back": 1}
"""Strategy -> which definition of its score is in force: raised when the same model and data would now give other scores."""
SCORE_STRATEGIES = tuple(name for name in SCORE_DEFINITIONS if name != "look-back")
"""Those that are measured of a model and data; look-back reads a trained adapter."""
_WITH_COMPONENTS = ("eva", "look-back")


@dataclass(frozen=True, slots=True, eq=False)
class ModuleScores(Record):
    """How much each matrix of a model matters by one strategy; the scores sum to 1.

    Names are those of `TargetModule`. components: for eva, the share of the variance of a module's inputs along each of
    its first principal directions, float64 [n_components], descending; for look-back, the share of the squared singular values of
    the whole adapter that each of the module's own has; empty for the other strategies. n_rows: rows of
    data that were used, 0 where none are needed. detail: how it was computed, one sentence. seconds: what this strategy
    took, loading model and data not counted. definition: that of SCORE_DEFINITIONS by which it was measured; any other,
    as in a file of an earlier version, is refused, so that scores of two definitions never meet. The gradient's first
    averaged |W * dL/dW| over batches, its second takes |W * G| of the mean gradient G.
    """

    strategy: str
    scores: dict[str, float]
    components: dict[str, np.ndarray]
    model_id: str
    revision: str
    n_rows: int
    detail: str
    seconds: float = field(metadata={"is_timing": True})
    definition: int = 1  # what a file that says nothing of it was measured by

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, tuple(SCORE_DEFINITIONS))
        if self.definition != SCORE_DEFINITIONS[self.strategy]:
            raise InputError(
                f"These scores by {self.strategy} are of definition {self.definition}, which another version of this tool measured; "
                f"the present one is definition {SCORE_DEFINITIONS[self.strategy]}. Measure them again."
            )
        check_whole("n_rows", self.n_rows, 0)
        for name, score in self.scores.items():
            check_range(f"The score of {name}", score, 0.0, 1.0)
        total = math.fsum(self.scores.values())
        if not math.isclose(total, 1.0, rel_tol=1e-9):
            raise InputError(f"The scores sum to {total}; they must sum to 1, each at least 0.")
        wanted = set(self.scores) if self.strategy in _WITH_COMPONENTS else set()
        if set(self.components) != wanted:
            legal = (
                f"{self.strategy} needs the components of exactly the modules that have a score"
                if wanted
                else "only eva and look-back have any"
            )
            raise InputError(f"The scores by {self.strategy} have the components of {len(self.components)} modules; {legal}.")
        for name, ratios in self.components.items():
            falls = ratios.ndim == 1 and len(ratios) > 0 and all(a >= b for a, b in itertools.pairwise(ratios.tolist()))
            if not (falls and np.isfinite(ratios).all() and ratios[-1] >= 0):
                raise InputError(f"The components of {name} must be one or more numbers of at least 0, none above the one before it.")
        object.__setattr__(self, "components", {name: read_only(ratios, np.float64) for name, ratios in self.components.items()})
