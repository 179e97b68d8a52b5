"""Charts say what the records say: bricks, budgets, logged values; and everything is readable on both themes."""

import plotly.graph_objects as go
import pytest
from made_profiles import make_profile, plans_of

from app.charts import look, ranks, runs as run_charts
from gelora.geometry import ESTIMATORS, rises
from gelora.ranks import plan_budget, uniform_comparison


def test_one_brick_a_unit_of_rank():
    profile = make_profile()
    plan = plans_of(profile, offset=2)["twonn"]
    figure = ranks.rank_wall(profile, plan, rises(profile, "twonn"), "twonn")
    bars = [t for t in figure.data if isinstance(t, go.Bar)]
    assert sum(len(bar.x) for bar in bars) == sum(plan.block_ranks().values()) == 9
    grey = [bar for bar in bars if bar.marker.color == look.OFFSET_COLOUR]
    assert sum(len(bar.x) for bar in grey) == 2 * 3


def test_the_gauge_adds_up_to_the_budget():
    plan = plans_of(make_profile())["twonn"]
    figure = ranks.budget_gauge(plan, uniform_comparison(plan))
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
    figure = ranks.rank_wall(profile, plans_of(profile)["twonn"], rises(profile, "twonn"), "twonn", stale=True)
    assert all(t.opacity == 0.35 for t in figure.data)


def test_contrast_of_line_colours_holds_on_both_themes():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for _, colour, _, _ in look.ESTIMATOR_STYLE.values():
        for background in ("#ffffff", "#11151b"):
            high, low = sorted((luminance(colour), luminance(background)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, background)


def test_every_estimator_has_a_colour_a_dash_and_a_marker_of_its_own():
    assert list(look.ESTIMATOR_STYLE) == list(ESTIMATORS)
    for looks in zip(*look.ESTIMATOR_STYLE.values(), strict=True):
        assert len(set(looks)) == len(ESTIMATORS)
