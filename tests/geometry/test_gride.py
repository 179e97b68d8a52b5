"""GRIDE against its own law, the likelihood as the paper writes it, and manifolds of known dimension; the plateau under noise."""

import numpy as np
import pytest
from scipy import optimize, special

from gelora.errors import DataError, InputError
from gelora.geometry import GRIDE, Plateau, PointCloud, TwoNN, gride, neighbor_graph, synthetic


def grid(side):
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2).astype(float)


def most_likely(mu, n1, n2, near):
    """The d that maximises the density as printed in Denti et al. (2022), searched without derivatives."""

    def minus_log_likelihood(log_d):
        d = np.exp(log_d)
        log_f = np.log(d) + (n2 - n1 - 1) * np.log(mu**d - 1) - ((n2 - 1) * d + 1) * np.log(mu) - special.betaln(n2 - n1, n1)
        return -log_f.sum()

    around = (np.log(near / 3), np.log(near * 3))
    return np.exp(optimize.minimize_scalar(minus_log_likelihood, bounds=around, method="bounded", options={"xatol": 1e-10}).x)


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (2, 4), (1, 4), (3, 4), (8, 16), (1, 20)])
@pytest.mark.parametrize("dimension", [0.5, 6, 40])
def test_equals_the_maximum_of_the_papers_likelihood(n1, n2, dimension, make, rng):
    graph = make.pareto(300, dimension, rng, n_neighbors=20)
    mu = graph.distances[:, n2 - 1] / graph.distances[:, n1 - 1]
    assert GRIDE(n1, n2).fit(graph).dimension_ == pytest.approx(most_likely(mu, n1, n2, dimension), rel=1e-6)


def test_first_and_second_neighbor_give_the_pareto_estimate(rng):
    X = synthetic.nonlinear(400, 4, 20, rng)
    twonn = TwoNN(method="mle").fit(X)
    assert GRIDE(1, 2).fit(X).dimension_ == pytest.approx(400 / twonn.log_mu_.sum(), rel=1e-12)


@pytest.mark.parametrize("manifold", ["swiss roll", "sphere", "gaussian"])
def test_agrees_with_scikit_dimension_up_to_its_correction(manifold, rng):
    """Its score has (N - 1) / d where the likelihood has N / d: exactly (N - 1) / N of ours at n1 = 1, within 1 / N beyond.

    Ratios that it discards as outliers, there are none of here.
    """
    skdim = pytest.importorskip("skdim")
    n = 400
    X = synthetic.MANIFOLDS[manifold](n, 2 if manifold == "swiss roll" else 7, 20, rng)
    assert skdim.id.GRIDE(1, 2).fit(X).dimension_ == pytest.approx(GRIDE(1, 2).fit(X).dimension_ * (n - 1) / n, rel=1e-9)
    for n1, n2 in ((2, 4), (5, 8), (16, 32)):
        ours, theirs = GRIDE(n1, n2).fit(X), skdim.id.GRIDE(n1, n2).fit(X)
        assert 0 < ours.dimension_ / theirs.dimension_ - 1 < 1 / n
        assert theirs.error_ == pytest.approx(ours.dimension_ * np.log(ours.ci_high_ / ours.ci_low_) / 3.919928, rel=0.05)


@pytest.mark.parametrize("dimension", [1, 20, 768, 1e6])
@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (2, 4), (32, 64)])
def test_any_dimension_is_found_under_the_model(dimension, n1, n2, make, rng):
    """At d = 1e6 the ratios differ from 1 by 1e-6: what 1 - exp or log of them would lose shows here."""
    estimate = GRIDE(n1, n2, confidence=0.9999).fit(make.pareto(2000, dimension, rng, n_neighbors=64))
    assert estimate.ci_low_ < dimension < estimate.ci_high_
    assert estimate.ci_high_ / estimate.ci_low_ < 1.2


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (2, 4), (10, 20)])
@pytest.mark.parametrize("n", [50, 400])
def test_intervals_cover_the_truth_under_the_model(n1, n2, n, make):
    """400 draws: the share covered has standard error 1.1%, so 95% +- 3.3% holds unless the interval is wrong."""
    rng = np.random.default_rng(7)
    estimates = [GRIDE(n1, n2).fit(make.pareto(n, 7.0, rng, n_neighbors=n2)) for _ in range(400)]
    assert np.mean([e.ci_low_ <= 7 <= e.ci_high_ for e in estimates]) == pytest.approx(0.95, abs=0.033)
    claimed = np.mean([np.log(e.ci_high_ / e.ci_low_) / 3.92 for e in estimates])
    assert claimed == pytest.approx(np.std([np.log(e.dimension_) for e in estimates]), rel=0.11)  # known to 3.5%


def test_information_is_that_of_the_law(make, rng):
    """Of log d, for n1, n2 = 2, 4: 1 + E[t^2 u / (1 - u)^2] with u = e^-t from Beta(2, 2), which is 1.925 a ratio."""
    estimate = GRIDE(confidence=0.95).fit(make.pareto(20000, 3.0, rng, n_neighbors=4))
    per_ratio = (2 * 1.959964 / np.log(estimate.ci_high_ / estimate.ci_low_)) ** 2 / 20000
    assert per_ratio == pytest.approx(1 - 6 * special.polygamma(2, 3), rel=0.01)


@pytest.mark.parametrize(
    ("manifold", "dimension", "bias"),
    [
        ("clifford torus", 1, 0),
        ("clifford torus", 2, 0),
        ("sphere", 5, -0.01),
        ("sphere", 10, -0.07),
        ("sphere", 20, -0.18),
        ("affine", 10, -0.15),
    ],
)
def test_known_dimension_is_found(manifold, dimension, bias):
    """The standard error at N = 2000 is 0.72 / sqrt(N) = 1.6%, times 1.4 for overlap; the bias of edges and finite N is known to 2%."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 32, seed=3)
    assert GRIDE().fit(X).dimension_ == pytest.approx(dimension * (1 + bias), rel=3 * 0.016 * 1.4 + 0.02)


def test_farther_neighbors_look_past_noise(rng):
    X = synthetic.sphere(1000, 2, 32, rng, noise=0.01)
    near, far = GRIDE(1, 2).fit(X).dimension_, GRIDE(64, 128).fit(X).dimension_
    assert near > 5
    assert far == pytest.approx(2, rel=0.1)


def test_graph_gives_the_same_as_the_points(rng):
    X = rng.standard_normal((100, 5))
    assert GRIDE(3, 9).fit(neighbor_graph(X, 20)).dimension_ == GRIDE(3, 9).fit(X).dimension_
    with pytest.raises(InputError, match=r"holds 20 neighbors.*needs 21"):
        GRIDE(3, 21).fit(neighbor_graph(X, 20))


def test_confidence_widens_the_interval(make, rng):
    graph = make.pareto(300, 5, rng, n_neighbors=4)
    wide, narrow = GRIDE(confidence=0.99).fit(graph), GRIDE(confidence=0.5).fit(graph)
    assert wide.ci_low_ < narrow.ci_low_ < narrow.dimension_ < narrow.ci_high_ < wide.ci_high_


def test_lengths_of_any_size_are_no_obstacle(make):
    graph = make.graph([[1e-200, 1e200], [1, 1], [1, 1 + 2.3e-16], [1e-300, 3e-300]])
    logs = [np.log(10) * 400, 0, 2.220446049250313e-16, np.log(3)]
    assert GRIDE(1, 2).fit(graph).dimension_ == pytest.approx(4 / sum(logs), rel=1e-12)


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (1, 4), (2, 4)])
def test_a_tie_counts_as_the_limit_of_close_neighbors(n1, n2, make):
    apart, close = [[1, 1.2, 1.4, 1.5]] * 5, [[1, 1 + 1e-13, 1 + 2e-13, 1 + 3e-13]] * 5
    tied = GRIDE(n1, n2).fit(make.graph([[1, 1, 1, 1]] * 5 + apart))
    limit = GRIDE(n1, n2).fit(make.graph(close + apart))
    assert (tied.dimension_, tied.ci_low_) == pytest.approx((limit.dimension_, limit.ci_low_), rel=1e-9)
    almost_flat = GRIDE(n1, n2).fit(make.graph([[1, 1, 1, 1]] * 999 + [[1, 1 + 1e-15, 1 + 2e-15, 1 + 3e-15]]))
    assert 1e15 < almost_flat.ci_low_ < almost_flat.ci_high_ < np.inf


def test_points_that_are_all_equally_far_have_no_dimension():
    with pytest.raises(DataError, match="All 30 ratios of the distances to neighbors 4 and 2 are 1"):
        GRIDE().fit(np.eye(30))
    with pytest.raises(DataError, match="All 100 ratios of the distances to neighbors 2 and 1 are 1"):
        GRIDE(1, 2).fit(grid(10))


def test_too_few_points():
    with pytest.raises(DataError, match="4 rows, but 4 neighbors"):
        GRIDE().fit(np.eye(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n1": 0}, "n1 is 0"),
        ({"n1": 1.0}, "n1 is 1.0"),
        ({"n1": 4, "n2": 4}, "n2 is 4; it must be above n1, which is 4"),
        ({"n2": True}, "n2 is True"),
        ({"confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        GRIDE(**options).fit(rng.random((20, 2)))


def test_scikit_learn_convention():
    clone = pytest.importorskip("sklearn.base").clone
    for estimator, shown in (
        (GRIDE(1, 3), "GRIDE(n1=1, n2=3, confidence=0.95)"),
        (Plateau(seed=4), "Plateau(n_subsamples=20, seed=4, confidence=0.95)"),
    ):
        assert repr(clone(estimator)) == repr(estimator) == shown


def test_scale_curve_is_gride_at_every_scale(rng, reference):
    X = synthetic.nonlinear(300, 3, 20, rng)
    curve = gride.scale_curve(PointCloud(X))
    distances, _ = reference.neighbors(X, 299)
    assert curve.n2.tolist() == [2, 4, 8, 16, 32, 64, 128, 256]
    assert (curve.n1 * 2 == curve.n2).all()
    exact = [GRIDE(int(n1), int(n2)).fit(X) for n1, n2 in zip(curve.n1, curve.n2, strict=True)]
    np.testing.assert_allclose(curve.dimensions, [e.dimension_ for e in exact], rtol=1e-4)  # far lengths are known to 5e-5
    np.testing.assert_allclose(curve.dimensions[:4], [e.dimension_ for e in exact[:4]], rtol=1e-12)
    relative = [np.log(e.ci_high_ / e.ci_low_) / 2 / 1.959964 for e in exact]
    np.testing.assert_allclose(curve.deviations, curve.dimensions * relative, rtol=1e-4)
    np.testing.assert_allclose(curve.mean_lengths, distances[:, curve.n2 - 1].mean(axis=0), rtol=1e-4)


def test_scale_curve_has_gaps_where_all_ratios_are_one():
    curve = gride.scale_curve(PointCloud(grid(12)))
    assert np.isnan(curve.dimensions[0]) and np.isnan(curve.deviations[0])
    assert np.isfinite(curve.dimensions[1:]).all() and np.isfinite(curve.mean_lengths).all()


@pytest.mark.parametrize(("manifold", "noise", "fine"), [("sphere", 0.01, 4), ("sphere", 0.03, 10), ("gaussian", 0.01, 5)])
def test_plateau_finds_the_plane_under_noise(manifold, noise, fine):
    """Noise in 32 coordinates lifts TwoNN's scale to `fine` and more; with 0.03 no scale is quite free of it."""
    X = synthetic.MANIFOLDS[manifold](1500, 2, 32, seed=5, noise=noise)
    plateau = Plateau(n_subsamples=0).fit(X)
    assert GRIDE(1, 2).fit(X).dimension_ > fine
    assert plateau.dimension_ == pytest.approx(2, rel=0.15)
    assert plateau.scale_ >= 64


def test_plateau_is_not_that_of_the_noise():
    """In 64 coordinates the noise fills a ball of dimension 20 at the finest scales, and the curve is flattest there."""
    X = synthetic.affine(1500, 2, 64, seed=2, noise=0.01)
    plateau = Plateau(n_subsamples=0).fit(X)
    logs, chosen = np.log(plateau.curve_.dimensions), plateau.curve_.n2.tolist().index(plateau.scale_)
    assert np.exp(logs[1]) > 18 and abs(logs[2] - logs[0]) < abs(logs[chosen + 1] - logs[chosen - 1])
    assert plateau.dimension_ == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize(
    ("manifold", "dimension", "bias"), [("sphere", 2, 0), ("sphere", 5, -0.03), ("affine", 12, -0.19), ("gaussian", 20, -0.19)]
)
def test_plateau_without_noise_is_about_gride(manifold, dimension, bias):
    """Which scale is flattest is partly chance, worth about 5% where the curve falls all along."""
    X = synthetic.MANIFOLDS[manifold](2000, dimension, 32, seed=2)
    assert Plateau(n_subsamples=0).fit(X).dimension_ == pytest.approx(dimension * (1 + bias), rel=0.1)


@pytest.mark.parametrize(
    ("dimensions", "n_points", "scale"),
    [
        ([20, 19.9, 19, 14, 8, 4, 2.3, 2.1, 2.1, 2.0], 2000, 256),  # the flattest of all is that of the noise
        ([20, 19.9, 19, 18, 17, 15.5, 13, 10, 7, 4], 2000, 4),  # edges: the steepest fall is the last
        ([12, 9, 5, 5, 5, 3], 127, 16),  # n2 = 64 is more than half of the points
        ([np.nan, 9, 5.1, 5.0, 4.9, 3], 200, 16),
        ([3, 2.9, 2.7, 2.6, 2.6, 2.2, 1], 2000, 16),  # no fall is steep enough to be noise but the last
    ],
)
def test_plateau_rule(dimensions, n_points, scale, monkeypatch, rng):
    n2 = 2 ** np.arange(1, len(dimensions) + 1)
    curve = gride.GrideCurve(n2 // 2, n2, np.array(dimensions), np.zeros(len(n2)), np.ones(len(n2)))
    monkeypatch.setattr(gride, "scale_curve", lambda cloud: curve)
    plateau = Plateau(n_subsamples=0).fit(rng.random((n_points, 2)))
    assert plateau.scale_ == scale
    assert plateau.dimension_ == dimensions[n2.tolist().index(scale)]
    assert plateau.curve_ is curve


def test_plateau_interval_comes_from_halves(rng):
    X = synthetic.sphere(400, 3, 10, rng)
    plateau = Plateau(n_subsamples=10, seed=1).fit(X)
    halves = np.random.default_rng(1)
    pairs = [np.split(halves.permutation(400), 2) for _ in range(5)]
    answers = np.array([[Plateau(n_subsamples=0).fit(X[np.sort(half)]).dimension_ for half in pair] for pair in pairs])
    relative = np.sqrt(np.mean(np.diff(answers) ** 2) / 4) / answers.mean()
    assert plateau.ci_high_ / plateau.dimension_ - 1 == pytest.approx(2.570582 * relative, rel=1e-3)  # Student's law, 5 pairs
    assert Plateau(n_subsamples=0).fit(X).ci_low_ is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plateau_is_invariant(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 4))
    rotation, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    dimension = Plateau(n_subsamples=0).fit(X).dimension_
    for same in (X @ rotation, 1e-3 * X, rng.permutation(X), np.hstack([X, np.zeros((200, 3))])):
        assert Plateau(n_subsamples=0).fit(same).dimension_ == pytest.approx(dimension, rel=1e-3)


def test_plateau_needs_three_scales_and_far_neighbors(rng):
    with pytest.raises(DataError, match="15 distinct points have a dimension at 2 scales"):
        Plateau().fit(rng.random((15, 2)))
    assert Plateau(n_subsamples=0).fit(rng.random((16, 2))).scale_ == 4
    with pytest.raises(InputError, match="reads coordinates"):
        Plateau(n_subsamples=0).fit(neighbor_graph(rng.random((100, 2)), 50))


def test_the_top_of_a_hump_is_its_plateau():
    """A curve that rises to 24 and falls ever on, as a transformer's last block can have: noise of no scale is outgrown there."""
    dimensions = np.array([16.8, 20.9, 23.9, 24.3, 22.7, 17.9, 14.0, 11.5])
    orders = 2.0 ** np.arange(1, 9)
    assert dimensions[1 + gride._flattest(np.log(dimensions), np.log(orders))] == 24.3
    noisy = np.array([38.0, 30.0, 12.0, 4.0, 2.2, 2.1, 2.0, 1.8])
    assert noisy[1 + gride._flattest(np.log(noisy), np.log(orders))] == 2.1
