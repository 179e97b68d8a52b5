"""The intrinsic dimension while a run trains: the curve as it moves, the ranks the rule would want, the map of its drift.

Pure functions, no Streamlit. A measurement is one line of a run's geometry: step, dimension of every layer (None where it
has none) with its interval, number of rows, ranks wanted, supported by the intervals and installed by block. Lines of
earlier versions have no intervals; then all that is wanted is drawn alike.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import BLOCK_AXIS, layer_ticks
from app.charts.look import (
    CELL_INK,
    FELL,
    GRID,
    RISE_COLOUR,
    RISE_EDGE,
    ROSE,
    SAME,
    add_band,
    estimator_glyph,
    estimator_style,
    finish,
    named,
    with_alpha,
)
from gelora.runs import GeometryMeasurement

_OUTLINE = "#7A8594"
_GHOSTS = 6  # earlier curves that are drawn at most, spread evenly from the first to the last
_NUMBERED, _SIGNED = 10, 40  # steps up to which cells hold their number, or a sign
_CELL, _EDGE = 30, 96  # pixels: height of a layer's row in the map, of everything else in it


def moving_curve(measurements: Sequence[GeometryMeasurement], shown: int) -> go.Figure:
    """The curve of measurement `shown` thick, earlier ones fading, over the ranks in use (outline) and wanted (fill).

    Layer i stands between blocks i and i + 1, so that the segment over a block is that block's rise. Axes are those of
    all measurements together: they stay while the step is moved. Without ranks (head only, full fine-tuning) the curve
    is alone.
    """
    now = measurements[shown]
    has_ranks = any(m.wanted or m.installed for m in measurements)
    n_layers = len(now.dimensions)
    places = [layer + 0.5 for layer in range(n_layers)]
    label, colour, _, symbol = estimator_style(now.estimator)
    figure = make_subplots(
        rows=2 if has_ranks else 1, cols=1, shared_xaxes=True, vertical_spacing=0.12, row_heights=[0.6, 0.4] if has_ranks else [1.0]
    )  # fmt: skip
    for age, index in enumerate(_ghosts(shown)):
        ghost = measurements[index]
        opacity = 0.2 + 0.35 * age / _GHOSTS
        figure.add_trace(
            go.Scatter(
                x=places, y=list(ghost.dimensions), mode="lines", line={"color": with_alpha(colour, opacity), "width": 2},
                name=f"step {ghost.step:,}", hovertemplate=f"At step {ghost.step:,} {label} said %{{y:.2f}} here.<extra></extra>",
            ), row=1, col=1,
        )  # fmt: skip
    ends = [None if e.ci_low is None else (e.ci_low, e.ci_high) for e in now.estimates]
    if any(ends):
        add_band(figure, now.estimates, places, colour)
    figure.add_trace(
        go.Scatter(
            x=places, y=list(now.dimensions), mode="lines+markers", line={"color": colour, "width": 4},
            marker={"symbol": symbol, "size": 9}, name=f"step {now.step:,}",
            text=[f"{name}: at step {now.step:,} {label} says" for name in now.layer_names],
            customdata=["" if e is None else f", 95% interval {e[0]:.1f} to {e[1]:.1f}" for e in ends],
            hovertemplate="%{text} %{y:.2f}%{customdata}.<extra></extra>",
        ), row=1, col=1,
    )  # fmt: skip
    low, high = _range(measurements)
    _undefined(figure, now, places, low)
    figure.update_yaxes(title_text="intrinsic dimension", range=[low, high], gridcolor=GRID, row=1, col=1)
    rows = f", N = {now.n_samples:,}" if now.n_samples else ""
    words = named(f"{label} at step {now.step:,}{rows}", colour, estimator_glyph(now.estimator))
    words += "   earlier ones fade" if shown else ""
    _over(figure, words, "y")
    if has_ranks:
        _ranks(figure, measurements, now, n_layers - 1)
    step = max(1, round((n_layers - 1) / 12))
    figure.update_xaxes(range=[0.3, n_layers - 0.3], tickvals=list(range(1, n_layers, step)), gridcolor=GRID)
    figure.update_xaxes(title_text=BLOCK_AXIS, row=2 if has_ranks else 1, col=1)
    finish(figure, height=500 if has_ranks else 340)
    figure.update_layout(showlegend=False, barmode="overlay", uirevision="geometry")
    return figure


def _ranks(figure: go.Figure, measurements: Sequence[GeometryMeasurement], now: GeometryMeasurement, n_blocks: int) -> None:
    blocks = list(range(1, n_blocks + 1))
    wanted = [now.wanted.get(str(block)) for block in blocks]
    installed = [now.installed.get(str(block)) for block in blocks]
    has_intervals = bool(now.supported)
    supported = [now.supported.get(str(block)) for block in blocks] if has_intervals else wanted
    figure.add_trace(
        go.Bar(
            x=blocks, y=supported, width=0.56, name="the rule would want now",
            marker={"color": RISE_COLOUR, "line": {"color": RISE_EDGE, "width": 1}},
            hovertemplate="The rule would want rank %{y} for block %{x} now.<extra></extra>",
        ), row=2, col=1,
    )  # fmt: skip
    if has_intervals:
        within = [None if w is None or s is None else w - s for w, s in zip(wanted, supported, strict=True)]
        figure.add_trace(
            go.Bar(
                x=blocks, y=within, base=supported, width=0.56, name="within the interval", customdata=wanted,
                marker={
                    "color": "rgba(0,0,0,0)", "line": {"color": RISE_EDGE, "width": 1},
                    "pattern": {"shape": "/", "fgcolor": RISE_EDGE, "size": 6, "solidity": 0.2},
                },
                hovertemplate="The rule would give block %{x} rank %{customdata}, %{y} of it within the interval.<extra></extra>",
            ), row=2, col=1,
        )  # fmt: skip
    figure.add_trace(
        go.Bar(
            x=blocks, y=installed, width=0.82, name="in use", marker={"color": "rgba(0,0,0,0)", "line": {"color": _OUTLINE, "width": 2.5}},
            hovertemplate="Block %{x} has rank %{y} in use.<extra></extra>",
        ), row=2, col=1,
    )  # fmt: skip
    highest = max([1, *(r for m in measurements for ranks in (m.wanted, m.installed) for r in ranks.values())])
    figure.update_yaxes(title_text="LoRA rank r", range=[0, highest * 1.08], gridcolor=GRID, nticks=6, tickformat="d", row=2, col=1)
    hatched = f"   {named('within the interval', RISE_EDGE, '▨')}" if has_intervals else ""
    _over(figure, f"{named('the rule would want', RISE_EDGE, '■')}{hatched}   {named('in use', _OUTLINE, '□')}", "y2")


def _undefined(figure: go.Figure, measurement: GeometryMeasurement, places: Sequence[float], low: float) -> None:
    gaps = [place for place, value in zip(places, measurement.dimensions, strict=True) if value is None]
    if gaps:
        figure.add_trace(
            go.Scatter(
                x=gaps, y=[low] * len(gaps), mode="text", text=["⊘"] * len(gaps), textposition="top center", name="no dimension",
                textfont={"size": 16}, cliponaxis=False,
                hovertemplate=f"No dimension here: {measurement.note or 'it could not be estimated'}<extra></extra>",
            ), row=1, col=1,
        )  # fmt: skip


def _ghosts(shown: int) -> list[int]:
    """Indices of the earlier measurements that are drawn: the first one always, the others evenly spread."""
    n = min(shown, _GHOSTS)
    return sorted({round(i * shown / n) for i in range(n)})


def _range(measurements: Sequence[GeometryMeasurement]) -> tuple[float, float]:
    values = [value for m in measurements for value in m.dimensions if value is not None]
    values += [e.ci_high for m in measurements for e in m.estimates if e.ci_high is not None]
    return (0.0, max(values) * 1.1) if values else (0.0, 1.0)


def change_half_width(before: GeometryMeasurement, after: GeometryMeasurement, layer: int) -> float | None:
    """Half the 95% interval of a layer's change between two measurements, taken for independent; None where one has no interval.

    They are of the same rows, so what moves both alike would cancel: it is rather too wide than too narrow.
    """
    widths = [e.ci_high - e.ci_low for m in (before, after) if (e := m.estimates[layer]).ci_high is not None and e.ci_low is not None]
    return float(np.linalg.norm(widths)) / 2 if len(widths) == 2 else None


def _over(figure: go.Figure, text: str, axis: str) -> None:
    figure.add_annotation(
        text=text, x=0, xref="paper", xanchor="left", y=1, yref=f"{axis} domain", yanchor="bottom", yshift=3, showarrow=False,
        font={"size": 12},
    )  # fmt: skip


def drift_limit(all_measurements: Sequence[Sequence[GeometryMeasurement]]) -> float:
    """The largest change from the first measurement in any of the runs, at least 0.5: one colour scale for all maps."""
    changes = [abs(change) for found in all_measurements for row in _changes(found) for change in row if change is not None]
    return max([0.5, *changes])


def drift_map(measurements: Sequence[GeometryMeasurement], limit: float | None = None) -> go.Figure:
    """Layer by step: colour is the change of the dimension since its first measurement, the number in a cell the dimension.

    limit: the change at which the colour is full; that of these measurements when None. ↻ marks steps at which ranks were
    re-allocated, ⊘ cells without a dimension. Numbers are bold where the change exceeds its interval. Where numbers do not
    fit, + and − say which way such a cell has gone (without intervals: one that has gone by more than a tenth of the limit).
    """
    limit = limit or drift_limit([measurements])
    names = [str(name) for name in measurements[-1].layer_names]
    steps = [f"{m.step:,}{' ↻' if m.reallocated else ''}" for m in measurements]
    values = [[m.dimensions[layer] for m in measurements] for layer in range(len(names))]
    changes = _changes(measurements)
    clear = [_clear(measurements, layer, changes[layer], limit) for layer in range(len(names))]
    words = _numbers(values, clear) if len(steps) <= _NUMBERED else _signs(changes, clear)
    hover = [
        [
            f"{name}: at step {m.step:,} there is no dimension." if value is None or change is None
            else f"{name}: at step {m.step:,} the dimension is {value:.1f}{_interval_words(m, layer)}, {change:+.2f} since the start."
            for m, value, change in zip(measurements, row, moved, strict=True)
        ]
        for layer, (name, row, moved) in enumerate(zip(names, values, changes, strict=True))
    ]  # fmt: skip
    figure = go.Figure(
        go.Heatmap(
            x=steps, y=names, z=changes, zmin=-limit, zmax=limit, colorscale=[[0, FELL], [0.5, SAME], [1, ROSE]], xgap=1, ygap=1,
            text=words, texttemplate="%{text}" if len(steps) <= _SIGNED else None, textfont={"size": 11, "color": CELL_INK},
            hoverongaps=False, hovertext=hover, hoverinfo="text",
            colorbar={
                "title": {"text": "change", "side": "top", "font": {"size": 12}}, "thickness": 10, "len": 0.9,
                "tickformat": "+.1f", "nticks": 5,
            },
        )
    )  # fmt: skip
    for layer, row in enumerate(values):
        for column, value in enumerate(row):
            if value is None:
                figure.add_annotation(x=steps[column], y=names[layer], text="⊘", showarrow=False)
    figure.update_xaxes(title_text="optimizer step", type="category", nticks=10, showgrid=False)
    # The words of an axis of layers, as on every other chart of them; the cells keep the layers' names.
    figure.update_yaxes(
        showgrid=False, automargin=True, title_text="layer", type="category",
        **(layer_ticks(len(names)) | {"tickvals": [names[i] for i in layer_ticks(len(names))["tickvals"]]}),
    )  # fmt: skip
    finish(figure, height=_CELL * len(names) + _EDGE if len(names) < 20 else 620)
    figure.update_layout(margin={"l": 10, "r": 8})
    return figure


def _clear(measurements: Sequence[GeometryMeasurement], layer: int, changes: Sequence[float | None], limit: float) -> list[bool | None]:
    """Of each change of a layer whether it exceeds its interval; without one None, or False where it is under a tenth of the limit."""
    first = next((m for m in measurements if m.dimensions[layer] is not None), None)
    result: list[bool | None] = []
    for m, change in zip(measurements, changes, strict=True):
        half_width = None if change is None or first is None else change_half_width(first, m, layer)
        if change is None or half_width is None:
            result.append(None if change is not None and abs(change) >= 0.1 * limit else False)
        else:
            result.append(abs(change) > half_width)
    return result


def _interval_words(measurement: GeometryMeasurement, layer: int) -> str:
    estimate = measurement.estimates[layer]
    return "" if estimate.ci_low is None else f" [{estimate.ci_low:.1f}, {estimate.ci_high:.1f}]"


def _numbers(values: Sequence[Sequence[float | None]], clear: Sequence[Sequence[bool | None]]) -> list[list[str]]:
    words = [["⊘" if value is None else f"{value:.1f}" for value in row] for row in values]
    return [[f"<b>{w}</b>" if c else w for w, c in zip(row, of_row, strict=True)] for row, of_row in zip(words, clear, strict=True)]


def _signs(changes: Sequence[Sequence[float | None]], clear: Sequence[Sequence[bool | None]]) -> list[list[str]]:
    return [
        ["" if c is None or told is False else "+" if c > 0 else "−" for c, told in zip(row, of_row, strict=True)]
        for row, of_row in zip(changes, clear, strict=True)
    ]


def _changes(measurements: Sequence[GeometryMeasurement]) -> list[list[float | None]]:
    """[layer][measurement]: the dimension minus the layer's first defined one, None where it is not defined."""
    rows = []
    for layer in range(len(measurements[0].dimensions) if measurements else 0):
        values = [m.dimensions[layer] for m in measurements]
        first = next((value for value in values if value is not None), None)
        rows.append([None if value is None or first is None else value - first for value in values])
    return rows
