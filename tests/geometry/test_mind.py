"""MiND_MLk against its own law, the likelihood as the paper writes it, scikit-dimension and manifolds of known dimension."""

import numpy as np
import pytest
from scipy import optimize

from gelora.errors import DataError, InputError
from gelora.geometry import GRIDE, MiND, neighbor_graph, synthetic


@pytest.mark.parametrize("n_neighbors", [2, 3, 20])
@pytest.mark.parametrize("dimension", [1.0, 12.0, 50.0])
def test_equals_the_maximum_of_the_papers_likelihood(n_neighbors, dimension, make, rng):
    graph = make.pareto(300, dimension, rng, n_neighbors=20)
    rho, k = graph.distances[:, 0] / graph.distances[:, n_neighbors - 1], n_neighbors - 1

    def minus_log_likelihood(d):
        return -np.sum(np.log(k * d) + (d - 1) * np.log(rho) + (k - 1) * np.log(1 - rho**d))

    around = (dimension / 3, dimension * 3)
    best = optimize.minimize_scalar(minus_log_likelihood, bounds=around, method="bounded", options={"xatol": 1e-9}).x
    assert MiND(n_neighbors).fit(graph).dimension_ == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("dimension", [5, 10, 30])
def test_agrees_with_scikit_dimension_where_its_cap_is_far(dimension, rng):
    """Theirs starts at the best whole number and, in dimension 1 or 2, sometimes stays there; those are left out."""
    skdim = pytest.importorskip("skdim")
    X = synthetic.gaussian(300, dimension, 40, rng)
    theirs = skdim.id.MiND_ML(k=19, ver="MLk", D=100).fit(X).dimension_
    assert MiND(n_neighbors=20).fit(X).dimension_ == pytest.approx(theirs, rel=1e-6)


def test_no_cap_where_scikit_dimension_has_one(rng):
    X = synthetic.gaussian(1000, 30, 40, rng)
    assert 18 < MiND().fit(X).dimension_ < 30


@pytest.mark.parametrize("dimension", [1, 20, 768, 1e5])
def test_any_dimension_is_found_under_the_model(dimension, make, rng):
    estimate = MiND(confidence=0.9999).fit(make.pareto(2000, dimension, rng, n_neighbors=20))
    assert estimate.ci_low_ < dimension < estimate.ci_high_ < 1.1 * estimate.ci_low_


@pytest.mark.parametrize("n_neighbors", [2, 5, 20])
def test_intervals_cover_the_truth_under_the_model(n_neighbors, make):
    """400 draws: the share covered has standard error 1.1%, so 95% +- 3.3% holds unless the interval is wrong."""
    rng = np.random.default_rng(3)
    estimates = [MiND(n_neighbors).fit(make.pareto(200, 9.0, rng, n_neighbors=20)) for _ in range(400)]
    assert np.mean([e.ci_low_ <= 9 <= e.ci_high_ for e in estimates]) == pytest.approx(0.95, abs=0.033)
    claimed = np.mean([np.log(e.ci_high_ / e.ci_low_) / 3.92 for e in estimates])
    assert claimed == pytest.approx(np.std([np.log(e.dimension_) for e in estimates]), rel=0.11)  # known to 3.5%


@pytest.mark.parametrize(
    ("manifold", "dimension", "bias"),
    [
        ("clifford torus", 1, 0),
        ("clifford torus", 2, 0),
        ("sphere", 5, -0.015),
        ("sphere", 10, -0.09),
        ("sphere", 20, -0.20),
        ("affine", 10, -0.18),
    ],
)
def test_known_dimension_is_found(manifold, dimension, bias):
    """The standard error at N = 2000 is 0.34 / sqrt(N) = 0.8%, times 1.3 for overlap; the bias of edges and finite N is known to 2%."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 32, seed=3)
    assert MiND().fit(X).dimension_ == pytest.approx(dimension * (1 + bias), rel=3 * 0.008 * 1.3 + 0.02)


def test_is_gride_from_the_first_neighbor(rng):
    X = rng.standard_normal((200, 6))
    mind, gride = MiND(12).fit(X), GRIDE(1, 12).fit(X)
    assert (mind.dimension_, mind.ci_low_, mind.ci_high_) == (gride.dimension_, gride.ci_low_, gride.ci_high_)


def test_graph_with_more_neighbors_gives_the_same(rng):
    X = rng.standard_normal((100, 5))
    assert MiND(10).fit(neighbor_graph(X, 30)).dimension_ == MiND(10).fit(X).dimension_
    with pytest.raises(InputError, match=r"holds 10 neighbors.*needs 20"):
        MiND().fit(neighbor_graph(X, 10))


def test_degenerate_points_have_no_dimension(make):
    with pytest.raises(DataError, match="All 30 ratios of the distances to neighbors 20 and 1 are 1"):
        MiND().fit(np.eye(30))
    with pytest.raises(DataError, match="20 rows, but 20 neighbors"):
        MiND().fit(np.random.default_rng(0).random((20, 3)))
    with pytest.raises(DataError, match="1 of 3 points have a zero"):
        MiND(2).fit(make.graph([[0, 1], [1, 2], [1, 2]]))
    assert MiND(2).fit(make.graph([[1, 2], [1, 1]])).dimension_ == pytest.approx(2 / np.log(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_neighbors": 1}, "n_neighbors is 1"), ({"n_neighbors": 5.0}, "n_neighbors is 5.0"), ({"confidence": 0.0}, "confidence is 0.0")],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        MiND(**options).fit(rng.random((40, 2)))
