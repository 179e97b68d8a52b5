"""The numbers of any figure as a table, so that what is drawn can be taken along. Pure functions, no Streamlit."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from app.charts.words import taken_along

_COLUMNS = ("panel", "series", "x", "y", "z", "error_plus", "error_minus", "says")


def figure_table(figure: go.Figure) -> pd.DataFrame:
    """Every point of every trace as a row; columns that no point fills are left out.

    Columns: the panel (the title of its y axis, or its number), the series, x, y, z of heat maps, the lengths of its error
    bar, and what hovering over it says. Outlines of bands (traces that hover skips and that have no name) and what is laid unseen
    over a heat map to be clicked on are left out: their numbers stand with the curve or the map.
    """
    rows = [row for trace in figure.data if not _is_outline(trace) for row in _points(figure, trace)]
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    return table.drop(columns=[name for name in table.columns if table[name].isna().all()])


def _is_outline(trace: Any) -> bool:
    return trace.opacity == 0 or (trace.hoverinfo == "skip" and not trace.name)


def _points(figure: go.Figure, trace: Any) -> Iterator[tuple[Any, ...]]:
    panel, series = _panel(figure, trace), taken_along(trace.name)
    if trace.type == "heatmap":
        says = _each(trace.hovertext)
        for i, row in enumerate(_each(trace.z)):
            words = _each(_at(says, i))
            for j, z in enumerate(row):
                if z is not None:
                    yield panel, series, _at(_each(trace.x), j), _at(_each(trace.y), i), z, None, None, taken_along(_at(words, j))
        return
    x, y = _each(getattr(trace, "x", None)), _each(getattr(trace, "y", None))
    says = _each(getattr(trace, "hovertext", None))
    bars = trace.error_y if trace.type in ("scatter", "bar") and trace.error_y.array is not None else getattr(trace, "error_x", None)
    plus = _each(bars.array) if bars is not None else []
    minus = (_each(bars.arrayminus) if bars is not None else []) or plus
    for i in range(max(len(x), len(y))):
        if _at(x, i) is not None or _at(y, i) is not None:
            yield panel, series, _at(x, i), _at(y, i), None, _at(plus, i), _at(minus, i), taken_along(_at(says, i))


def _panel(figure: go.Figure, trace: Any) -> str:
    axis = (getattr(trace, "yaxis", None) or "y").replace("y", "yaxis", 1)
    title = figure.layout[axis].title.text if axis in figure.layout else None
    return taken_along(title) or axis.replace("yaxis", "") or "1"


def _each(values: Any) -> list[Any]:
    """A sequence as a list; one text or nothing as an empty one."""
    return list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []


def _at(values: list[Any], i: int) -> Any:
    return values[i] if i < len(values) else None
