"""How often a unit of rank is wanted: counted by hand on halves made by hand."""

import dataclasses

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.ranks import allocate_ranks, estimator_shares, half_sample_shares, rise_units

HALVES = np.array(
    [
        [10.0, 11.5, 11.0, np.nan],  # rises 2, 0
        [10.0, 10.4, 11.0, 12.0],  # 1, 1, 1
        [10.0, 12.0, 11.0, 12.5],  # 2, 0, 2
        [10.0, 9.0, 9.0, 9.0],  # 0, 0, 0
    ]
)


def profile_with_halves(make_profile, halves=HALVES, **more):
    profile = make_profile([10.0, 12.0, 11.0, None], **more)
    return dataclasses.replace(profile, subsamples={"twonn": halves})


def test_shares_are_counted_over_the_paired_rises_of_each_half(make_profile):
    shares = half_sample_shares(profile_with_halves(make_profile))
    assert shares == {1: (0.75, 0.5), 2: (0.25,), 3: (2 / 3, 1 / 3)}  # one half of block 3 has no dimension


def test_rounding_and_scale_are_those_of_the_rule(make_profile):
    profile = profile_with_halves(make_profile)
    assert half_sample_shares(profile, rounding="round")[1] == (0.5, 0.5)  # 1.5 -> 2, 0.4 -> 0, 2 -> 2, -1 -> 0
    assert half_sample_shares(profile, scale=2.0)[1] == (0.75, 0.5, 0.5, 0.25)  # 3, 1, 4, 0
    assert half_sample_shares(profile, scale=0.0) == {1: (), 2: (), 3: ()}


def test_the_shares_of_a_unit_fall_and_a_sure_rise_has_the_share_one(make_profile):
    sure = np.array([[10.0, 12.0, 11.0, 11.0]] * 5)
    profile = profile_with_halves(make_profile, sure)
    assert half_sample_shares(profile) == {1: (1.0, 1.0), 2: (), 3: ()}
    assert allocate_ranks(profile, offset=3).block_ranks()[1] == 3 + 2


def test_without_halves_there_are_no_shares(make_profile):
    assert half_sample_shares(dataclasses.replace(make_profile([1.0, 2.0]), subsamples={})) == {1: ()}


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
            half_sample_shares(make_profile([1.0, 2.0]), **options)
