"""What a curve of dimensions says from layer to layer: the rise over each block, and where the curve hangs on scale.

Reads an IdProfile; estimates nothing.
"""

from dataclasses import dataclass

import numpy as np

from gelora.geometry.profile import Z95
from gelora.records import IdEstimate, IdProfile


@dataclass(frozen=True)
class Rise:
    """How far the dimension goes up over a block (1 .. n_layers); None with the reason when an end is undefined."""

    block: int
    value: float | None
    ci_low: float | None
    ci_high: float | None
    note: str | None = None


def rises(profile: IdProfile, estimator: str) -> tuple[Rise, ...]:
    """The rise d_i - d_{i-1} over every block i, with a 95% interval.

    Both layers were measured on the same halves of the sample, so the interval is that of the paired difference:
    value -+ 1.96 standard deviations of the half-samples' differences. What moves both layers alike cancels. Without
    half-samples the two layers' own intervals are added as if independent.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    profile.dimensions(estimator)  # checks the name
    curve = profile.estimates[estimator]
    halves = profile.subsamples.get(estimator)
    result = []
    for block in range(1, len(curve)):
        before, after = curve[block - 1], curve[block]
        missing = [profile.layer_names[i] for i in (block - 1, block) if curve[i].dimension is None]
        if before.dimension is None or after.dimension is None:
            reasons = dict.fromkeys(e.note for e in (before, after) if e.note and e.dimension is None)
            result.append(Rise(block, None, None, None, f"no dimension at {' and '.join(missing)} ({'; '.join(map(str, reasons))})"))
            continue
        value = after.dimension - before.dimension
        half_width = _half_width(before, after, None if halves is None else halves[:, block] - halves[:, block - 1])
        result.append(Rise(block, value, value - half_width, value + half_width))
    return tuple(result)


def is_scale_dependent(profile: IdProfile, estimator: str) -> np.ndarray:
    """Whether the dimension at half the rows lies outside the interval at all rows: bool [n_layers + 1].

    True means that the number describes this sample size, not the layer alone. False where the dimension is
    undefined, and everywhere in a profile without half-samples.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    profile.dimensions(estimator)  # checks the name
    halves = profile.subsamples.get(estimator)
    result = np.zeros(len(profile.layer_names), dtype=bool)
    for layer, estimate in enumerate(profile.estimates[estimator]):
        if estimate.dimension is None or halves is None or not np.isfinite(halves[:, layer]).any():
            continue
        at_half = float(np.nanmean(halves[:, layer]))
        result[layer] = not (float(estimate.ci_low or 0.0) <= at_half <= float(estimate.ci_high or 0.0))
    return result


def _half_width(before: IdEstimate, after: IdEstimate, differences: np.ndarray | None) -> float:
    if differences is not None:
        differences = differences[np.isfinite(differences)]
        if len(differences) >= 2:
            return Z95 * float(np.std(differences, ddof=1))
    one, other = ((float(e.ci_high or 0.0) - float(e.ci_low or 0.0)) / 2 for e in (before, after))
    return float(np.hypot(one, other))
