"""The correlation dimension against a brute-force count, scikit-dimension and manifolds of known dimension."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.spatial.distance import pdist

from gelora.errors import DataError, InputError
from gelora.geometry import CorrelationDimension, PointCloud, neighbor_graph, synthetic


def correlation(n1=10, n2=20):
    return CorrelationDimension(n1, n2, n_subsamples=0)


@pytest.mark.parametrize(("n1", "n2"), [(10, 20), (1, 2), (5, 20)])
@pytest.mark.parametrize("n", [300, 301])  # of an odd number the median is a distance of the data itself
def test_equals_a_count_of_all_pairs(n1, n2, n, rng, reference):
    X = synthetic.nonlinear(n, 4, 20, rng)
    distances, _ = reference.neighbors(X, 20)
    r1, r2 = np.median(distances[:, n1 - 1]), np.median(distances[:, n2 - 1])
    pairs = pdist(X)
    slope = np.log((pairs < r2 * (1 - 1e-12)).sum() / (pairs < r1 * (1 - 1e-12)).sum()) / np.log(r2 / r1)
    assert correlation(n1, n2).fit(X).dimension_ == pytest.approx(slope, rel=1e-3)  # far pairs on a radius' edge may count or not


@pytest.mark.parametrize("dimension", [2, 8, 25])
def test_agrees_with_scikit_dimension(dimension, rng):
    skdim = pytest.importorskip("skdim")
    X = synthetic.gaussian(400, dimension, 40, rng)
    assert correlation().fit(X).dimension_ == pytest.approx(skdim.id.CorrInt(k1=10, k2=20).fit(X).dimension_, rel=1e-3)


@pytest.mark.parametrize(
    ("manifold", "dimension", "bias"),
    [
        ("clifford torus", 1, 0),
        ("clifford torus", 2, 0),
        ("sphere", 5, -0.04),
        ("sphere", 10, -0.115),
        ("sphere", 20, -0.25),
        ("affine", 10, -0.21),
    ],
)
def test_known_dimension_is_found(manifold, dimension, bias):
    """The deviation over draws at N = 2000 is 1%; the bias of edges and finite N is known to 2%."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 32, seed=3)
    assert correlation().fit(X).dimension_ == pytest.approx(dimension * (1 + bias), rel=3 * 0.01 + 0.02)


def test_the_curve_is_the_share_of_pairs_and_its_slope_the_dimension(rng):
    X = synthetic.clifford_torus(800, 2, 10, rng)
    estimate = correlation().fit(X)
    pairs = pdist(X)
    shares = [(pairs < r).mean() for r in estimate.radii_]
    np.testing.assert_allclose(estimate.correlation_integral_, shares, atol=2e-4)
    assert (np.diff(estimate.radii_) > 0).all() and (estimate.correlation_integral_ > 0).all()
    np.testing.assert_allclose(
        estimate.local_slopes_, np.diff(np.log(estimate.correlation_integral_)) / np.diff(np.log(estimate.radii_)), rtol=1e-9
    )
    near = estimate.radii_[1:] < 0.5  # the torus is flat and has no edge, so C grows as r^2 until it closes on itself
    steps = np.diff(np.log(estimate.radii_))[near]
    assert np.average(estimate.local_slopes_[near], weights=steps) == pytest.approx(2, abs=0.15)


def test_interval_comes_from_halves(rng):
    X = synthetic.sphere(400, 3, 10, rng)
    estimate = CorrelationDimension(n_subsamples=10, seed=1).fit(X)
    halves = np.random.default_rng(1)
    pairs = [np.split(halves.permutation(400), 2) for _ in range(5)]
    answers = np.array([[correlation().fit(X[np.sort(half)]).dimension_ for half in pair] for pair in pairs])
    relative = np.sqrt(np.mean(np.diff(answers) ** 2) / 4) / answers.mean()
    assert estimate.ci_high_ / estimate.dimension_ - 1 == pytest.approx(2.570582 * relative, rel=1e-3)  # Student's law, 5 pairs
    assert correlation().fit(X).ci_low_ is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), pad=st.integers(1, 20))
def test_rotation_scale_permutation_and_zero_padding(seed, scale, pad):
    """A far pair whose length is a radius to 5e-5 may count on either side: a pair or two of the thousands here."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 3))
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    dimension = correlation().fit(X).dimension_
    for same in (X @ rotation, scale * X, rng.permutation(X), np.hstack([X, np.zeros((200, pad))])):
        assert correlation().fit(same).dimension_ == pytest.approx(dimension, rel=3e-3)


def test_copies_change_nothing(rng):
    X = rng.standard_normal((300, 4))
    assert correlation().fit(np.vstack([X, X[:100]])).dimension_ == correlation().fit(X).dimension_


def test_directions_are_measured_by_their_chords(rng):
    X = synthetic.sphere(400, 4, 12, rng)
    scaled = PointCloud(X * rng.uniform(0.1, 10, (400, 1)), "cosine")
    assert correlation().fit(scaled).dimension_ == pytest.approx(correlation().fit(X).dimension_, rel=1e-3)


def test_a_wider_graph_gives_the_same(rng):
    cloud = PointCloud(rng.standard_normal((300, 4)))
    cloud.graph(60)
    assert correlation().fit(cloud).dimension_ == pytest.approx(correlation().fit(cloud.values).dimension_, rel=1e-3)


def test_degenerate_points_have_no_dimension(rng):
    with pytest.raises(DataError, match=r"neighbors 10 and 20 are 1.41421 and 1.41421, and 0 pairs"):
        CorrelationDimension().fit(np.eye(60))
    line = np.arange(100.0)[:, None]
    with pytest.raises(DataError, match=r"neighbors 1 and 3 are 1 and 2, and 0 pairs"):
        correlation(1, 3).fit(line)
    with pytest.raises(DataError, match="20 rows, but 20 neighbors"):
        CorrelationDimension().fit(rng.random((20, 3)))


def test_a_graph_holds_no_far_pairs(rng):
    with pytest.raises(InputError, match="reads coordinates"):
        correlation().fit(neighbor_graph(rng.random((100, 3)), 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n1": 0}, "n1 is 0"),
        ({"n1": 20}, "n1 is 20 and n2 is 20; it must be that n1 < n2 <= 20"),
        ({"n2": 21}, "n2 is 21; it must be that n1 < n2 <= 20"),
        ({"n2": 15.0}, "n2 is 15.0"),
        ({"n_subsamples": 1}, "n_subsamples is 1"),
        ({"confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        CorrelationDimension(**options).fit(rng.random((40, 2)))
