"""MLE against its formula, its law, scikit-dimension, and manifolds of known dimension."""

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import MLE, neighbor_graph, synthetic


def test_both_aggregations_are_their_formulas(make):
    radii = np.array([[1.0, 2, 4, 8], [1, 1, 2, 3], [3, 4, 5, 6]])
    sums = [sum(np.log(r[-1] / x) for x in r[:-1]) for r in radii]
    harmonic = MLE(4).fit(make.graph(radii))
    assert harmonic.dimension_ == pytest.approx(3 * 3 / sum(sums))
    np.testing.assert_allclose(harmonic.dimension_pw_, 3 / np.array(sums))
    mean = MLE(4, "levina-bickel").fit(make.graph(radii))
    assert mean.dimension_ == pytest.approx(np.mean(2 / np.array(sums)))
    np.testing.assert_allclose(mean.dimension_pw_, 2 / np.array(sums))
    assert harmonic.n_distinct_ == 3


@pytest.mark.parametrize("aggregation", ["mackay-ghahramani", "levina-bickel"])
@pytest.mark.parametrize("n_neighbors", [5, 20])
def test_each_normaliser_is_unbiased_under_the_model(aggregation, n_neighbors, make):
    """20,000 independent points: relative standard error at most 1 / sqrt(20,000 (k - 3)), 0.5% at k = 5."""
    graph = make.pareto(20_000, 6.0, np.random.default_rng(1), n_neighbors)
    assert MLE(n_neighbors, aggregation).fit(graph).dimension_ == pytest.approx(6.0, rel=3 * (20_000 * (n_neighbors - 3)) ** -0.5)


@pytest.mark.parametrize("n_neighbors", [10, 20])
def test_agrees_with_scikit_dimension(n_neighbors, rng):
    skdim = pytest.importorskip("skdim")
    X = synthetic.nonlinear(300, 4, 24, rng)
    theirs = skdim.id.MLE().fit(X, n_neighbors=n_neighbors)
    ours = MLE(n_neighbors).fit(X)
    assert ours.dimension_ == pytest.approx(theirs.dimension_, rel=1e-6)
    np.testing.assert_allclose(ours.dimension_pw_, theirs.dimension_pw_, rtol=1e-6)
    unbiased = skdim.id.MLE(unbiased=True).fit(X, n_neighbors=n_neighbors, comb="mean")
    assert MLE(n_neighbors, "levina-bickel").fit(X).dimension_ == pytest.approx(unbiased.dimension_, rel=1e-6)


@pytest.mark.parametrize(
    ("manifold", "dimension"),
    [("affine", 2), ("clifford torus", 2), ("swiss roll", 2), ("sphere", 3), ("nonlinear", 2), ("gaussian", 4)],
)
def test_known_dimension_is_found(manifold, dimension):
    """At N = 2000, k = 10 the standard error is 1.4 / sqrt(9 N) = 1%; edges, which k neighbors reach, take up to 7% off."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 16, seed=4)
    assert MLE(10).fit(X).dimension_ == pytest.approx(dimension, rel=3 * 0.01 + 0.07)


def test_interval_covers_the_truth_where_points_are_independent(make):
    rng = np.random.default_rng(6)
    estimates = [MLE(10).fit(make.pareto(200, 5.0, rng, 10)) for _ in range(600)]
    assert 0.92 <= np.mean([e.ci_low_ <= 5 <= e.ci_high_ for e in estimates]) <= 0.98


def test_wider_graph_gives_the_same(rng):
    X = rng.standard_normal((100, 5))
    assert MLE(8).fit(neighbor_graph(X, 30)).dimension_ == MLE(8).fit(X).dimension_


def test_cosine_graph_reads_the_dimension_of_the_directions(rng):
    X = synthetic.sphere(500, 3, 12, rng)
    scaled = X * rng.uniform(0.1, 10, (500, 1))
    assert MLE(10).fit(neighbor_graph(scaled, 10, "cosine")).dimension_ == pytest.approx(MLE(10).fit(X).dimension_, rel=1e-9)


def test_points_whose_neighbors_are_equally_far_have_no_dimension(make):
    with pytest.raises(DataError, match="2 of 3 points have all 4 neighbors at the same distance"):
        MLE(4).fit(make.graph([[1, 1, 1, 1], [1, 2, 3, 4], [2, 2, 2, 2]]))


def test_too_few_points():
    with pytest.raises(DataError, match="10 rows, but 20 neighbors need at least 21"):
        MLE().fit(np.random.default_rng(0).random((10, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 1}, "n_neighbors is 1;.*at least 2"),
        ({"n_neighbors": 2, "aggregation": "levina-bickel"}, "at least 3"),
        ({"n_neighbors": 5.0}, "n_neighbors is 5.0"),
        ({"aggregation": "median"}, "median.*mackay-ghahramani, levina-bickel"),
        ({"confidence": 2.0}, "confidence is 2.0"),
    ],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        MLE(**options).fit(rng.random((50, 2)))


def test_graph_with_too_few_neighbors(make):
    with pytest.raises(InputError, match="holds 2 neighbors a point; this estimator needs 20"):
        MLE().fit(make.graph(np.ones((10, 2))))


def test_scikit_learn_convention():
    estimator = MLE(n_neighbors=5)
    assert estimator.get_params() == {"n_neighbors": 5, "aggregation": "mackay-ghahramani", "confidence": 0.95}
    assert estimator.set_params(n_neighbors=7).n_neighbors == 7
