"""A race as Plotly figures: a loss of every arm over the steps, and the differences to the reference with their intervals.

Pure functions, no Streamlit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from app.charts.lines import BOTTOM, TOP, End, label_ends, titled
from app.charts.look import GRID, REFERENCE_COLOUR, STRATEGY_COLOURS, finish, minus
from app.charts.training import smoothed
from app.charts.words import as_typed

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_PLOT, _ROW, _AXIS = 320, 34, 62  # pixels: height of the curves, of a row of the forest plot, under it


class ArmLook(NamedTuple):
    """An arm as it is drawn: its label, the strategy (its colour), and which of the strategy's arms it is (its dash)."""

    label: str
    strategy: str
    place: int = 0

    @property
    def drawn(self) -> str:
        """The label for a figure."""
        return as_typed(self.label)

    @property
    def colour(self) -> str:
        """The strategy's colour on every page."""
        return STRATEGY_COLOURS.get(self.strategy, REFERENCE_COLOUR)


class ForestRow(NamedTuple):
    """An arm's difference to the reference with the ends of its interval; None for the reference, and for one that diverged."""

    arm: ArmLook
    value: float | None
    low: float | None
    high: float | None
    says: str = ""


def race_curves(title: str, curves: Sequence[tuple[ArmLook, Sequence[tuple[int, float]]]], n_steps: int, is_smoothed: bool) -> go.Figure:
    """A loss of every arm, its name at the line's end; smoothed values over the logged ones' shade where asked for.

    The step axis reaches to the end from the start, so that a live chart fills instead of shrinking.
    """
    figure = go.Figure()
    ends, drawn = [], []
    for arm, points in curves:
        steps, values = [step for step, _ in points], [value for _, value in points]
        shown = smoothed(values) if is_smoothed else values
        figure.add_trace(
            go.Scatter(
                x=steps, y=shown, name=arm.drawn, mode="lines" if is_smoothed else "lines+markers",
                line={"color": arm.colour, "width": 2.5, "dash": _DASHES[arm.place % len(_DASHES)]}, marker={"size": 7},
                customdata=values, hovertemplate=f"At step %{{x}} the loss of {arm.drawn} was %{{customdata:.5g}}.<extra></extra>",
            )
        )  # fmt: skip
        if shown:
            ends.append((End(shown[-1], arm.drawn, arm.colour), steps[-1]))
            drawn += shown
    low, high = (min(drawn), max(drawn)) if drawn else (0.0, 1.0)
    pad = 0.06 * (high - low or 1.0)
    shown_range = (low - pad, high + pad)
    last = max((step for _, step in ends), default=0)
    figure.update_xaxes(title_text="optimizer step", gridcolor=GRID, range=[-0.01 * n_steps, 1.02 * n_steps])
    figure.update_yaxes(title_text="loss", gridcolor=GRID, range=list(shown_range))
    label_ends(figure, [end for end, _ in ends], last, shown_range, _PLOT, False)
    titled(figure, title, _PLOT, [end for end, _ in ends])
    figure.update_layout(showlegend=False, uirevision="live")
    return figure


def forest(rows: Sequence[ForestRow], reference: str) -> go.Figure:
    """The difference of each arm's held-out loss to the reference's, with its interval, over the line of no difference."""
    figure = go.Figure()
    labels = [row.arm.drawn for row in rows]
    for row in rows:
        if row.value is None:
            continue
        bar = None
        if row.low is not None and row.high is not None:
            bar = {"type": "data", "symmetric": False, "array": [row.high - row.value], "arrayminus": [row.value - row.low]}
            bar |= {"color": row.arm.colour, "thickness": 2.5, "width": 6}
        figure.add_trace(
            go.Scatter(
                x=[row.value], y=[row.arm.drawn], mode="markers", name=row.arm.drawn, error_x=bar,
                marker={"color": row.arm.colour, "size": 11, "symbol": "diamond" if bar else "diamond-open"},
                hovertemplate=f"{as_typed(row.says)}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 1.5})
    figure.update_xaxes(title_text=f"held-out loss minus that of {reference} (left of 0 is better)", gridcolor=GRID)
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1], range=[-0.6, len(labels) - 0.4], gridcolor=GRID)
    finish(figure, height=TOP + _ROW * max(len(labels), 2) + _AXIS)
    figure.update_layout(showlegend=False, margin={"t": TOP, "b": BOTTOM, "l": 60}, uirevision="live")
    return figure


def difference_words(label: str, reference: str, value: float | None, low: float | None, high: float | None) -> str:
    """One arm's difference as a sentence."""
    if value is None:
        return f"{label} diverged."
    if low is None or high is None:
        return f"{label} is the reference."
    return minus(f"{label} minus {reference}: {value:+.4f} [{low:+.4f}, {high:+.4f}].")
