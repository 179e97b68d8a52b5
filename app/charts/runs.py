"""Runs beside each other as Plotly figures: one metric over the steps, and against what was trained. Pure, no Streamlit."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.charts.look import GRID, REFERENCE_COLOUR, STRATEGY_COLOURS, finish
from app.charts.words import as_typed
from gelora.runs import RunGroup

SERIES_COLOURS = ("#0072B2", "#D55E00", "#2F8F4E", "#D6337C", "#8A5CF0", "#A8780A", "#008FA3", "#7A8594")
SERIES_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SERIES_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "pentagon")
METHOD_LOOKS = {"lora": ("#0072B2", "circle"), "adalora": ("#8A5CF0", "diamond"), "head": ("#7A8594", "x"),
                "bitfit": ("#008FA3", "triangle-up"), "full": ("#2F8F4E", "square")}  # fmt: skip
_LABEL_PLACES = ("top right", "bottom right", "top left", "bottom left", "middle right", "middle left", "top center", "bottom center")
_PLOT, _TOP, _AXIS, _LINE = 300, 16, 62, 21  # pixels: drawing area, over it, under it, a name in the list under that


def compare_runs(metric_name: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> go.Figure:
    """One metric of several runs on one axis; their names are listed under it, so that long ones cover nothing."""
    figure, metric_name = go.Figure(), as_typed(metric_name)
    for i, (name, points) in enumerate((as_typed(name), points) for name, points in series.items()):
        few = len(points) <= 40
        figure.add_trace(
            go.Scatter(
                x=[s for s, _ in points],
                y=[v for _, v in points],
                name=name,
                mode="lines+markers" if few else "lines",
                line={"color": SERIES_COLOURS[i % len(SERIES_COLOURS)], "dash": SERIES_DASHES[i % len(SERIES_DASHES)], "width": 2},
                marker={"size": 7, "symbol": SERIES_SYMBOLS[i % len(SERIES_SYMBOLS)]},
                hovertemplate=f"At step %{{x}} of {name} the {metric_name} is %{{y:.5g}}.<extra></extra>",
            )
        )
    below = _AXIS + _LINE * len(series)
    height = _TOP + _PLOT + below
    figure.update_xaxes(title_text="optimizer step", gridcolor=GRID)
    figure.update_yaxes(title_text=metric_name, gridcolor=GRID)
    finish(figure, height=height)
    figure.update_layout(
        legend={"orientation": "v", "y": -(_AXIS - 14) / _PLOT, "yanchor": "top", "x": 0, "xanchor": "left", "font": {"size": 12}},
        showlegend=True, margin={"t": _TOP, "b": below},
    )  # fmt: skip
    return figure


def metric_against_parameters(metric_name: str, groups: Sequence[RunGroup], front: Sequence[RunGroup]) -> go.Figure:
    """Mean of the metric over seeds against trained parameters, with its spread, every single run, and the Pareto front.

    front: the groups on the Pareto front, the cheapest first. Groups carry the number under which a table lists them (1 is
    the first). A group that trains nothing beside the head is a line across, since a logarithmic axis has no 0.
    """
    figure, metric_name = go.Figure(), as_typed(metric_name)
    beside = [group for group in groups if group.n_params > 0]
    front = [group for group in front if group.n_params > 0]
    if len(front) > 1:
        figure.add_trace(
            go.Scatter(
                x=[g.n_params for g in front], y=[g.mean for g in front], mode="lines", name="Pareto front", hoverinfo="skip",
                line={"color": REFERENCE_COLOUR, "width": 2, "dash": "dash", "shape": "hv"},
            )
        )  # fmt: skip
    places = _label_places(beside)
    for number, group in enumerate(groups, start=1):
        if group.n_params == 0:
            figure.add_hline(
                y=group.mean, line={"color": REFERENCE_COLOUR, "width": 1.5, "dash": "dot"},
                annotation_text=f"{number}: {as_typed(group.label)} {group.mean:.3f}", annotation_position="bottom right",
            )  # fmt: skip
            continue
        _add_group(figure, metric_name, number, group, places[beside.index(group)])
    costs = [group.n_params for group in beside]
    is_log = bool(costs) and max(costs) > 8 * min(costs)
    figure.update_xaxes(title_text="trained parameters beside the head", gridcolor=GRID, type="log" if is_log else "linear")
    if is_log:
        figure.update_xaxes(dtick=1, exponentformat="SI")
    elif costs:
        low, high = _cost_range(costs)
        figure.update_xaxes(tickformat=",d", nticks=6, range=(low, high))
    figure.update_yaxes(title_text=metric_name, gridcolor=GRID)
    finish(figure, height=400)
    figure.update_layout(showlegend=False)
    return figure


def _cost_range(costs: Sequence[int]) -> tuple[float, float]:
    """Ends of a linear axis: at least a fifth of the largest cost wide, so that equal costs look equal, with room for labels."""
    low, high = min(costs), max(costs)
    spare = max(0.1 * (high - low), (0.2 * high - (high - low)) / 2, 2.0)
    return low - spare, high + spare


def _label_places(groups: Sequence[RunGroup]) -> list[str]:
    """Where the number of every point stands: a point that lies on earlier ones has it on another side."""
    low, high = _cost_range([group.n_params for group in groups]) if groups else (0.0, 1.0)
    means = [group.mean for group in groups]
    tall = max(max(means) - min(means), 1e-9) if means else 1.0
    taken: list[int] = []
    for i, group in enumerate(groups):
        near = {
            taken[j]
            for j, other in enumerate(groups[:i])
            if abs(group.n_params - other.n_params) < 0.05 * (high - low) and abs(group.mean - other.mean) < 0.1 * tall
        }
        taken.append(next((place for place in range(len(_LABEL_PLACES)) if place not in near), i % len(_LABEL_PLACES)))
    return [_LABEL_PLACES[place] for place in taken]


def _add_group(figure: go.Figure, metric_name: str, number: int, group: RunGroup, place: str) -> None:
    (colour, symbol), label = METHOD_LOOKS[group.method], as_typed(group.label)
    if group.method == "lora":
        colour = STRATEGY_COLOURS.get(group.strategy or "", colour)
    if len(group.values) > 1:
        figure.add_trace(
            go.Scatter(
                x=[group.n_params] * len(group.values), y=list(group.values), mode="markers", name=f"{label}, single runs",
                marker={"color": colour, "size": 5, "opacity": 0.55},
                hovertemplate=f"One run of {label} has {metric_name} %{{y:.4f}}.<extra></extra>",
            )
        )  # fmt: skip
    spread = "" if group.spread is None else f" ± {group.spread:.4f}"
    figure.add_trace(
        go.Scatter(
            x=[group.n_params], y=[group.mean], mode="markers+text", name=label, text=[f"<b>{number}</b>"],
            textposition=place, textfont={"size": 13},
            marker={"color": colour, "symbol": symbol, "size": 13, "line": {"color": "white", "width": 1}},
            error_y=None if group.spread is None else {"type": "data", "array": [group.spread], "color": colour, "thickness": 1.5},
            hovertemplate=(
                f"{number}: {label} has {metric_name} {group.mean:.4f}{spread} over {len(group.values)} "
                f"run{'s' if len(group.values) > 1 else ''},<br>with {group.n_params:,} trained parameters.<extra></extra>"
            ),
        )
    )  # fmt: skip
