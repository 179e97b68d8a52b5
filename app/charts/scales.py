"""Figures of what an estimate hangs on: the scale at which a layer is looked at, and each choice made differently.

Pure functions, no Streamlit.
"""

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import (
    LABEL_FONT,
    LABEL_GAP,
    LAYER_AXIS,
    End,
    label_ends,
    last_defined,
    layer_ticks,
    set_value_axis,
    titled,
    value_range,
    with_gaps,
)
from app.charts.look import GRID, estimator_glyph, estimator_style, named, with_alpha
from gelora.records import IdProfile
from gelora.sensitivity import Sensitivity

VARIATION_WORDS = {
    "metric": "distance",
    "n_samples": "number of texts",
    "pooling": "pooling",
    "sinks": "attention sinks",
    "distinct": "repeated texts",
    "discard_fraction": "share of ratios discarded",
}
_ALTERNATIVE_LOOKS = (
    ("#8A5CF0", "dash"),
    ("#A8780A", "dot"),
    ("#008FA3", "dashdot"),
    ("#D6337C", "longdash"),
    ("#6B8E00", "2px,2px,8px,2px"),
)


def decimation(profile: IdProfile, layer: int, focus: str, log: bool = False) -> go.Figure | None:
    """One layer's dimension when only N, N/2, N/4, ... of the rows are used, by every estimator; None when not measured."""
    curves = {
        name: profile.scale_curves[f"decimation:{name}"] for name in profile.estimates if f"decimation:{name}" in profile.scale_curves
    }
    if not curves:
        return None
    figure, ends, values = make_subplots(), [], []
    height = max(250, LABEL_GAP * len(curves) + 30)
    scales = next(iter(curves.values())).scales
    for name, curve in sorted(curves.items(), key=lambda item: item[0] == focus):
        label, colour, dash, symbol = estimator_style(name)
        y, spread = curve.dimensions[layer], curve.spreads[layer]
        values += [y + np.nan_to_num(spread)]
        ends.append(End(y[0], label, colour, estimator_glyph(name)))
        figure.add_trace(
            go.Scatter(
                x=curve.scales,
                y=with_gaps(y),
                error_y={"type": "data", "array": np.nan_to_num(spread), "thickness": 1.2, "width": 4},
                mode="lines+markers",
                line={"color": colour, "width": 3 if name == focus else 1.5, "dash": dash},
                marker={"color": colour, "size": 9 if name == focus else 6, "symbol": symbol},
                hovertext=[
                    f"On {n:.0f} rows {label} says {d:.2f}, ± {s:.2f} over the parts."
                    for n, d, s in zip(curve.scales, y, spread, strict=True)
                ],
                hoverinfo="text",
                name=label,
                showlegend=False,
            )
        )
    shown = value_range(values, log)
    set_value_axis(figure, shown, log)
    label_ends(figure, ends, math.log10(scales[0]), shown, height, log)
    figure.update_xaxes(
        type="log", title_text="rows used", tickvals=scales, ticktext=[f"{n:.0f}" for n in scales], gridcolor=GRID,
        range=[math.log10(scales[-1]) - 0.06, math.log10(scales[0]) + 0.04],
    )  # fmt: skip
    return titled(figure, f"Fewer rows: {profile.layer_names[layer]}", height, ends)


def neighbor_scales(profile: IdProfile, layer: int, log: bool = False) -> go.Figure | None:
    """One layer's GRIDE dimension by the order of the farther neighbor, with the plateau marked; None when not measured."""
    curve = profile.scale_curves.get("neighbors:gride")
    if curve is None:
        return None
    _, colour, dash, symbol = estimator_style("gride")
    defined = np.isfinite(curve.dimensions[layer])
    x, y = curve.scales[defined], curve.dimensions[layer][defined]
    half, lengths = 1.96 * np.nan_to_num(curve.spreads[layer][defined]), curve.lengths[layer][defined]
    figure, height = make_subplots(), 250
    figure.add_trace(
        go.Scatter(
            x=[*x, *x[::-1]], y=[*(y + half), *(y - half)[::-1]], mode="lines", fill="toself", fillcolor=with_alpha(colour, 0.18),
            line={"width": 0}, hoverinfo="skip", showlegend=False,
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": colour, "width": 3, "dash": dash},
            marker={"color": colour, "size": 8, "symbol": symbol},
            hovertext=[
                f"At neighbors {n / 2:.0f} and {n:.0f}, {length:.3g} away on average, GRIDE says {d:.2f}, "
                f"95% interval {d - h:.2f} to {d + h:.2f}."
                for n, d, h, length in zip(x, y, half, lengths, strict=True)
            ],
            hoverinfo="text",
            name="GRIDE",
            showlegend=False,
        )
    )
    plateau = profile.estimates["plateau"][layer].dimension if "plateau" in profile.estimates else None
    shown = value_range([y + half, np.array([1.0 if plateau is None else plateau])], log)
    set_value_axis(figure, shown, log)
    if plateau is not None and len(x):
        _mark_plateau(figure, float(x[np.abs(y - plateau).argmin()]), plateau, log)
    step = 1 if len(x) < 9 else 2
    figure.update_xaxes(
        type="log", title_text="order n2 of the farther neighbor (n1 = n2 / 2)", gridcolor=GRID, tickvals=x[::step],
        ticktext=[f"{n:.0f}" for n in x[::step]],
    )  # fmt: skip
    return titled(figure, f"Farther neighbors: {profile.layer_names[layer]}", height, [])


def _mark_plateau(figure: go.Figure, n2: float, dimension: float, log: bool) -> None:
    _, colour, _, symbol = estimator_style("plateau")
    figure.add_hline(y=dimension, line={"color": colour, "width": 1.5, "dash": "dash"})
    figure.add_trace(
        go.Scatter(
            x=[n2], y=[dimension], mode="markers",
            marker={"color": colour, "size": 15, "symbol": symbol, "line": {"width": 2, "color": "#ffffff"}},
            hovertext=f"The curve is flattest at n2 = {n2:.0f}; the dimension there is {dimension:.2f}.", hoverinfo="text",
            name="Plateau", showlegend=False,
        )
    )  # fmt: skip
    figure.add_annotation(
        x=1, xref="paper", xanchor="right", y=math.log10(dimension) if log else dimension, yanchor="bottom", showarrow=False,
        text=named(f"plateau {dimension:.1f}", colour, estimator_glyph("plateau")), font={"size": LABEL_FONT},
    )  # fmt: skip


def sensitivity_figures(sensitivity: Sensitivity) -> dict[str, go.Figure]:
    """One small figure for each choice, all on the same axis: the curve under every alternative, the present one thick."""
    tables = sensitivity.curves
    values = [curve for table in tables.values() for curve in table.values()]
    if not any(np.isfinite(curve).any() for curve in values):
        return {}
    tops = [
        curve + np.nan_to_num(sensitivity.half_widths[variation][sensitivity.base[variation]])
        for variation, table in tables.items()
        if (curve := table.get(sensitivity.base[variation])) is not None
    ]
    shown = value_range([*values, *tops], log=False)
    return {variation: _alternatives(sensitivity, variation, shown) for variation, table in tables.items() if table}


def _alternatives(sensitivity: Sensitivity, variation: str, shown: tuple[float, float]) -> go.Figure:
    _, own_colour, _, symbol = estimator_style(sensitivity.estimator)
    base, table = sensitivity.base[variation], sensitivity.curves[variation]
    figure, height, ends = make_subplots(), 200, []
    looks = iter(_ALTERNATIVE_LOOKS)
    x = list(range(len(sensitivity.layer_names)))
    for alternative, curve in sorted(table.items(), key=lambda item: item[0] == base):
        is_base = alternative == base
        colour, dash = (own_colour, "solid") if is_base else next(looks)
        half = sensitivity.half_widths[variation][alternative]
        ends.append(End(last_defined(curve), alternative, colour))
        figure.add_trace(
            go.Scatter(
                x=x,
                y=with_gaps(curve),
                error_y={"type": "data", "array": np.nan_to_num(half), "thickness": 1, "width": 3} if is_base else None,
                mode="lines+markers",
                line={"color": colour, "width": 3 if is_base else 1.5, "dash": dash},
                marker={"color": colour, "size": 7 if is_base else 4, "symbol": symbol if is_base else "circle"},
                hovertext=[
                    f"{n}: with {alternative} the dimension is {v:.2f} ± {h:.2f}."
                    for n, v, h in zip(sensitivity.layer_names, curve, half, strict=True)
                ],
                hoverinfo="text",
                name=alternative,
                showlegend=False,
            )
        )
    set_value_axis(figure, shown, log=False)
    figure.update_yaxes(title_text="")
    label_ends(figure, ends, x[-1], shown, height, log=False)
    figure.update_xaxes(
        **layer_ticks(len(x), at_most=9), tickangle=0, gridcolor=GRID, title_text=LAYER_AXIS,
        range=[-0.03 * len(x), x[-1] + 0.03 * len(x)],
    )  # fmt: skip
    return titled(figure, VARIATION_WORDS[variation].capitalize(), height, ends).update_layout(margin_l=36)
