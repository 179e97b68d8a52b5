"""Paired differences of held-out losses at every evaluation of a race, with intervals that hold at all evaluations together.

A person who watches a race may stop it at any evaluation, so an interval of 95% at each is not one of 95%. Does not depend
on how arms are trained.
"""

from collections.abc import Sequence

import numpy as np

from gelora.errors import InputError
from gelora.records import check_whole

LEVEL = 0.05


def share_of_look(look: int) -> float:
    """The error probability of the interval at the look-th evaluation: 0.05 / (look (look + 1)), in all 0.05 however many there are.

    Raises:
        InputError: look is not a whole number from 1.
    """
    check_whole("look", look, 1)
    return LEVEL / (look * (look + 1))


def paired_look(lost: np.ndarray, counted: np.ndarray, reference: int, look: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The difference of each arm's held-out loss to the reference's at one evaluation, and its interval of a confidence sequence.

    With probability 95% the intervals of all evaluations hold, however many there are and whenever one stops looking. An
    evaluation sees the same rows as the one before, in models that have moved on: no sample grows, and the differences are
    no martingale, which mixture and empirical-Bernstein sequences need. So the error probability is divided between
    evaluations by a convergent series (a union bound); within one, Student's t of the paired differences, linearised
    where rows count by their tokens. The reference's interval is the point 0; an arm that diverged has NaN.

    Args:
        lost: [n_arms, n_rows], nats or squared errors summed over a row.
        counted: [n_rows], tokens or 1.
        reference: which arm.
        look: how many evaluations there were, this one included.

    Returns:
        differences, lower ends, upper ends, [n_arms] each.

    Raises:
        InputError: fewer than two rows, or look is not a whole number from 1.

    Source: Waudby-Smith et al. 2024, Annals of Statistics 52 (what a confidence sequence promises, and its asymptotic
        kind); Howard et al. 2021, Annals of Statistics 49, section 3 (union bounds over looks).
    """
    from scipy.special import stdtrit

    n = len(counted)
    if n < 2:
        raise InputError("Paired differences need two held-out rows or more.")
    paired = lost - lost[reference]
    differences = paired.sum(axis=1) / counted.sum()
    residuals = paired - differences[:, None] * counted
    errors = np.sqrt((residuals**2).sum(axis=1) * n / (n - 1)) / counted.sum()
    widths = float(stdtrit(n - 1, 1 - share_of_look(look) / 2)) * errors
    return differences, differences - widths, differences + widths


def best_arm(names: Sequence[str], losses: np.ndarray, wanted: str) -> int:
    """Of the arms of one name the one with the lowest loss, what is not finite last.

    Raises:
        InputError: no arm has this name.
    """
    there = [i for i, name in enumerate(names) if name == wanted]
    if not there:
        raise InputError(f"There is no arm {wanted!r}; choose one of: {', '.join(dict.fromkeys(names))}.")
    return min(there, key=lambda i: losses[i] if np.isfinite(losses[i]) else np.inf)
