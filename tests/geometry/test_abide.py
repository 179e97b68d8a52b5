"""ABIDE: known dimensions with and without noise, neighborhoods that end where density does, the test of fit."""

import numpy as np
import pytest
from scipy import stats

from gelora.errors import DataError, InputError
from gelora.geometry import ABIDE, MLE, neighbor_graph, synthetic
from gelora.geometry.abide import even_neighborhoods


def dimension(X):
    return ABIDE(n_subsamples=0).fit(X).dimension_


def plane(rng, noise, width, n=2000):
    return np.pad(rng.random((n, 2)), ((0, 0), (0, width - 2))) + noise * rng.standard_normal((n, width))


@pytest.mark.parametrize(("d", "bias"), [(1, 0.0), (2, 0.0), (5, -0.07)])
def test_spheres(d, bias):
    answers = [dimension(synthetic.sphere(1000, d, 20, seed=s)) for s in range(4)]
    assert np.mean(answers) == pytest.approx(d * (1 + bias), rel=0.03)


@pytest.mark.parametrize(("noise", "width", "low", "high"), [(0.002, 20, 1.9, 2.0), (0.005, 20, 2.1, 2.25), (0.005, 64, 2.7, 2.9)])
def test_noise_is_outgrown_where_neighborhoods_reach_beyond_it(noise, width, low, high, rng):
    """Estimators of 20 neighbors read twice as much and more; where noise is wide, the answer is high and the fit says so."""
    X = plane(rng, noise, width)
    fitted = ABIDE(n_subsamples=0).fit(X)
    assert low < fitted.dimension_ < high < MLE().fit(X).dimension_
    if width == 64:
        assert fitted.p_value_ < 1e-6


def test_varying_density_shortens_neighborhoods_and_costs_little(rng):
    X = np.exp(0.7 * rng.standard_normal((2000, 3)))
    fitted = ABIDE(n_subsamples=0).fit(X)
    assert fitted.dimension_ == pytest.approx(3, rel=0.07) and fitted.p_value_ > 0.01
    assert fitted.neighborhoods_.mean() < 75 < 99 == np.median(ABIDE(n_subsamples=0).fit(rng.random((2000, 3))).neighborhoods_)


def test_a_neighborhood_ends_where_the_density_jumps(rng):
    """A line of 60 points a hundred times as dense as the 60 beside it: neighborhoods of the dense half end with it."""
    x = np.concatenate([np.linspace(0, 0.6, 60), np.linspace(0.7, 60, 60)])[:, None] + 1e-4 * rng.random((120, 1))
    graph = neighbor_graph(x, 100)
    found = even_neighborhoods(np.log(graph.distances), graph.indices, 1.0, float(stats.chi2.isf(1e-6, 1)))
    assert np.median(found[:60]) == 60 and np.mean(found[:60] == 60) > 0.9  # but at the far end, where the ball is as wide as the gap
    for threshold, end in ((np.inf, 99), (-1.0, 4)):  # nothing rejected: as far as the graph goes; everything: where the test starts
        assert (even_neighborhoods(np.log(graph.distances), graph.indices, 1.0, threshold) == end).all()


def test_the_answer_is_the_likeliest_share_of_its_own_counts(rng):
    X = synthetic.sphere(500, 3, 8, rng)
    fitted = ABIDE(n_subsamples=0).fit(X)
    distances = np.sort(np.linalg.norm(X[:, None] - X[None], axis=2), axis=1)[:, 1:]
    radius = distances[np.arange(500), fitted.neighborhoods_ - 1]
    inner = (distances < fitted.radius_ratio_ * radius[:, None]).sum(axis=1)
    np.testing.assert_array_equal(fitted.inner_counts_, inner)
    share = inner.sum() / (fitted.neighborhoods_ - 1).sum()
    assert fitted.dimension_ == pytest.approx(np.log(share) / np.log(fitted.radius_ratio_))
    assert share == pytest.approx(0.2032, abs=0.002)  # settled: the ratio is that of the answer


def test_the_fit_s_p_value_is_even_where_the_model_holds():
    values = [ABIDE(n_subsamples=0).fit(synthetic.clifford_torus(500, 2, 6, seed=s)).p_value_ for s in range(40)]
    assert min(values) > 0.001 and 0.3 < np.mean(values) < 0.8
    fitted = ABIDE(n_subsamples=0).fit(synthetic.clifford_torus(500, 2, 6, seed=0))
    within = fitted.neighborhoods_ - 1
    drawn = np.random.default_rng(0).binomial(np.repeat(within, 200), fitted.inner_counts_.sum() / within.sum())
    assert fitted.p_value_ == pytest.approx(stats.ks_2samp(fitted.inner_counts_, drawn).pvalue, abs=0.1)  # by counts drawn, as the paper


def test_intervals_cover_other_samples():
    fits = [ABIDE(n_subsamples=10, seed=s).fit(synthetic.clifford_torus(200, 2, 6, seed=s)) for s in range(16)]
    mean = np.mean([fit.dimension_ for fit in fits])
    assert np.mean([fit.ci_low_ <= mean <= fit.ci_high_ for fit in fits]) >= 0.78  # 95% less three standard errors


def test_what_is_too_small_or_illegal_is_said():
    with pytest.raises(DataError, match=r"5 distinct points: a neighborhood of even density needs at least 6"):
        dimension(np.random.default_rng(0).random((5, 3)))
    with pytest.raises(InputError, match="alpha is 0"):
        ABIDE(alpha=0.0).fit(np.random.default_rng(0).random((50, 3)))
    with pytest.raises(InputError, match="max_neighbors is 4"):
        ABIDE(max_neighbors=4).fit(np.random.default_rng(0).random((50, 3)))
