"""Charts say what the records say: units, budgets; and everything is readable on both themes."""

from made_profiles import make_profile, plans_of

from app.charts import look, ranks
from gelora.geometry import ESTIMATORS
from gelora.ranks import STRATEGIES


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
