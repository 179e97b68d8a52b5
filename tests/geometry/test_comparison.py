"""Two curves beside each other: differences and intervals checked by hand, and what is said when they cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.geometry import comparability_notes, compare_profiles, summarize_differences, what_differs
from gelora.records import IdEstimate, IdProfile


def profile_of(make, curve, spread=0.0, intervals=True, digest="other"):
    """TwoNN on each layer; half-samples at the value -+ spread (standard deviation spread * sqrt 2), none when spread is 0."""
    states = make.states(np.zeros((len(curve), 3, 2)))
    ends = [(None, None) if d is None or not intervals else (d - 1, d + 1) for d in curve]
    notes = ["all vectors are equal" if d is None else None for d in curve]
    estimates = {"twonn": tuple(IdEstimate("twonn", d, *e, 3, 3, 0.1, n) for d, e, n in zip(curve, ends, notes, strict=True))}
    values = np.array([np.nan if d is None else d for d in curve])
    halves = {"twonn": np.stack([values - spread, values + spread])} if spread else {}
    source = replace(states.sample_source, texts_digest=digest)
    return IdProfile(states.layer_names, estimates, halves, states.model, source, "mean", 128, 20, "euclidean")


def test_the_interval_adds_the_variances_of_both_sides_half_samples(make):
    """Standard deviations 3 and 4 make one of 5: the classic triangle."""
    first, second = profile_of(make, [5.0, 9.0], 3 / np.sqrt(2)), profile_of(make, [5.5, 29.0], 4 / np.sqrt(2), digest="of others")
    one, two = compare_profiles(first, second, "twonn")
    assert (one.layer, one.first, one.second, one.value) == ("embeddings", 5.0, 5.5, 0.5)
    assert one.ci_high - one.value == pytest.approx(1.959964 * 5, rel=1e-6) and not one.is_significant
    assert two.ci_low == pytest.approx(20 - 9.79982, rel=1e-6) and two.is_significant


def test_of_the_same_texts_what_moves_both_alike_cancels(make):
    """Half-samples at -+ 3 and -+ 4 differ by -+ 1, a standard deviation of sqrt 2; drawn tokens are no common rows."""
    first, second = profile_of(make, [5.0], 3.0), profile_of(make, [5.5], 4.0)
    (same,) = compare_profiles(first, second, "twonn")
    assert same.ci_high - same.value == pytest.approx(1.959964 * np.sqrt(2))
    again = replace(first, estimates={"twonn": (replace(first.estimates["twonn"][0], dimension=5.0001),)})
    (itself,) = compare_profiles(first, again, "twonn")  # halves to the bit, and no difference but rounding
    assert not itself.is_significant and itself.ci_high - itself.value == pytest.approx(5e-4, rel=1e-3)
    (tokens,) = compare_profiles(first, replace(second, pooling="tokens"), "twonn")
    assert tokens.ci_high - tokens.value == pytest.approx(1.959964 * 5 * np.sqrt(2))


def test_the_other_way_round_is_the_negative(make):
    first, second = profile_of(make, [5.0, 9.0], 0.2), profile_of(make, [7.0, 8.0], 0.3)
    there, back = compare_profiles(first, second, "twonn"), compare_profiles(second, first, "twonn")
    assert [d.value for d in there] == [2.0, -1.0] and [-d.value for d in back] == [2.0, -1.0]
    assert [d.ci_low for d in there] == pytest.approx([-d.ci_high for d in back])


def test_without_half_samples_the_estimates_own_intervals_are_added(make):
    (only,) = compare_profiles(profile_of(make, [5.0]), profile_of(make, [9.0]), "twonn")
    assert only.ci_high - only.value == pytest.approx(np.sqrt(2))
    (bare,) = compare_profiles(profile_of(make, [5.0]), profile_of(make, [9.0], intervals=False), "twonn")
    assert (bare.value, bare.ci_low, bare.is_significant) == (4.0, None, False) and "no interval" in bare.note


def test_a_layer_without_a_dimension_has_no_difference_but_the_reason(make):
    differences = compare_profiles(profile_of(make, [None, 9.0], 0.1), profile_of(make, [4.0, 8.0], 0.1), "twonn")
    assert (differences[0].value, differences[0].second, differences[0].note) == (None, 4.0, "all vectors are equal")
    summary = summarize_differences(differences)
    assert (summary.mean, summary.n_defined, summary.n_with_interval, summary.n_significant) == (-1.0, 1, 1, 1)
    assert summary.largest.layer == "block 1"


def test_nothing_defined_is_summed_up_as_nothing(make):
    nothing = summarize_differences(compare_profiles(profile_of(make, [None]), profile_of(make, [4.0]), "twonn"))
    assert (nothing.mean, nothing.largest, nothing.n_defined, nothing.n_significant) == (None, None, 0, 0)


def test_models_of_other_depths_are_not_subtracted(make):
    with pytest.raises(InputError, match="1 blocks and tiny has 2; layers can be subtracted only"):
        compare_profiles(profile_of(make, [1.0, 2.0]), profile_of(make, [1.0, 2.0, 3.0]), "twonn")
    with pytest.raises(InputError, match="twonn"):
        compare_profiles(profile_of(make, [1.0]), profile_of(make, [1.0]), "mle")


def test_what_differs_is_named_and_nothing_else(make):
    first = profile_of(make, [1.0])
    assert what_differs(first, first) == {}
    assert what_differs(first, replace(first, pooling="cls", n_neighbors=10)) == {"pooling": ("mean", "cls"), "n_neighbors": ("20", "10")}


def test_texts_are_counted_as_measured_not_as_asked_for(make):
    first = profile_of(make, [1.0])
    asked = replace(first, sample_source=replace(first.sample_source, n_samples=1000))
    assert what_differs(first, asked) == {}
    other = replace(asked, sample_source=replace(asked.sample_source, texts_digest="0123456789abcdef"))
    assert what_differs(first, other)["texts"][1] == "3 vectors of the texts with digest 0123456789"


def test_pre_norm_and_post_norm_models_are_not_comparable(make):
    first = profile_of(make, [1.0])
    other = replace(first, model=replace(first.model, has_final_norm=True, model_id="llama"))
    assert comparability_notes(first, first, "twonn") == []
    (note,) = comparability_notes(first, other, "twonn")
    assert note.startswith("Not comparable in absolute value: the states of llama are a residual stream")


def test_unlike_numbers_of_vectors_and_metrics_are_said(make):
    first = profile_of(make, [1.0])
    more = tuple(replace(e, n_samples=1000) for e in first.estimates["twonn"])
    notes = comparability_notes(first, replace(first, estimates={"twonn": more}, metric="cosine"), "twonn")
    assert notes[0].startswith("3 vectors against 1,000") and notes[1] == "Measured with other distances: euclidean and cosine."
