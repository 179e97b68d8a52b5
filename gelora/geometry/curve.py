"""What a curve of dimensions says from layer to layer: rises with intervals, their resolution, and which layers are scale-dependent.

Reads an IdProfile; estimates nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gelora.errors import InputError
from gelora.geometry.estimator import Spread, half_sample_spread, halves_at_whole, z_value
from gelora.geometry.registry import ESTIMATORS
from gelora.records import IdEstimate, IdProfile

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rise:
    """How far the dimension goes up over a block (1 .. n_layers); None with the reason when an end is undefined.

    Without half-samples and without an interval of the estimator's own, `value` stands alone."""

    block: int
    value: float | None
    ci_low: float | None
    ci_high: float | None
    note: str | None = None
    spread: Spread | None = None
    """What `value` would vary by over samples of this size: what is behind the interval."""

    @property
    def is_significant(self) -> bool:
        """Whether the 95% interval excludes 0."""
        return self.ci_low is not None and self.ci_high is not None and (self.ci_low > 0 or self.ci_high < 0)

    @property
    def goes_up(self) -> bool:
        """Whether the dimension rises significantly."""
        return self.is_significant and self.value is not None and self.value > 0


def rises(profile: IdProfile, estimator: str) -> tuple[Rise, ...]:
    """The rise d_i - d_{i-1} over every block i, with a 95% interval.

    Both layers were measured on the same halves of the sample, so the interval is that of the paired difference:
    value -+ t standard deviations by the halves' differences (`half_sample_spread`). What moves both layers alike
    cancels. Without half-samples the two layers' own intervals are added as if independent.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    profile.dimensions(estimator)  # checks the name
    curve = profile.estimates[estimator]
    halves = halves_of(profile, estimator)
    result = []
    for block in range(1, len(curve)):
        before, after = curve[block - 1], curve[block]
        missing = [profile.layer_names[i] for i in (block - 1, block) if curve[i].dimension is None]
        if before.dimension is None or after.dimension is None:
            reasons = dict.fromkeys(e.note for e in (before, after) if e.note and e.dimension is None)
            result.append(Rise(block, None, None, None, f"no dimension at {' and '.join(missing)} ({'; '.join(map(str, reasons))})"))
            continue
        value = after.dimension - before.dimension
        spread = _spread(before, after, None if halves is None else halves[:, block] - halves[:, block - 1], profile.halves)
        result.append(
            Rise(block, value, None, None, "no interval: a layer has none")
            if spread is None
            else Rise(block, value, value - spread.half_width(), value + spread.half_width(), None, spread)
        )
    return tuple(result)


def halves_of(profile: IdProfile, estimator: str) -> np.ndarray | None:
    """What an interval is made from: the halves' answers at the scale of the whole, float64 [n_subsamples, n_layers + 1]; None without.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    answers = profile.subsamples.get(estimator)
    return None if answers is None else halves_at_whole(answers, profile.dimensions(estimator), profile.halves)


@dataclass(frozen=True)
class Resolution:
    """How small a rise a sample of this size can show by one estimator.

    rise: the least rise whose 95% interval excludes 0, in dimensions; n_samples: texts (or tokens) it was measured on.
    """

    estimator: str
    rise: float
    n_samples: int

    def n_samples_for(self, rise: float) -> int:
        """How many texts a rise of that many dimensions needs, two figures: the variance of a paired difference falls as 1 / N.

        Raises:
            InputError: `rise` is not above 0.
        """
        if not rise > 0:
            raise InputError(f"rise is {rise!r}; a rise to be resolved must be above 0.")
        needed = self.n_samples * (self.rise / rise) ** 2
        unit = 10 ** max(0, len(str(int(needed))) - 2)
        return int(np.ceil(needed / unit - 1e-9)) * unit


def resolution(profile: IdProfile, estimator: str) -> Resolution | None:
    """What rise the profile's sample size resolves by `estimator`: half the width of a block's interval (root mean square over blocks).

    Its square is taken to fall as 1 / N, which `benchmarks/independent_samples.py` holds against sentences; bias does not
    fall with it.

    Returns:
        None where no rise has an interval, or where none varies (an estimator that counts whole directions).

    Raises:
        InputError: the profile does not hold the estimator.
    """
    half_widths = [rise.spread.half_width() for rise in rises(profile, estimator) if rise.spread is not None]
    if not any(half_widths):
        return None
    return Resolution(estimator, float(np.sqrt(np.mean(np.square(half_widths)))), profile.estimates[estimator][0].n_samples)


def resolution_sentence(profile: IdProfile, estimators: Sequence[str] | None = None) -> str | None:
    """What rise each estimator resolves at this sample size, and the size that a rise of 1 needs; None where it is not known.

    Args:
        profile: measured.
        estimators: names out of the profile's; None for all of them.

    Raises:
        InputError: the profile does not hold one of them.
    """
    found = [r for r in (resolution(profile, name) for name in (estimators or profile.estimates)) if r is not None]
    if not found:
        return None
    parts = "; ".join(f"{ESTIMATORS[r.estimator].label} {r.rise:.1f}" for r in found)
    coarse = [r for r in found if r.rise > 1]
    rows = "vectors" if profile.pooling == "tokens" else "texts"
    needs = ", ".join(f"{r.n_samples_for(1):,} by {ESTIMATORS[r.estimator].label}" for r in coarse)
    return f"Smallest rise that {found[0].n_samples:,} {rows} resolve: {parts}." + (
        f" {rows.capitalize()} that a rise of 1.0 needs, about: {needs}." if needs else ""
    )


def no_rise_sentence(profile: IdProfile, estimator: str) -> str | None:
    """What it means for ranks that no rise is significant, in one sentence; None where one is.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    all_rises = rises(profile, estimator)
    if any(rise.goes_up for rise in all_rises):
        return None
    if all(rise.spread is None for rise in all_rises):
        return "No rise has an interval, since no half-samples were measured: ranks above the offset may be rounding or noise."
    return "No rise exceeds its interval: ranks above the offset are rounding or noise."


@dataclass(frozen=True)
class SignAgreement:
    """What the estimators say of one block's rise: names of those whose 95% interval of the rise is above 0, below 0,
    or includes 0, and of those that have no dimension at an end."""

    block: int
    up: tuple[str, ...]
    down: tuple[str, ...]
    unclear: tuple[str, ...]
    undefined: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """ "up" or "down" when all that see a sign see this one, "disputed" when they contradict, else "unclear" or "undefined"."""
        if self.up and self.down:
            return "disputed"
        if self.up or self.down:
            return "up" if self.up else "down"
        return "unclear" if self.unclear else "undefined"


def sign_agreement(profile: IdProfile) -> tuple[SignAgreement, ...]:
    """Whether the profile's estimators agree on the sign of each block's rise, one answer a block.

    A sign and not a correlation of curves: over the handful of layers that a model has, a correlation is mostly luck.
    """
    by_estimator = {name: rises(profile, name) for name in profile.estimates}
    result = []
    for i in range(len(profile.layer_names) - 1):
        groups: dict[str, list[str]] = {"up": [], "down": [], "unclear": [], "undefined": []}
        for name, of_blocks in by_estimator.items():
            rise = of_blocks[i]
            sign = "undefined" if rise.value is None else "up" if rise.goes_up else "down" if rise.is_significant else "unclear"
            groups[sign].append(name)
        result.append(SignAgreement(i + 1, *(tuple(groups[sign]) for sign in ("up", "down", "unclear", "undefined"))))
    return tuple(result)


def sign_sentence(profile: IdProfile) -> str:
    """What the estimators say together of the sign of each block's rise, in one sentence.

    An estimator whose 95% interval of a rise includes 0 has no vote on it.
    """
    words = {
        "up": "{} up",
        "down": "{} down",
        "disputed": "{} disputed (some see it rise, others fall)",
        "unclear": "{} not significant",
        "undefined": "{} without a dimension",
    }
    blocks: dict[str, list[int]] = {verdict: [] for verdict in words}
    for agreement in sign_agreement(profile):
        blocks[agreement.verdict].append(agreement.block)
    parts = [words[verdict].format(_spans(numbers)) for verdict, numbers in blocks.items() if numbers]
    count = len(profile.estimates)
    voters = f"{count} estimators; one whose 95% CI includes 0 does not vote" if count > 1 else f"{next(iter(profile.estimates))} alone"
    return f"Sign of each rise ({voters}): {'; '.join(parts)}."


def _spans(numbers: list[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    listed = ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}{', ' if len(s) == 2 else ' to '}{s[-1]}" for s in spans)
    return f"block{'s' if len(numbers) > 1 else ''} {listed}"


def is_scale_dependent(profile: IdProfile, estimator: str) -> np.ndarray:
    """Whether the dimension at half the rows lies outside the interval at all rows: bool [n_layers + 1].

    True means that the number describes this sample size, not the layer alone. It compares the mean over halves with
    the value of all rows, so it is the one thing said of halves that is not centred on the whole: a shift with N, where
    intervals of rises and shares of units (`gelora.ranks.rise_shares`) are the spread at this N. False where the
    dimension is undefined, and everywhere in a profile without half-samples.

    Raises:
        InputError: the profile does not hold the estimator.
    """
    profile.dimensions(estimator)  # checks the name
    halves = profile.subsamples.get(estimator)
    result = np.zeros(len(profile.layer_names), dtype=bool)
    for layer, estimate in enumerate(profile.estimates[estimator]):
        if estimate.ci_low is None or estimate.ci_high is None or halves is None or not np.isfinite(halves[:, layer]).any():
            continue
        at_half = float(np.nanmean(halves[:, layer]))
        result[layer] = not estimate.ci_low <= at_half <= estimate.ci_high
    return result


def _spread(before: IdEstimate, after: IdEstimate, differences: np.ndarray | None, halves: str) -> Spread | None:
    spread = None if differences is None else half_sample_spread(differences, halves)
    if spread is not None:
        return spread
    ends = [end for e in (before, after) for end in (e.ci_low, e.ci_high) if end is not None]
    return Spread(float(np.hypot(ends[1] - ends[0], ends[3] - ends[2])) / (2 * z_value(_CONFIDENCE))) if len(ends) == 4 else None
