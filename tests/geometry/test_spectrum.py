"""Spectra of random matrices follow Marchenko and Pastur, planted directions are counted, and a power law is told from none."""

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import UNFIT, Spectrum, covariance_spectrum, fit_power_law, weight_spectrum


def planted(rng, strengths, shape=(900, 300)):
    """A random matrix with some singular directions of these values on top."""
    left, right = (np.linalg.qr(rng.standard_normal((side, len(strengths))))[0] for side in shape)
    return rng.standard_normal(shape) + left @ np.diag(strengths) @ right.T


@pytest.mark.parametrize("shape", [(1500, 300), (400, 400), (300, 900)])
def test_independent_entries_end_at_the_edge(rng, shape):
    cloud = covariance_spectrum(3 * rng.standard_normal(shape) + 5)
    n, p = shape
    assert cloud.edge == pytest.approx(9 * (1 + np.sqrt(p / (n - 1))) ** 2, rel=0.02)
    assert cloud.n_beyond <= 2
    assert cloud.stable_rank == pytest.approx(p / (1 + np.sqrt(p / (n - 1))) ** 2, rel=0.06)
    weights = weight_spectrum(rng.standard_normal(shape))
    assert weights.n_beyond <= 2 and (weights.n_rows, weights.n_columns) == (max(shape), min(shape))


def test_planted_directions_are_those_beyond_the_edge(rng):
    for strengths in ([150.0], [200.0, 150, 120, 110, 100]):
        assert weight_spectrum(planted(rng, strengths)).n_beyond - len(strengths) in (0, 1)


def test_eigenvalues_are_those_of_numpy_and_which_side_is_which_changes_nothing(rng):
    W = rng.standard_normal((40, 25))
    expected = np.linalg.svd(W, compute_uv=False) ** 2 / 40
    np.testing.assert_allclose(weight_spectrum(W).eigenvalues, expected)
    np.testing.assert_allclose(weight_spectrum(W.T).eigenvalues, expected)
    X = rng.standard_normal((60, 8)) + 100
    np.testing.assert_allclose(covariance_spectrum(X).eigenvalues, np.linalg.eigvalsh(np.cov(X.T))[::-1])
    np.testing.assert_allclose(covariance_spectrum(1e100 * X).eigenvalues / 1e200, covariance_spectrum(X).eigenvalues)
    turned = X @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    np.testing.assert_allclose(covariance_spectrum(turned).eigenvalues, covariance_spectrum(X).eigenvalues)


def test_one_direction_has_the_stable_rank_1(rng):
    line = np.outer(rng.standard_normal(50), rng.standard_normal(7))
    found = weight_spectrum(line)
    assert found.stable_rank == pytest.approx(1.0) and len(found.eigenvalues) == 1 and found.power_law() is None
    assert weight_spectrum(np.eye(30)).stable_rank == pytest.approx(30)
    assert np.isfinite(found.edge)


@pytest.mark.parametrize("alpha", [2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(rng, alpha):
    """Over 30 draws of 400 numbers: the exponent within its own error, and the law seldom called unfit."""
    found = [fit_power_law((1 - rng.random(400)) ** (-1 / (alpha - 1)), 40, seed) for seed in range(30)]
    assert np.mean([one.alpha for one in found]) == pytest.approx(alpha, rel=0.05)
    assert np.mean([one.is_unfit for one in found]) < 0.3
    assert np.std([one.alpha for one in found]) < 2.5 * np.mean([one.error for one in found])


def test_a_tail_that_begins_higher_up_is_found_where_it_begins(rng):
    tail = 10 * (1 - rng.random(600)) ** (-1 / 1.5)
    found = fit_power_law(np.concatenate([rng.uniform(0.1, 10, 1400), tail]), 0)
    assert found.alpha == pytest.approx(2.5, abs=0.3) and 7 < found.start < 20 and found.p is None and not found.is_unfit


@pytest.mark.parametrize(
    "make", [lambda rng: rng.random(1000) + 0.5, lambda rng: weight_spectrum(rng.standard_normal((900, 300))).eigenvalues]
)
def test_what_is_no_power_law_is_unfit(rng, make):
    found = fit_power_law(make(rng), 100)
    assert found.p < UNFIT and found.is_unfit


def test_the_same_seed_gives_the_same_p_and_scale_changes_nothing(rng):
    values = rng.exponential(size=200)
    one, other, scaled = fit_power_law(values, 30, 4), fit_power_law(values, 30, 4), fit_power_law(1e6 * values, 30, 4)
    assert one == other or (one.p, one.alpha) == (other.p, other.alpha)
    assert (scaled.p, scaled.alpha) == (one.p, pytest.approx(one.alpha)) and scaled.start == pytest.approx(1e6 * one.start)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: covariance_spectrum(np.ones((5, 3))), DataError, "All rows are equal"),
        (lambda: covariance_spectrum(np.ones((1, 3))), DataError, "at least 2"),
        (lambda: covariance_spectrum(np.full((5, 3), np.nan)), DataError, "NaN"),
        (lambda: covariance_spectrum(np.ones(3)), InputError, "matrix of real numbers"),
        (lambda: weight_spectrum(np.zeros((5, 3))), DataError, "All weights are 0"),
        (lambda: weight_spectrum(1e200 * np.eye(3)), DataError, "no square"),
        (lambda: fit_power_law(np.ones(30)), DataError, "All numbers are equal"),
        (lambda: fit_power_law(np.ones(19)), InputError, "at least 20"),
        (lambda: fit_power_law(np.zeros(30)), InputError, "positive"),
    ],
)
def test_what_has_no_spectrum_is_one_sentence(make, kind, says):
    with pytest.raises(kind, match=says):
        make()


def test_equal_eigenvalues_have_no_tail_to_speak_of():
    assert Spectrum(np.ones(50), 100, 50).power_law() is None
