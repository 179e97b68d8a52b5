"""The pass over all pairs: against all differences in float64, whatever the offset, outlier dimensions and near duplicates."""

import numpy as np
import pytest

from gelora.geometry import PointCloud, neighbor_graph, scales, synthetic
from gelora.geometry.neighbors import distinct_points
from gelora.geometry.pairwise import NumpyPairwise

torch = pytest.importorskip("torch")


def point_sets():
    rng = np.random.default_rng(11)
    thin = synthetic.gaussian(300, 6, 40, 1)
    outlier_row = thin.copy()
    outlier_row[5] *= 1e6
    return {
        "plain": rng.standard_normal((300, 40)),
        "far from the origin": 1e4 + thin,
        "three outlier dimensions x 10,000": thin * np.r_[np.full(3, 1e4), np.ones(37)],
        "outlier row": outlier_row,
        "near duplicates 1e-4": np.vstack([thin[:200], thin[0] + 1e-4 * rng.standard_normal((100, 40))]),
        "far cluster below float64 products": np.vstack([rng.standard_normal((40, 6)), 1e3 + 1e-7 * rng.standard_normal((120, 6))]),
        "huge": thin * 1e200,
        "tiny": thin * 1e-200,
        "one column": rng.standard_normal((300, 1)),
        "22 points": thin[:22],
    }


def all_lengths(values):
    return np.sqrt(((values[:, None] - values[None]) ** 2).sum(axis=2))


def n_nearer(lengths, radius):
    return int((lengths[np.triu_indices(len(lengths), 1)] < radius).sum())


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", point_sets())
def test_lengths_and_pairs_equal_all_differences(name, metric):
    cloud = PointCloud(point_sets()[name] + 0.0, metric)
    found = cloud.scales()
    n = cloud.n_points
    lengths = all_lengths(cloud.values)
    np.testing.assert_array_equal(found.orders, 2 ** np.arange(len(found.orders)))
    assert found.orders[-1] < n <= 2 * found.orders[-1]
    ascending = np.sort(lengths, axis=1)[:, found.orders]
    np.testing.assert_allclose(found.lengths / cloud.unit, ascending, rtol=5e-5)
    held = found.orders <= 20
    np.testing.assert_allclose(found.lengths[:, held] / cloud.unit, ascending[:, held], rtol=1e-12)
    for radius, n_pairs in zip(found.radii / cloud.unit, found.n_pairs, strict=True):
        assert n_nearer(lengths, radius * (1 - 1e-4)) <= n_pairs <= n_nearer(lengths, radius * (1 + 1e-4))


def test_radii_start_with_the_medians_of_the_graph():
    cloud = PointCloud(synthetic.gaussian(300, 6, 40, 1))
    found = cloud.scales()
    medians = np.median(cloud.lengths(20), axis=0)
    np.testing.assert_allclose(found.radii[0], medians[0], rtol=1e-15)
    assert np.isin(medians, found.radii).all()
    assert (np.diff(found.radii) > 0).all() and len(found.radii) >= 40
    lengths = all_lengths(cloud.values) * cloud.unit
    for order in (10, 20):  # exact here, but for pairs that tie with the radius
        counted = found.n_pairs[np.searchsorted(found.radii, medians[order - 1])]
        assert counted == pytest.approx(n_nearer(lengths, medians[order - 1]), abs=1)
    assert found.n_pairs[-1] > 0.5 * 300 * 299 / 2


def test_one_outlier_row_does_not_spread_the_radii():
    plain, outlier = (PointCloud(point_sets()[name]).scales().radii for name in ("far from the origin", "outlier row"))
    assert outlier[-1] < 1.2 * plain[-1]


@pytest.mark.parametrize("block_bytes", [1, 5000])
def test_chunked_equals_unchunked(block_bytes):
    for name in ("plain", "near duplicates 1e-4"):
        points = distinct_points(point_sets()[name])
        graph = neighbor_graph(point_sets()[name], 20)
        one, other = scales.distance_scales(points, graph, block_bytes=block_bytes), scales.distance_scales(points, graph)
        np.testing.assert_allclose(one.lengths, other.lengths, rtol=5e-5)
        np.testing.assert_array_equal(one.radii, other.radii)


def test_careless_float32_would_fail_where_the_measured_error_sends_rows_on(monkeypatch):
    rng = np.random.default_rng(2)
    cloud = PointCloud(np.vstack([rng.standard_normal((300, 40)), 5 + 1e-6 * rng.standard_normal((100, 40))]))
    right = cloud.scales()
    monkeypatch.setattr(scales, "_TOLERANCE", np.inf)
    careless = scales.distance_scales(distinct_points(cloud.values), neighbor_graph(cloud.values, 20))
    assert np.abs(careless.lengths * cloud.unit / right.lengths - 1).max() > 1e-3


def test_differences_are_the_last_resort(monkeypatch):
    cloud = PointCloud(point_sets()["plain"])
    right = cloud.scales()
    monkeypatch.setattr(scales, "_TOLERANCE", -1.0)
    by_differences = scales.distance_scales(distinct_points(point_sets()["plain"]), cloud.graph(20), block_bytes=50_000)
    np.testing.assert_allclose(by_differences.lengths, right.lengths, rtol=1e-6)
    assert np.abs(by_differences.n_pairs - right.n_pairs).max() <= 1


def test_ordinary_points_need_one_float32_product(monkeypatch):
    precisions, read_rows = [], NumpyPairwise.read_rows
    monkeypatch.setattr(NumpyPairwise, "read_rows", lambda self, r, p, *rest: precisions.append(p) or read_rows(self, r, p, *rest))
    for X in (point_sets()["plain"], synthetic.gaussian(1500, 12, 768, 0), 3 + synthetic.gaussian(800, 5, 384, 0)):
        PointCloud(X).scales()
    assert precisions == [np.float32] * 3


def test_a_product_that_is_one_block_serves_graph_and_pass(monkeypatch):
    products, centred = [], NumpyPairwise._centred
    monkeypatch.setattr(NumpyPairwise, "_centred", lambda self, precision: products.append(precision) or centred(self, precision))
    cloud = PointCloud(point_sets()["plain"])
    kept, graph = cloud.scales(), cloud.graph(20)
    assert len(products) == 1
    np.testing.assert_array_equal(graph.indices, neighbor_graph(point_sets()["plain"], 20, block_bytes=50_000).indices)
    anew = scales.distance_scales(distinct_points(point_sets()["plain"]), graph)
    np.testing.assert_array_equal(kept.lengths, anew.lengths)
    np.testing.assert_array_equal(kept.n_pairs, anew.n_pairs)


def test_a_graph_that_holds_all_pairs_needs_no_pass(monkeypatch):
    monkeypatch.setattr(scales, "pairwise_engine", None)
    found = PointCloud(np.random.default_rng(0).standard_normal((15, 3))).scales()
    np.testing.assert_array_equal(found.orders, [1, 2, 4, 8])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", point_sets())
def test_cuda_equals_cpu(name):
    one, other = (PointCloud(point_sets()[name], device=device).scales() for device in ("cuda", "cpu"))
    np.testing.assert_allclose(one.lengths, other.lengths, rtol=1e-4)
    np.testing.assert_allclose(one.n_pairs, other.n_pairs, rtol=1e-3, atol=2)
