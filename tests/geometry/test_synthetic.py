"""The manifolds are what they say: dimension of the tangent, isometric embedding, seeds, noise."""

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.geometry import MANIFOLDS, synthetic


@pytest.mark.parametrize("name", MANIFOLDS)
@pytest.mark.parametrize("dimension", [2, 4])
def test_tangent_spaces_have_the_dimension(name, dimension):
    """Around one point of a dense draw the coordinates span `dimension` directions and hardly any more."""
    X = MANIFOLDS[name](60_000, dimension, 20, seed=1)
    distances = np.linalg.norm(X - X.mean(axis=0), axis=1)
    centre = X[np.argsort(distances)[len(X) // 2]]
    near = X[np.argsort(np.linalg.norm(X - centre, axis=1))[:200]]
    spread = np.linalg.svd(near - near.mean(axis=0), compute_uv=False)
    assert spread[dimension - 1] > 2.5 * spread[dimension]


@pytest.mark.parametrize("name", MANIFOLDS)
def test_seed_decides(name):
    draw = MANIFOLDS[name]
    np.testing.assert_array_equal(draw(50, 3, 12, seed=5), draw(50, 3, 12, seed=np.random.default_rng(5)))
    assert not np.array_equal(draw(50, 3, 12, seed=5), draw(50, 3, 12, seed=6))
    assert draw(50, 3, 12, seed=5).shape == (50, 12)


def test_embedding_is_isometric():
    X = synthetic.sphere(100, 3, 50, seed=2)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), 1, rtol=1e-12)
    assert np.linalg.matrix_rank(X) == 4
    torus = synthetic.clifford_torus(100, 3, 50, seed=2)
    np.testing.assert_allclose(np.linalg.norm(torus, axis=1), np.sqrt(3), rtol=1e-12)


def test_noise_has_the_deviation_asked_for():
    clean, noisy = (synthetic.affine(2000, 2, 30, seed=3, noise=noise) for noise in (0.0, 0.1))
    assert (noisy - clean).std() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sphere", (10, 5, 5), "width is 5.*at least 6"),
        ("swiss roll", (10, 1, 5), "dimension is 1"),
        ("affine", (0, 1, 5), "n_samples is 0"),
        ("gaussian", (10, 1, 5, 0, -1.0), "noise is -1.0"),
    ],
)
def test_illegal_arguments_are_named(name, arguments, message):
    with pytest.raises(InputError, match=message):
        MANIFOLDS[name](*arguments)


def test_swiss_roll_is_uniform_by_area():
    """Mean square radius: (T^2 + a^2) / 2 of the spiral from a to T, plus 20^2 / 3 of the flat side; standard error 0.9."""
    X = synthetic.swiss_roll(20_000, 2, 3, seed=4)
    expected = ((4.5 * np.pi) ** 2 + (1.5 * np.pi) ** 2) / 2 + 400 / 3
    assert (X**2).sum(axis=1).mean() == pytest.approx(expected, abs=4)  # by angle it would be 15 lower
