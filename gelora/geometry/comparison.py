"""The difference of two curves of dimensions at every layer, with its interval, and which settings differ between the two.

Reads IdProfiles; estimates nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gelora.errors import InputError
from gelora.geometry.curve import halves_of
from gelora.geometry.estimator import half_sample_spread
from gelora.records import IdEstimate, IdProfile

_ROUNDING = 1e-4  # of a dimension: what another order of batches may do to it, which half-samples do not see


@dataclass(frozen=True)
class LayerDifference:
    """What two curves say of the same layer: `value` is second - first; None with the reason in `note` where one has no dimension.

    ci_low, ci_high: the 95% interval of the difference, None where a side has none.
    """

    layer: str
    first: float | None
    second: float | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    note: str | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the 95% interval of the difference excludes 0."""
        return self.ci_low is not None and self.ci_high is not None and (self.ci_low > 0 or self.ci_high < 0)


@dataclass(frozen=True)
class DifferenceSummary:
    """Differences in numbers: the mean over the `n_defined` layers where both have a dimension (None when there is none),
    the largest in size, and at how many of the `n_with_interval` layers the interval excludes 0 (`n_significant`)."""

    mean: float | None
    largest: LayerDifference | None
    n_defined: int
    n_with_interval: int
    n_significant: int


def compare_profiles(first: IdProfile, second: IdProfile, estimator: str) -> tuple[LayerDifference, ...]:
    """The difference second - first at every layer, with a 95% interval.

    Of the same rows (`share_rows`) it is the difference -+ t standard deviations by the half-samples' differences, as for a
    rise: what moves both alike cancels. Else the two are taken for independent: -+ sqrt(w1^2 + w2^2), with w half the width
    of the interval that a profile's half-samples give at that layer. Without half-samples half the width of the estimate's
    own interval takes its place.

    Raises:
        InputError: a profile does not hold the estimator, or they have different numbers of layers.
    """
    for profile in (first, second):
        profile.dimensions(estimator)  # checks the name
    if len(first.layer_names) != len(second.layer_names):
        raise InputError(
            f"{_name(first)} has {len(first.layer_names) - 1} blocks and {_name(second)} has {len(second.layer_names) - 1}; "
            "layers can be subtracted only between models of the same depth."
        )
    widths = [_half_widths(profile, estimator) for profile in (first, second)]
    paired: list[float | None] = [None] * len(first.layer_names)
    if share_rows(first, second, estimator):
        one, other = halves_of(first, estimator), halves_of(second, estimator)
        spreads = [half_sample_spread(moved, first.halves) for moved in (other - one).T]  # type: ignore[operator]
        paired = [None if spread is None else spread.half_width() for spread in spreads]
    pairs = zip(first.layer_names, first.estimates[estimator], second.estimates[estimator], *widths, paired, strict=True)
    result = []
    for layer, a, b, wide_a, wide_b, half_width in pairs:
        if half_width is not None:
            half_width = max(half_width, _ROUNDING * max(a.dimension or 0.0, b.dimension or 0.0))
        elif wide_a is not None and wide_b is not None:
            half_width = float(np.hypot(wide_a, wide_b))
        result.append(layer_difference(layer, a, b, half_width))
    return tuple(result)


def share_rows(first: IdProfile, second: IdProfile, estimator: str) -> bool:
    """Whether row i is of the same text in both and halves were drawn of both alike, so that half-samples can be subtracted one by one.

    Halves drawn with different seeds do no harm: their differences then spread as those of independent ones do.
    """
    halves = [profile.subsamples.get(estimator) for profile in (first, second)]
    if halves[0] is None or halves[1] is None or halves[0].shape != halves[1].shape or first.halves != second.halves:
        return False
    if "tokens" in (first.pooling, second.pooling):
        return False
    texts = [(p.sample_source.texts_digest, () if p.sinks is None else p.sinks.left_out) for p in (first, second)]
    return texts[0] == texts[1]


def layer_difference(layer: str, first: IdEstimate, second: IdEstimate, half_width: float | None) -> LayerDifference:
    """second - first of one layer; half_width: of the difference's 95% interval, None for no interval."""
    if first.dimension is None or second.dimension is None:
        reasons = dict.fromkeys(str(e.note) for e in (first, second) if e.dimension is None)
        return LayerDifference(layer, first.dimension, second.dimension, None, None, None, "; ".join(reasons))
    value = second.dimension - first.dimension
    if half_width is None:
        return LayerDifference(layer, first.dimension, second.dimension, value, None, None, "no interval: a side has none")
    return LayerDifference(layer, first.dimension, second.dimension, value, value - half_width, value + half_width)


def summarize_differences(differences: Sequence[LayerDifference]) -> DifferenceSummary:
    """The differences of all layers in a few numbers."""
    defined = [d for d in differences if d.value is not None]
    return DifferenceSummary(
        mean=float(np.mean([d.value for d in defined])) if defined else None,
        largest=max(defined, key=lambda d: abs(d.value or 0.0), default=None),
        n_defined=len(defined),
        n_with_interval=sum(d.ci_low is not None for d in defined),
        n_significant=sum(d.is_significant for d in defined),
    )


def what_differs(first: IdProfile, second: IdProfile) -> dict[str, tuple[str, str]]:
    """{choice: (its value in the first, in the second)} of every choice that the two do not share."""
    sources = first.sample_source, second.sample_source
    choices = {
        "model": [f"{p.model.model_id} ({p.model.revision[:10]})" for p in (first, second)],
        "dataset": [_words(s.choice.dataset, s.choice.config, s.choice.split) for s in sources],
        "columns": [_words(s.choice.text_column, s.choice.pair_column) for s in sources],
        "texts": [_texts(p) for p in (first, second)],
        "seed": [str(s.seed) for s in sources],
        "pooling": [p.pooling for p in (first, second)],
        "sinks": ["keep" if p.sinks is None else f"{p.sinks.treatment} (ratio {p.sinks.ratio:g})" for p in (first, second)],
        "max_length": [str(p.max_length) for p in (first, second)],
        "n_neighbors": [str(p.n_neighbors) for p in (first, second)],
        "metric": [p.metric for p in (first, second)],
    }
    return {name: (a, b) for name, (a, b) in choices.items() if a != b}


def _texts(profile: IdProfile) -> str:
    """How many vectors were measured, and of which texts."""
    source = profile.sample_source
    rows = max((e.n_samples for estimates in profile.estimates.values() for e in estimates), default=source.n_samples)
    return f"{rows:,} vectors of the texts with digest {source.texts_digest[:10]}"


def comparability_notes(first: IdProfile, second: IdProfile, estimator: str) -> list[str]:
    """One sentence for each reason why the two curves' heights do not mean the same; none where they do.

    Raises:
        InputError: a profile does not hold the estimator.
    """
    for profile in (first, second):
        profile.dimensions(estimator)  # checks the name
    notes = []
    norms = [profile.model.has_final_norm for profile in (first, second)]
    if norms[0] != norms[1]:
        pre, post = (first, second) if norms[0] else (second, first)
        notes.append(
            f"Not comparable in absolute value: the states of {_name(pre)} are a residual stream that only a final norm scales, "
            f"those of {_name(post)} are normed after every block. Compare the shapes."
        )
    rows = [max(e.n_samples for e in profile.estimates[estimator]) for profile in (first, second)]
    if max(rows) > 1.1 * min(rows):
        notes.append(
            f"{rows[0]:,} vectors against {rows[1]:,}: estimates move with the number of vectors, so part of the difference is that."
        )
    for name, words in (("n_neighbors", "numbers of neighbors"), ("metric", "distances")):
        if getattr(first, name) != getattr(second, name):
            notes.append(f"Measured with other {words}: {getattr(first, name)} and {getattr(second, name)}.")
    return notes


def _half_widths(profile: IdProfile, estimator: str) -> list[float | None]:
    """Half the width of each layer's 95% interval: from the half-samples where there are two, else the estimate's own."""
    halves = halves_of(profile, estimator)
    widths: list[float | None] = []
    for layer, estimate in enumerate(profile.estimates[estimator]):
        spread = None if halves is None else half_sample_spread(halves[:, layer], profile.halves)
        width = None if spread is None else spread.half_width()
        if width is None and estimate.ci_low is not None and estimate.ci_high is not None:
            width = (estimate.ci_high - estimate.ci_low) / 2
        widths.append(width)
    return widths


def _name(profile: IdProfile) -> str:
    return profile.model.model_id


def _words(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)
