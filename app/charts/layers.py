"""The Layers page's main figure: the curve of every estimator over the ranks they give. Pure functions, no Streamlit."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import (
    BOTTOM,
    LABEL_GAP,
    LAYER_AXIS,
    TOP,
    End,
    add_title,
    label_ends,
    label_margin,
    last_defined,
    layer_ticks,
    set_value_axis,
    value_range,
    with_gaps,
)
from app.charts.look import (
    CELL_INK,
    CHOSEN,
    GRID,
    RANK_CELLS,
    REFERENCE_COLOUR,
    SHARE_CELLS,
    add_band,
    estimator_glyph,
    estimator_style,
    finish,
)
from gelora.geometry import is_scale_dependent, rises
from gelora.ranks import RankAgreement, rank_agreement
from gelora.records import ONE_DIRECTION, IdProfile, RankPlan

BASELINE_WORDS = {"shuffled": "shuffled", "gaussian": "Gaussian"}
_MARKED, _MARK_WORDS = "rgba(213,94,0,0.13)", "one direction"
_ROW = 23  # pixels of a row of ranks
_MIDDLE = 56  # pixels between the two plots
_MOST_WITH_WORDS = 14  # layers beside whose marks words have room


def id_by_layer(
    profile: IdProfile,
    focus: str,
    ranks: Mapping[str, RankPlan],
    *,
    layer: int | None = None,
    log: bool = False,
    baselines: bool = False,
    stale: bool = False,
) -> go.Figure:
    """Intrinsic dimension by layer, and under it on the same axis the rank that each estimator gives every block.

    Args:
        profile: the estimates of all layers.
        focus: the estimator drawn thick with its 95% band.
        ranks: the plan that each estimator gives at the chosen offset, by estimator.
        layer: the layer looked at, marked by a thin line.
        log: a logarithmic axis of the dimension.
        baselines: draw the focus estimator's answers on the profile's baselines.
        stale: dim everything, because the choices have moved on.
    """
    n_points = len(profile.layer_names)
    references = {BASELINE_WORDS[kind]: curves[focus] for kind, curves in profile.baselines.items() if baselines and focus in curves}
    curves = {**{name: profile.dimensions(name) for name in profile.estimates}, **references}
    height = max(300, LABEL_GAP * len(curves) + 40)
    rows = _ROW * (len(ranks) + (len(ranks) > 1))
    figure = _curve_over_ranks(height, rows)
    for words, curve in references.items():
        _add_baseline(figure, profile, words, curve)
    for estimator in sorted(profile.estimates, key=lambda name: name == focus):
        _add_curve(figure, profile, estimator, is_focus=estimator == focus)
    highest = [e.ci_high for e in profile.estimates[focus] if e.ci_high is not None]
    shown = value_range([*curves.values(), np.array(highest)], log)
    set_value_axis(figure, shown, log, row=1)
    ends = [End(last_defined(profile.dimensions(name)), *_name_and_mark(name)) for name in profile.estimates]
    ends += [End(last_defined(curve), words, REFERENCE_COLOUR, "┅") for words, curve in references.items()]
    label_ends(figure, ends, n_points - 1, shown, height, log)
    for i, estimate in enumerate(profile.estimates[focus]):
        if estimate.dimension is None:
            figure.add_annotation(x=i, y=0.0, yref="y domain", yanchor="bottom", text="⊘", showarrow=False, hovertext=estimate.note or "")
    _mark_one_direction(figure, profile)
    if layer is not None:
        figure.add_vline(x=layer, line={"color": CHOSEN, "width": 1.5}, opacity=0.7, row=1, col=1)
    _add_rank_cells(figure, profile, ranks, n_points)
    figure.update_xaxes(**layer_ticks(n_points), gridcolor=GRID, range=[-0.4, n_points - 0.45])
    figure.update_xaxes(title_text=LAYER_AXIS, row=2, col=1)
    finish(figure, height=TOP + height + _MIDDLE + rows + BOTTOM, stale=stale)
    figure.update_traces(unselected={"marker": {"opacity": 1}}, selector={"type": "scatter"})  # a click selects a layer, it dims nothing
    figure.update_layout(margin={"r": label_margin(ends), "t": TOP, "b": BOTTOM})
    return figure


def _curve_over_ranks(height: int, rows: int) -> go.Figure:
    """Two plots on one axis, each so many pixels high, with their titles."""
    whole = height + _MIDDLE + rows
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True)
    figure.update_yaxes(domain=[1 - height / whole, 1], row=1, col=1)
    figure.update_yaxes(domain=[0, rows / whole], row=2, col=1)
    for title, top in (("Intrinsic dimension of every layer", 1.0), ("LoRA rank of each block", rows / whole)):
        add_title(figure, title, top)
    return figure


def _add_curve(figure: go.Figure, profile: IdProfile, estimator: str, is_focus: bool) -> None:
    name, colour, dash, symbol = estimator_style(estimator)
    estimates = profile.estimates[estimator]
    x = list(range(len(estimates)))
    scale = is_scale_dependent(profile, estimator)
    if is_focus:
        add_band(figure, estimates, x, colour)
    hover = []
    marked = (
        {}
        if profile.sinks is None
        else {profile.layer_names[i]: profile.sinks.first_direction[i] for i in profile.sinks.one_direction_layers()}
    )
    for layer, estimate, flag in zip(profile.layer_names, estimates, scale, strict=True):
        if estimate.dimension is None:
            hover.append(f"{layer}: {name} is undefined. {estimate.note}")
            continue
        interval = "" if estimate.ci_low is None else f", 95% interval {estimate.ci_low:.2f} to {estimate.ci_high:.2f}"
        said = f"{layer}: {name} says {estimate.dimension:.2f}{interval}, from {estimate.n_distinct} distinct vectors."
        said += " It moves by more than its interval at half the sample." if flag else ""
        said += f"<br>One direction holds {marked[layer]:.0%} of the variance there." if layer in marked else ""
        hover.append(said + (f"<br>{estimate.note}" if estimate.note else ""))
    figure.add_trace(
        go.Scatter(
            x=x,
            y=[e.dimension for e in estimates],
            name=name,
            mode="lines+markers+text" if is_focus else "lines+markers",
            text=_scale_words(scale.tolist()),
            textposition=_free_sides(profile, estimator),
            textfont={"size": 11},
            line={"color": colour, "width": 3.5 if is_focus else 1.5, "dash": dash},
            marker={"color": colour, "size": 10 if is_focus else 6, "symbol": [symbol + "-open" if flag else symbol for flag in scale]},
            hovertext=hover,
            hoverinfo="text",
            connectgaps=False,
            showlegend=False,
        ),
        row=1,
        col=1,
    )


def _scale_words(flags: Sequence[bool]) -> list[str]:
    """The word beside hollow markers: of neighbors the middle one has it for all; of many layers the longest stretch for all stretches."""
    stretches = _stretches([i for i, flag in enumerate(flags) if flag])
    if len(flags) > _MOST_WITH_WORDS:
        stretches = sorted(stretches, key=_width)[-1:]
    named = {(first + last) // 2 for first, last in stretches}
    return ["scale" if i in named else "" for i in range(len(flags))]


def _stretches(layers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of every unbroken stretch of ascending layers."""
    found: list[tuple[int, int]] = []
    for layer in layers:
        if found and found[-1][1] == layer - 1:
            found[-1] = (found[-1][0], layer)
        else:
            found.append((layer, layer))
    return found


def _width(stretch: tuple[int, int]) -> int:
    return stretch[1] - stretch[0]


def _mark_one_direction(figure: go.Figure, profile: IdProfile) -> None:
    """Shade the layers of whose variance more than 90% lies in one direction; the words stand once, in the widest stretch."""
    marked = profile.sinks.one_direction_layers() if profile.sinks is not None else ()
    stretches = _stretches(marked)
    for first, last in stretches:
        figure.add_vrect(x0=first - 0.5, x1=last + 0.5, fillcolor=_MARKED, line_width=0, layer="below", row=1, col=1)
    if stretches:
        first, last = max(stretches, key=_width)
        words = f"More than {ONE_DIRECTION:.0%} of the variance lies in one direction at {len(marked)} layers: their dimension says little."
        figure.add_annotation(
            x=(first + last) / 2, y=1.0, yref="y domain", yanchor="top", text=_MARK_WORDS, hovertext=words, showarrow=False,
            font={"size": 11},
        )  # fmt: skip


def _free_sides(profile: IdProfile, estimator: str) -> list[str]:
    """Over or under each marker: the side on which fewer other curves run close by."""
    curve = profile.dimensions(estimator)
    others = np.array([profile.dimensions(name) for name in profile.estimates if name != estimator]).reshape(-1, len(curve))
    near = np.abs(others - curve) < 0.3 * np.nan_to_num(curve, nan=1.0)
    above, under = (near & (others > curve)).sum(axis=0), (near & (others <= curve)).sum(axis=0)
    return ["bottom center" if a > u else "top center" for a, u in zip(above, under, strict=True)]


def _add_baseline(figure: go.Figure, profile: IdProfile, words: str, curve: np.ndarray) -> None:
    figure.add_trace(
        go.Scatter(
            x=list(range(len(curve))),
            y=with_gaps(curve),
            name=words,
            mode="lines",
            line={"color": REFERENCE_COLOUR, "width": 1.5, "dash": "dot"},
            hovertext=[
                f"{layer}: on {words} data the estimator says {value:.2f}." for layer, value in zip(profile.layer_names, curve, strict=True)
            ],
            hoverinfo="text",
            showlegend=False,
        ),
        row=1,
        col=1,
    )


def _add_rank_cells(figure: go.Figure, profile: IdProfile, ranks: Mapping[str, RankPlan], n_points: int) -> None:
    """One row an estimator and, when there are several, how many of them agree on each block's rank."""
    blocks = list(range(1, n_points))
    missing = {name: {rise.block: rise.note for rise in rises(profile, name) if rise.value is None} for name in ranks}
    cells, texts, hover = [], [], []
    for name, plan in ranks.items():
        by_block = plan.block_ranks()
        label = estimator_style(name)[0]
        cells.append([by_block.get(block) for block in blocks])
        texts.append(["⊘" if block in missing[name] else str(by_block.get(block, "")) for block in blocks])
        hover.append(
            [
                f"Block {block}: {label} gives rank {by_block.get(block, 0)}"
                + (f", the offset alone: {missing[name][block]}" if block in missing[name] else ".")
                for block in blocks
            ]
        )
    agreed = {b: rank_agreement({n: p for n, p in ranks.items() if b not in missing[n]}).get(b) for b in blocks}
    size = 13 if n_points <= 14 else 10
    look = {
        "x": blocks, "texttemplate": "%{text}" if n_points <= 40 else "", "hoverinfo": "text",
        "xgap": 3 if n_points <= 40 else 1, "ygap": 3, "showscale": False,
        "textfont": {"color": CELL_INK, "size": size},
    }  # fmt: skip
    top = max((r for row in cells for r in row if r is not None), default=1)
    rows = [estimator_style(name)[0] for name in ranks]
    scales: list[tuple] = [(cells, max(top, 2), list(enumerate(RANK_CELLS)))]
    if len(ranks) > 1:
        # Plotly draws two heat maps on one axis of names only when each has every row, so each leaves the other's empty.
        most = max((a.n_plans for a in agreed.values() if a), default=0)
        rows.append(f"agree (of {most})")
        texts.append([_agreement_text(a, most) for a in agreed.values()])
        hover.append([_agreement_sentence(block, a) for block, a in agreed.items()])
        empty = [None] * len(blocks)
        shares = [a.n_agree / a.n_plans if a else 0 for a in agreed.values()]
        scales = [([*cells, empty], *scales[0][1:]), ([*([empty] * len(cells)), shares], 1, list(enumerate(SHARE_CELLS)))]
    for z, highest, colours in scales:
        trace = go.Heatmap(y=rows, z=z, zmin=0, zmax=highest, text=texts, hovertext=hover, colorscale=colours, hoverongaps=False, **look)
        figure.add_trace(trace, row=2, col=1)
    figure.update_yaxes(showgrid=False, autorange="reversed", row=2, col=1)


def _agreement_text(agreement: RankAgreement | None, most: int) -> str:
    if agreement is None:
        return "⊘"
    return str(agreement.n_agree) if agreement.n_plans == most else f"{agreement.n_agree}/{agreement.n_plans}"


def _agreement_sentence(block: int, agreement: RankAgreement | None) -> str:
    if agreement is None:
        return f"Block {block}: no estimator has a dimension at both ends."
    span = "" if agreement.lowest == agreement.highest else f"; ranks go from {agreement.lowest} to {agreement.highest}"
    return f"Block {block}: {agreement.n_agree} of {agreement.n_plans} estimators give rank {agreement.rank}{span}."


def _name_and_mark(estimator: str) -> tuple[str, str, str]:
    label, colour, _, _ = estimator_style(estimator)
    return label, colour, estimator_glyph(estimator)
