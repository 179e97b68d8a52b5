"""The manifolds are what they say: dimension of the tangent, isometric embedding, seeds, noise."""

import sys

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.geometry import MANIFOLDS, synthetic
from gelora.geometry.synthetic import BENCHMARK_MANIFOLDS, DIMENSIONS, benchmark_manifold, fixed_dimension


def legal(*dimensions):
    """Every manifold with each of the dimensions that it can have, or with the only one."""
    return [(name, d) for name in MANIFOLDS for d in ((fixed_dimension(name),) if fixed_dimension(name) else dimensions)]


@pytest.mark.parametrize(("name", "dimension"), legal(2, 4))
def test_tangent_spaces_have_the_dimension(name, dimension):
    """Around one point of a dense draw the coordinates span `dimension` directions and hardly any more."""
    X = MANIFOLDS[name](60_000, dimension, 20, seed=1)
    distances = np.linalg.norm(X - X.mean(axis=0), axis=1)
    centre = X[np.argsort(distances)[len(X) // 2]]
    near = X[np.argsort(np.linalg.norm(X - centre, axis=1))[:200]]
    spread = np.linalg.svd(near - near.mean(axis=0), compute_uv=False)
    assert spread[dimension - 1] > 2.5 * spread[dimension]


@pytest.mark.parametrize(("name", "dimension"), legal(3))
def test_seed_decides(name, dimension):
    draw = MANIFOLDS[name]
    np.testing.assert_array_equal(draw(50, dimension, 12, seed=5), draw(50, dimension, 12, seed=np.random.default_rng(5)))
    assert not np.array_equal(draw(50, dimension, 12, seed=5), draw(50, dimension, 12, seed=6))
    assert draw(50, dimension, 12, seed=5).shape == (50, 12)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_dimensions_are_those_that_a_manifold_accepts(name):
    low, high = DIMENSIONS[name]
    for dimension in (low, high or low + 5):
        assert MANIFOLDS[name](10, dimension, 40).shape == (10, 40)
    for dimension in (low - 1, *([] if high is None else [high + 1])):
        with pytest.raises(InputError, match=f"dimension is {dimension}"):
            MANIFOLDS[name](10, dimension, 40)


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
        ("helix", (10, 2, 5), "dimension is 2"),
        ("rotations", (10, 3, 8), "width is 8.*at least 9"),
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


def test_uniform_laws_have_their_moments():
    """Means over 20,000 points against the law's, within 4 standard errors (deviation at most 0.3, so 0.009)."""
    n, d = 20_000, 5
    assert (synthetic.ball(n, d, d, seed=1) ** 2).sum(axis=1).mean() == pytest.approx(d / (d + 2), abs=0.009)
    shares = synthetic.simplex(n, d, d + 1, seed=1)  # |x|^2 of a flat Dirichlet law: 2 / (d + 2)
    assert (shares**2).sum(axis=1).mean() == pytest.approx(2 / (d + 2), abs=0.009)
    matrices = synthetic.rotations(n, 3, 9, seed=1)
    np.testing.assert_allclose((matrices**2).sum(axis=1), 3, rtol=1e-12)
    assert np.abs(np.cov(matrices.T) - np.eye(9) / 3).max() < 0.012  # every entry of a uniform rotation has variance 1/3


def test_curves_are_uniform_by_length():
    """Variances along the axes, found again by PCA: a turn has 1/2 and 1/2, six of them up by 6 have 36 / 12.

    The S: E[sin^2] = 1/2, E[(cos t - 1)^2] = 3/2 + 4 / (3 pi) over three quarters of a turn to each side, its side 4 / 12.
    """
    helix = synthetic.helix(20_000, 1, 12, seed=2)
    assert np.linalg.eigvalsh(np.cov(helix.T))[-3:] == pytest.approx([0.5, 0.5, 3], rel=0.05)
    curve = synthetic.s_curve(20_000, 2, 12, seed=2)
    assert np.trace(np.cov(curve.T)) == pytest.approx(0.5 + 1.5 + 4 / (3 * np.pi) + 1 / 3, rel=0.03)
    spiral = synthetic.spiral(20_000, 1, 2, seed=2)
    assert (spiral**2).sum(axis=1).mean() == pytest.approx(((4.5 * np.pi) ** 2 + (1.5 * np.pi) ** 2) / 2, abs=2)


def test_the_benchmark_set_is_scikit_dimensions_own():
    datasets = pytest.importorskip("skdim.datasets")
    theirs = datasets.BenchmarkManifolds(random_state=0).truth
    assert {name: tuple(row[:2]) for name, row in zip(theirs.index, theirs.to_numpy(), strict=True)} == BENCHMARK_MANIFOLDS


@pytest.mark.parametrize("name", BENCHMARK_MANIFOLDS)
def test_benchmark_manifolds_are_drawn(name):
    pytest.importorskip("skdim.datasets")
    X = benchmark_manifold(name, 100, seed=5)
    assert X.shape == (100, BENCHMARK_MANIFOLDS[name].width) and np.isfinite(X).all()
    np.testing.assert_array_equal(X, benchmark_manifold(name, 100, seed=np.random.default_rng(5)))
    assert not np.array_equal(X, benchmark_manifold(name, 100, seed=6))
    noisy = benchmark_manifold(name, 100, seed=5, noise=0.1)
    assert (noisy - X).std() == pytest.approx(0.1, rel=0.2)  # at least 300 numbers: standard error 4%


def test_benchmark_manifolds_need_scikit_dimension(monkeypatch):
    monkeypatch.setitem(sys.modules, "skdim.datasets", None)
    with pytest.raises(InputError, match="pip install scikit-dimension"):
        benchmark_manifold("M7_Roll", 10)


def test_unknown_benchmark_manifold():
    with pytest.raises(InputError, match=r"M99.*M1_Sphere"):
        benchmark_manifold("M99", 10)
