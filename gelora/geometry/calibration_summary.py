"""Bias, spread and interval coverage of an estimator over repeated draws of a manifold.

Does not depend on estimators, or on how the answers were made.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gelora.geometry.calibration import CONFIDENCE, Case, Trial
from gelora.geometry.estimator import z_value


@dataclass(frozen=True)
class Summary:
    """What one estimator says of one case over all its draws; None where too few draws have an answer (an interval).

    n_trials, n_defined: draws, and those with an answer; mean; bias = mean - truth; relative_bias = bias / truth; sd:
    over draws (None for fewer than 2); coverage: share of the intervals that hold the truth; coverage_of_mean: that
    hold the estimator's own mean over the draws, which is what an interval promises, since none sees bias;
    interval_width: mean; width_ratio: that over 2 x 1.96 sd, 1 for an honest interval, more for one that is right
    because it is wide; seconds, interval_seconds, shared_seconds: means over draws; notes: each once.
    """

    case: Case
    truth: int
    estimator: str
    n_trials: int
    n_defined: int
    mean: float | None
    bias: float | None
    relative_bias: float | None
    sd: float | None
    coverage: float | None
    coverage_of_mean: float | None
    interval_width: float | None
    width_ratio: float | None
    seconds: float
    interval_seconds: float
    shared_seconds: float
    notes: tuple[str, ...] = ()


def summarize(trials: Iterable[Trial]) -> tuple[Summary, ...]:
    """One row a case and estimator, in the order in which they first come."""
    groups: dict[tuple[Case, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.case, trial.estimator), []).append(trial)
    return tuple(_summary(case, estimator, group) for (case, estimator), group in groups.items())


def closest(summaries: Sequence[Summary]) -> tuple[Summary, ...]:
    """The answers to one case whose mean lies nearest to the truth, as far as the draws can tell; nearest first.

    Beside the nearest stand all whose error is not larger by more than the 95% half-width of the difference of two means
    over draws, Student's t with the fewer degrees of freedom. Those without a dimension are left out; one draw alone has no
    spread, so that the others cannot be told apart from it.
    """
    defined = sorted((s for s in summaries if s.bias is not None), key=lambda s: abs(s.bias or 0.0))
    return tuple(s for s in defined if abs(s.bias or 0.0) - abs(defined[0].bias or 0.0) <= _half_width(s, defined[0]))


def _half_width(first: Summary, second: Summary) -> float:
    if first is second:
        return 0.0
    if first.sd is None or second.sd is None:
        return math.inf
    errors = [s.sd / math.sqrt(s.n_defined) for s in (first, second) if s.sd is not None]
    return float(stdtrit(min(first.n_defined, second.n_defined) - 1, 0.5 + CONFIDENCE / 2)) * math.hypot(*errors)


def _summary(case: Case, estimator: str, trials: list[Trial]) -> Summary:
    truth = trials[0].truth
    answers = np.array([t.dimension for t in trials if t.dimension is not None])
    mean = float(answers.mean()) if len(answers) else None
    sd = float(answers.std(ddof=1)) if len(answers) > 1 else None
    ends = np.array([(t.ci_low, t.ci_high) for t in trials if t.ci_low is not None and t.ci_high is not None])
    has_interval = len(ends) > 0 and mean is not None
    width = float(np.mean(ends[:, 1] - ends[:, 0])) if has_interval else None
    return Summary(
        case=case,
        truth=truth,
        estimator=estimator,
        n_trials=len(trials),
        n_defined=len(answers),
        mean=mean,
        bias=None if mean is None else mean - truth,
        relative_bias=None if mean is None else mean / truth - 1,
        sd=sd,
        coverage=_share_holding(ends, truth) if has_interval else None,
        coverage_of_mean=_share_holding(ends, mean) if mean is not None and has_interval else None,
        interval_width=width,
        width_ratio=width / (2 * z_value(CONFIDENCE) * sd) if width is not None and sd else None,
        seconds=float(np.mean([t.seconds for t in trials])),
        interval_seconds=float(np.mean([t.interval_seconds for t in trials])),
        shared_seconds=float(np.mean([t.shared_seconds for t in trials])),
        notes=tuple(dict.fromkeys(t.note for t in trials if t.note)),
    )


def _share_holding(ends: np.ndarray, value: float) -> float:
    return float(np.mean((ends[:, 0] <= value) & (value <= ends[:, 1])))
