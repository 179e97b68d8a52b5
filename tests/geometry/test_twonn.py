"""TwoNN against its own law, an independent reference, scikit-dimension, and manifolds of known dimension."""

import inspect

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import TwoNN, neighbor_graph, synthetic


def test_fit_equals_an_independent_float64_reference(rng, reference):
    X = synthetic.gaussian(500, 9, 64, rng, noise=0.05)
    assert TwoNN().fit(X).dimension_ == pytest.approx(reference.twonn(X), rel=1e-10)
    assert TwoNN(discard_fraction=0.25).fit(X).dimension_ == pytest.approx(reference.twonn(X, 0.25), rel=1e-10)
    assert TwoNN(discard_fraction=0.0).fit(X).dimension_ == pytest.approx(reference.twonn(X, 1 / 500), rel=1e-10)


@pytest.mark.parametrize("discard", [0.1, 0.0])
def test_agrees_with_scikit_dimension(rng, discard):
    skdim = pytest.importorskip("skdim")
    X = synthetic.nonlinear(400, 5, 40, rng)
    if discard:
        assert TwoNN(discard_fraction=discard).fit(X).dimension_ == pytest.approx(
            skdim.id.TwoNN(discard_fraction=discard).fit(X).dimension_, rel=1e-6
        )
    elif "method" in inspect.signature(skdim.id.TwoNN).parameters:
        theirs = skdim.id.TwoNN(discard_fraction=0, method="mle").fit(X).dimension_
        assert TwoNN(method="mle").fit(X).dimension_ == pytest.approx(theirs, rel=1e-6)


def test_mle_is_the_closed_form_with_its_gamma_interval(make):
    stats = pytest.importorskip("scipy.stats")
    graph = make.graph([[1, 2], [1, 3], [2, 3], [1, 1.5]])
    total = np.log([2, 3, 1.5, 1.5]).sum()
    estimate = TwoNN(method="mle", confidence=0.9).fit(graph)
    assert estimate.dimension_ == pytest.approx(3 / total)
    assert (estimate.ci_low_, estimate.ci_high_) == pytest.approx(stats.gamma(4, scale=1 / total).interval(0.9))


def test_fit_leaves_out_the_last_point_where_f_is_one(make):
    graph = make.graph([[1, 1.1], [1, 1.3], [1, 2], [1, 50]])
    estimate = TwoNN(discard_fraction=0.0).fit(graph)
    assert estimate.kept_ == 3
    x, y = np.log([1.1, 1.3, 2]), -np.log([3 / 4, 2 / 4, 1 / 4])
    assert estimate.dimension_ == pytest.approx((x * y).sum() / (x * x).sum())
    np.testing.assert_allclose(estimate.log_mu_, np.log([1.1, 1.3, 2, 50]))
    np.testing.assert_allclose(estimate.minus_log_survival_, y)
    assert TwoNN(discard_fraction=0.5).fit(graph).kept_ == 2


@pytest.mark.parametrize("method", ["fit", "mle", "loglog"])
@pytest.mark.parametrize("n", [100, 1000])
def test_intervals_cover_the_truth_under_the_pareto_law(method, n, make):
    """600 draws: the share covered has standard error 0.9%, so 95% +- 3% holds unless the interval is wrong."""
    rng = np.random.default_rng(5)
    estimates = [TwoNN(method).fit(make.pareto(n, 7.0, rng)) for _ in range(600)]
    covered = np.mean([e.ci_low_ <= 7 <= e.ci_high_ for e in estimates])
    assert 0.92 <= covered <= 0.98
    deviation = np.std([e.dimension_ for e in estimates])
    claimed = np.mean([(e.ci_high_ - e.ci_low_) / 3.92 for e in estimates])
    assert claimed == pytest.approx(deviation, rel=0.1)  # the deviation of 600 draws is itself known to 3%


def test_confidence_widens_the_interval(make, rng):
    graph = make.pareto(300, 5, rng)
    for method in ("fit", "mle", "loglog"):
        wide, narrow = TwoNN(method, confidence=0.99).fit(graph), TwoNN(method, confidence=0.5).fit(graph)
        assert wide.ci_low_ < narrow.ci_low_ < narrow.dimension_ < narrow.ci_high_ < wide.ci_high_


@pytest.mark.parametrize("method", ["fit", "mle", "loglog"])
@pytest.mark.parametrize(
    ("manifold", "dimension"),
    [("affine", 2), ("clifford torus", 2), ("swiss roll", 2), ("sphere", 3), ("nonlinear", 2), ("gaussian", 4)],
)
def test_known_dimension_is_found(method, manifold, dimension):
    """At N = 2000 the relative standard error is about 1.3 / sqrt(N) = 3%; edges and curvature take up to 3% off."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 16, seed=3)
    assert TwoNN(method).fit(X).dimension_ == pytest.approx(dimension, rel=3 * 0.03 + 0.03)


def test_copies_change_the_estimate_by_less_than_one_percent(rng):
    X = synthetic.gaussian(2000, 8, 64, rng)
    X[1600:] = X[:400]
    alone = TwoNN().fit(X[:1600])
    with_copies = TwoNN().fit(X)
    assert with_copies.dimension_ == pytest.approx(alone.dimension_, rel=1e-12)
    assert with_copies.n_distinct_ == 1600
    full = TwoNN().fit(synthetic.gaussian(2000, 8, 64, np.random.default_rng(20250101)))
    assert with_copies.dimension_ == pytest.approx(full.dimension_, rel=0.05)  # 400 fewer points, 2% standard error


def test_near_duplicates_are_measured_as_they_are(rng, reference):
    X = synthetic.gaussian(500, 8, 96, rng)
    X[400:] = X[0] + 1e-4 * rng.standard_normal((100, 96))
    assert TwoNN().fit(X).dimension_ == pytest.approx(reference.twonn(X), rel=1e-10)
    assert TwoNN().fit(X.astype(np.float32)).dimension_ == pytest.approx(reference.twonn(X.astype(np.float32)), rel=1e-10)


def test_loglog_reads_through_near_copies():
    """Of 2000 points on a 5-sphere 100 are another one moved by 1e-4: for those 200 the ratio is thousands."""
    X = synthetic.sphere(2000, 5, 20, seed=1)
    X[1900:] = X[:100] + 1e-4 * np.random.default_rng(0).standard_normal((100, 20)) / np.sqrt(20)
    readings = {method: TwoNN(method).fit(X) for method in ("fit", "mle", "loglog")}
    alone = TwoNN("loglog").fit(X[:1900])
    assert alone.ci_low_ < 5 < alone.ci_high_
    assert np.log(alone.ci_high_ / alone.ci_low_) == pytest.approx(2 * 1.959964 * 1.28255 / np.sqrt(1900), rel=1e-5)
    assert readings["mle"].dimension_ < 2 < readings["fit"].dimension_ < readings["loglog"].dimension_ < 5.2
    graph = neighbor_graph(np.array([[0.0], [1.0], [3.0], [103.0]]), 2)
    log_mu = np.sort(np.log(graph.distances[:, 1] / graph.distances[:, 0]))
    expected = np.exp(-0.5772156649015329 - np.log(log_mu).mean())
    assert TwoNN("loglog").fit(graph).dimension_ == pytest.approx(expected)


def test_loglog_answers_d_where_the_law_is_exact(make):
    log_mu = np.random.default_rng(5).exponential(1 / 7, 4000)
    estimate = TwoNN("loglog").fit(make.graph(np.column_stack([np.ones(4000), np.exp(log_mu)])))
    assert estimate.dimension_ == pytest.approx(7, rel=3 * 1.2825 / np.sqrt(4000))


def test_outlier_dimensions_do_not_spoil_precision(rng, reference):
    X = (synthetic.gaussian(500, 8, 96, rng) * np.r_[1e4, 1e4, np.ones(94)]).astype(np.float32)
    assert TwoNN().fit(X).dimension_ == pytest.approx(reference.twonn(X), rel=1e-10)


def test_cosine_graph_reads_the_dimension_of_the_directions(rng):
    X = synthetic.sphere(800, 4, 20, rng)
    euclidean = TwoNN().fit(X).dimension_
    scaled = X * rng.uniform(0.1, 10, (800, 1))
    assert TwoNN().fit(neighbor_graph(scaled, 2, "cosine")).dimension_ == pytest.approx(euclidean, rel=1e-9)


def test_graph_with_more_neighbors_gives_the_same(rng):
    X = rng.standard_normal((100, 5))
    assert TwoNN().fit(neighbor_graph(X, 20)).dimension_ == TwoNN().fit(X).dimension_


@pytest.mark.parametrize("method", ["fit", "mle", "loglog"])
def test_points_that_are_all_equally_far_have_no_dimension(method):
    with pytest.raises(DataError, match="ratios r2 / r1 are 1"):
        TwoNN(method).fit(np.eye(30))


def test_some_ties_are_no_obstacle(make):
    graph = make.graph([[1, 1]] * 5 + [[1, 1.5]] * 5)
    for method in ("fit", "mle", "loglog"):
        estimate = TwoNN(method).fit(graph)
        assert np.isfinite([estimate.dimension_, estimate.ci_low_, estimate.ci_high_]).all()


def test_zero_distance_in_a_given_graph_is_refused(make):
    with pytest.raises(DataError, match="1 of 3 points have a zero"):
        TwoNN().fit(make.graph([[0, 1], [1, 2], [1, 2]]))


def test_too_few_points():
    with pytest.raises(DataError, match="2 rows, but 2 neighbors"):
        TwoNN().fit(np.eye(2))
    with pytest.raises(DataError, match="keeps 1 of 20"):
        TwoNN(discard_fraction=0.95).fit(np.random.default_rng(0).random((20, 2)))


def test_constant_data_has_no_dimension():
    with pytest.raises(DataError, match="Only 1 of 100 rows are distinct"):
        TwoNN().fit(np.ones((100, 8)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "slope"}, "slope.*fit, mle, loglog"),
        ({"discard_fraction": 1.0}, "discard_fraction is 1.0"),
        ({"discard_fraction": -0.1}, "discard_fraction is -0.1"),
        ({"discard_fraction": float("nan")}, "discard_fraction is nan"),
        ({"confidence": 0.0}, "confidence is 0.0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        TwoNN(**options).fit(rng.random((20, 2)))


def test_graph_with_too_few_neighbors(make):
    with pytest.raises(InputError, match="holds 1 neighbors"):
        TwoNN().fit(make.graph(np.ones((10, 1))))


def test_scikit_learn_convention():
    estimator = TwoNN(method="mle", confidence=0.9)
    assert estimator.get_params() == {"method": "mle", "discard_fraction": 0.1, "confidence": 0.9}
    assert estimator.set_params(discard_fraction=0.2) is estimator
    assert estimator.discard_fraction == 0.2
    X = np.random.default_rng(0).random((30, 2))
    assert estimator.fit(X, None) is estimator
    with pytest.raises(InputError, match="no parameter 'k'"):
        estimator.set_params(k=3)
    clone = pytest.importorskip("sklearn.base").clone(estimator)
    assert clone.get_params() == estimator.get_params() and not hasattr(clone, "dimension_")
    assert repr(estimator) == "TwoNN(method='mle', discard_fraction=0.2, confidence=0.9)"
