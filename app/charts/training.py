"""One run while it trains: loss, task metric, learning rate and gradient norm, speed, as Plotly figures.

Pure functions, no Streamlit.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.look import GLYPHS, GRID, LINE_GLYPH, REFERENCE_COLOUR, finish, named
from app.charts.words import as_typed

Points = Sequence[tuple[int, float]]
LOGGED, SMOOTHED, HELD_OUT, METRIC = "#2E8FE8", "#0072B2", "#D6337C", "#D55E00"
_PANEL_COLOURS = ("#0072B2", "#D55E00", "#2F8F4E", "#8A5CF0")
_UNIT_METRICS = ("accuracy", "F1", "Matthews", "Pearson", "Spearman", "exact")
_BOTTOM, _ROW = 48, 150  # pixels: under the last panel, of a small panel


def training_curves(
    loss: Points,
    eval_loss: Points,
    metric_name: str,
    metric: Points,
    references: Mapping[str, float],
    total_steps: int | None = None,
    reallocated: Sequence[int] = (),
) -> go.Figure:
    """Loss (each logged value, and smoothed) over the task metric on held-out rows, with reference lines.

    The step axis reaches to the run's end from the start, so that a live chart fills instead of shrinking. reallocated:
    steps at which adapters were resized.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.13, row_heights=[0.55, 0.45])
    (steps, values), metric_name = _columns(loss), as_typed(metric_name)
    figure.add_trace(
        go.Scatter(
            x=steps, y=values, name="loss as logged", mode="markers", marker={"color": LOGGED, "size": 5, "opacity": 0.6},
            hovertemplate="At step %{x} the loss was %{y:.6g}.<extra></extra>",
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=steps, y=smoothed(values), name="loss, smoothed", mode="lines", line={"color": SMOOTHED, "width": 3}, hoverinfo="skip"
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        _line(
            eval_loss, "loss on held-out rows", HELD_OUT, "At step %{x} the loss on held-out rows was %{y:.6g}.",
            dash="dash", symbol="diamond",
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        _line(metric, f"{metric_name} on held-out rows", METRIC, "At step %{x} the " + metric_name + " was %{y:.4f}."), row=2, col=1
    )
    for i, (name, value) in enumerate(references.items()):
        figure.add_hline(
            y=value, row=2, col=1, line={"color": REFERENCE_COLOUR, "dash": ("dash", "dot", "dashdot")[i % 3], "width": 1.5},
            annotation_text=f"{name} {value:.3f}", annotation_position="bottom right" if i % 2 == 0 else "top left",
        )  # fmt: skip
    for step in reallocated:
        figure.add_vline(x=step, line={"color": REFERENCE_COLOUR, "dash": "dot", "width": 1})
        figure.add_annotation(x=step, y=0, yref="y2 domain", text="↻ ranks re-allocated", showarrow=False, textangle=-90, yanchor="bottom",
                              xshift=-8, font={"size": 11})  # fmt: skip
    words = [
        (GLYPHS["circle"], "loss as logged", LOGGED),
        (LINE_GLYPH, "smoothed", SMOOTHED),
        *([(GLYPHS["diamond"], "held out", HELD_OUT)] if eval_loss else []),
    ]
    _heading(figure, words, 1)
    _heading(figure, [(GLYPHS["circle"], f"{metric_name} on held-out rows", METRIC)], 2)
    last = max([total_steps or 1, *steps, *(s for s, _ in metric)])
    figure.update_xaxes(gridcolor=GRID, range=[-0.01 * last, 1.02 * last])
    figure.update_xaxes(title_text="optimizer step", row=2, col=1)
    figure.update_yaxes(title_text="loss", gridcolor=GRID, row=1, col=1)
    figure.update_yaxes(
        title_text=metric_name, gridcolor=GRID, range=_metric_range(metric_name, [*(v for _, v in metric), *references.values()]),
        row=2, col=1,
    )  # fmt: skip
    finish(figure, height=500)
    figure.update_layout(uirevision="live", showlegend=False)
    return figure


def panels(series: Mapping[str, Points], total_steps: int | None = None) -> go.Figure:
    """One small panel a series over the same steps; the name of a series, with its unit, stands over its panel."""
    n = len(series)
    figure = make_subplots(rows=n, cols=1, shared_xaxes=True, vertical_spacing=0.3 / max(n, 2))
    last = max([total_steps or 1, *(s for points in series.values() for s, _ in points)])
    for i, (name, points) in enumerate(series.items()):
        colour = _PANEL_COLOURS[i % len(_PANEL_COLOURS)]
        trace = _line(points, name, colour, "At step %{x} the " + name + " was %{y:.5g}.", width=2, size=4)
        figure.add_trace(trace, row=i + 1, col=1)
        _heading(figure, [(LINE_GLYPH, name, colour)], i + 1)
    figure.update_xaxes(gridcolor=GRID, range=[-0.01 * last, 1.02 * last])
    figure.update_xaxes(title_text="optimizer step", row=n, col=1)
    figure.update_yaxes(gridcolor=GRID, rangemode="tozero", nticks=5, exponentformat="power")
    finish(figure, height=_ROW * n + _BOTTOM)
    figure.update_layout(uirevision="live", showlegend=False)
    return figure


def smoothed(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average, corrected for its start."""
    result, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result.append(mean / total)
    return result


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _line(
    points: Points, name: str, colour: str, hover: str, dash: str = "solid", symbol: str = "circle", width: int = 3, size: int = 8
) -> go.Scatter:
    steps, values = _columns(points)
    return go.Scatter(
        x=steps, y=values, name=name, mode="lines+markers", line={"color": colour, "width": width, "dash": dash},
        marker={"symbol": symbol, "size": size}, hovertemplate=hover + "<extra></extra>",
    )  # fmt: skip


def _heading(figure: go.Figure, words: Sequence[tuple[str, str, str]], row: int) -> None:
    """The names of a panel's lines over it, each after its mark in its colour."""
    text = "   ".join(named(name, colour, mark) for mark, name, colour in words)
    axis = "" if row == 1 else str(row)
    figure.add_annotation(
        text=text, x=0, xref="paper", xanchor="left", y=1, yref=f"y{axis} domain", yanchor="bottom", yshift=3, showarrow=False,
        font={"size": 12},
    )  # fmt: skip


def _metric_range(name: str, values: Sequence[float]) -> list[float] | None:
    """From 0 to 1 for scores of that kind, so that a step of 0.01 looks as small as it is; what fits for all others."""
    if not name.startswith(_UNIT_METRICS) or not all(-1 <= value <= 1 for value in values):
        return None
    return [min([0.0, *values]), 1.04]
