"""What races of a study found as one forest plot: every arm against the reference, yardsticks below on the same axis.

Pure functions, no Streamlit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from app.charts.lines import BOTTOM, TOP
from app.charts.look import GRID, PAIR, REFERENCE_COLOUR, finish, minus, with_alpha
from app.charts.words import as_typed

_ROW, _AXIS = 42, 62  # pixels of an arm's row and under the plot
_SPREAD, _GAP = 0.3, 0.6  # how far an arm's races stand apart, and yardsticks from the others, in rows
_BARS_UP_TO = 6  # races of an arm whose intervals can be told apart


class RaceMark(NamedTuple):
    """One race of an arm, in percent of the reference's loss, with what it says."""

    value: float
    low: float | None
    high: float | None
    says: str


class ArmRow(NamedTuple):
    """An arm: its name, colour, whether it has another budget, its races, and their mean over tasks with its interval."""

    name: str
    colour: str
    is_yardstick: bool
    races: Sequence[RaceMark]
    mean: RaceMark | None


def evidence_forest(arms: Sequence[ArmRow], reference: str) -> go.Figure:
    """A row an arm: a dot a race, a diamond their mean over tasks with its interval where there are three tasks or more."""
    figure = go.Figure()
    n_at_budget = sum(not arm.is_yardstick for arm in arms)
    parted = _GAP if 0 < n_at_budget < len(arms) else 0.0
    places = [-place - (parted if arm.is_yardstick else 0.0) for place, arm in enumerate(arms)]
    for y, arm in zip(places, arms, strict=True):
        _races(figure, arm, y)
        if arm.mean is not None and len(arm.races) > 1:
            name = f"{as_typed(arm.name)}, mean over tasks"
            figure.add_trace(
                go.Scatter(
                    x=[arm.mean.value], y=[y], mode="markers", name=name, error_x=_bar([arm.mean], arm.colour, 3),
                    marker={"color": arm.colour, "size": 13, "symbol": "diamond", "line": {"color": REFERENCE_COLOUR, "width": 1}},
                    hovertemplate=f"{as_typed(arm.mean.says)}<extra></extra>",
                )
            )  # fmt: skip
    figure.add_vline(x=0, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 1.5})
    if parted:
        edge = 0.5 - n_at_budget
        figure.add_hline(y=edge, line={"color": REFERENCE_COLOUR, "dash": "dot", "width": 1})
        words = "yardsticks, with other budgets"
        figure.add_annotation(x=0, xref="paper", xanchor="left", y=edge, yanchor="top", showarrow=False, text=words)
    figure.update_xaxes(title_text=f"loss against {as_typed(reference)}, % (left is better)", gridcolor=GRID, zeroline=False)
    ticks, span = [as_typed(arm.name) for arm in arms], [0.4 - len(arms) - parted, 0.6]
    figure.update_yaxes(tickvals=places, ticktext=ticks, range=span, gridcolor=GRID, zeroline=False, automargin=True)
    finish(figure, height=TOP + int(_ROW * (max(len(arms), 2) + parted)) + _AXIS)
    figure.update_layout(showlegend=False, margin={"t": TOP, "b": BOTTOM, "l": 60})
    return figure


def _races(figure: go.Figure, arm: ArmRow, y: float) -> None:
    n = len(arm.races)
    places = [y + (_SPREAD * (1 - 2 * i / (n - 1)) if n > 1 else 0.0) for i in range(n)]
    figure.add_trace(
        go.Scatter(
            x=[race.value for race in arm.races], y=places, mode="markers", name=as_typed(arm.name),
            error_x=_bar(arm.races, with_alpha(arm.colour, 0.55), 1.5) if n <= _BARS_UP_TO else None,
            marker={"color": with_alpha(arm.colour, 0.75), "size": 8}, customdata=[as_typed(race.says) for race in arm.races],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip


def _bar(marks: Sequence[RaceMark], colour: str, thickness: float) -> dict[str, object] | None:
    if any(mark.low is None or mark.high is None for mark in marks):
        return None
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": thickness, "width": 4,
        "array": [(mark.high or 0.0) - mark.value for mark in marks], "arrayminus": [mark.value - (mark.low or 0.0) for mark in marks],
    }  # fmt: skip


def percent_words(value: float, low: float | None, high: float | None) -> str:
    """A difference in percent with its interval, as a sentence has it."""
    interval = "" if low is None or high is None else f" [{low:+.1f}, {high:+.1f}]"
    return minus(f"{value:+.1f}%{interval}")


class WorthLine(NamedTuple):
    """What rank is worth along the depth in one task: mid block of each group, percent of the loss, ends of its interval."""

    task: str
    blocks: Sequence[str]
    places: Sequence[float]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def worth_figure(lines: Sequence[WorthLine], says: str) -> go.Figure:
    """Loss saved by rank in a block, in percent, over the depth: a thin line a task, their mean thick where all have the same groups.

    says: what was done to the blocks, for the axis.
    """
    figure = go.Figure()
    alone = len(lines) == 1
    for line in lines:
        bar = _bar([RaceMark(v, low, high, "") for v, low, high in zip(line.values, line.low, line.high, strict=True)], PAIR[0], 1.5)
        words = [
            f"{as_typed(line.task)}, {group}: {percent_words(value, low, high)} of the loss"
            for group, value, low, high in zip(line.blocks, line.values, line.low, line.high, strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=list(line.places), y=list(line.values), mode="lines+markers", name=as_typed(line.task), customdata=words,
                line={"color": PAIR[0] if alone else REFERENCE_COLOUR, "width": 2.5 if alone else 1}, marker={"size": 8 if alone else 5},
                error_y=bar if alone else None, hovertemplate="%{customdata}<extra></extra>",
            )
        )  # fmt: skip
    if not alone and len({tuple(line.places) for line in lines}) == 1:
        mean = [sum(values) / len(lines) for values in zip(*(line.values for line in lines), strict=True)]
        words = [
            f"mean of {len(lines)} tasks, {group}: {percent_words(value, None, None)} of the loss"
            for group, value in zip(lines[0].blocks, mean, strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=list(lines[0].places), y=mean, mode="lines+markers", name="mean over tasks", customdata=words,
                line={"color": PAIR[0], "width": 3}, marker={"size": 9}, hovertemplate="%{customdata}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 1.5})
    figure.update_xaxes(title_text="block", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title_text=f"loss saved, %, {says}", gridcolor=GRID, zeroline=False)
    finish(figure, height=TOP + 300 + BOTTOM)
    figure.update_layout(showlegend=False, margin={"t": TOP, "b": BOTTOM, "l": 60})
    return figure
