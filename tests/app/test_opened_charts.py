"""Figures of an opened layer: what is drawn is what was measured, every point once, also where there are many or few."""

import numpy as np
import pytest

from app.charts import opened as charts
from app.charts.data import figure_table
from gelora.errors import InputError
from gelora.geometry import TwoNN, neighbor_graph, principal_plane
from gelora.opened_layer import OpenedLayer
from gelora.records import DataChoice, SampleSource

SOURCE = SampleSource(DataChoice("texts"), "rev", 0, 100, True, "digest")
POINTS = np.random.default_rng(0).random((400, 3))


def layer_of(points=POINTS, labels=None, names=None, task="unlabeled", metric="euclidean", k=10) -> OpenedLayer:
    n = len(points)
    return OpenedLayer(
        1, ("embeddings", "block 1"), tuple(f"text <b>{i}</b> of a long line of words that goes on and on" for i in range(n)), None,
        None if labels is None else tuple(map(float, labels)), names, task, np.arange(n),
        neighbor_graph(points, k, metric), None, principal_plane(points), "mean", SOURCE,
    )  # fmt: skip


def test_the_line_has_every_ratio_once_and_the_slope_of_twonn():
    layer = layer_of()
    ratios = charts.fit(layer, "twonn")
    assert ratios.dimension == pytest.approx(TwoNN().fit(POINTS).dimension_)
    figure, how = charts.twonn_line(ratios)
    dots = {trace.name: len(trace.x) for trace in figure.data if trace.mode == "markers"}
    assert dots == {"kept": 360, "discarded tail": 39}  # the largest ratio has F = 1
    (line,) = [trace for trace in figure.data if trace.mode == "lines"]
    assert line.y[1] / line.x[1] == pytest.approx(ratios.dimension)
    assert "slope is the dimension" in how and "How to read" not in how
    assert charts.fit(layer, "twonn-mle").dimension == pytest.approx(TwoNN("mle").fit(POINTS).dimension_)


def test_the_histogram_splits_where_the_tail_begins_and_its_law_is_a_density():
    ratios = charts.fit(layer_of(), "twonn")
    figure = charts.ratio_histogram(ratios)
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar"}
    cut = np.exp(ratios.fitted.log_mu_[359])
    assert max(bars["kept"].x) < cut < min(bars["discarded tail"].x)
    assert sum(bars["kept"].y) * bars["kept"].width == pytest.approx(360 / 400, abs=2 / 400)
    law = next(trace for trace in figure.data if trace.type == "scatter")
    assert law.y[0] == pytest.approx(ratios.dimension)
    assert np.trapezoid(law.y, law.x) == pytest.approx(1 - law.x[-1] ** -ratios.dimension, rel=0.02)


def test_distances_count_every_point_and_mark_a_random_pair():
    layer = layer_of()
    figure = charts.distances(layer)
    assert [trace.name for trace in figure.data] == ["nearest neighbor, r₁", "10-th neighbor, r₁₀"]
    assert [sum(trace.y) / 2 for trace in figure.data] == [400, 400]  # each step has two ends
    squared = ((POINTS[:, None] - POINTS[None]) ** 2).sum(axis=2)
    assert charts.random_pair_distance(layer) == pytest.approx(np.sqrt(squared.sum() / (400 * 399)))
    assert charts.random_pair_distance(layer_of(metric="cosine")) is None
    assert figure.layout.xaxis.type == "linear"


def test_distances_that_differ_by_orders_are_on_a_logarithmic_axis():
    points = np.concatenate([POINTS[:200], POINTS[:200] + 1e-6])
    figure = charts.distances(layer_of(points))
    assert figure.layout.xaxis.type == "log" and "log" in figure.layout.xaxis.title.text
    assert [sum(trace.y) / 2 for trace in figure.data] == [400, 400]


def test_the_map_shows_every_row_under_its_label_in_a_look_of_its_own():
    labels = np.arange(400) % 3
    layer = layer_of(labels=labels, names=("red", "green", "blue"), task="classification")
    figure = charts.plane_map(layer, chosen=7)
    shown = {trace.name: trace for trace in figure.data}
    assert list(shown) == ["red", "green", "blue", "chosen"]
    for label, name in enumerate(("red", "green", "blue")):
        assert list(shown[name].customdata) == list(np.flatnonzero(labels == label))
        np.testing.assert_allclose(shown[name].x, layer.plane.coordinates[labels == label, 0])
    assert len({(trace.marker.color, trace.marker.symbol) for trace in figure.data}) == 4
    assert (shown["chosen"].x[0], shown["chosen"].y[0]) == tuple(layer.plane.coordinates[7])
    assert shown["red"].hovertext[0].startswith("<b>red</b><br>text &lt;b&gt;0&lt;/b&gt; of")
    assert f"{layer.plane.shares[0]:.0%}" in figure.layout.xaxis.title.text
    assert len(figure_table(figure)) == 401


def test_many_labels_share_one_look_beyond_the_most_frequent():
    labels = np.concatenate([np.repeat(np.arange(7), 50), np.arange(7, 57)])
    figure = charts.plane_map(layer_of(labels=labels, names=tuple(f"class {i}" for i in range(57)), task="classification"))
    assert [trace.name for trace in figure.data] == [*(f"class {i}" for i in range(7)), "50 other labels"]
    assert sum(len(trace.x) for trace in figure.data) == 400
    assert len({trace.marker.symbol for trace in figure.data}) == 8


def test_numbers_as_labels_are_a_scale_and_no_labels_one_look():
    figure = charts.plane_map(layer_of(labels=np.linspace(0, 1, 400), task="regression"))
    assert list(figure.data[0].marker.color) == pytest.approx(np.linspace(0, 1, 400)) and figure.data[0].marker.showscale
    (plain,) = charts.plane_map(layer_of()).data
    assert len(plain.x) == 400 and not plain.showlegend


def test_a_picture_of_very_many_points_is_thinned(monkeypatch):
    monkeypatch.setattr(charts, "MOST_POINTS", 100)
    layer = layer_of()
    ratios = charts.fit(layer, "twonn")
    figure, _ = charts.twonn_line(ratios)
    dots = {trace.name: len(trace.x) for trace in figure.data if trace.mode == "markers"}
    assert sum(dots.values()) == 100 and abs(dots["kept"] - 90) <= 1
    assert sum(len(trace.x) for trace in charts.plane_map(layer).data) == 100


def test_equal_vectors_have_no_picture():
    layer = OpenedLayer(0, ("embeddings",), ("a", "b"), None, None, None, "unlabeled", np.zeros(2), None, None, None, "mean", SOURCE)
    assert charts.distances(layer) is None and charts.plane_map(layer) is None


def test_one_neighbor_is_no_ratio():
    layer = layer_of(POINTS[:2], k=1)
    with pytest.raises(InputError):
        charts.fit(layer, "twonn")
    assert len(charts.distances(layer).data) == 1
