"""A race: several plans at several learning rates, trained side by side and compared on the same held-out rows.

Light until it is called; the training is `side_by_side`'s.
"""

from collections.abc import Sequence

import numpy as np

from gelora.errors import InputError
from gelora.records import Progress, RankPlan, RunSpec, check_range, check_whole
from gelora.runs.records.race_result import Arm, RaceResult


def race(
    spec: RunSpec, plans: dict[str, RankPlan], learning_rates: Sequence[float], seeds: Sequence[int], n_steps: int, progress: Progress
) -> RaceResult:
    """Train every plan at every learning rate, for each seed all side by side, and hold them against the same held-out rows.

    Args:
        spec: model, data, batch size, weight decay, warm-up and device; its plan, method and epochs are not looked at.
        plans: by the name of their arm; at least two arms in all.
        learning_rates: peaks; each plan runs at each of them.
        seeds: of the rows drawn and their order, the head and the adapters' beginning.
        n_steps: optimizer steps of the whole training, at least 1.
        progress: told the steps of each seed.

    Returns:
        per arm, seed and held-out row what was lost, and the training losses.

    Raises:
        InputError: fewer than two arms, an illegal number, or a task that arms cannot share.
        GeloraError: data, model or device do not allow it.
    """
    check_whole("n_steps", n_steps, 1)
    for rate in learning_rates:
        check_range("learning_rate", rate, 1e-8, 1.0)
    arms = [(name, rate) for name in plans for rate in learning_rates]
    if len(arms) < 2 or not seeds:
        raise InputError("A race needs two arms or more (strategies or learning rates) and a seed.")
    from gelora.runs.training.side_by_side import race_one_seed

    found = [race_one_seed(spec, plans, arms, seed, n_steps, progress) for seed in seeds]
    return RaceResult(
        arms=tuple(Arm(name, rate, plans[name]) for name, rate in arms),
        seeds=tuple(seeds),
        task=found[0].task.kind,
        main_metric=found[0].task.main_metric,
        higher_is_better=found[0].task.higher_is_better,
        n_steps=n_steps,
        training_losses=np.stack([one.training_losses for one in found]),
        lost=tuple(one.lost for one in found),
        counted=tuple(one.counted for one in found),
        metrics=tuple(one.metrics for one in found),
    )
