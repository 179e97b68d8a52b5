"""Charts say what the records say: bricks, budgets, logged values; and everything is readable on both themes."""

import pytest
from made_profiles import make_profile, plans_of

from app.charts import look, ranks, runs as run_charts
from gelora.geometry import ESTIMATORS
from gelora.ranks import STRATEGIES


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
    figure = ranks.ranks_by_strategy({"gelora": plans_of(make_profile())["twonn"]}, stale=True)
    assert all(t.opacity == 0.35 for t in figure.data)


def test_contrast_of_line_colours_holds_on_both_themes():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert list(look.STRATEGY_COLOURS) == list(STRATEGIES) and len(set(look.STRATEGY_COLOURS.values())) == len(STRATEGIES)
    for colour in [*(colour for _, colour, _, _ in look.ESTIMATOR_STYLE.values()), *look.STRATEGY_COLOURS.values()]:
        for background in ("#ffffff", "#11151b"):
            high, low = sorted((luminance(colour), luminance(background)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, background)


def test_every_estimator_has_a_colour_a_dash_and_a_marker_of_its_own():
    assert list(look.ESTIMATOR_STYLE) == list(ESTIMATORS)
    for looks in zip(*look.ESTIMATOR_STYLE.values(), strict=True):
        assert len(set(looks)) == len(ESTIMATORS)
