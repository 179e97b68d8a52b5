"""How alike the layers are: every two of them as a matrix, consecutive ones and their labels over depth. Pure functions, no Streamlit."""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import LAYER_AXIS, add_title, layer_ticks, with_gaps
from app.charts.look import CHOSEN, GRID, PAIR, REFERENCE_COLOUR, add_bounds, finish
from gelora.records import LayerSimilarity

MATRIX_WORDS = {"overlap": "neighbor overlap", "cka": "linear CKA"}
HEIGHT = 460
_NUMBERED = 10  # layers, up to which a cell has room for its number
_LABEL_WORDS = {"classification": "same label among neighbors", "regression": "label difference of neighbors"}


def matrix(found: LayerSimilarity, which: str, layer: int | None = None) -> go.Figure:
    """Every two layers by `which` of MATRIX_WORDS, 0 to 1; row and column of `layer` are outlined.

    Unseen markers over the cells take clicks, which a heat map does not; their customdata is the cell's column.
    """
    values, half_widths = getattr(found, which), getattr(found, f"{which}_half_width")
    n = len(values)
    words = [[_cell_words(found, which, i, j, values[i, j], half_widths[i, j]) for j in range(n)] for i in range(n)]
    places = list(range(n))
    figure = go.Figure(
        go.Heatmap(
            x=places, y=places, z=[with_gaps(row) for row in values], zmin=0, zmax=1, colorscale="Cividis",
            name=MATRIX_WORDS[which], hovertext=words, hoverinfo="skip", hoverongaps=False,
            xgap=int(n <= 40), ygap=int(n <= 40),
            texttemplate="%{z:.2f}" if n <= _NUMBERED else None, textfont={"size": 11},
            colorbar={
                "title": {"text": MATRIX_WORDS[which], "side": "right", "font": {"size": 12}}, "thickness": 10, "len": 1, "outlinewidth": 0,
            },
        )
    )  # fmt: skip
    columns, rows = (axis.ravel().tolist() for axis in np.meshgrid(places, places))
    figure.add_trace(
        go.Scatter(
            x=columns, y=rows, mode="markers", marker={"size": 8, "symbol": "square"}, opacity=0, customdata=columns,
            hovertext=[words[i][j] for i, j in zip(rows, columns, strict=True)], hoverinfo="text", showlegend=False,
        )
    )  # fmt: skip
    figure.update_xaxes(**layer_ticks(n, 14), title_text="layer", showgrid=False, range=[-0.5, n - 0.5])
    figure.update_yaxes(**layer_ticks(n, 20), title_text="layer", showgrid=False, range=[n - 0.5, -0.5])
    for i, name in enumerate(found.layer_names):
        if name in found.notes:
            figure.add_annotation(x=i, y=i, text="⊘", showarrow=False, hovertext=f"{name}: {found.notes[name]}")
    if layer is not None:
        edge = {"line": {"color": CHOSEN, "width": 2}, "fillcolor": "rgba(0,0,0,0)"}
        figure.add_vrect(x0=layer - 0.5, x1=layer + 0.5, **edge)
        figure.add_hrect(y0=layer - 0.5, y1=layer + 0.5, **edge)
    finish(figure, height=HEIGHT)
    figure.update_layout(margin={"l": 10, "r": 8, "t": 12})
    return figure


def _cell_words(found: LayerSimilarity, which: str, i: int, j: int, value: float, half_width: float) -> str:
    one, other = found.layer_names[i], found.layer_names[j]
    missing = [found.notes[name] for name in (one, other) if name in found.notes]
    if missing:
        return f"{one} and {other}: {missing[0]}"
    width = f" ∓ {half_width:.2f}" if half_width == half_width and i != j else ""
    if which == "cka":
        return f"{one} and {other}: CKA {value:.2f}{width}."
    return f"{one} and {other}: {value:.0%} of the {found.n_neighbors} nearest are the same{width}."


def along_depth(found: LayerSimilarity, layer: int | None = None) -> go.Figure:
    """Information imbalance of consecutive layers, both ways, between their places; under it the labels of neighbors, where there are any.

    customdata of every marker is its layer, of an imbalance the block's output.
    """
    n, has_labels = len(found.layer_names), bool(found.label_kind)
    figure = make_subplots(rows=1 + has_labels, cols=1, shared_xaxes=True, vertical_spacing=0.16)
    blocks = np.arange(1, n)
    for way, (values, half_widths) in enumerate(((found.forward, found.forward_half_width), (found.backward, found.backward_half_width))):
        name = ("from a block's input to its output", "from its output to its input")[way]
        words = [
            f"Block {b}, {name}: " + (f"imbalance {v:.3g}{_interval(v, h)}." if v == v else "undefined.")
            for b, v, h in zip(blocks, values, half_widths, strict=True)
        ]
        _add_line(figure, blocks - 0.5, values, half_widths, blocks, name, words, PAIR[way], ("solid", "dash")[way], 1)
    if has_labels:
        words = [
            f"{layer_name}: {_label_value(found, v)}{_interval(v, h)}; random pairs {_label_value(found, found.label_chance or 0.0)}."
            for layer_name, v, h in zip(found.layer_names, found.label_overlap, found.label_overlap_half_width, strict=True)
        ]
        places = np.arange(n)
        _add_line(
            figure, places, found.label_overlap, found.label_overlap_half_width, places, "labels of neighbors", words, PAIR[0], "solid", 2,
            in_legend=False,
        )  # fmt: skip
        figure.add_hline(
            y=found.label_chance, line={"color": REFERENCE_COLOUR, "width": 1.5, "dash": "dot"}, row=2, col=1,
            annotation={"text": "random pairs", "font": {"size": 11}}, annotation_position="bottom left",
        )  # fmt: skip
        top = float(np.nanmax([*(found.label_overlap + np.nan_to_num(found.label_overlap_half_width)), found.label_chance or 0.0]))
        figure.update_yaxes(
            title_text="share" if found.label_kind == "classification" else "difference", range=[0, 1.1 * top], row=2, col=1
        )
    figure.update_yaxes(title_text="imbalance", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(gridcolor=GRID)
    figure.update_xaxes(**layer_ticks(n, 14), gridcolor=GRID, range=[-0.4, n - 0.6])
    figure.update_xaxes(title_text=LAYER_AXIS, row=1 + has_labels, col=1)
    for row, title in enumerate(
        ["Information imbalance of each block", *([_LABEL_WORDS[found.label_kind].capitalize()] if has_labels else [])]
    ):
        add_title(figure, title, figure.layout["yaxis" if row == 0 else "yaxis2"].domain[1])
    if layer is not None:
        figure.add_vline(x=layer, line={"color": CHOSEN, "width": 1.5}, opacity=0.7)
    finish(figure, height=HEIGHT)
    figure.update_traces(unselected={"marker": {"opacity": 1}})
    figure.update_layout(margin={"t": 34}, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0})
    return figure


def _label_value(found: LayerSimilarity, value: float) -> str:
    return (
        f"{value:.0%} of the {found.n_neighbors} nearest share the label" if found.label_kind == "classification" else f"{value:.3g} apart"
    )


def _interval(value: float, half_width: float) -> str:
    return f", 95% interval {max(0.0, value - half_width):.3g} to {value + half_width:.3g}" if half_width == half_width else ""


def _add_line(
    figure: go.Figure, x: np.ndarray, values: np.ndarray, half_widths: np.ndarray, layers: np.ndarray, name: str, words: list[str],
    colour: str, dash: str, row: int, in_legend: bool = True,
) -> None:  # fmt: skip
    add_bounds(figure, with_gaps(np.maximum(values - half_widths, 0.0)), with_gaps(values + half_widths), x.tolist(), colour, row)
    figure.add_trace(
        go.Scatter(
            x=x.tolist(), y=with_gaps(values), name=name, mode="lines+markers", line={"color": colour, "width": 2, "dash": dash},
            marker={"size": 6 if len(x) < 50 else 4}, customdata=layers.tolist(), hovertext=words, hoverinfo="text", showlegend=in_legend,
        ),
        row=row, col=1,
    )  # fmt: skip
