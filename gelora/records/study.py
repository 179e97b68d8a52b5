"""The record of a study: what races over tasks, models and budgets found, one row an arm."""

from dataclasses import dataclass, field

from gelora.record_json import ADDED, Record


@dataclass(frozen=True, slots=True, eq=False)
class StudyRow(Record):
    """One arm of one race of a study.

    task: the study's name of the task; model, dataset: as its file names them; budget: as asked (`uniform:2`), budget_params
    what it comes to. block_ranks: the largest rank of each block, in order. eval_loss and metric: mean over seeds; losses: the
    held-out loss of every seed. difference: of the held-out loss to the reference arm's, paired by row and seed, with its 95%
    interval and p after Holm's correction within the race; None for the reference itself and for what diverged. is_best_rate:
    whether no other learning rate of the same arm ended lower. change: of a race that asks what rank is worth in a block, how
    the arm's plan differs from the reference's in its `blocks` ("alone", "twice", "without"); empty in a race of strategies.
    """

    task: str
    model: str
    dataset: str
    budget: str
    budget_params: int
    arm: str
    learning_rate: float
    n_adapter_params: int
    block_ranks: tuple[int, ...]
    eval_loss: float | None
    main_metric: str
    metric: float | None
    losses: tuple[float | None, ...]
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_corrected: float | None
    is_reference: bool
    is_best_rate: bool
    n_steps: int
    n_held_out: int
    run: str
    change: str = field(default="", metadata=ADDED)
    blocks: tuple[int, ...] = field(default=(), metadata=ADDED)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable(Record):
    """What of each block might tell what rank is worth there, in one task: by the predictor's name a number for every block,
    from block 1; None where it is undefined. Names as `gelora.block_predictors` gives them.
    """

    task: str
    model: str
    values: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class NotRun(Record):
    """A race that a study wanted and has no result of, with the reason."""

    task: str
    budget: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Study(Record):
    """A study: its name, the arm that all others are held against, every arm's row, what is missing, and where it ran.

    made_with: versions of what counts, the machine and the date, by name. predictors: one table a task, where blocks were raced.
    """

    name: str
    reference: str
    rows: tuple[StudyRow, ...]
    not_run: tuple[NotRun, ...]
    made_with: dict[str, str]
    predictors: tuple[BlockTable, ...] = field(default=(), metadata=ADDED)
