"""The Layers page's figures say what the records say: values, gaps, marks, agreement, scales, alternatives."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from made_profiles import CURVE, make_profile, plans_of

from app.charts import layers as layer_charts, lines as line_ends, scales as scale_charts
from gelora.geometry import ESTIMATORS
from gelora.records import ScaleCurve, SinkReport
from gelora.sensitivity import Sensitivity


def curve_trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_the_curve_has_the_profiles_values_and_a_gap_with_its_reason():
    figure = layer_charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    trace = curve_trace(figure, "TwoNN")
    assert list(trace.y) == CURVE
    assert trace.connectgaps is False
    assert "3 distinct vectors of 100" in trace.hovertext[0]
    assert "⊘" in [a.text for a in figure.layout.annotations]


def test_the_band_is_the_interval_and_leaves_out_the_gap():
    figure = layer_charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    (band,) = [t for t in figure.data if getattr(t, "fill", None) == "toself"]
    assert list(band.x) == [1, 2, 3, 3, 2, 1]
    assert list(band.y) == [10.5, 12.9, 11.5, 10.5, 11.9, 9.5]


def test_a_scale_dependent_layer_is_hollow_and_says_so():
    trace = curve_trace(layer_charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile())), "TwoNN")
    assert trace.marker.symbol[3].endswith("-open") and trace.text[3] == "scale"
    assert not trace.marker.symbol[2].endswith("-open") and trace.text[2] == ""


@pytest.mark.parametrize(
    ("hollow", "n_layers", "named"),
    [
        ({3}, 7, {3}),
        ({2, 3, 4, 6}, 7, {3, 6}),
        (set(), 7, set()),
        ({1, 5, 6, 7, 8, 20, 21}, 31, {6}),
        (set(range(81)), 81, {40}),
        ({0, 13}, 14, {0, 13}),
    ],
)
def test_the_word_beside_hollow_markers_never_runs_into_itself(hollow, n_layers, named):
    words = layer_charts._scale_words([i in hollow for i in range(n_layers)])
    assert {i for i, word in enumerate(words) if word == "scale"} == named and len(words) == n_layers


def test_layers_of_one_direction_are_shaded_and_named_once():
    shares, first = np.array([0, 0.1, 0.1, 0]), np.array([0.2, 0.95, 0.97, 0.91])
    report = SinkReport("keep", 5.0, 100, shares, np.array([2.0, 40, 50, 4]), first, first, np.empty(0))
    profile = replace(make_profile(), sinks=replace(report, first_direction=np.array([0.2, 0.95, 0.97, 0.4])))
    figure = layer_charts.id_by_layer(profile, "twonn", plans_of(profile))
    (shade,) = figure.layout.shapes
    assert (shade.x0, shade.x1, shade.layer) == (0.5, 2.5, "below")
    assert [a.hovertext for a in figure.layout.annotations if a.text == "one direction"] == [
        "More than 90% of the variance lies in one direction at 2 layers: their dimension says little."
    ]
    hover = curve_trace(figure, "MLE").hovertext
    assert ["One direction holds" in text for text in hover] == [False, True, True, False] and "97%" in hover[2]
    apart = replace(profile, sinks=report)
    assert len(layer_charts.id_by_layer(apart, "twonn", plans_of(apart)).layout.shapes) == 1
    plain = replace(profile, sinks=replace(report, first_direction=np.full(4, 0.5)))
    assert not layer_charts.id_by_layer(plain, "twonn", plans_of(plain)).layout.shapes


def test_rank_cells_show_each_estimators_rank():
    figure = layer_charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile(), offset=2))
    cells = rank_rows(figure)[0]
    assert [list(row) for row in cells.z[:2]] == [[2, 5, 2], [2, 5, 2]]


def rank_rows(figure: go.Figure) -> list[go.Heatmap]:
    return [t for t in figure.data if isinstance(t, go.Heatmap)]


def test_a_block_without_a_dimension_at_an_end_is_crossed_out_and_says_why():
    profile = make_profile()
    cells = rank_rows(layer_charts.id_by_layer(profile, "twonn", plans_of(profile, offset=2)))[0]
    assert list(cells.text[0]) == ["⊘", "5", "2"]
    assert "the offset alone" in cells.hovertext[0][0] and "3 distinct vectors" in cells.hovertext[0][0]


def test_the_last_row_counts_who_agrees_and_leaves_out_who_has_no_dimension():
    profile = make_profile()
    steep = tuple(replace(e, dimension=e.dimension and 2 * e.dimension) for e in profile.estimates["twonn"])
    defined = replace(steep[1], dimension=16.0)
    profile = replace(profile, estimates={**profile.estimates, "gride": steep, "mind": (defined, *steep[1:])}, subsamples={})
    ranks, agree = rank_rows(layer_charts.id_by_layer(profile, "twonn", plans_of(profile, offset=2)))
    assert ranks.y == agree.y and agree.y[-1] == "agree (of 4)"
    assert list(agree.text[-1]) == ["1/1", "2", "4"]  # block 1: mind alone; block 2: rises of 2.4 and 4.8; block 3: all fall
    assert "ranks go from 5 to 7" in agree.hovertext[-1][1]


def test_one_estimator_alone_has_no_row_of_agreement():
    profile = make_profile()
    profile = replace(profile, estimates={"twonn": profile.estimates["twonn"]}, subsamples={"twonn": profile.subsamples["twonn"]})
    assert len(rank_rows(layer_charts.id_by_layer(profile, "twonn", plans_of(profile)))) == 1


def test_baselines_are_grey_dotted_named_and_only_on_request():
    profile = replace(make_profile(), baselines={"shuffled": {"twonn": np.array([np.nan, 30.0, 40.0, 41.0])}})
    plans = plans_of(profile)
    assert not [t for t in layer_charts.id_by_layer(profile, "twonn", plans).data if t.name == "shuffled"]
    figure = layer_charts.id_by_layer(profile, "twonn", plans, baselines=True)
    line = curve_trace(figure, "shuffled")
    assert list(line.y) == [None, 30.0, 40.0, 41.0] and line.line.dash == "dot"
    assert "<b>shuffled</b>" in [a.text.split(" ")[-1] for a in figure.layout.annotations]
    assert figure.layout.yaxis.range[1] > 41


def test_the_logarithmic_axis_holds_every_value_and_every_label():
    profile = make_profile()
    figure = layer_charts.id_by_layer(profile, "twonn", plans_of(profile), log=True)
    low, high = figure.layout.yaxis.range
    assert figure.layout.yaxis.type == "log"
    assert low < np.log10(10.0) and high > np.log10(15.4)
    labels = [a for a in figure.layout.annotations if a.text.endswith(("<b>TwoNN</b>", "<b>MLE</b>"))]
    assert [low < a.y < high for a in labels] == [True, True]


def test_names_of_all_estimators_never_cover_each_other():
    curve = make_profile().estimates["twonn"]
    profile = replace(make_profile(), estimates=dict.fromkeys(ESTIMATORS, curve), subsamples={})
    figure = layer_charts.id_by_layer(profile, "twonn", plans_of(profile))
    names = tuple(f"<b>{kind.label}</b>" for kind in ESTIMATORS.values())
    labels = [a for a in figure.layout.annotations if a.text.endswith(names)]
    assert len(labels) == len(ESTIMATORS) > 16
    height = (figure.layout.height - figure.layout.margin.t - figure.layout.margin.b) * (
        figure.layout.yaxis.domain[1] - figure.layout.yaxis.domain[0]
    )
    low, high = figure.layout.yaxis.range
    places = sorted((a.y - low) / (high - low) * height - a.ay for a in labels)
    assert min(np.diff(places)) >= line_ends.LABEL_GAP - 1e-6
    assert places[0] >= 0 and places[-1] <= height


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([50.0, 90.0], [50.0, 90.0]),  # nothing to do
        ([50.0, 52.0], [43.0, 59.0]),  # pushed apart evenly
        ([0.0, 2.0], [8.0, 24.0]),  # inside the plot
        ([99.0, 99.0], [76.0, 92.0]),
    ],
)
def test_labels_move_as_little_as_they_must(wanted, expected):
    assert line_ends.apart(wanted, gap=16, height=100) == pytest.approx(expected)


def with_scales():
    sizes, shape = np.array([400.0, 200.0, 100.0]), (4, 3)
    values = np.array([[np.nan] * 3, [10.0, 9.0, 8.0], [12.0, 11.0, 10.0], [11.0, 10.0, np.nan]])
    orders = np.array([2.0, 4.0, 8.0])
    curves = {
        "decimation:twonn": ScaleCurve("twonn", "decimation", sizes, values, np.full(shape, 0.5), np.ones(shape)),
        "neighbors:gride": ScaleCurve("gride", "neighbors", orders, values, np.full(shape, 0.5), np.ones(shape)),
    }
    profile = make_profile()
    plateau = tuple(replace(e, dimension=e.dimension and e.dimension - 1) for e in profile.estimates["twonn"])
    return replace(profile, scale_curves=curves, estimates={**profile.estimates, "plateau": plateau})


def test_decimation_draws_the_layers_values_with_their_spread():
    figure = scale_charts.decimation(with_scales(), 3, "twonn")
    trace = curve_trace(figure, "TwoNN")
    assert list(trace.x) == [400, 200, 100] and list(trace.y) == [11.0, 10.0, None]
    assert list(trace.error_y.array) == [0.5, 0.5, 0.5]
    assert scale_charts.decimation(make_profile(), 3, "twonn") is None


def test_the_plateau_is_marked_on_the_scale_curve_where_it_lies():
    figure = scale_charts.neighbor_scales(with_scales(), 2)
    mark = curve_trace(figure, "Plateau")
    assert list(mark.x) == [4.0] and mark.y[0] == pytest.approx(11.4)
    assert any("plateau 11.4" in (a.text or "") for a in figure.layout.annotations)


def test_scales_of_a_layer_without_a_dimension_are_empty_figures():
    assert list(curve_trace(scale_charts.decimation(with_scales(), 0, "twonn"), "TwoNN").y) == [None] * 3
    assert list(curve_trace(scale_charts.neighbor_scales(with_scales(), 0, log=True), "GRIDE").y) == []


def test_alternatives_share_an_axis_and_the_present_one_is_thick():
    curves = {"metric": {"euclidean": np.array([5.0, 6.0]), "cosine": np.array([4.0, 9.0])}, "pooling": {"mean": np.array([5.0, 6.0])}}
    halves = {variation: {name: np.full(2, 0.3) for name in table} for variation, table in curves.items()}
    answer = Sensitivity("twonn", ("embeddings", "block 1"), {"metric": "euclidean", "pooling": "mean"}, curves, halves)
    figures = scale_charts.sensitivity_figures(answer)
    assert list(figures) == ["metric", "pooling"]
    assert figures["metric"].layout.yaxis.range == figures["pooling"].layout.yaxis.range
    widths = {t.name: t.line.width for t in figures["metric"].data}
    assert widths["euclidean"] > widths["cosine"]
