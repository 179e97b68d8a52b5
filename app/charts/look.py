"""The look that all figures share: one colour, dash and marker a thing on every page.

Colours are Okabe-Ito (safe for colour-blind readers) and set explicitly, so that no theme repaints them; every line
also carries its name at its end and a dash of its own, so that colour is never alone.

Words have the theme's own colour, with a mark in their line's colour before them: no colour holds 4.5 : 1 on both themes (on
white that needs a luminance under 0.183, on #11151b one over 0.208), while 3 : 1, what a mark needs, has room.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from gelora.geometry import ESTIMATORS
from gelora.records import IdEstimate

# Colour, dash and marker: each is used once. Every colour keeps a contrast of 3 and more on both themes; so many hues cannot
# all be told apart by every eye, so those that a colour-blind reader confuses have dashes and markers that look least alike.
_LOOKS = {
    # neighbors nearby
    "twonn": ("#0072B2", "solid", "circle"),
    "twonn-mle": ("#009E73", "dash", "diamond"),
    "twonn-loglog": ("#4C7A9E", "5px,5px,1px,5px", "triangle-ne"),
    "mle": ("#D55E00", "dot", "square"),
    "gride": ("#8A5CF0", "dashdot", "triangle-up"),
    "plateau": ("#2E8FE8", "longdash", "triangle-down"),
    "abide": ("#7A7A1F", "8px,2px,1px,2px", "triangle-sw"),
    "mind": ("#A8780A", "10px,3px,2px,3px,2px,3px", "pentagon"),
    # angles, pairs, trees
    "danco": ("#D6337C", "longdashdot", "star"),
    "correlation": ("#008FA3", "14px,3px", "hexagon"),
    "ph0": ("#6B8E00", "3px,6px", "triangle-left"),
    # linear and global
    "pca-pr": ("#B5553D", "18px,4px,4px,4px", "cross"),
    "pca-ev": ("#F0436A", "6px,2px", "x"),
    # scikit-dimension's
    "lpca": ("#6A6FC8", "6px,3px,1px,3px", "hourglass"),
    "tle": ("#2F8F4E", "1px,3px", "triangle-right"),
    "mom": ("#C04FD0", "12px,6px", "bowtie"),
    "fishers": ("#9C6B45", "2px,2px,8px,2px", "star-diamond"),
}
# estimator -> name, colour, dash, marker
ESTIMATOR_STYLE = {name: (kind.label, *_LOOKS[name]) for name, kind in ESTIMATORS.items()}
# The strategies' colours are of other lightness than those of estimators beside them; a name always stands with each.
STRATEGY_COLOURS = {
    "gelora": "#0072B2",
    "uniform": "#7A8594",
    "depth-increasing": "#009E73",
    "depth-decreasing": "#2F8F4E",
    "random": "#8C6D5A",
    "gradient": "#D55E00",
    "fisher": "#D6337C",
    "eva": "#8A5CF0",
    "weight-spectrum": "#A8780A",
    "look-back": "#0E7C86",
}
OFFSET_COLOUR, RISE_COLOUR, REFERENCE_COLOUR, GRID = "#8b95a3", "#E69F00", "#7f7f7f", "rgba(128,128,128,0.22)"
PAIR = ("#3B7DD8", "#C2571A")  # two series that no estimator's or strategy's colour stands for
CHOSEN = "#E5383B"  # the layer looked at, over curves and on cells of any colour
UNIT_EDGE = "#39424e"  # on a light page; on a dark one the rank allocation takes the text's colour
RISE_EDGE = "#A8780A"  # round what is filled with RISE_COLOUR, which is too pale on white by itself
# Cells with a number in them are pale enough for one ink, whatever the theme: ranks, agreement, a change that fell or rose.
CELL_INK, RANK_CELLS, SHARE_CELLS = "#1b2430", ("#F8EFD9", RISE_COLOUR), ("#EEF1F5", "#A9B7C8")
FELL, SAME, ROSE = "#56B4E9", "#E4E7EB", RISE_COLOUR
# The marker of a line as a letter, to stand before its name.
GLYPHS = {
    "circle": "●", "diamond": "◆", "square": "■", "triangle-up": "▲", "triangle-down": "▼", "pentagon": "⬟", "star": "★",
    "hexagon": "⬢", "triangle-left": "◀\ufe0e", "triangle-right": "▶\ufe0e", "cross": "✚", "x": "✖\ufe0e", "hourglass": "⧗",
    "bowtie": "⧓", "star-diamond": "✦", "triangle-ne": "◥", "triangle-sw": "◣",
}  # fmt: skip
LINE_GLYPH = "━"


def estimator_style(estimator: str) -> tuple[str, str, str, str]:
    """Name, colour, dash and marker of an estimator, the same on every chart."""
    return ESTIMATOR_STYLE[estimator]


def named(name: str, colour: str, glyph: str = LINE_GLYPH) -> str:
    """A name in the theme's colour after its mark in the line's, as Plotly's labels take it."""
    return f'<span style="color:{colour}">{glyph}</span> <b>{name}</b>'


def minus(number: str) -> str:
    """A number in words with the minus as it is printed, not a hyphen."""
    return number.replace("-", "−")


def estimator_glyph(estimator: str) -> str:
    """The marker of an estimator as a letter."""
    return GLYPHS[ESTIMATOR_STYLE[estimator][3]]


def add_band(figure: go.Figure, estimates: Sequence[IdEstimate], x: Sequence[float], colour: str) -> None:
    """The 95% interval as one polygon for every unbroken stretch of the curve, in the figure's first row."""
    add_bounds(figure, [e.ci_low for e in estimates], [e.ci_high for e in estimates], x, colour)


def add_bounds(
    figure: go.Figure, low: Sequence[float | None], high: Sequence[float | None], x: Sequence[float], colour: str, row: int = 1
) -> None:
    """The space between two curves as one polygon for every stretch on which both are defined."""
    for left, right in _defined_stretches(low):
        band = range(left, right)
        figure.add_trace(
            go.Scatter(
                x=[*(x[i] for i in band), *(x[i] for i in reversed(band))],
                y=[*(high[i] for i in band), *(low[i] for i in reversed(band))],
                mode="lines",
                fill="toself",
                fillcolor=with_alpha(colour, 0.18),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=row,
            col=1,
        )


def _defined_stretches(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """[start, end) of every unbroken stretch of defined values."""
    stretches, start = [], None
    for i, value in enumerate([*values, None]):
        if value is not None and start is None:
            start = i
        elif value is None and start is not None:
            stretches.append((start, i))
            start = None
    return stretches


def finish(figure: go.Figure, height: int, stale: bool = False) -> None:
    """The look that every figure shares; `stale` dims it."""
    figure.update_layout(base_layout(height))
    if stale:
        figure.update_traces(opacity=0.35)


def base_layout(height: int) -> dict[str, Any]:
    """The part of a layout that every figure shares."""
    return {
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 28, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "namelength": 0},
        "font": {"size": 13},
    }


def theme_template(ink: str, ground: str, accent: str) -> go.layout.Template:
    """What all figures take from the page's theme: the colours of words, of what hovering opens and of the buttons over them."""
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
        "tickfont": {"size": 12},
        "title": {"font": {"size": 13}, "standoff": 10},
    }
    return go.layout.Template(
        layout={
            "font": {"family": '"Source Sans", "Source Sans Pro", sans-serif', "color": ink, "size": 13},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis | {"showgrid": False},
            "yaxis": axis,
            "margin": {"pad": 6},
            "legend": {"font": {"size": 12}},
            "hoverlabel": {"bgcolor": ground, "bordercolor": ink, "font": {"color": ink, "size": 13}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": ink, "activecolor": accent},
        }
    )


def with_alpha(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
