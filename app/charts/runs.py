"""The metrics of runs as Plotly figures. Pure functions, no Streamlit."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.look import GRID, REFERENCE_COLOUR, finish

SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def training_curves(
    loss: Sequence[tuple[int, float]],
    eval_loss: Sequence[tuple[int, float]],
    metric_name: str,
    metric: Sequence[tuple[int, float]],
    references: Mapping[str, float],
    total_steps: int | None = None,
) -> go.Figure:
    """Loss (each logged value, and smoothed) over the task metric on held-out rows, with reference lines.

    The step axis reaches to the run's end from the start, so that a live chart fills instead of shrinking.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07, row_heights=[0.55, 0.45])
    steps, values = [s for s, _ in loss], [v for _, v in loss]
    figure.add_trace(
        go.Scatter(
            x=steps, y=values, name="loss as logged", mode="markers", marker={"color": "#56B4E9", "size": 5, "opacity": 0.65},
            hovertemplate="Step %{x}: loss %{y:.6g}<extra></extra>",
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=steps, y=smoothed(values), name="loss, smoothed", mode="lines", line={"color": "#0072B2", "width": 3}, hoverinfo="skip"
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[s for s, _ in eval_loss], y=[v for _, v in eval_loss], name="loss on held-out rows", mode="lines+markers",
            line={"color": "#CC79A7", "width": 2, "dash": "dash"}, marker={"symbol": "diamond", "size": 8},
            hovertemplate="Step %{x}: held-out loss %{y:.6g}<extra></extra>",
        ), row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[s for s, _ in metric], y=[v for _, v in metric], name=f"{metric_name} on held-out rows", mode="lines+markers",
            line={"color": "#D55E00", "width": 3}, marker={"size": 9},
            hovertemplate="Step %{x}: " + metric_name + " %{y:.4f}<extra></extra>",
        ), row=2, col=1,
    )  # fmt: skip
    for i, (name, value) in enumerate(references.items()):
        figure.add_hline(
            y=value, row=2, col=1, line={"color": REFERENCE_COLOUR, "dash": SERIES_DASHES[1 + i % 4], "width": 1.5},
            annotation_text=f"{name} {value:.3f}", annotation_position="bottom right" if i % 2 == 0 else "top left",
        )  # fmt: skip
    figure.update_xaxes(gridcolor=GRID)
    last = max([total_steps or 1, *steps, *(s for s, _ in metric)])
    figure.update_xaxes(title_text="optimizer step", row=2, col=1)
    figure.update_xaxes(range=[-0.01 * last, 1.02 * last])
    figure.update_yaxes(title_text="loss", gridcolor=GRID, row=1, col=1)
    lowest = min([0.0, *(v for _, v in metric), *references.values()])
    figure.update_yaxes(title_text=metric_name, gridcolor=GRID, range=[lowest, 1.04] if metric_name != "MSE" else None, row=2, col=1)
    finish(figure, height=500)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, uirevision="live", margin={"t": 56})
    return figure


def smoothed(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average, corrected for its start."""
    result, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result.append(mean / total)
    return result


def compare_runs(metric_name: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> go.Figure:
    """One metric of several runs on one axis."""
    figure = go.Figure()
    for i, (run_id, points) in enumerate(series.items()):
        figure.add_trace(
            go.Scatter(
                x=[s for s, _ in points],
                y=[v for _, v in points],
                name=run_id,
                mode="lines+markers",
                line={"color": SERIES_COLOURS[i % len(SERIES_COLOURS)], "dash": SERIES_DASHES[i % len(SERIES_DASHES)], "width": 2},
                marker={"size": 5},
                hovertemplate=f"{run_id}, step %{{x}}: {metric_name} %{{y:.5g}}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="optimizer step", gridcolor=GRID)
    figure.update_yaxes(title_text=metric_name, gridcolor=GRID)
    finish(figure, height=380)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=True)
    return figure
