"""A point cloud: one search for all who read it, parts equal to clouds of their own, clear refusals."""

import numpy as np
import pytest

import gelora.geometry.cloud as cloud_module
from gelora.errors import DataError, InputError
from gelora.geometry import MLE, CorrelationDimension, PointCloud, TwoNN, neighbor_graph
from gelora.geometry.half_samples import draw_halves


@pytest.fixture
def searches(monkeypatch):
    """The numbers of neighbors that were searched for."""
    made = []
    search = cloud_module.search

    def counted(points, n_neighbors, *rest):
        made.append(n_neighbors)
        return search(points, n_neighbors, *rest)

    monkeypatch.setattr(cloud_module, "search", counted)
    return made


def test_estimators_share_one_search(rng, searches):
    cloud = PointCloud(rng.standard_normal((200, 5)))
    cloud.graph(20)
    for estimator in (TwoNN(), TwoNN("mle"), MLE(20), MLE(10)):
        estimator.fit(cloud)
    assert searches == [20]
    cloud.graph(30)
    assert searches == [20, 30]


def test_answers_are_those_of_the_points_themselves(rng):
    X = rng.standard_normal((200, 5))
    cloud = PointCloud(X)
    cloud.graph(25)
    for make in (TwoNN, lambda: MLE(12)):
        assert make().fit(cloud).dimension_ == pytest.approx(make().fit(X).dimension_, rel=1e-14)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_subset_equals_a_cloud_of_its_rows(metric, rng):
    X = rng.standard_normal((150, 6))
    X[100:120] = X[:20]
    whole = PointCloud(X, metric)
    whole.graph(60)
    for rows in draw_halves(150, 4, seed=4):
        part, own = whole.subset(rows), PointCloud(X[rows], metric)
        assert (part.n_points, part.n_samples) == (own.n_points, own.n_samples)
        np.testing.assert_allclose(part.values * part.unit, own.values * own.unit, rtol=1e-15)
        np.testing.assert_array_equal(part.graph(10).indices, own.graph(10).indices)
        np.testing.assert_allclose(part.lengths(10), own.lengths(10), rtol=1e-13)


def test_a_subset_needs_no_search_of_its_own(rng, searches):
    whole = PointCloud(rng.standard_normal((300, 6)))
    whole.graph(64)
    whole.subset(np.arange(0, 300, 2)).graph(20)
    assert searches == [64]


def test_rows_that_are_equal_in_a_subset_are_named(rng):
    X = np.repeat(rng.standard_normal((10, 3)), 6, axis=0)
    with pytest.raises(DataError, match="Only 5 of 30 rows are distinct"):
        PointCloud(X).subset(np.arange(30)).graph(7)


def test_lengths_are_in_the_data_s_unit_whatever_its_size(rng):
    X = rng.standard_normal((60, 4))
    for factor in (1e-120, 1.0, 1e120):
        cloud = PointCloud(X * factor)
        np.testing.assert_allclose(cloud.lengths(3), PointCloud(X).lengths(3) * factor, rtol=1e-12)
        np.testing.assert_allclose(cloud.values[:5] * cloud.unit, X[:5] * factor, rtol=1e-12)


def test_directions_that_prove_equal_are_merged_before_anyone_reads_them(rng):
    X = rng.standard_normal((30, 8))
    X = np.vstack([X, 3.0 * X[:4]])
    cloud = PointCloud(X, "cosine")
    assert cloud.n_points == 30 and len(cloud.values) == 30


def test_a_graph_alone_serves_those_that_read_no_coordinates(rng):
    X = rng.standard_normal((100, 4))
    graph = neighbor_graph(X, 10)
    assert TwoNN().fit(graph).dimension_ == TwoNN().fit(X).dimension_
    with pytest.raises(InputError, match="holds 10 neighbors a point; this estimator needs 20"):
        MLE(20).fit(graph)
    with pytest.raises(InputError, match="reads coordinates"):
        _ = PointCloud.of(graph).values


@pytest.mark.parametrize(
    ("X", "error", "says"),
    [
        (np.full((40, 3), np.nan), DataError, "40 of 40 rows"),
        (np.zeros(5), InputError, "two-dimensional"),
        (np.zeros((0, 3)), DataError, "0 rows"),
        ([["a", "b"]], InputError, "not a table of numbers"),
    ],
)
def test_what_is_no_point_set_is_refused_in_words(X, error, says):
    with pytest.raises(error, match=says):
        PointCloud(X)


def test_an_estimator_that_needs_coordinates_says_so_of_a_graph(rng):
    graph = neighbor_graph(rng.standard_normal((100, 4)), 30)
    with pytest.raises(InputError, match="reads coordinates"):
        CorrelationDimension().fit(graph)


def test_points_that_merge_in_the_search_leave_enough_for_those_who_read_few(rng):
    """Tiny rows beside a huge one: their squares vanish, so they prove equal only when they are compared."""
    X = np.vstack([rng.standard_normal((30, 3)) * 1e-165, rng.standard_normal((35, 3)), [[1e150, 0, 0]]])
    with np.errstate(under="ignore"):
        cloud = PointCloud(X)
        cloud.reserve(20)
    assert cloud.graph(20).n_neighbors >= 20
