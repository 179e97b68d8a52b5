"""PCA dimensions against spectra planted by hand, sklearn, scikit-dimension, and the data they are known to mislead on."""

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import PCADimension, neighbor_graph, synthetic


def pca(method="participation-ratio", **options):
    return PCADimension(method, **{"n_subsamples": 0, **options})


def with_spectrum(spectrum, n, rng):
    """n centred points whose covariance has exactly these eigenvalues, in a random rotation of 12 coordinates more."""
    width = len(spectrum)
    Z = rng.standard_normal((n, width))
    axes, _ = np.linalg.qr(Z - Z.mean(axis=0))
    rotation, _ = np.linalg.qr(rng.standard_normal((width + 12, width)))
    return axes * np.sqrt(spectrum) @ rotation.T


@pytest.mark.parametrize("n", [200, 12])  # covariance, Gram matrix
def test_planted_spectrum_is_recovered(n, rng):
    spectrum = np.array([4.0, 2.0, 1.0, 1.0])
    X = with_spectrum(spectrum, n, rng)
    ratio = pca().fit(X)
    assert ratio.dimension_ == pytest.approx(64 / 22, rel=1e-9)
    assert ratio.explained_variance_ratio_.shape == (min(n - 1, 16),)
    np.testing.assert_allclose(ratio.explained_variance_ratio_[:4], spectrum / 8, rtol=1e-9)
    np.testing.assert_allclose(ratio.explained_variance_ratio_[4:], 0, atol=1e-14)


@pytest.mark.parametrize(("explained", "count"), [(0.3, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.875, 3), (0.95, 4), (1.0, 4)])
def test_leading_eigenvalues_are_counted_up_to_the_share(explained, count, rng):
    X = with_spectrum([4.0, 2.0, 1.0, 1.0], 100, rng)
    assert pca("explained-variance", explained=explained).fit(X).dimension_ == count


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_agrees_with_sklearn_and_scikit_dimension(shape, rng):
    X = rng.standard_normal(shape) * np.linspace(0.1, 3, shape[1]) + 100
    sklearn = pytest.importorskip("sklearn.decomposition")
    theirs = sklearn.PCA().fit(X).explained_variance_ratio_[: min(shape[0] - 1, shape[1])]
    ours = pca("explained-variance").fit(X)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs, rtol=1e-9, atol=1e-15)
    skdim = pytest.importorskip("skdim")
    assert pca().fit(X).dimension_ == pytest.approx(skdim.id.lPCA(ver="participation_ratio").fit(X).dimension_, rel=1e-9)
    assert ours.dimension_ == skdim.id.lPCA(ver="ratio", alphaRatio=0.95).fit(X).dimension_


def test_gaussian_reads_what_its_number_of_points_lets_it():
    """The docstring's n D / (n + D), to first order."""
    X = np.random.default_rng(0).standard_normal((1000, 768))
    assert pca().fit(X).dimension_ == pytest.approx(1000 * 768 / 1768, rel=0.01)


def test_curved_manifolds_read_the_flat_space_they_fill():
    """Global and linear: a 5-sphere fills 6 directions, a flat 4-torus 8; evenly, up to 1 / sqrt(N)."""
    assert pca().fit(synthetic.sphere(4000, 5, 30, seed=1)).dimension_ == pytest.approx(6, rel=0.01)
    assert pca().fit(synthetic.clifford_torus(4000, 4, 30, seed=1)).dimension_ == pytest.approx(8, rel=0.01)
    assert pca("explained-variance").fit(synthetic.clifford_torus(4000, 4, 30, seed=1)).dimension_ == 8


def test_one_outlier_dimension_rules_both(rng):
    X = rng.standard_normal((1000, 64)) * np.r_[1e4, np.ones(63)]
    assert pca().fit(X).dimension_ == pytest.approx(1, abs=1e-5)
    assert pca("explained-variance").fit(X).dimension_ == 1
    assert pca().fit(X / X.std(axis=0)).dimension_ > 55


def test_offset_and_constant_columns_change_nothing(rng):
    X = rng.standard_normal((200, 10))
    for same in (X + 1e6, np.hstack([X, np.full((200, 3), 0.1)]), np.hstack([1e-200 * X, np.full((200, 1), 0.1)])):
        assert pca().fit(same).dimension_ == pytest.approx(pca().fit(X).dimension_, rel=1e-8)


def test_copies_count_once(rng):
    X = rng.standard_normal((100, 10))
    assert pca().fit(np.vstack([X, X[:50]])).dimension_ == pytest.approx(pca().fit(X).dimension_, rel=1e-12)


@pytest.mark.parametrize("method", ["participation-ratio", "explained-variance"])
def test_interval_of_half_samples_holds_the_estimate(method, rng):
    estimate = PCADimension(method).fit(rng.standard_normal((300, 20)) * np.linspace(0.2, 2, 20))
    assert estimate.ci_low_ <= estimate.dimension_ <= estimate.ci_high_
    assert estimate.ci_high_ - estimate.ci_low_ < 0.2 * estimate.dimension_


def test_two_points_span_one_direction_and_one_point_none():
    estimate = pca().fit(np.eye(2))
    assert estimate.dimension_ == 1 and estimate.explained_variance_ratio_.tolist() == [1.0]
    with pytest.raises(DataError, match="All 5 rows are equal"):
        pca().fit(np.ones((5, 3)))


def test_a_graph_holds_no_coordinates(rng):
    with pytest.raises(InputError, match="reads coordinates"):
        pca().fit(neighbor_graph(rng.random((100, 3)), 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "kaiser"}, r"kaiser.*participation-ratio"),
        ({"explained": 0.0}, "explained is 0.0"),
        ({"explained": 1.1}, "explained is 1.1"),
    ],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        pca(**options).fit(rng.random((20, 2)))
