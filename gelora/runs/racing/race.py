"""A race in this process: several plans at several learning rates, side by side, compared on the same held-out rows.

Light until it is called; a race as a run of its own is started by `start_run` with the spec of `race_run`.
"""

from collections.abc import Sequence
from typing import Any

from gelora.records import Progress, RaceSpec, RankPlan, RunSpec, race_run
from gelora.runs.records.race_result import RaceResult


def race(
    spec: RunSpec, plans: dict[str, RankPlan], learning_rates: Sequence[float], seeds: Sequence[int], n_steps: int, progress: Progress
) -> RaceResult:
    """Train every plan at every learning rate, for each seed all side by side, and hold them against the same held-out rows.

    Arms that memory does not hold at one time train in waves, with the same beginnings and the same order of rows.

    Args:
        spec: model, data, batch size, weight decay, warm-up and device; its plan, method and epochs are not looked at.
        plans: by the name of their arm; at least two arms in all, of one model.
        learning_rates: peaks; each plan runs at each of them.
        seeds: of the rows drawn and their order, the head and the adapters' beginning.
        n_steps: optimizer steps of the whole training, at least 1.
        progress: told the steps of each seed.

    Returns:
        per arm, seed and held-out row what was lost, and the training losses.

    Raises:
        InputError: fewer than two arms, an illegal number, plans of two models, or a task that arms cannot share.
        GeloraError: data, model or device do not allow it.
    """
    asked = race_run(spec, RaceSpec(dict(plans), tuple(learning_rates), tuple(seeds), n_steps, next(iter(plans), "")))
    from gelora.runs.racing.run import RaceTrainer

    result = RaceTrainer(asked, _Unrecorded(), progress).run()
    assert result is not None  # nobody asks it to stop
    return result


class _Unrecorded:
    """The report of a race that leaves nothing but its result."""

    def _nothing(self, *_: Any) -> None:
        pass

    values = progress = examples = say = _nothing

    def keep(self) -> None:
        pass
