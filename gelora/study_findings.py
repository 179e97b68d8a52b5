"""What a study found, read off its rows: comparisons at one budget counted, and an arm's differences pooled over tasks.

Arithmetic on records; does not depend on how arms are trained, nor on how it is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gelora.block_predictors import RankCorrelation, rank_correlations
from gelora.records import Study, StudyRow

SAME_BUDGET = 0.1
"""How far the parameters of an arm may lie from the budget, as a share of it, and still be a comparison at this budget."""
SIGNIFICANT = 0.05
_LEAST_TASKS = 3


@dataclass(frozen=True)
class Pooled:
    """An arm's difference over tasks, in percent of the reference's loss: its mean, with the 95% interval over tasks.

    Each task counts once, with the mean over its budgets. The interval is Student's over the tasks, None of fewer than three.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    n_tasks: int


def compared(rows: Sequence[StudyRow]) -> list[StudyRow]:
    """The rows of strategies that say something against the reference: each at its best learning rate, nothing that diverged.

    Races that ask what rank is worth in a block are apart: `worth_of_blocks`.
    """
    return [row for row in rows if not row.change and _says_something(row)]


def _says_something(row: StudyRow) -> bool:
    return row.is_best_rate and not row.is_reference and row.difference is not None


def is_at_the_budget(row: StudyRow) -> bool:
    """Whether an arm has as many parameters as the budget; one with more or fewer is a yardstick beside the others."""
    return abs(row.n_adapter_params - row.budget_params) <= SAME_BUDGET * row.budget_params


def percent(row: StudyRow, value: float | None) -> float | None:
    """A difference of held-out loss of this row (`difference`, `ci_low`, `ci_high`) in percent of the reference's loss.

    None where there is none, or where the reference's loss is not above 0.
    """
    if value is None or row.difference is None or row.eval_loss is None:
        return None
    reference = row.eval_loss - row.difference
    return 100 * value / reference if reference > 0 else None


def pooled(rows: Sequence[StudyRow]) -> Pooled | None:
    """One arm's comparisons over tasks and budgets as one difference; None without any."""
    by_task: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        value = percent(row, row.difference)
        if value is not None:
            by_task.setdefault((row.model, row.task), []).append(value)
    means = [math.fsum(values) / len(values) for values in by_task.values()]
    if not means:
        return None
    value, n = math.fsum(means) / len(means), len(means)
    if n < _LEAST_TASKS:
        return Pooled(value, None, None, n)
    spread = math.sqrt(math.fsum((mean - value) ** 2 for mean in means) / (n - 1) / n)
    reach = float(stats.t.ppf(0.975, n - 1)) * spread
    return Pooled(value, value - reach, value + reach, n)


@dataclass(frozen=True)
class Verdict:
    """Comparisons with the reference at one budget: how many there are, and how many are significant after Holm's correction.

    n_same: arms beside them that gave the reference's very ranks, so that nothing was compared.
    """

    reference: str
    n_better: int
    n_worse: int
    n_compared: int
    n_tasks: int
    n_same: int = 0

    @property
    def sentence(self) -> str:
        """In words, for a page or a README."""
        if not self.n_compared:
            return "No comparison at one budget has ended yet."
        of = f"{self.n_compared} comparison{'s' * (self.n_compared > 1)} with {self.reference} at the same number of parameters"
        tasks = f"{self.n_tasks} task{'s' * (self.n_tasks > 1)}"
        same = f" {self.n_same} more gave the ranks of {self.reference} itself." if self.n_same else ""
        undecided = self.n_compared - self.n_better - self.n_worse
        if undecided == self.n_compared:
            return f"Of {of} ({tasks}) none shows a difference.{same}"
        return (
            f"Of {of} ({tasks}) {self.n_better} ended better, {self.n_worse} worse, and {undecided} without a difference that shows.{same}"
        )


def verdict(rows: Sequence[StudyRow], reference: str) -> Verdict:
    """What the comparisons at one budget say together; yardsticks at other budgets are not among them."""
    at_budget = [row for row in compared(rows) if is_at_the_budget(row)]
    found = [row for row in at_budget if not _is_the_reference(row)]
    significant = [row for row in found if row.p_corrected is not None and row.p_corrected < SIGNIFICANT]
    better = sum((row.difference or 0.0) < 0 for row in significant)
    tasks = {(row.model, row.task) for row in found}
    return Verdict(reference, better, len(significant) - better, len(found), len(tasks), len(at_budget) - len(found))


def _is_the_reference(row: StudyRow) -> bool:
    """Whether an arm is the reference under another name: it lost the same on every held-out row."""
    return row.difference == row.ci_low == row.ci_high == 0


def ordered_arms(study: Study) -> list[str]:
    """Arms in the order to show them: those at the budget from the best, then yardsticks from the best; not the reference."""
    by_arm: dict[str, list[StudyRow]] = {}
    for row in compared(study.rows):
        by_arm.setdefault(row.arm, []).append(row)

    def place(arm: str) -> tuple[bool, float]:
        found = pooled(by_arm[arm])
        return not all(map(is_at_the_budget, by_arm[arm])), found.value if found is not None else math.inf

    return sorted(by_arm, key=place)


@dataclass(frozen=True)
class BlockWorth:
    """What rank is worth in one group of blocks of one task: percent of the reference's loss, above 0 where it is worth something.

    Each with the ends of its 95% interval, in the order of the groups; mean over the task's budgets, whose intervals are
    averaged end by end.
    """

    model: str
    task: str
    blocks: tuple[tuple[int, ...], ...]
    values: tuple[float, ...]
    ci_low: tuple[float, ...]
    ci_high: tuple[float, ...]


def worth_of_blocks(rows: Sequence[StudyRow], change: str) -> list[BlockWorth]:
    """Of every task whose blocks were raced by this change, what rank is worth where.

    The loss that an arm saves against the reference; of an arm without adapters in a block the loss that it costs. A group
    whose arm diverged is left out.
    """
    sign = 1.0 if change == "without" else -1.0
    by_task: dict[tuple[str, str], dict[tuple[int, ...], list[tuple[float, float, float]]]] = {}
    for row in rows:
        ends = [percent(row, value) for value in (row.difference, row.ci_low, row.ci_high)]
        if row.change != change or not _says_something(row) or None in ends:
            continue
        value, *interval = (sign * end for end in ends if end is not None)
        by_task.setdefault((row.model, row.task), {}).setdefault(row.blocks, []).append((value, min(interval), max(interval)))
    found = []
    for (model, task), groups in by_task.items():
        blocks = tuple(sorted(groups))
        means = np.array([np.mean(groups[group], axis=0) for group in blocks])
        found.append(BlockWorth(model, task, blocks, *(tuple(column.tolist()) for column in means.T)))
    return found


def predictors_of_worth(study: Study, change: str) -> dict[str, list[RankCorrelation]]:
    """By model, how well each predictor orders the blocks by what rank is worth there; empty where nothing was measured of both.

    Tasks whose groups of blocks differ from the first one's are left out; a group's predictor is its blocks' mean.
    """
    tables = {(table.model, table.task): table.values for table in study.predictors}
    found = {}
    worth = [of_task for of_task in worth_of_blocks(study.rows, change) if (of_task.model, of_task.task) in tables]
    for model in dict.fromkeys(of_task.model for of_task in worth):
        tasks = [of_task for of_task in worth if of_task.model == model]
        tasks = [of_task for of_task in tasks if of_task.blocks == tasks[0].blocks]
        of_tasks = [tables[model, of_task.task] for of_task in tasks]
        names = [name for name in of_tasks[0] if all(name in table for table in of_tasks)]
        columns = {name: [[_mean(table[name], group) for group in tasks[0].blocks] for table in of_tasks] for name in names}
        found[model] = rank_correlations(columns, [of_task.values for of_task in tasks])
    return found


def _mean(values: Sequence[float | None], blocks: Sequence[int]) -> float:
    inside = [values[block - 1] for block in blocks if block <= len(values)]
    return math.fsum(value for value in inside if value is not None) / len(inside) if inside and None not in inside else math.nan
