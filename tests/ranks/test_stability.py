"""How well a unit of rank is supported: worked out by hand on halves made by hand."""

import dataclasses
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora import records
from gelora.errors import InputError
from gelora.geometry import rises
from gelora.ranks import allocate_ranks, estimator_shares, rise_shares, rise_units, support_sentence, supported_units

HALVES = np.array(  # rises over block 1: 3.5 and 4.5 and 5.5, so 1 around 4.5, which is not the whole's 2; block 3: one half alone
    [[20.0, 23.5, 11.0, np.nan], [20.0, 24.5, 11.0, 12.0], [20.0, 25.5, 11.0, np.nan]]
)


def profile_with_halves(make_profile, halves=HALVES, **more):
    profile = make_profile([10.0, 12.0, 11.0, None], **more)
    return dataclasses.replace(profile, subsamples={"twonn": halves})


def test_shares_are_the_normal_law_around_the_rise_of_all_rows(make_profile):
    shares = rise_shares(profile_with_halves(make_profile))
    above = [NormalDist(2, 1).cdf(2 * 2 - unit) for unit in range(4)]  # P(rise > unit) by symmetry
    assert shares[1] == pytest.approx(above, abs=1e-6)  # and none for the fifth unit, 0.02
    assert shares[3] == ()
    assert sum(share > 0.5 for share in shares[1]) == rise_units(make_profile([10.0, 12.0, 11.0, None]))[1] == 2


def test_rounding_and_scale_are_those_of_the_rule(make_profile):
    profile = profile_with_halves(make_profile)
    assert rise_shares(profile, rounding="round")[1][:2] == pytest.approx([NormalDist().cdf(1.5), NormalDist().cdf(0.5)])
    assert rise_shares(profile, scale=2.0)[1][:3] == pytest.approx([NormalDist().cdf(z) for z in (2, 1.5, 1)], abs=1e-6)
    assert rise_shares(profile, scale=0.0) == {1: (), 2: (), 3: ()}
    uneven = make_profile([10.4, 12.0, 11.0, None])  # 10 to 12: the second unit needs 11.5, a rise of 1.1
    shares = rise_shares(dataclasses.replace(uneven, subsamples={"twonn": HALVES}), rounding="round-each")[1]
    assert shares[1] == pytest.approx(NormalDist(1.6, 1).cdf(2 * 1.6 - 1.1))


def test_a_rise_that_never_varies_is_sure(make_profile):
    sure = np.array([[10.0, 12.0, 11.0, 11.0]] * 5)
    profile = profile_with_halves(make_profile, sure)
    assert rise_shares(profile) == {1: (1.0, 1.0), 2: (), 3: ()}
    assert allocate_ranks(profile, offset=3).block_ranks()[1] == 3 + 2


def test_without_an_interval_there_are_no_shares(make_profile):
    profile = dataclasses.replace(make_profile([1.0, 2.0]), subsamples={})
    assert rise_shares(profile)[1][0] == pytest.approx(NormalDist().cdf(1.96 / (0.1 * 2**0.5)), abs=1e-6)  # the layers' own intervals
    bare = tuple(dataclasses.replace(e, ci_low=None, ci_high=None) for e in profile.estimates["twonn"])
    assert rise_shares(dataclasses.replace(profile, estimates={"twonn": bare})) == {1: ()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    drawn=st.sampled_from(records.HALVES),
    seed=st.integers(0, 2**32 - 1),
    rounding=st.sampled_from(["ceil", "round", "round-each"]),
    scale=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_interval_share_and_rank_never_contradict_each_other(make_profile, drawn, seed, rounding, scale):
    rng = np.random.default_rng(seed)
    curve = rng.uniform(5, 15, 8)
    halves = curve + rng.normal(scale=rng.uniform(0.01, 3, 8), size=(2 * int(rng.integers(1, 15)), 8)) + rng.normal(0, 5, 8)  # not centred
    halves[rng.random(halves.shape) < 0.2] = np.nan
    profile = dataclasses.replace(make_profile(list(curve)), subsamples={"twonn": halves}, halves=drawn)
    shares, units = rise_shares(profile, rounding=rounding, scale=scale), rise_units(profile, rounding=rounding, scale=scale)
    supported = supported_units(profile, rounding=rounding, scale=scale)
    for rise in rises(profile, "twonn"):
        of_block = shares[rise.block]
        assert list(of_block) == sorted(of_block, reverse=True)
        assert sum(share > 0.5 for share in of_block) == units[rise.block]
        if rounding == "ceil":
            assert (len(of_block) > 0 and of_block[0] >= 0.975) == rise.goes_up == (supported[rise.block] > 0)
        assert supported[rise.block] <= units[rise.block]
    said = support_sentence(profile, rounding=rounding, scale=scale)
    n_units, n_supported = sum(units.values()), sum(supported.values())
    assert (said is None) == (n_units == n_supported)
    if said and n_supported:
        assert f"support {n_supported} of {n_units} rank units" in said


def test_estimators_are_counted_the_same_way(make_profile):
    profile = make_profile([10.0, 12.0, 11.0], mle=[10.0, 10.5, 12.0], danco=[None, 9.0, 8.0])
    assert rise_units(profile, "danco") == {1: None, 2: 0}
    assert estimator_shares(profile) == {1: (1.0, 0.5), 2: (1 / 3, 1 / 3)}
    assert estimator_shares(profile, ["mle"]) == {1: (1.0,), 2: (1.0, 1.0)}


def test_nonsense_is_refused(make_profile):
    for options, sentence in (
        ({"estimator": "danco"}, "'danco'"),
        ({"rounding": "floor"}, "'floor'"),
        ({"scale": -1.0}, "scale .* is -1.0"),
        ({"scale": float("nan")}, "scale .* is nan"),
    ):
        with pytest.raises(InputError, match=sentence):
            rise_shares(make_profile([1.0, 2.0]), **options)
