"""The figures of the Theory page: growth of neighborhoods, spectra, dimensions beside ranks, errors by rank. Pure functions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from app.charts.look import GRID, REFERENCE_COLOUR, RISE_COLOUR, finish

BLUE, GREEN, VIOLET, RED = "#0072B2", "#009E73", "#8A5CF0", "#D55E00"
FLOOR = 1e-18
"""Where a singular value of 0 is drawn on a logarithmic axis."""


def shape_and_ball(points: np.ndarray, centre: np.ndarray, radius: float) -> go.Figure:
    """Points of a plane [n, 2] and the circle of `radius` around one of them, its members in the circle's colour."""
    inside = np.linalg.norm(points - centre, axis=1) <= radius
    figure = go.Figure()
    for mask, name, colour, symbol in ((~inside, "points", REFERENCE_COLOUR, "circle"), (inside, "within r", RED, "diamond")):
        x, y = points[mask].T
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="markers", name=name, marker={"size": 4 if symbol == "circle" else 6, "color": colour, "symbol": symbol},
                opacity=0.85 if symbol == "circle" else 1.0, hoverinfo="skip",
            )
        )  # fmt: skip
    turn = np.linspace(0, 2 * np.pi, 80)
    figure.add_trace(
        go.Scatter(
            x=centre[0] + radius * np.cos(turn), y=centre[1] + radius * np.sin(turn), mode="lines", name=f"r = {radius:g}",
            line={"color": RED, "width": 2}, hoverinfo="skip",
        )
    )  # fmt: skip
    _finish(figure, 340)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def local_dimension(radii: np.ndarray, slopes: np.ndarray, radius: float, truth: int) -> go.Figure:
    """The growth exponent of the number of neighbors against the radius, the chosen radius marked."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=radii, y=slopes, mode="lines", name="d log C / d log r", line={"color": BLUE, "width": 2.5},
            hovertext=[f"Around r = {r:.3f} neighbors grow like r to the power {s:.2f}." for r, s in zip(radii, slopes, strict=True)],
            hoverinfo="text",
        )
    )  # fmt: skip
    here = float(np.interp(np.log(radius), np.log(radii), slopes))
    figure.add_trace(
        go.Scatter(
            x=[radius], y=[here], mode="markers", name=f"at r = {radius:g}: {here:.2f}",
            marker={"color": RED, "size": 12, "symbol": "diamond"}, hovertext=[f"At r = {radius:g}: {here:.2f}."], hoverinfo="text",
        )
    )  # fmt: skip
    _level(figure, float(radii[0]), float(radii[-1]), truth, f"dimension of the shape, {truth}")
    _finish(figure, 340)
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    figure.update_xaxes(title_text="radius r (share of the shape's size)", type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks])
    figure.update_yaxes(title_text="growth exponent at r", range=[0, 2.6])
    return figure


class Line(NamedTuple):
    """What an estimator reads at each place of an axis (None: nothing), with its name, colour, dash and marker."""

    name: str
    values: tuple[float | None, ...]
    colour: str
    dash: str
    symbol: str
    is_thin: bool


def dimension_by_norm(norms: Sequence[float], lines: Sequence[Line], norm: float, truth: int, ratio: float) -> go.Figure:
    """Dimensions against the norm of a text's first token, the chosen norm, the true dimension and the threshold of a sink marked."""
    figure = go.Figure()
    for line in lines:
        figure.add_trace(
            go.Scatter(
                x=list(norms), y=list(line.values), mode="lines" if line.is_thin else "lines+markers", name=line.name,
                showlegend=not line.is_thin, line={"color": line.colour, "width": 1.2 if line.is_thin else 2.5, "dash": line.dash},
                marker={"color": line.colour, "size": 7, "symbol": line.symbol},
                hovertext=[
                    f"First token of norm {n:g}: {line.name} {'is undefined' if v is None else f'reads {v:.2f}'}."
                    for n, v in zip(norms, line.values, strict=True)
                ],
                hoverinfo="text",
            )
        )  # fmt: skip
    _level(figure, norms[0], norms[-1], truth, f"true dimension, {truth}")
    top = 1.12 * max(v for line in lines for v in (*line.values, float(truth)) if v is not None)
    for place, name, dash in ((ratio, f"a sink from here on: {ratio:g} medians", "dot"), (norm, f"norm {norm:g}", "solid")):
        figure.add_trace(
            go.Scatter(
                x=[place] * 2, y=[0, top], mode="lines", name=name, line={"color": RISE_COLOUR, "width": 2, "dash": dash},
                hovertext=[name] * 2, hoverinfo="text",
            )
        )  # fmt: skip
    _finish(figure, 380, n_names=4)
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    figure.update_xaxes(title_text="norm of the first token / the others'", type="log", tickvals=ticks, ticktext=[str(t) for t in ticks])
    figure.update_yaxes(title_text="intrinsic dimension", range=[0, top])
    return figure


class Spectrum(NamedTuple):
    """Singular values or eigenvalues, one row a point or a single row, with the name, colour, dash and marker of their line."""

    name: str
    values: np.ndarray
    colour: str
    dash: str
    symbol: str


class Mark(NamedTuple):
    """An upright line at a place on the axis of numbers, with its name."""

    place: float
    name: str


def spectra(
    shown: Sequence[Spectrum],
    *,
    axis: str,
    tolerance: float | None = None,
    marks: Sequence[Mark] = (),
    relative: bool = True,
    most: int = 80,
) -> go.Figure:
    """Spectra on a logarithmic axis, each relative to its own largest value unless told otherwise; values of 0 lie on the floor.

    tolerance: share of the largest above which a value counts. most: how many values are drawn at most.
    """
    figure = go.Figure()
    right, lows, highs = 1, [], []
    for spectrum in shown:
        rows = np.atleast_2d(spectrum.values)[:, :most]
        for i, row in enumerate(rows):
            scale = float(row[0]) if relative and row[0] > 0 else 1.0
            y = np.maximum(row / scale, FLOOR)
            lows.append(float(y.min()))
            highs.append(float(y.max()))
            right = max(right, len(row))
            at = f", point {i + 1}" if len(rows) > 1 else ""
            figure.add_trace(
                go.Scatter(
                    x=np.arange(1, len(row) + 1), y=y, mode="lines+markers", name=spectrum.name + at, legendgroup=spectrum.name,
                    showlegend=False, line={"color": spectrum.colour, "width": 1.5, "dash": spectrum.dash},
                    marker={"color": spectrum.colour, "size": 5, "symbol": spectrum.symbol}, opacity=0.75 if len(rows) > 1 else 1.0,
                    hovertext=[f"{spectrum.name}{at}: value {k} is {v:.3g}." for k, v in enumerate(row, start=1)], hoverinfo="text",
                )
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="lines+markers", name=spectrum.name, legendgroup=spectrum.name, hoverinfo="skip",
                line={"color": spectrum.colour, "width": 1.5, "dash": spectrum.dash},
                marker={"color": spectrum.colour, "size": 7, "symbol": spectrum.symbol},
            )
        )  # fmt: skip
    low, high = min([*lows, *([tolerance] if tolerance else [])]), max(highs)
    bottom, top = np.log10(max(low, FLOOR)), np.log10(max(high, FLOOR))
    room = 0.06 * max(top - bottom, 1.0)
    step = max(1, round((top - bottom) / 6))  # whole powers of ten
    if tolerance is not None:
        figure.add_trace(
            go.Scatter(
                x=[0.5, right + 0.5], y=[tolerance, tolerance], mode="lines", name=f"tolerance {tolerance:g}",
                line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 2}, hoverinfo="name",
            )
        )  # fmt: skip
    for mark, dash in zip(marks, ("dot", "dashdot", "longdash", "dash") * 2, strict=False):
        figure.add_trace(
            go.Scatter(
                x=[mark.place] * 2, y=[10 ** (bottom - room), 10 ** (top + room)], mode="lines", name=mark.name,
                line={"color": RISE_COLOUR, "dash": dash, "width": 2.5}, hovertext=[mark.name] * 2, hoverinfo="text",
            )
        )  # fmt: skip
    _finish(figure, 380, n_names=len(shown) + len(marks) + (tolerance is not None))
    figure.update_xaxes(title_text="number of the value", range=[0.4, max([right, *(m.place for m in marks if m.place <= most)]) + 0.6])
    figure.update_yaxes(
        title_text=axis, type="log", range=[bottom - room, top + room], exponentformat="power", dtick=step, tickfont={"size": 11}
    )
    return figure


class Level(NamedTuple):
    """A dimension or a rank as a row: its name, value, interval where there is one, and whether it was measured or counted."""

    name: str
    value: float
    ci_low: float | None
    ci_high: float | None
    is_measured: bool


def levels(rows: Sequence[Level]) -> go.Figure:
    """Dimensions and ranks on one axis, a row each, the first on top; bars are 95% intervals."""
    figure = go.Figure()
    for is_measured, name, colour, symbol in ((True, "measured ID", BLUE, "circle"), (False, "counted or known", RED, "diamond")):
        own = [row for row in rows if row.is_measured is is_measured]
        if not own:
            continue
        has_bars = [row.ci_low is not None and row.ci_high is not None for row in own]
        figure.add_trace(
            go.Scatter(
                x=[row.value for row in own],
                y=[row.name for row in own],
                mode="markers",
                name=name,
                marker={"color": colour, "size": 11, "symbol": symbol},
                error_x={
                    "type": "data", "symmetric": False, "color": colour, "thickness": 2,
                    "array": [(row.ci_high or 0) - row.value if bar else 0 for row, bar in zip(own, has_bars, strict=True)],
                    "arrayminus": [row.value - (row.ci_low or 0) if bar else 0 for row, bar in zip(own, has_bars, strict=True)],
                },
                hovertext=[_level_sentence(row) for row in own],
                hoverinfo="text",
            )
        )  # fmt: skip
    _finish(figure, 380)
    figure.update_xaxes(title_text="dimension or rank", rangemode="tozero")
    figure.update_yaxes(categoryorder="array", categoryarray=[row.name for row in reversed(rows)], automargin=True)
    return figure


def error_by_rank(errors: np.ndarray, bound: float, needed: int, most: int) -> go.Figure:
    """The share of the error that the best update of each rank leaves, with the rank that is needed and what the rise asks for."""
    ranks = np.arange(min(most, len(errors) - 1) + 1)
    figure = go.Figure(
        go.Scatter(
            x=ranks, y=errors[: len(ranks)], mode="lines+markers", name="error left", line={"color": BLUE, "width": 2.5},
            marker={"size": 8, "color": BLUE}, hoverinfo="text",
            hovertext=[f"The best update of rank {r} leaves {e:.1%} of the error." for r, e in zip(ranks, errors, strict=False)],
        )
    )  # fmt: skip
    for place, name, colour, dash in (
        (bound, f"what the rise asks for: {bound:.1f}", RISE_COLOUR, "dot"),
        (needed, f"needed: {needed}", GREEN, "dash"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[place] * 2, y=[0, 1.05], mode="lines", name=name, line={"color": colour, "width": 3, "dash": dash},
                hovertext=[name] * 2, hoverinfo="text",
            )
        )  # fmt: skip
    _finish(figure, 360, n_names=3)
    figure.update_xaxes(title_text="rank r of the update", dtick=2 if len(ranks) > 12 else 1, range=[-0.5, ranks[-1] + 0.5])
    figure.update_yaxes(title_text="share of the error that is left", tickformat=".0%", range=[0, 1.05])
    return figure


def _level_sentence(row: Level) -> str:
    interval = "" if row.ci_low is None else f", 95% interval {row.ci_low:.2f} to {row.ci_high:.2f}"
    return f"{row.name}: {row.value:.2f}{interval}." if row.is_measured else f"{row.name}: {row.value:g}."


def _level(figure: go.Figure, left: float, right: float, value: float, name: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=[left, right], y=[value, value], mode="lines", name=name, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 2},
            hovertext=[name] * 2, hoverinfo="text",
        )
    )  # fmt: skip


def _finish(figure: go.Figure, height: int, n_names: int = 3) -> None:
    """Names in a legend over the plot, which on a phone has a line for each."""
    finish(figure, height=height)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        margin={"t": 24 + 18 * min(n_names, 4), "l": 64, "r": 12, "b": 48},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
