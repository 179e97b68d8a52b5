"""What of a block might tell what rank is worth there, as a table by block; and whether it does, over tasks.

Arithmetic on records and plain arrays; does not depend on how anything was measured, nor on how runs are trained.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from gelora.errors import InputError
from gelora.geometry import unlike_layers
from gelora.records import IdProfile, LayerSimilarity, ModuleScores, check_range, check_whole
from gelora.runs import holm

_LEAST_BLOCKS = 4
_EXACT_TASKS = 12  # up to here all 2^n signs are tried
_N_SIGNS = 4096


def block_predictors(
    profile: IdProfile, similarity: LayerSimilarity | None = None, scores: Sequence[ModuleScores] = ()
) -> dict[str, np.ndarray]:
    """The candidates of one model and task, each with a number for every block: float64 [n_blocks], NaN where undefined.

    - "depth": the block's number, which whatever predicts must beat.
    - "rise:NAME", "level:NAME": by each estimator of the profile, the dimension of the block's output minus that of its
      input, and the mean of the two.
    - "overlap", "cka", "imbalance forward", "imbalance backward": between the block's input and output.
    - "score:STRATEGY": the mean over the block's modules of their scores (gradient, Fisher, EVA, weight spectrum).

    Args:
        profile: of all layers.
        similarity: of the same layers and rows, or None.
        scores: of modules of the same model, one a strategy.

    Raises:
        InputError: similarity or scores are of another model, sample or pooling, or a strategy occurs twice.
    """
    if similarity is not None and (found := unlike_layers(profile, similarity)) is not None:
        raise InputError(f"The profile and the similarity have different {found[0]}: {found[1]!r} and {found[2]!r}.")
    n_blocks = len(profile.layer_names) - 1
    table = {"depth": np.arange(1.0, n_blocks + 1)}
    for name in profile.estimates:
        dimensions = profile.dimensions(name)
        table[f"rise:{name}"] = np.diff(dimensions)
        table[f"level:{name}"] = (dimensions[1:] + dimensions[:-1]) / 2
    if similarity is not None:
        table |= {name: np.diag(getattr(similarity, name), 1).copy() for name in ("overlap", "cka")}
        table |= {"imbalance forward": similarity.forward, "imbalance backward": similarity.backward}
    block_of = {module.name: module.block for module in profile.model.modules}
    for of_strategy in scores:
        name = f"score:{of_strategy.strategy}"
        strange = [module for module in of_strategy.scores if module not in block_of]
        if of_strategy.model_id != profile.model.model_id or strange:
            raise InputError(
                f"The scores by {of_strategy.strategy} are of {of_strategy.model_id}, the profile of {profile.model.model_id}."
            )
        if name in table:
            raise InputError(f"There are two scores by {of_strategy.strategy}; give one.")
        by_block: list[list[float]] = [[] for _ in range(n_blocks)]
        for module, score in of_strategy.scores.items():
            by_block[block_of[module] - 1].append(score)
        table[name] = np.array([math.fsum(values) / len(values) if values else math.nan for values in by_block])
    return table


@dataclass(frozen=True, eq=False)
class RankCorrelation:
    """How well a predictor orders the blocks by what rank is worth there.

    by_task: float64 [n_tasks], Spearman's rho over the blocks of each task, NaN where it is undefined; rho: their mean, with
    its 95% interval; p: two-sided, of a mean of 0; p_corrected: by Holm's method over all predictors; beyond_depth: the mean
    of rho with the block's number held fixed (partial rank correlation). What is None is undefined, `note` says why.
    """

    predictor: str
    by_task: np.ndarray
    rho: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_corrected: float | None
    beyond_depth: float | None
    note: str | None = None

    @property
    def is_significant(self) -> bool:
        """Whether it stands at 5% after the correction for the number of predictors."""
        return self.p_corrected is not None and self.p_corrected < 0.05


def rank_correlations(
    predictors: Mapping[str, Any], marginal: Any, *, n_resamples: int = 4000, seed: int = 0, confidence: float = 0.95
) -> list[RankCorrelation]:
    """Spearman's rank correlation over blocks of every predictor with the marginal value of rank, averaged over tasks.

    The task is the unit: blocks of one model hang together along its depth and are no independent draws, so that no test here
    takes them for such. The interval is a percentile bootstrap over tasks, expanded for their small number (its level is that
    of Student's law, its deviation that of n - 1); the p value turns the signs of the tasks' rho: all 2^n of them up to 12
    tasks, else 4096 at random. Five tasks cannot reach 5% whatever they say (the least p is 2 / 2^5), nor can the spread of five
    numbers hold their mean in 95%: they get no interval. Six can; after the correction for m predictors it takes 2 / 2^n < 5% / m.
    Tasks of one model say how a predictor does on further tasks of that model, not on other models.

    Args:
        predictors: {name: [n_tasks, n_blocks], or [n_blocks] for what is the same in every task}; NaN where undefined.
        marginal: [n_tasks, n_blocks], larger is better; NaN where it was not measured. Only its order within a task counts.
        n_resamples: of the bootstrap, at least 100.
        seed: of all draws.
        confidence: of the intervals, above 0 and below 1.

    Returns:
        One for each predictor, in the order given. A task with fewer than 4 blocks that have both numbers, or with all of
        either equal, is left out.

    Raises:
        InputError: arrays that do not fit, no predictors, infinite numbers, or an option that is not legal.

    Sources: Spearman 1904; Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015),
    section 5.2 (expanded percentiles); Holm 1979.

    >>> import numpy as np
    >>> worth = np.random.default_rng(0).random((6, 12))
    >>> found = rank_correlations({"its square": worth**2, "nothing": np.ones(12)}, worth)
    >>> found[0].rho, found[0].p, found[1].rho
    (1.0, 0.03125, None)
    """
    check_whole("n_resamples", n_resamples, 100)
    check_whole("seed", seed, 0)
    check_range("confidence", confidence, float(np.nextafter(0, 1)), float(np.nextafter(1, 0)))
    worth = _table("marginal", marginal, None)
    tables = {name: _table(name, values, worth.shape) for name, values in predictors.items()}
    if not tables:
        raise InputError("There are no predictors; give at least one.")
    found = [_correlated(name, values, worth, n_resamples, seed, confidence) for name, values in tables.items()]
    tested = [i for i, one in enumerate(found) if one["p"] is not None]
    corrected = dict(zip(tested, holm([found[i]["p"] for i in tested]), strict=True))
    return [RankCorrelation(**one, p_corrected=corrected.get(i)) for i, one in enumerate(found)]


def _table(name: str, values: Any, shape: tuple[int, ...] | None) -> np.ndarray:
    try:
        table = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no table of numbers: {error}.") from error
    if shape is not None and table.ndim == 1:
        table = np.broadcast_to(table, (shape[0], len(table)))
    if table.ndim != 2 or not table.size or (shape is not None and table.shape != shape):
        expected = "[n_tasks, n_blocks]" if shape is None else f"{list(shape)} or [{shape[1]}]"
        raise InputError(f"{name} has the shape {list(table.shape)}; expected {expected}.")
    if np.isinf(table).any():
        raise InputError(f"{name} holds infinite numbers; leave what was not measured as NaN.")
    return table


def _correlated(name: str, values: np.ndarray, worth: np.ndarray, n_resamples: int, seed: int, confidence: float) -> dict[str, Any]:
    """The fields of a RankCorrelation but for the corrected p."""
    pairs = [_spearman(one, other) for one, other in zip(values, worth, strict=True)]
    by_task = np.array([rho for rho, _ in pairs])
    defined = by_task[np.isfinite(by_task)]
    partial = np.array([beyond for _, beyond in pairs])
    partial = partial[np.isfinite(partial)]
    answer: dict[str, Any] = dict.fromkeys(("rho", "ci_low", "ci_high", "p", "beyond_depth", "note"))
    answer |= {"predictor": name, "by_task": by_task}
    if not len(defined):
        return answer | {"note": f"no task has {_LEAST_BLOCKS} blocks with both numbers that are not all equal"}
    answer |= {"rho": float(defined.mean()), "beyond_depth": float(partial.mean()) if len(partial) else None}
    n, rng = len(defined), np.random.default_rng(seed)
    answer["p"] = _sign_test(defined, rng)
    if 2.0 ** (1 - n) > 1 - confidence:
        return answer | {"note": f"{n} task{'s are' if n > 1 else ' is'} too few for an interval of {confidence:.0%}"}
    means = defined[rng.integers(n, size=(n_resamples, n))].mean(axis=1)
    level = float(special.ndtr(math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - confidence) / 2)))
    low, high = np.quantile(means, [level, 1 - level])
    return answer | {"ci_low": float(low), "ci_high": float(high)}


def _spearman(values: np.ndarray, worth: np.ndarray) -> tuple[float, float]:
    """Rho of one task, and rho with the place of the block held fixed; NaN where undefined."""
    both = np.isfinite(values) & np.isfinite(worth)
    if both.sum() < _LEAST_BLOCKS or np.ptp(values[both]) == 0 or np.ptp(worth[both]) == 0:
        return math.nan, math.nan
    ranks = np.array([stats.rankdata(column[both]) for column in (values, worth, np.arange(len(worth)))])
    rho, of_depth, worth_of_depth = np.corrcoef(ranks)[np.triu_indices(3, 1)]
    left = (1 - of_depth**2) * (1 - worth_of_depth**2)
    return float(rho), float((rho - of_depth * worth_of_depth) / math.sqrt(left)) if left > 1e-12 else math.nan


def _sign_test(rhos: np.ndarray, rng: np.random.Generator) -> float:
    """The share of turns of signs under which the sum is as far from 0 as it is."""
    n = len(rhos)
    signs = np.array(list(itertools.product((1, -1), repeat=n))) if n <= _EXACT_TASKS else rng.choice([1, -1], (_N_SIGNS, n))
    as_far = np.abs(signs @ rhos) >= abs(rhos.sum()) * (1 - 1e-12)
    return float(as_far.mean()) if n <= _EXACT_TASKS else float((as_far.sum() + 1) / (_N_SIGNS + 1))
