"""How often each unit of rank is wanted: the rule on every half of the sample, and by every estimator.

A rank alone hides its doubt. Here the half-samples behind the intervals go through the rule, one whole curve each, so
that both ends of a block come from the same rows. Pure arithmetic on records.
"""

import math
from collections.abc import Iterable, Sequence

from gelora.ranks.allocation import check_rule, rise_units, rounded_rise
from gelora.records import IdProfile, check_choice


def half_sample_shares(
    profile: IdProfile, estimator: str = "twonn", rounding: str = "ceil", scale: float = 1.0
) -> dict[int, tuple[float, ...]]:
    """The share of half-samples that want at least 1, 2, ... units of rank above the offset, by block.

    The offset lifts every half-sample alike, so the shares hold for any offset. A block whose rank is 2 at offset 1 in
    55% of the halves has the share 0.55 for its first unit: no finding. A tuple ends with the last unit that any half
    wants; it is empty where none wants one, where an end has no dimension in any half, and in a profile without halves.
    Halves see half the rows, and an estimate that depends on scale differs there from the one of all rows.

    Args:
        profile: measured with half-samples.
        estimator: one of the profile's.
        rounding: as in `allocate_ranks`.
        scale: as in `allocate_ranks`.

    Raises:
        InputError: an argument is illegal.
    """
    check_choice("estimator", estimator, tuple(profile.estimates))
    check_rule(rounding, scale)
    halves = profile.subsamples.get(estimator)
    result: dict[int, tuple[float, ...]] = {}
    for block in range(1, len(profile.layer_names)):
        pairs = [] if halves is None else [(float(half[block - 1]), float(half[block])) for half in halves]
        defined = [(before, after) for before, after in pairs if math.isfinite(before) and math.isfinite(after)]
        result[block] = _shares(rounded_rise(before, after, rounding, scale) for before, after in defined)
    return result


def estimator_shares(
    profile: IdProfile, estimators: Sequence[str] | None = None, rounding: str = "ceil", scale: float = 1.0
) -> dict[int, tuple[float, ...]]:
    """The same shares over estimators instead of half-samples: how many of them want each unit above the offset.

    Args:
        profile: measured by several estimators.
        estimators: names out of the profile's; None for all of them.
        rounding: as in `allocate_ranks`.
        scale: as in `allocate_ranks`.

    Raises:
        InputError: an argument is illegal.
    """
    by_estimator = [rise_units(profile, name, rounding, scale) for name in (estimators or profile.estimates)]
    return {
        block: _shares(units for curve in by_estimator if (units := curve[block]) is not None)
        for block in range(1, len(profile.layer_names))
    }


def _shares(wanted: Iterable[int]) -> tuple[float, ...]:
    units = list(wanted)
    return tuple(sum(n >= level for n in units) / len(units) for level in range(1, max(units, default=0) + 1))
