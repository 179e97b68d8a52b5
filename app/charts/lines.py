"""What line charts of dimensions share: the value axis, and names at the lines' ends that never cover each other.

Pure functions, no Streamlit. Heights are in pixels, because names are pushed apart in pixels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from app.charts.look import GRID, LINE_GLYPH, finish, named

LABEL_GAP = 16  # pixels from one name to the next
LABEL_FONT = 12
TOP, BOTTOM = 34, 52


class End(NamedTuple):
    """The end of a line: its value, its name, its colour and the mark that stands before the name."""

    value: float
    text: str
    colour: str
    glyph: str = LINE_GLYPH


class EndLook(NamedTuple):
    """Sizes of names at lines' ends, in pixels: type, from one to the next, length, gap and width of the hair line."""

    font: int = LABEL_FONT
    gap: int = LABEL_GAP
    reach: int = 16
    standoff: int = 6
    width: float = 1


_SMALL = EndLook()
LAYER_AXIS = "layer (emb: embeddings, i: output of block i)"
BLOCK_AXIS = "block"


def layer_ticks(n_layers: int, at_most: int = 26) -> dict[str, list]:
    """The ticks of an axis of layers: emb, 1, 2, ..., thinned out to `at_most`."""
    ticks = list(range(0, n_layers, math.ceil(n_layers / at_most)))
    return {"tickvals": ticks, "ticktext": ["emb" if i == 0 else str(i) for i in ticks]}


def with_gaps(curve: np.ndarray) -> list[float | None]:
    return [None if math.isnan(v) else float(v) for v in curve]


def last_defined(curve: np.ndarray) -> float:
    """The last defined value, NaN when there is none."""
    defined = curve[np.isfinite(curve)]
    return float(defined[-1]) if len(defined) else math.nan


def value_range(curves: Sequence[np.ndarray], log: bool) -> tuple[float, float]:
    """What the axis of the dimension shows: from 0, or from under the lowest value when it is logarithmic."""
    values = np.concatenate([np.asarray(curve, dtype=float).ravel() for curve in curves])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return (1.0, 10.0) if log else (0.0, 1.0)
    return (float(values.min()) * 0.85, float(values.max()) * 1.15) if log else (0.0, float(values.max()) * 1.08)


def set_value_axis(figure: go.Figure, shown: tuple[float, float], log: bool, row: int = 1) -> None:
    options: dict = {"title": {"text": "intrinsic dimension", "standoff": 8}, "gridcolor": GRID, "range": list(shown)}
    if log:
        digits = (1, 2, 3, 5, 7) if shown[1] < 12 * shown[0] else (1, 2, 5)
        ticks = [d * 10.0**power for power in range(-3, 6) for d in digits if shown[0] <= d * 10.0**power <= shown[1]]
        options |= {"type": "log", "range": [math.log10(v) for v in shown], "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}
    figure.update_yaxes(**options, row=row, col=1)


def label_ends(
    figure: go.Figure,
    ends: Sequence[End],
    x: float,
    shown: tuple[float, float],
    height: int,
    log: bool,
    look: EndLook = _SMALL,
) -> None:
    """Names at the ends of the first plot's lines, pushed apart where they would cover each other, a hair line from each to its end."""
    low, high = (math.log10(v) for v in shown) if log else shown
    ends = sorted((end for end in ends if math.isfinite(end.value) and (end.value > 0 or not log)), key=lambda end: end.value)
    pixels = [((math.log10(end.value) if log else end.value) - low) / (high - low) * height for end in ends]
    for end, pixel, free in zip(ends, pixels, apart(pixels, look.gap, height), strict=True):
        figure.add_annotation(
            x=x,
            xref="x",
            y=math.log10(end.value) if log else end.value,
            yref="y",
            ax=look.reach,
            ay=pixel - free,
            text=named(end.text, end.colour, end.glyph),
            font={"size": look.font},
            showarrow=True,
            arrowhead=0,
            arrowwidth=look.width,
            arrowcolor=end.colour,
            standoff=look.standoff,
            xanchor="left",
            borderpad=1,
        )


def apart(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Places next to the ascending `wanted` ones, at least `gap` from each other and inside 0 to `height` where that is possible.

    With the i-th place lowered by i gaps the task is the nearest ascending sequence (isotonic regression, by pooling
    neighbors that are out of order), whose blocks are means.
    """
    n = len(wanted)
    gap = min(gap, height / max(n, 1))
    blocks: list[tuple[float, int]] = []
    for i, place in enumerate(wanted):
        mean, count = place - i * gap, 1
        while blocks and blocks[-1][0] >= mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    lowered = [mean for mean, count in blocks for _ in range(count)]
    return [min(max(place, gap / 2), height - gap / 2 - (n - 1) * gap) + i * gap for i, place in enumerate(lowered)]


def label_margin(ends: Sequence[End]) -> int:
    """Pixels right of the plot that the longest name needs, with its mark and hair line."""
    return 36 + round(0.56 * LABEL_FONT * max((len(end.text) for end in ends), default=0))


def add_title(figure: go.Figure, title: str, top: float = 1.0) -> None:
    """A plot's title over its left upper corner; top: the plot's upper edge as a share of the figure."""
    figure.add_annotation(
        text=title, x=0, xref="paper", xanchor="left", y=top, yref="paper", yanchor="bottom", yshift=6, showarrow=False, font={"size": 14}
    )


def titled(figure: go.Figure, title: str, height: int, ends: Sequence[End]) -> go.Figure:
    add_title(figure, title)
    finish(figure, height=TOP + height + BOTTOM)
    figure.update_layout(margin={"r": label_margin(ends) if ends else 16, "t": TOP, "b": BOTTOM})
    return figure
