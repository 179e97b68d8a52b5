"""What a race left: every arm's loss on every held-out row, and what of the differences is more than chance.

Does not depend on how arms are trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import InputError
from gelora.records import RankPlan

_N_RESAMPLES = 4000


@dataclass(frozen=True)
class Arm:
    """One arm: the name of its plan (a strategy's, say), its learning rate at the peak, its ranks."""

    name: str
    learning_rate: float
    plan: RankPlan


@dataclass(frozen=True)
class Difference:
    """An arm's held-out loss minus the reference's: mean over seeds, 95% interval, p, and p after Holm's correction.

    Negative is better than the reference. All but `value` are None for the reference itself.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_corrected: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the difference stands at 5% after the correction for the number of comparisons."""
        return self.p_corrected is not None and self.p_corrected < 0.05


@dataclass(frozen=True, eq=False)
class RaceResult:
    """A finished race.

    arms: in the order of all arrays; seeds: of the repetitions; training_losses: [n_seeds, n_steps, n_arms]; lost: per seed
    [n_arms, n_held_out], nats or squared errors summed over a row; counted: per seed [n_held_out], tokens or 1; metrics: per
    seed and arm the task's own.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    task: str
    main_metric: str
    higher_is_better: bool
    n_steps: int
    training_losses: np.ndarray
    lost: tuple[np.ndarray, ...]
    counted: tuple[np.ndarray, ...]
    metrics: tuple[list[dict[str, float]], ...]

    def losses(self) -> np.ndarray:
        """Held-out loss of every seed and arm, [n_seeds, n_arms]: the mean over rows, in language modelling over tokens."""
        return np.stack([lost.sum(axis=1) / counted.sum() for lost, counted in zip(self.lost, self.counted, strict=True)])

    def metric(self, arm: int) -> float:
        """The task's main metric of an arm, mean over seeds."""
        name = self.main_metric.removeprefix("eval_")
        return float(np.mean([of_seed[arm][name] for of_seed in self.metrics]))

    def differences(self, reference: int) -> list[Difference]:
        """Each arm against one of them, paired: by held-out row within a seed, then by seed.

        Resampled 4000 times: seeds with replacement, within each seed its held-out rows with replacement, the same rows for all
        arms. The interval is that of the percentiles; p is two-sided, corrected by Holm's method over all other arms.

        Raises:
            InputError: there is no such arm.
        """
        if not 0 <= reference < len(self.arms):
            raise InputError(f"There is no arm {reference}; there are {len(self.arms)}.")
        means = self.losses().mean(axis=0)
        resampled = self._resampled(reference)
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        below = ((resampled <= 0).sum(axis=0) + 1) / (_N_RESAMPLES + 1)
        above = ((resampled >= 0).sum(axis=0) + 1) / (_N_RESAMPLES + 1)
        ps = np.minimum(1.0, 2 * np.minimum(below, above))
        others = [i for i in range(len(self.arms)) if i != reference]
        corrected = dict(zip(others, holm([float(ps[i]) for i in others]), strict=True))
        return [
            Difference(0.0, None, None, None, None)
            if i == reference
            else Difference(float(means[i] - means[reference]), float(low[i]), float(high[i]), float(ps[i]), corrected[i])
            for i in range(len(self.arms))
        ]

    def _resampled(self, reference: int) -> np.ndarray:
        """Differences to the reference in every resample, [n_resamples, n_arms]."""
        rng = np.random.default_rng(0)
        by_seed = []
        for lost, counted in zip(self.lost, self.counted, strict=True):
            n = len(counted)
            times = rng.multinomial(n, np.full(n, 1 / n), size=_N_RESAMPLES)  # how often each row was drawn
            by_seed.append(times @ (lost - lost[reference]).T / (times @ counted)[:, None])
        drawn = rng.integers(len(by_seed), size=(_N_RESAMPLES, len(by_seed)))
        return np.stack(by_seed)[drawn, np.arange(_N_RESAMPLES)[:, None]].mean(axis=1)

    def as_json(self, reference: int) -> dict[str, Any]:
        """Plain values: one entry an arm, with its curve of training losses (mean over seeds)."""
        losses, curves = self.losses().mean(axis=0), self.training_losses.mean(axis=0)
        rows = []
        for i, (arm, difference) in enumerate(zip(self.arms, self.differences(reference), strict=True)):
            rows.append(
                {
                    "arm": arm.name, "learning_rate": arm.learning_rate, "n_adapter_params": arm.plan.n_adapter_params,
                    "block_ranks": {str(block): rank for block, rank in arm.plan.block_ranks().items()}, "eval_loss": float(losses[i]),
                    self.main_metric: self.metric(i), "difference": difference.value, "ci_low": difference.ci_low,
                    "ci_high": difference.ci_high, "p": difference.p, "p_corrected": difference.p_corrected,
                    "training_losses": [float(value) for value in curves[:, i]],
                }
            )  # fmt: skip
        return {
            "task": self.task, "main_metric": self.main_metric, "n_steps": self.n_steps, "seeds": list(self.seeds),
            "reference": self.arms[reference].name, "arms": rows,
        }  # fmt: skip


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected by Holm's method (1979) for as many comparisons, in the order given."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(np.argsort(ps, kind="stable")):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[int(place)] = highest
    return corrected
