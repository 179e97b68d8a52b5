"""Words and marks hold against what they stand on, in both themes: WCAG 2's contrast of the colours that are really used."""

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from app.charts import look, runs, scales, training
from gelora.geometry import ESTIMATORS
from gelora.ranks import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
THEME = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text())["theme"]
THEMES = {name: THEME[name] for name in ("light", "dark")}
CAPTION = 0.6  # the share of the text's colour that Streamlit gives captions
STATES = ("backgroundColor", "secondaryBackgroundColor", "dataframeHeaderBackgroundColor")


def channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def mixed(over: str, under: str, share: float) -> str:
    pairs = zip(channels(over), channels(under), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in channels(colour))]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_the_one_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", STATES)
def test_text_and_captions_hold_on_every_ground(theme, ground):
    text, ground = THEMES[theme]["textColor"], THEMES[theme][ground]
    assert contrast(text, ground) >= 7
    assert contrast(mixed(text, ground, CAPTION), ground) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_the_heads_of_tables_hold(theme):
    assert contrast(THEMES[theme]["dataframeHeaderTextColor"], THEMES[theme]["dataframeHeaderBackgroundColor"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_links_and_primary_buttons_hold(theme):
    colours = THEMES[theme]
    for ground in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(colours["linkColor"], colours[ground]) >= 4.5
        assert contrast(colours["primaryColor"], colours[ground]) >= 3  # sliders, rings, lines under a tab
    assert contrast("#ffffff", colours["primaryColor"]) >= 4.5


def test_words_in_the_primary_colour_are_those_of_the_links():
    css = (ROOT / "app" / "frontend" / "page.css").read_text()
    pairs = re.findall(r"light-dark\((#\w{6}), (#\w{6})\)", css)
    assert (THEMES["light"]["linkColor"], THEMES["dark"]["linkColor"]) in pairs
    for pair in pairs:
        for colour, theme in zip(pair, THEMES.values(), strict=True):
            assert min(contrast(colour, theme[ground]) for ground in STATES) >= 4.5


def test_the_charts_ink_on_the_rank_allocation_is_the_themes():
    """`rank_allocation.js` has colours of its own only for a page that gives none."""
    script = (ROOT / "app" / "frontend" / "rank_allocation.js").read_text()
    for name, key in (("text-color", "textColor"), ("background-color", "backgroundColor"), ("primary-color", "primaryColor")):
        assert f'theme("{name}", "{THEMES["light"][key]}")' in script


MARKS = {
    **{f"estimator {name}": style[1] for name, style in look.ESTIMATOR_STYLE.items()},
    **{f"strategy {name}": colour for name, colour in look.STRATEGY_COLOURS.items()},
    **{f"method {name}": colour for name, (colour, _) in runs.METHOD_LOOKS.items()},
    **{f"run {i}": colour for i, colour in enumerate(runs.SERIES_COLOURS)},
    **{f"alternative {i}": colour for i, (colour, _) in enumerate(scales._ALTERNATIVE_LOOKS)},
    **{f"panel {i}": colour for i, colour in enumerate(training._PANEL_COLOURS)},
    "loss": training.LOGGED, "smoothed loss": training.SMOOTHED, "held out": training.HELD_OUT, "metric": training.METRIC,
    "offset": look.OFFSET_COLOUR, "edge of a rise": look.RISE_EDGE, "baseline": look.REFERENCE_COLOUR,
}  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("mark", MARKS)
def test_every_line_and_mark_holds_on_the_page(mark, theme):
    assert contrast(MARKS[mark], THEMES[theme]["backgroundColor"]) >= 3


def test_every_estimator_and_strategy_has_a_colour_of_its_own():
    assert list(look.ESTIMATOR_STYLE) == list(ESTIMATORS) and list(look.STRATEGY_COLOURS) == list(STRATEGIES)
    assert len({style[1] for style in look.ESTIMATOR_STYLE.values()}) == len(ESTIMATORS)
    assert len(set(look.STRATEGY_COLOURS.values())) == len(STRATEGIES)


@pytest.mark.parametrize("cells", [look.RANK_CELLS, look.SHARE_CELLS, (look.FELL, look.SAME, look.ROSE)])
def test_numbers_hold_on_every_colour_of_their_cells(cells):
    for low, high in pairwise(cells):
        for step in range(21):
            assert contrast(look.CELL_INK, mixed(high, low, step / 20)) >= 4.5


def test_no_word_of_a_chart_has_a_colour_of_a_line():
    """A name has a mark in its line's colour; the name itself has the theme's."""
    for estimator, (name, colour, _, symbol) in look.ESTIMATOR_STYLE.items():
        label = look.named(name, colour, look.estimator_glyph(estimator))
        assert label == f'<span style="color:{colour}">{look.GLYPHS[symbol]}</span> <b>{name}</b>'


def coloured_fonts(tree: ast.AST) -> list[int]:
    """Lines at which a font is given a colour (`font={"color": ...}`, `"textfont": {"color": ...}`) that is not somebody's ink."""

    def is_coloured(value: ast.AST) -> bool:
        if not isinstance(value, ast.Dict):
            return False
        colours = [v for k, v in zip(value.keys, value.values, strict=True) if isinstance(k, ast.Constant) and k.value == "color"]
        return any(not (isinstance(v, ast.Name) and v.id.lower().endswith("ink")) for v in colours)

    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("font", "textfont") and is_coloured(node.value):
            found.append(node.value.lineno)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in ("font", "textfont") and is_coloured(value):
                    found.append(value.lineno)
    return found


@pytest.mark.parametrize("file", sorted((ROOT / "app" / "charts").glob("*.py")), ids=lambda file: file.stem)
def test_no_word_of_a_chart_has_a_colour_that_one_of_the_themes_cannot_carry(file):
    """Only an ink has one: of cells, of paper, of a theme."""
    assert coloured_fonts(ast.parse(file.read_text())) == []
