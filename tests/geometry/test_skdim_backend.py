"""The adapter gives scikit-dimension's own answers where those are right, and guards what they get wrong."""

import contextlib
import io
import sys
import warnings

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import PointCloud, SkdimEstimator, neighbor_graph, synthetic

skdim = pytest.importorskip("skdim")
NAMES = ("lpca", "tle", "mom", "fishers")


def adapted(name, **options):
    return SkdimEstimator(name, **{"n_subsamples": 0, **options})


@pytest.fixture(scope="module")
def X():
    return synthetic.sphere(300, 5, 20, seed=7, noise=0.01)


def test_tle_and_mom_equal_scikit_dimensions_own_fit(X):
    """Theirs cuts off in absolute units, which changes nothing for data of size 1."""
    for name, theirs in (("tle", skdim.id.TLE()), ("mom", skdim.id.MOM())):
        with np.errstate(all="ignore"):
            theirs.fit(X, n_neighbors=15)
        ours = adapted(name, n_neighbors=15).fit(X)
        np.testing.assert_allclose(ours.dimension_pw_, theirs.dimension_pw_, rtol=1e-6)
        assert ours.dimension_ == pytest.approx(theirs.dimension_, rel=1e-6)


def test_lpca_equals_scikit_dimensions_own_pca_of_every_neighborhood(X):
    hoods = np.column_stack([np.arange(len(X)), neighbor_graph(X, 20).indices])
    theirs = skdim.id.lPCA(ver="FO").fit_pw(X, precomputed_knn=hoods, n_neighbors=20)
    ours = adapted("lpca").fit(X)
    np.testing.assert_array_equal(ours.dimension_pw_, theirs.dimension_pw_)
    assert ours.dimension_ == pytest.approx(np.mean(theirs.dimension_pw_))


def test_fishers_equals_scikit_dimensions_own_fit(X):
    assert adapted("fishers").fit(X).dimension_ == pytest.approx(skdim.id.FisherS().fit(X).dimension_, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "manifold", "dimension", "low", "high"),
    [
        ("lpca", "swiss roll", 2, 1.9, 2.2),  # globally it is 3
        ("tle", "swiss roll", 2, 1.9, 2.3),
        ("mom", "swiss roll", 2, 1.9, 2.3),
        ("lpca", "gaussian", 5, 4.8, 5.1),
        ("tle", "gaussian", 5, 4.8, 5.7),
        ("mom", "gaussian", 5, 5.0, 6.0),
        ("fishers", "gaussian", 5, 4.7, 5.3),
        ("fishers", "gaussian", 12, 11.3, 12.9),
    ],
)
def test_known_dimension_is_found_up_to_the_known_bias(name, manifold, dimension, low, high):
    assert low <= adapted(name).fit(synthetic.MANIFOLDS[manifold](800, dimension, 32, seed=2)).dimension_ <= high


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-7, 1e7])
def test_the_unit_of_the_data_changes_nothing(name, scale, X):
    """scikit-dimension's own TLE reads 0 for X / 1e7: its cut-off is absolute."""
    expected = adapted(name).fit(X).dimension_
    assert adapted(name).fit(scale * X).dimension_ == pytest.approx(expected, rel=1e-6)
    assert adapted(name).fit(X + 1e3).dimension_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_half_samples_give_an_interval_and_nothing_is_printed_or_warned(name, X):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = SkdimEstimator(name, n_subsamples=6).fit(X)
    assert said.getvalue() == ""
    assert 0 < estimate.ci_low_ < estimate.dimension_ < estimate.ci_high_ < 3 * estimate.dimension_


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", ["line", "column", "copies", "near duplicates", "outlier dimension", "grid"])
def test_awkward_points_have_a_number_or_a_reason(name, points, X, rng):
    clouds = {
        "line": np.outer(np.arange(100.0), np.ones(5)),
        "column": rng.random((100, 1)),
        "copies": np.vstack([X, X[:100]]),
        "near duplicates": np.vstack([X, X[:100] * (1 + 1e-4 * rng.standard_normal((100, 20)))]),
        "outlier dimension": X * np.r_[1e4, np.ones(19)],
        "grid": np.argwhere(np.ones((6, 6, 6))),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            estimate = adapted(name).fit(clouds[points])
        except DataError as reason:
            assert str(reason).endswith(".")
        else:
            assert 0 < estimate.dimension_ < 30


def test_fishers_at_high_dimension_says_that_all_points_are_separable(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="every one is separable"):
            adapted("fishers").fit(rng.standard_normal((200, 400)))


@pytest.mark.parametrize(("answer", "message"), [(np.nan, "separable"), (np.inf, "separable"), (-1.0, "separable"), (7.0, None)])
def test_what_fishers_prints_is_not_heard_and_what_it_answers_is_judged(answer, message, X, monkeypatch, capsys):
    class Talkative:
        def fit(self, points):
            sys.stdout.write("FisherS selected several dimensions")
            self.dimension_ = np.float64(answer)
            return self

    monkeypatch.setattr(skdim.id, "FisherS", Talkative)
    if message is None:
        assert adapted("fishers").fit(X).dimension_ == answer
    else:
        with pytest.raises(DataError, match=message):
            adapted("fishers").fit(X)
    assert capsys.readouterr().out == ""


def test_lpca_never_reports_its_cap(rng):
    """21 points show 20 directions, whatever the dimension."""
    with pytest.raises(DataError, match="all 20 directions that 20 neighbors can show"):
        adapted("lpca").fit(rng.standard_normal((300, 200)))
    assert adapted("lpca").fit(rng.standard_normal((600, 4))).dimension_ == pytest.approx(4, abs=0.1)  # no cap: there are only 4


@pytest.mark.parametrize("name", ["tle", "mom"])
def test_equally_far_neighbors_have_no_answer(name, make):
    with pytest.raises(DataError, match="no answer at 40 of 40 points"):
        adapted(name).fit(np.eye(40))
    if name == "mom":  # equal up to rounding, which it would divide by
        with pytest.raises(DataError, match="no answer at 30 of 30 points"):
            adapted(name, n_neighbors=5).fit(make.graph(1 + 1e-15 * np.tile(np.arange(5), (30, 1))))


def test_points_without_an_answer_are_left_out_and_counted(rng):
    X = np.zeros((130, 40))
    X[:90, :3] = rng.random((90, 3))
    X[90:] = 100 + 10 * np.eye(40)
    estimate = adapted("mom", n_neighbors=10).fit(X)
    assert "40 of 130 points have no answer" in estimate.note_
    assert np.isnan(estimate.dimension_pw_[90:]).all() and np.isfinite(estimate.dimension_pw_[:90]).all()
    assert estimate.dimension_ == pytest.approx(estimate.dimension_pw_[:90].mean())


def test_fishers_reads_at_most_max_points(X):
    estimate = adapted("fishers", max_points=200).fit(X)
    assert "read on 200 of 300 points" in estimate.note_
    assert estimate.dimension_ == pytest.approx(adapted("fishers").fit(X).dimension_, rel=0.15)
    assert len({adapted("fishers", max_points=200, seed=seed).fit(X).dimension_ for seed in range(4)}) > 1  # few levels: two may agree


def test_mom_reads_a_graph_and_the_others_ask_for_points(X):
    graph = neighbor_graph(X, 30)
    assert adapted("mom").fit(graph).dimension_ == pytest.approx(adapted("mom").fit(X).dimension_, rel=1e-12)
    for name in ("lpca", "tle", "fishers"):
        with pytest.raises(InputError, match="reads coordinates"):
            adapted(name).fit(graph)


def test_one_graph_serves_them_all(X):
    cloud = PointCloud(X)
    graph = cloud.graph(64)
    for name in NAMES:
        adapted(name).fit(cloud)
    assert cloud.graph(20) is graph


@pytest.mark.parametrize("name", NAMES)
def test_too_few_points(name, rng):
    with pytest.raises(DataError):
        adapted(name).fit(rng.random((9, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "danco"}, r"danco.*lpca, tle, mom, fishers"),
        ({"name": "mind"}, r"mind.*lpca, tle, mom, fishers"),
        ({"name": "tle", "n_neighbors": 2}, "n_neighbors is 2"),
        ({"name": "fishers", "max_points": 0}, "max_points is 0"),
    ],
)
def test_illegal_parameters_are_named(options, message, X):
    with pytest.raises(InputError, match=message):
        adapted(**options).fit(X)


def test_missing_scikit_dimension_is_named(monkeypatch, X):
    monkeypatch.setitem(sys.modules, "skdim", None)
    with pytest.raises(InputError, match="pip install scikit-dimension"):
        adapted("mom").fit(X)
