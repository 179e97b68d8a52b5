"""The look that all figures share: one colour, dash and marker a thing on every page.

Colours are Okabe-Ito (safe for colour-blind readers) and set explicitly, so that no theme repaints them; every line
also carries its name at its end and a dash of its own, so that colour is never alone.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from gelora.geometry import ESTIMATORS
from gelora.records import IdEstimate

# Colour, dash and marker: each is used once. Every colour keeps a contrast of 3 and more on both themes; fifteen hues cannot
# all be told apart by every eye, so those that a colour-blind reader confuses have dashes and markers that look least alike.
_LOOKS = {
    # neighbors nearby
    "twonn": ("#0072B2", "solid", "circle"),
    "twonn-mle": ("#009E73", "dash", "diamond"),
    "mle": ("#D55E00", "dot", "square"),
    "gride": ("#8A5CF0", "dashdot", "triangle-up"),
    "plateau": ("#2E8FE8", "longdash", "triangle-down"),
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
}
OFFSET_COLOUR, RISE_COLOUR, REFERENCE_COLOUR, GRID = "#8b95a3", "#E69F00", "#7f7f7f", "rgba(128,128,128,0.22)"
BRICK_EDGE = "#39424e"


def estimator_style(estimator: str) -> tuple[str, str, str, str]:
    """Name, colour, dash and marker of an estimator, the same on every chart."""
    return ESTIMATOR_STYLE[estimator]


def add_band(figure: go.Figure, estimates: Sequence[IdEstimate], x: Sequence[float], colour: str) -> None:
    """The 95% interval as one polygon for every unbroken stretch of the curve, in the figure's first row."""
    for left, right in _defined_stretches([e.dimension for e in estimates]):
        band = range(left, right)
        figure.add_trace(
            go.Scatter(
                x=[*(x[i] for i in band), *(x[i] for i in reversed(band))],
                y=[*(estimates[i].ci_high for i in band), *(estimates[i].ci_low for i in reversed(band))],
                mode="lines",
                fill="toself",
                fillcolor=with_alpha(colour, 0.18),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            ),
            row=1,
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


def with_alpha(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
