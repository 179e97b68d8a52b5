"""Baselines keep what they promise to keep, and lose the rest."""

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.geometry import add_baselines, estimate_profile, synthetic
from gelora.geometry.baselines import baseline


def test_shuffling_keeps_every_marginal_and_no_dependence(rng):
    t = rng.uniform(size=3000)
    values = np.column_stack([t, t**2, -t])
    shuffled = baseline(values, "shuffled", rng)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(values, axis=0))
    assert np.abs(np.corrcoef(shuffled.T)[0, 1:]).max() < 0.08  # four standard errors


@pytest.mark.parametrize("shape", [(4000, 6), (60, 200)], ids=["more rows than columns", "fewer"])
def test_a_gaussian_has_the_mean_and_covariance(shape, rng):
    values = rng.exponential(size=shape) @ rng.standard_normal((shape[1], shape[1])) + 7
    draws = [baseline(values, "gaussian", np.random.default_rng(i)) for i in range(1 if shape[0] > 1000 else 400)]
    made = np.vstack(draws)
    np.testing.assert_allclose(made.mean(axis=0), values.mean(axis=0), atol=6 * values.std() / np.sqrt(len(made)))
    expected = np.cov(values.T)
    assert np.linalg.norm(np.cov(made.T) - expected) / np.linalg.norm(expected) < 0.12
    third = ((made - made.mean(axis=0)) ** 3).mean(axis=0) / made.std(axis=0) ** 3
    assert np.abs(third).max() < 0.4  # no skew is left


def test_a_constant_column_stays_constant(rng):
    values = np.column_stack([rng.standard_normal(50), np.full(50, 3.0)])
    for kind in ("shuffled", "gaussian"):
        np.testing.assert_allclose(baseline(values, kind, rng)[:, 1], 3.0)


def test_a_curved_layer_lies_below_both_baselines_and_a_gaussian_one_does_not(make):
    curved = synthetic.swiss_roll(600, 2, 12, seed=1)
    flat = synthetic.gaussian(600, 4, 12, seed=2)
    states = make.states(np.stack([curved, flat]))
    profile = estimate_profile(states, ["twonn", "mle"], n_subsamples=2)
    with_baselines = add_baselines(states, profile, seed=3)
    for name in ("twonn", "mle"):
        d = profile.dimensions(name)
        gaussian, shuffled = with_baselines.baselines["gaussian"][name], with_baselines.baselines["shuffled"][name]
        assert gaussian[0] > 1.3 * d[0]
        assert gaussian[1] == pytest.approx(d[1], rel=0.15)
        assert shuffled[1] > 1.5 * d[1]
    assert with_baselines.estimates == profile.estimates
    assert type(profile).from_json(with_baselines.to_json()) == with_baselines
    assert add_baselines(states, profile, seed=3) == with_baselines


def test_a_layer_without_a_dimension_has_no_baseline(make):
    values = np.stack([np.ones((80, 5)), np.random.default_rng(0).standard_normal((80, 5))])
    states = make.states(values)
    profile = add_baselines(states, estimate_profile(states, ["twonn"], n_subsamples=0), ["shuffled"])
    assert list(profile.baselines) == ["shuffled"]
    assert np.isnan(profile.baselines["shuffled"]["twonn"][0]) and np.isfinite(profile.baselines["shuffled"]["twonn"][1])


def test_other_states_and_unknown_kinds_are_refused(make, rng):
    states = make.states(rng.standard_normal((2, 60, 4)))
    profile = estimate_profile(states, ["twonn"], n_subsamples=0)
    with pytest.raises(InputError, match="different sample_source"):
        add_baselines(make.states(rng.standard_normal((2, 70, 4))), profile)
    with pytest.raises(InputError, match="shuffled, gaussian"):
        add_baselines(states, profile, ["permuted"])
