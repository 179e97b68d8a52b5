"""What a study found, read off its rows: comparisons at one budget counted, and an arm's differences pooled over tasks.

Arithmetic on records; does not depend on how arms are trained, nor on how it is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

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
    """The rows that say something against the reference: each arm at its best learning rate, nothing that diverged."""
    return [row for row in rows if row.is_best_rate and not row.is_reference and row.difference is not None]


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
    """Comparisons with the reference at one budget: how many there are, and how many are significant after Holm's correction."""

    reference: str
    n_better: int
    n_worse: int
    n_compared: int
    n_tasks: int

    @property
    def sentence(self) -> str:
        """In words, for a page or a README."""
        if not self.n_compared:
            return "No comparison at one budget has ended yet."
        of = f"{self.n_compared} comparison{'s' * (self.n_compared > 1)} with {self.reference} at the same number of parameters"
        tasks = f"{self.n_tasks} task{'s' * (self.n_tasks > 1)}"
        undecided = self.n_compared - self.n_better - self.n_worse
        if undecided == self.n_compared:
            return f"Of {of} ({tasks}) none shows a difference."
        return f"Of {of} ({tasks}) {self.n_better} ended better, {self.n_worse} worse, and {undecided} without a difference that shows."


def verdict(rows: Sequence[StudyRow], reference: str) -> Verdict:
    """What the comparisons at one budget say together; yardsticks at other budgets are not among them."""
    found = [row for row in compared(rows) if is_at_the_budget(row)]
    significant = [row for row in found if row.p_corrected is not None and row.p_corrected < SIGNIFICANT]
    better = sum((row.difference or 0.0) < 0 for row in significant)
    tasks = {(row.model, row.task) for row in found}
    return Verdict(reference, better, len(significant) - better, len(found), len(tasks))


def ordered_arms(study: Study) -> list[str]:
    """Arms in the order to show them: those at the budget from the best, then yardsticks from the best; not the reference."""
    by_arm: dict[str, list[StudyRow]] = {}
    for row in compared(study.rows):
        by_arm.setdefault(row.arm, []).append(row)

    def place(arm: str) -> tuple[bool, float]:
        found = pooled(by_arm[arm])
        return not all(map(is_at_the_budget, by_arm[arm])), found.value if found is not None else math.inf

    return sorted(by_arm, key=place)
