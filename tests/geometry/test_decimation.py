"""Scale curves: each point is the mean over disjoint parts, and what the sample size does is seen."""

import numpy as np
import pytest

from gelora.geometry import GRIDE, TwoNN, add_scale_curves, estimate_profile, synthetic
from gelora.geometry.decimation import sizes_of
from gelora.records import IdProfile


def test_sizes_halve_while_enough_rows_are_left():
    assert sizes_of(1000, 20) == [1000, 500, 250, 125]
    assert sizes_of(5000, 20) == [5000, 2500, 1250, 625]
    assert sizes_of(201, 20) == [201, 100]
    assert sizes_of(90, 20) == [90]


def test_values_are_the_means_over_disjoint_parts(make):
    values = np.stack([synthetic.gaussian(400, d, 12, seed=d) for d in (3, 6)])
    states = make.states(values)
    profile = add_scale_curves(states, estimate_profile(states, ["twonn"], n_subsamples=4), seed=5)
    curve = profile.scale_curves["decimation:twonn"]
    assert list(curve.scales) == [400, 200, 100]
    order = np.random.default_rng(5).permutation(400)
    for j, parts in ((1, 2), (2, 4)):
        answers = [TwoNN().fit(states.values[1][np.sort(rows)]).dimension_ for rows in np.split(order, parts)]
        assert curve.dimensions[1, j] == pytest.approx(np.mean(answers), rel=1e-12)
        assert curve.spreads[1, j] == pytest.approx(np.std(answers, ddof=1), rel=1e-9)
    np.testing.assert_array_equal(curve.dimensions[:, 0], profile.dimensions("twonn"))
    assert (np.diff(curve.lengths, axis=1) > 0).all()  # fewer rows lie farther apart
    assert IdProfile.from_json(profile.to_json()) == profile


def test_noise_shows_as_a_curve_that_rises_with_the_rows(make):
    """A noisy line: the more rows, the nearer the neighbors, the more the noise is seen."""
    values = synthetic.affine(1600, 1, 10, seed=0, noise=0.0005)[None]
    states = make.states(np.concatenate([values, synthetic.affine(1600, 2, 10, seed=1)[None]]))
    curve = add_scale_curves(states, estimate_profile(states, ["twonn"], n_subsamples=4)).scale_curves["decimation:twonn"]
    assert curve.dimensions[0, 0] > 1.5 * curve.dimensions[0, -1]
    assert curve.dimensions[1, 0] == pytest.approx(curve.dimensions[1, -1], rel=0.15)


def test_the_gride_curve_is_gride_at_every_order(make):
    values = np.stack([synthetic.gaussian(300, d, 12, seed=d) for d in (3, 6)])
    states = make.states(values)
    curve = add_scale_curves(states, estimate_profile(states, ["twonn"], n_subsamples=0)).scale_curves["neighbors:gride"]
    assert list(curve.scales[:4]) == [2, 4, 8, 16]
    for layer in range(2):
        assert curve.dimensions[layer, 1] == pytest.approx(GRIDE(2, 4).fit(states.values[layer]).dimension_, rel=1e-9)
    assert (np.diff(curve.lengths, axis=1) > 0).all()


def test_a_layer_without_a_dimension_stays_a_gap(make, rng):
    states = make.states(np.stack([np.ones((120, 4)), rng.standard_normal((120, 4))]))
    profile = add_scale_curves(states, estimate_profile(states, ["twonn"], n_subsamples=2))
    for curve in profile.scale_curves.values():
        assert np.isnan(curve.dimensions[0]).all() and np.isfinite(curve.dimensions[1]).all()
