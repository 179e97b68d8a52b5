"""What a race left: every arm's loss on every held-out row, and what of the differences is more than chance.

Does not depend on how arms are trained.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gelora.errors import InputError, StoreError
from gelora.home import write_atomically
from gelora.record_json import Record
from gelora.records import RankPlan
from gelora.runs.records.paired_looks import best_arm

_N_RESAMPLES = 4000
_FILE = "race.json"


@dataclass(frozen=True, eq=False)
class Arm(Record):
    """One arm: the name of its plan (a strategy's, say), its learning rate at the peak, its ranks."""

    name: str
    learning_rate: float
    plan: RankPlan


@dataclass(frozen=True)
class Difference:
    """An arm's held-out loss minus the reference's: mean over seeds, 95% interval, p, and p after Holm's correction.

    Negative is better than the reference. All but `value` are None for the reference itself, and where one of the two has
    diverged, whose `value` is NaN.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_corrected: float | None

    @property
    def word(self) -> str:
        """`better` or `worse` than the reference."""
        return "better" if self.value < 0 else "worse"

    @property
    def is_significant(self) -> bool:
        """Whether the difference stands at 5% after the correction for the number of comparisons."""
        return self.p_corrected is not None and self.p_corrected < 0.05


@dataclass(frozen=True, eq=False)
class RaceResult(Record):
    """A finished race.

    arms: in the order of all arrays; seeds: of the repetitions; training_losses: [n_seeds, n_steps, n_arms]; lost: per seed
    [n_arms, n_held_out], nats or squared errors summed over a row, NaN where the arm diverged; counted: per seed
    [n_held_out], tokens or 1; metrics: per seed and arm the task's own, none of an arm that diverged.
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
    metrics: tuple[tuple[dict[str, float], ...], ...]

    def losses(self) -> np.ndarray:
        """Held-out loss of every seed and arm, [n_seeds, n_arms]: the mean over rows, in language modelling over tokens."""
        return np.stack([lost.sum(axis=1) / counted.sum() for lost, counted in zip(self.lost, self.counted, strict=True)])

    def metric(self, arm: int) -> float:
        """The task's main metric of an arm, mean over seeds; NaN where it diverged."""
        name = self.main_metric.removeprefix("eval_")
        return float(np.mean([of_seed[arm].get(name, math.nan) for of_seed in self.metrics]))

    def arm_of(self, name: str) -> int:
        """The place of a plan's arm: of several learning rates the one with the lowest held-out loss.

        Raises:
            InputError: no arm has this name.
        """
        return best_arm([arm.name for arm in self.arms], self.losses().mean(axis=0), name)

    def differences(self, reference: int) -> list[Difference]:
        """Each arm against one of them, paired: by held-out row within a seed, then by seed.

        Resampled 4000 times: seeds with replacement, within each seed its held-out rows with replacement, the same rows for all
        arms. The interval is that of the percentiles; p is two-sided, corrected by Holm's method over all other arms.

        Raises:
            InputError: there is no such arm.
        """
        return list(self._differences(reference))

    @functools.lru_cache(maxsize=16)  # noqa: B019  (a result is as large as what it says; a table and its JSON ask one after the other)
    def _differences(self, reference: int) -> tuple[Difference, ...]:
        if not 0 <= reference < len(self.arms):
            raise InputError(f"There is no arm {reference}; there are {len(self.arms)}.")
        means = self.losses().mean(axis=0)
        resampled = self._resampled(reference)
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        below = ((resampled <= 0).sum(axis=0) + 1) / (_N_RESAMPLES + 1)
        above = ((resampled >= 0).sum(axis=0) + 1) / (_N_RESAMPLES + 1)
        ps = np.minimum(1.0, 2 * np.minimum(below, above))
        others = [i for i in range(len(self.arms)) if i != reference and math.isfinite(means[i] - means[reference])]
        corrected = dict(zip(others, holm([float(ps[i]) for i in others]), strict=True))
        return tuple(
            Difference(0.0 * float(means[i]), None, None, None, None)
            if i == reference
            else Difference(float(means[i] - means[reference]), float(low[i]), float(high[i]), float(ps[i]), corrected[i])
            if i in corrected
            else Difference(math.nan, None, None, None, None)
            for i in range(len(self.arms))
        )

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
        """Plain values: one entry an arm, with its curve of training losses (mean over seeds); None for what is not finite."""
        losses, curves = self.losses().mean(axis=0), self.training_losses.mean(axis=0)
        rows = []
        for i, (arm, difference) in enumerate(zip(self.arms, self.differences(reference), strict=True)):
            rows.append(
                {
                    "arm": arm.name, "learning_rate": arm.learning_rate, "n_adapter_params": arm.plan.n_adapter_params,
                    "block_ranks": {str(block): rank for block, rank in arm.plan.block_ranks().items()}, "eval_loss": _finite(losses[i]),
                    self.main_metric: _finite(self.metric(i)), "difference": _finite(difference.value), "ci_low": difference.ci_low,
                    "ci_high": difference.ci_high, "p": difference.p, "p_corrected": difference.p_corrected,
                    "training_losses": [_finite(value) for value in curves[:, i]],
                }
            )  # fmt: skip
        return {
            "task": self.task, "main_metric": self.main_metric, "n_steps": self.n_steps, "seeds": list(self.seeds),
            "reference": self.arms[reference].name, "arms": rows,
        }  # fmt: skip


def write_result(folder: Path, result: RaceResult) -> None:
    """Keep a result in its run's folder.

    Raises:
        StoreError: the disk is full or not writable.
    """
    write_atomically(folder / _FILE, result.to_json().encode())


def read_result(folder: Path) -> RaceResult | None:
    """The result of a race in its run's folder, None while there is none.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        return RaceResult.from_json((folder / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InputError) as error:
        raise StoreError(f"{_FILE} is damaged ({error}); repeat the race") from error


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected by Holm's method (1979) for as many comparisons, in the order given."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(np.argsort(ps, kind="stable")):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[int(place)] = highest
    return corrected
