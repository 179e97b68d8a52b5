"""Charts say what the records say: values, gaps, marks, bricks."""

import numpy as np
import plotly.graph_objects as go
import pytest

from app import charts, run_charts
from gelora.geometry import rises
from gelora.ranks import allocate_ranks, plan_budget, uniform_comparison
from gelora.records import DataChoice, IdEstimate, IdProfile, ModelStructure, SampleSource, TargetModule

CURVE = [None, 10.0, 12.4, 11.0]


def make_profile(curve=CURVE) -> IdProfile:
    modules = tuple(TargetModule(f"layer.{b - 1}.attention.{k}", b, k, 8, 8) for b in (1, 2, 3) for k in "qkvo")
    model = ModelStructure("tiny", "rev", "bert", 3, 8, 10_000, False, False, modules)
    source = SampleSource(DataChoice("texts"), "rev", 0, 100, True, "digest")

    def estimate(name: str, value: float | None) -> IdEstimate:
        if value is None:
            return IdEstimate(name, None, None, None, 100, 3, 0.1, "3 distinct vectors of 100")
        return IdEstimate(name, value, value - 0.5, value + 0.5, 100, 100, 0.1)

    estimates = {name: tuple(estimate(name, None if v is None else v + shift) for v in curve) for name, shift in (("twonn", 0), ("mle", 3))}
    halves = np.array([[np.nan if v is None else v + e for v in curve] for e in (-0.1, 0.1)])
    halves[:, 3] += 5.0  # the last layer moves by far more than its interval at half the sample
    return IdProfile(
        layer_names=("embeddings", "block 1", "block 2", "block 3"),
        estimates=estimates,
        subsamples={"twonn": halves, "mle": halves + 3},
        model=model,
        sample_source=source,
        pooling="cls",
        max_length=32,
        n_neighbors=20,
        metric="euclidean",
    )


def plans_of(profile: IdProfile, offset: int = 1) -> dict:
    return {name: allocate_ranks(profile, "attention", offset, "ceil", name) for name in profile.estimates}


def curve_trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_the_curve_has_the_profiles_values_and_a_gap_with_its_reason():
    figure = charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    trace = curve_trace(figure, "TwoNN")
    assert list(trace.y) == CURVE
    assert trace.connectgaps is False
    assert "3 distinct vectors of 100" in trace.hovertext[0]
    assert "⊘" in [a.text for a in figure.layout.annotations]


def test_the_band_is_the_interval_and_leaves_out_the_gap():
    figure = charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile()))
    (band,) = [t for t in figure.data if getattr(t, "fill", None) == "toself"]
    assert list(band.x) == [1, 2, 3, 3, 2, 1]
    assert list(band.y) == [10.5, 12.9, 11.5, 10.5, 11.9, 9.5]


def test_a_scale_dependent_layer_is_hollow_and_says_so():
    trace = curve_trace(charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile())), "TwoNN")
    assert trace.marker.symbol[3].endswith("-open") and trace.text[3] == "scale"
    assert not trace.marker.symbol[2].endswith("-open") and trace.text[2] == ""


def test_rank_cells_show_each_estimators_rank():
    figure = charts.id_by_layer(make_profile(), "twonn", plans_of(make_profile(), offset=2))
    (cells,) = [t for t in figure.data if isinstance(t, go.Heatmap)]
    assert [list(row) for row in cells.z] == [[2, 5, 2], [2, 5, 2]]


def test_one_brick_a_unit_of_rank():
    profile = make_profile()
    plan = plans_of(profile, offset=2)["twonn"]
    figure = charts.rank_wall(profile, plan, rises(profile, "twonn"), "twonn")
    bars = [t for t in figure.data if isinstance(t, go.Bar)]
    assert sum(len(bar.x) for bar in bars) == sum(plan.block_ranks().values()) == 9
    grey = [bar for bar in bars if bar.marker.color == charts.OFFSET_COLOUR]
    assert sum(len(bar.x) for bar in grey) == 2 * 3


def test_the_gauge_adds_up_to_the_budget():
    plan = plans_of(make_profile())["twonn"]
    figure = charts.budget_gauge(plan, uniform_comparison(plan))
    assert sum(bar.x[0] for bar in figure.data) == plan_budget(plan).n_adapter_params


def test_smoothing_keeps_a_constant_and_its_first_value():
    assert run_charts.smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert run_charts.smoothed([5.0, 1.0])[0] == pytest.approx(5.0)


def test_training_curves_draw_every_logged_value():
    loss = [(1, 0.7), (5, 0.6), (10, 0.55)]
    figure = run_charts.training_curves(loss, [(10, 0.6)], "accuracy", [(10, 0.8)], {"majority class": 0.5})
    raw = next(t for t in figure.data if t.name == "loss as logged")
    assert list(zip(raw.x, raw.y, strict=True)) == loss
    assert any("majority class 0.500" in (a.text or "") for a in figure.layout.annotations)


def test_every_figure_is_stale_when_asked():
    profile = make_profile()
    figure = charts.rank_wall(profile, plans_of(profile)["twonn"], rises(profile, "twonn"), "twonn", stale=True)
    assert all(t.opacity == 0.35 for t in figure.data)


def test_contrast_of_line_colours_holds_on_both_themes():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for _, colour, _, _ in charts.ESTIMATOR_STYLE.values():
        for background in ("#ffffff", "#11151b"):
            high, low = sorted((luminance(colour), luminance(background)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, background)
