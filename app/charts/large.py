"""The figures of teaching mode: one idea each, all type of 20 pixels and more, what the class predicted drawn in.

Pure functions, no Streamlit. Runs and plans are drawn in `app.charts.large_runs`.
"""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import End, EndLook, label_ends, last_defined, layer_ticks
from app.charts.look import GRID, LINE_GLYPH, REFERENCE_COLOUR, add_band, estimator_glyph, estimator_style, named
from gelora.records import IdProfile
from gelora.runs import GeometryMeasurement

TYPE = 20  # pixels of the smallest type
GUESS = "#B07C00"  # what the class predicted; 3 : 1 and more on both themes
HEIGHT = 400  # pixels of a figure where nothing says otherwise; names at lines' ends are kept apart for this height
_PLOT = 300  # pixels of it between the axes
_ENDS = EndLook(font=TYPE, gap=TYPE + 8, reach=26, standoff=10, width=1.5)
SHAPES = {
    "up": "it rises",
    "down": "it falls",
    "flat": "it stays level",
    "hump": "it rises, then falls",
    "dip": "it falls, then rises",
}


def enlarge(figure: go.Figure, right: int = 24) -> go.Figure:
    """Presentation size: every font at least TYPE, wide lines, no legend; `right` is the margin for names, in pixels."""
    figure.update_layout(
        height=HEIGHT, showlegend=False, hovermode="closest", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"size": TYPE}, hoverlabel={"font": {"size": TYPE}, "align": "left", "namelength": 0},
        margin={"l": 72, "r": right, "t": 16, "b": 72},
    )  # fmt: skip
    axis = {"tickfont": {"size": TYPE}, "title": {"font": {"size": TYPE}}, "gridcolor": GRID, "zeroline": False}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    for note in figure.layout.annotations:
        note.font.size = max(note.font.size or 0, TYPE)
    return figure


def ratio_line(
    log_mu: np.ndarray, heights: np.ndarray, kept: int, dimension: float, n_coordinates: int, guess: tuple[float, float] | None
) -> go.Figure:
    """TwoNN on one layer: a dot a text, the line whose slope is the dimension, the class's guess as a wedge of slopes.

    Args:
        log_mu: [n] ascending, log of the second neighbor's distance over the first's.
        heights: [n - 1], -log(1 - F) of all but the last.
        kept: how many of the smallest ratios the line is fitted to.
        dimension: the line's slope.
        n_coordinates: the slope that independent coordinates would give, drawn for comparison.
        guess: the lowest and highest slope that the class holds possible.
    """
    x, y = log_mu[: len(heights)], heights
    right, top = float(x[min(kept * 106 // 100, len(x) - 1)]), float(y[min(kept * 106 // 100, len(y) - 1)])
    top = max(top, min(dimension * right, top * 1.4))
    colour = estimator_style("twonn")[1]
    figure = go.Figure()
    if guess is not None:
        corners = [_clipped(slope, right, top) for slope in guess]
        between = [(right, top)] if corners[0][0] == right and corners[1][1] == top else []
        wedge = [(0.0, 0.0), corners[0], *between, corners[1], (0.0, 0.0)]
        figure.add_trace(
            go.Scatter(
                x=[p[0] for p in wedge], y=[p[1] for p in wedge], mode="lines", fill="toself", fillcolor="rgba(230,159,0,0.20)",
                line={"color": GUESS, "width": 2, "dash": "dot"}, name="the class's guess", hoverinfo="skip",
            )
        )  # fmt: skip
    for part, words, shade in ((slice(0, kept), "fitted", colour), (slice(kept, len(x)), "the tail, left out", REFERENCE_COLOUR)):
        marker = {"color": shade, "size": 9, "opacity": 0.55}
        hover = f"Its second neighbor is %{{customdata:.2f}} times as far as its first: {words}.<extra></extra>"
        figure.add_trace(
            go.Scatter(x=x[part], y=y[part], customdata=np.exp(x[part]), mode="markers", name=words, marker=marker, hovertemplate=hover)
        )
    for slope, words, shade, dash in (
        (float(n_coordinates), f"slope {n_coordinates}: all coordinates", REFERENCE_COLOUR, "dash"),
        (dimension, f"slope {dimension:.1f}: TwoNN", colour, "solid"),
    ):
        end = _clipped(slope, right, top)
        figure.add_trace(
            go.Scatter(x=[0, end[0]], y=[0, end[1]], mode="lines", name=words, line={"color": shade, "width": 5, "dash": dash},
                       hoverinfo="skip")
        )  # fmt: skip
    figure.update_xaxes(title_text="log (distance to 2nd neighbor / distance to 1st)", range=[-0.01 * right, right], nticks=6)
    figure.update_yaxes(title_text="−log (1 − F)", range=[0, top * 1.02], nticks=5)
    _name_line(figure, _clipped(dimension, right, top), 0.7, named(f"dimension {dimension:.1f}", colour), above=True)
    end = _clipped(float(n_coordinates), right, top)
    _name_line(figure, end, 0.97, named(f"if all {n_coordinates:,} counted", REFERENCE_COLOUR, "┅"), above=False)
    if guess is not None:
        low = _clipped(guess[0], right, top)
        _name_line(figure, low, 0.95, named("the guess", GUESS, "▨"), above=True)
    return enlarge(figure)


def _name_line(figure: go.Figure, end: tuple[float, float], share: float, words: str, above: bool) -> None:
    """A name beside a line through the origin, at a share of its length: left of it and above, or right of it and below."""
    side = {"xanchor": "right", "yanchor": "bottom", "xshift": -8} if above else {"xanchor": "left", "yanchor": "top", "xshift": 10}
    figure.add_annotation(x=share * end[0], y=share * end[1], text=words, showarrow=False, **side)


def _clipped(slope: float, right: float, top: float) -> tuple[float, float]:
    return (right, slope * right) if slope * right <= top else (top / slope, top)


def one_curve(profile: IdProfile, estimator: str, guess: str | None) -> go.Figure:
    """The dimension of every layer with its 95% band, and the shape that the class predicted, starting at the same value."""
    figure = make_subplots(rows=1, cols=1)  # which `add_band` asks for
    estimates = profile.estimates[estimator]
    x = list(range(len(estimates)))
    label, colour, dash, symbol = estimator_style(estimator)
    values = [e.dimension for e in estimates]
    add_band(figure, estimates, x, colour)
    defined = [v for v in values if v is not None]
    ghost = guessed_curve(values, guess) if guess is not None and defined else None
    if ghost is not None:
        figure.add_trace(
            go.Scatter(x=x, y=ghost, mode="lines", line={"color": GUESS, "width": 4, "dash": "dot"}, name="the class's guess",
                       hoverinfo="skip")
        )  # fmt: skip
    _add_line(figure, profile.layer_names, values, label, (colour, dash, symbol), f": {label}", width=6, size=16)
    highest = max([e.ci_high or e.dimension or 0.0 for e in estimates] + [v for v in ghost or [] if v is not None] + [1.0])
    ends = [_end(values, label, colour, estimator_glyph(estimator))]
    ends += [_end(ghost, "the guess", GUESS, "┅")] if ghost is not None else []
    return _finished(figure, ends, len(x), highest)


def guessed_curve(values: Sequence[float | None], shape: str) -> list[float | None]:
    """A smooth curve of that shape (a key of SHAPES) that starts where the measured one does and moves by 40% of it."""
    n = len(values)
    start = next((v for v in values if v is not None), 0.0)
    t = np.linspace(0, 1, n)
    form = {"up": t, "down": -t, "flat": 0 * t, "hump": np.sin(np.pi * t), "dip": -np.sin(np.pi * t)}[shape]
    return [float(start * (1 + 0.4 * f)) for f in form]


def several_curves(profile: IdProfile, names: Sequence[str], disputed: Sequence[int]) -> go.Figure:
    """The curve of every named estimator; blocks over which they see opposite signs are shaded."""
    figure = go.Figure()
    n_layers = len(profile.layer_names)
    for block in disputed:
        figure.add_vrect(x0=block - 1, x1=block, fillcolor=REFERENCE_COLOUR, opacity=0.18, line_width=0, layer="below")
    ends, highest = [], 1.0
    for name in names:
        label, *look = estimator_style(name)
        values = [e.dimension for e in profile.estimates[name]]
        highest = max([highest, *(v for v in values if v is not None)])
        _add_line(figure, profile.layer_names, values, label, tuple(look), f": {label}")
        ends.append(_end(values, label, look[0], estimator_glyph(name)))
    if disputed:
        figure.add_annotation(
            text="signs<br>differ", x=disputed[0] - 0.5, y=0.0, yref="y domain", yanchor="bottom", xanchor="center", showarrow=False
        )
    return _finished(figure, ends, n_layers, highest)


def before_and_after(first: GeometryMeasurement, last: GeometryMeasurement) -> go.Figure:
    """The curve of the dimension before training (dashed) and after it, on the same rows held out."""
    figure = go.Figure()
    label, colour, _, symbol = estimator_style(last.estimator)
    ends, highest, n_layers = [], 1.0, len(last.dimensions)
    for line, words, shade, dash in ((first, "before", REFERENCE_COLOUR, "dash"), (last, "after", colour, "solid")):
        values = list(line.dimensions)
        highest = max([highest, *(v for v in values if v is not None)])
        step = f"step {line.step}"
        _add_line(figure, line.layer_names, values, f"{words}: {step}", (shade, dash, symbol), f", {step}: {label}")
        ends.append(_end(values, words, shade, LINE_GLYPH if dash == "solid" else "┅"))
    return _finished(figure, ends, n_layers, highest)


def _add_line(
    figure: go.Figure, layers: Sequence[str], values: Sequence[float | None], name: str, look: tuple[str, ...], after_layer: str,
    *, width: int = 5, size: int = 13,
) -> None:  # fmt: skip
    """A curve over the layers; look: colour, dash, marker; after_layer: what hovering reads between layer and value."""
    colour, dash, symbol = look
    figure.add_trace(
        go.Scatter(
            x=list(range(len(values))), y=values, mode="lines+markers", name=name, line={"color": colour, "width": width, "dash": dash},
            marker={"size": size, "symbol": symbol}, text=list(layers),
            hovertemplate=f"%{{text}}{after_layer} says %{{y:.1f}}<extra></extra>",
        )
    )  # fmt: skip


def _end(values: Sequence[float | None], words: str, colour: str, glyph: str) -> End:
    return End(last_defined(np.array(values, dtype=float)), words, colour, glyph)


def _finished(figure: go.Figure, ends: Sequence[End], n_layers: int, highest: float) -> go.Figure:
    """Axes of layers and dimensions, names at the ends of lines, and the size."""
    ticks = layer_ticks(n_layers, 9)
    ticks["ticktext"][0] += "\u00a0\u00a0"  # so that "emb" stands clear of "1" on a phone
    figure.update_xaxes(title_text="layer", **ticks, tickangle=0, range=[-0.3, n_layers - 0.8])
    figure.update_yaxes(title_text="dimension", range=[0, highest * 1.05], nticks=6)
    label_ends(figure, ends, n_layers - 1, (0, highest * 1.05), _PLOT, False, _ENDS)
    return enlarge(figure, right=44 + max((10 * (len(end.text) + 2) for end in ends if math.isfinite(end.value)), default=0))
