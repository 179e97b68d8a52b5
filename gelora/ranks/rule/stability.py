"""How well each unit of rank is supported: by the interval of the rise, and by every estimator.

A rank alone hides its uncertainty. Pure arithmetic on records.
"""

import math
from collections.abc import Iterable, Sequence

from scipy import special

from gelora.geometry import no_rise_sentence, rises
from gelora.ranks.rule.allocation import NOISE, check_rule, rise_units, rounded_rise
from gelora.records import IdProfile, check_choice

_LEAST_SHARE = 0.05
SUPPORTED = 0.975
"""The share from which an interval supports a unit: its 95% interval excludes every rise that the rule would not give the unit for."""


def rise_shares(profile: IdProfile, estimator: str = "twonn", rounding: str = "ceil", scale: float = 1.0) -> dict[int, tuple[float, ...]]:
    """The share of samples of this size that support at least 1, 2, ... units of rank above the offset, by block.

    It is read off the interval of `rises`, so the two cannot contradict each other: the rise over a block follows
    Student's law around the one measured on all rows, with the spread behind its 95% interval, and the share of a unit
    is the probability of a rise that the rule rounds to it. Under `ceil` the first unit has a share of 0.975 exactly
    where the interval begins at 0, and the last unit of the plan's own rank one of at least a half. Halves of the rows
    set the deviation alone: an estimate of half the rows sits elsewhere (TwoNN of sentences reads higher), so counting
    halves that support a unit would answer for another sample size.

    The offset lifts every sample alike, so the shares hold for any offset. A tuple ends with the last unit whose share
    is at least 0.05 or that the plan has. It is empty where an end has no dimension or the rise no interval. With
    "round-each" the lower end's own rounding is taken as it is. No share sees bias.

    Args:
        profile: measured with half-samples, or by an estimator with an interval of its own.
        estimator: one of the profile's.
        rounding: as in `allocate_ranks`.
        scale: as in `allocate_ranks`.

    Raises:
        InputError: an argument is illegal.
    """
    check_choice("estimator", estimator, tuple(profile.estimates))
    check_rule(rounding, scale)
    curve = profile.dimensions(estimator)
    result: dict[int, tuple[float, ...]] = {}
    for rise in rises(profile, estimator):
        if rise.value is None or rise.spread is None:
            result[rise.block] = ()
            continue
        before, after = float(curve[rise.block - 1]), float(curve[rise.block])
        units = rounded_rise(before, after, rounding, scale)
        first = _first_threshold(scale * before, rounding)
        shares: list[float] = []
        while True:
            above = scale * rise.value - first - len(shares)
            deviation = scale * rise.spread.deviation
            share = float(special.stdtr(rise.spread.degrees, above / deviation)) if deviation > 0 else float(len(shares) < units)
            if len(shares) >= units and share < _LEAST_SHARE:
                break
            shares.append(share)
        result[rise.block] = tuple(shares)
    return result


def supported_units(profile: IdProfile, estimator: str = "twonn", rounding: str = "ceil", scale: float = 1.0) -> dict[int, int]:
    """How many of the units that the rule adds to each block its rise's interval supports: 0 where the rise is within it.

    Args, Raises: as `rise_shares`.
    """
    shares = rise_shares(profile, estimator, rounding, scale)
    return {block: sum(share >= SUPPORTED for share in of_block) for block, of_block in shares.items()}


def support_sentence(profile: IdProfile, estimator: str = "twonn", rounding: str = "ceil", scale: float = 1.0) -> str | None:
    """How many of the units that the rule adds are supported, in one sentence; None where all of them are, or it adds none.

    The rule follows every rise, also one whose interval includes 0: this is what has to stand beside such ranks.

    Args, Raises: as `rise_shares`.
    """
    n_units = sum(units or 0 for units in rise_units(profile, estimator, rounding, scale).values())
    n_supported = sum(supported_units(profile, estimator, rounding, scale).values())
    if n_units == n_supported:
        return None
    null = no_rise_sentence(profile, estimator)
    return null or f"The 95% intervals of the rises support {n_supported} of {n_units} rank units above the offset."


def _first_threshold(before: float, rounding: str) -> float:
    """The (scaled) rise from `before` at which the rule gives its first unit; each further one takes 1 more."""
    if rounding == "ceil":
        return NOISE
    return 0.5 if rounding == "round" else math.floor(before + 0.5) + 0.5 - before


def estimator_shares(
    profile: IdProfile, estimators: Sequence[str] | None = None, rounding: str = "ceil", scale: float = 1.0
) -> dict[int, tuple[float, ...]]:
    """The share of the profile's estimators that support at least 1, 2, ... units of rank above the offset, by block.

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
