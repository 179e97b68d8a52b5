"""What estimators say of the same block together, and what is said when there is no interval."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.geometry import (
    estimate_profile,
    merge_profiles,
    resolution,
    resolution_sentence,
    rises,
    sign_agreement,
    sign_sentence,
    synthetic,
)
from gelora.records import IdEstimate, IdProfile


def profile_of(make, curves, halves=None):
    """A profile with given dimensions (None: undefined), interval +- 1 (no interval where `halves` is False)."""
    n_layers = len(next(iter(curves.values())))
    states = make.states(np.zeros((n_layers, 3, 2)))
    estimates = {}
    for name, curve in curves.items():
        ends = [(None, None) if d is None or halves is False else (d - 1, d + 1) for d in curve]
        notes = ["no such" if d is None else None for d in curve]
        estimates[name] = tuple(IdEstimate(name, d, *e, 3, 3, 0.1, n) for d, e, n in zip(curve, ends, notes, strict=True))
    return IdProfile(states.layer_names, estimates, {}, states.model, states.sample_source, "mean", 128, 20, "euclidean")


def test_signs_are_counted_where_the_interval_excludes_zero(make):
    curves = {"twonn": [5.0, 9.0, 9.5, 5.0, None], "mle": [5.0, 8.0, 9.0, 9.0, 3.0], "danco": [6.0, 10.0, 9.0, 14.0, None]}
    one, two, three, four = sign_agreement(profile_of(make, curves))
    assert one.up == ("twonn", "mle", "danco") and one.verdict == "up"
    assert two.unclear == ("twonn", "mle", "danco") and two.verdict == "unclear"
    assert (three.down, three.up, three.unclear, three.verdict) == (("twonn",), ("danco",), ("mle",), "disputed")
    assert (four.down, four.undefined, four.verdict) == (("mle",), ("twonn", "danco"), "down")


def test_the_sentence_names_blocks_and_who_has_no_vote(make):
    curves = {"twonn": [5.0, 9.0, 14.0, 9.0, 14.0], "mle": [5.0, 8.0, 12.0, 13.0, 12.5], "danco": [6.0, 10.0, 15.0, 20.0, 19.0]}
    said = sign_sentence(profile_of(make, curves))
    assert said.startswith("Sign of each rise (3 estimators; one whose 95% CI includes 0 does not vote): ")
    assert said.endswith(": blocks 1, 2, 4 up; block 3 disputed (some see it rise, others fall).")


def test_nobody_sees_an_undefined_block(make):
    assert sign_agreement(profile_of(make, {"twonn": [None, 3.0]}))[0].verdict == "undefined"


def test_a_rise_without_any_interval_is_never_clear(make):
    """An estimator without an analytic interval, in a profile without half-samples."""
    profile = profile_of(make, {"danco": [5.0, 9.0]}, halves=False)
    (rise,) = rises(profile, "danco")
    assert (rise.value, rise.ci_low, rise.ci_high) == (4.0, None, None) and "no interval" in rise.note
    assert sign_agreement(profile)[0].unclear == ("danco",)


def test_profiles_of_the_same_layers_merge(make):
    values = np.stack([synthetic.gaussian(120, d, 10, seed=d) for d in (3, 5)])
    states = make.states(values)
    both = estimate_profile(states, ["twonn", "mle"], n_subsamples=2)
    merged = merge_profiles(estimate_profile(states, ["twonn"], n_subsamples=2), estimate_profile(states, ["mle"], n_subsamples=2))
    assert merged.digest() == both.digest()


@pytest.mark.parametrize(
    ("options", "says"), [({"n_neighbors": 8}, "different n_neighbors"), ({"n_subsamples": 4}, "different numbers of half-samples")]
)
def test_unlike_profiles_do_not_merge(make, options, says):
    states = make.states(np.random.default_rng(0).standard_normal((2, 60, 5)))
    one = estimate_profile(states, ["twonn"], n_subsamples=2)
    with pytest.raises(InputError, match=says):
        merge_profiles(one, estimate_profile(states, ["mle"], **{"n_subsamples": 2, **options}))


def test_halves_of_pairs_and_independent_ones_do_not_merge(make):
    states = make.states(np.random.default_rng(0).standard_normal((2, 60, 5)))
    one, other = (estimate_profile(states, [name], n_subsamples=2) for name in ("twonn", "mle"))
    with pytest.raises(InputError, match=r"Independent half-samples, of an earlier version"):
        merge_profiles(replace(one, halves="independent"), other)
    bare = replace(one, halves="independent", subsamples={})  # has none, so they cannot be unlike
    assert merge_profiles(bare, other).halves == merge_profiles(other, bare).halves == "pairs"


def test_a_file_from_before_the_pairs_is_read_by_its_own_law(make):
    """The rise's interval is the halves' standard deviation there, and half the root mean squared difference of pairs here."""
    states = make.states(np.random.default_rng(0).standard_normal((2, 60, 5)))
    profile = estimate_profile(states, ["twonn"], n_subsamples=8)
    written = json.loads(profile.to_json())
    del written["halves"]
    old = IdProfile.from_json(json.dumps(written))
    halves, whole = profile.subsamples["twonn"], profile.dimensions("twonn")
    of_halves, scaled = np.diff(halves, axis=1)[:, 0], np.diff(halves * whole / halves.mean(axis=0), axis=1)[:, 0]
    assert old.halves == "independent" and profile.halves == "pairs"
    assert rises(old, "twonn")[0].spread.deviation == pytest.approx(of_halves.std(ddof=1))
    assert rises(profile, "twonn")[0].spread.deviation == pytest.approx(np.sqrt(np.mean((scaled[0::2] - scaled[1::2]) ** 2) / 4))


def test_resolution_is_what_an_interval_needs_to_exclude_zero(make):
    profile = profile_of(make, {"twonn": [5.0, 9.0, 7.0], "mle": [5.0, 5.2, None], "danco": [None, 1.0, None]})
    found = resolution(profile, "twonn")
    assert found.rise == pytest.approx(2**0.5)  # both ends +- 1, as if independent
    assert (found.n_samples, found.n_samples_for(found.rise / 10), found.n_samples_for(100.0)) == (3, 300, 1)
    assert resolution(profile, "danco") is None
    assert resolution_sentence(profile) == (
        "Smallest rise that 3 texts resolve: TwoNN 1.4; MLE 1.4. Texts that a rise of 1.0 needs, about: 6 by TwoNN, 6 by MLE."
    )
    assert resolution_sentence(profile, ["danco"]) is None
    with pytest.raises(InputError, match=r"rise is 0.0; .* above 0"):
        found.n_samples_for(0.0)
