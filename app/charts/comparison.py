"""Two curves on one chart with their difference below, and the sentence that says what the difference is.

Pure functions, no Streamlit. What the two differ in is in their names; how they were measured is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.drift import change_half_width
from app.charts.lines import (
    BOTTOM,
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
)
from app.charts.look import GRID, LINE_GLYPH, REFERENCE_COLOUR, add_band, estimator_style, finish, with_alpha
from app.charts.words import as_typed
from gelora.geometry import LayerDifference, compare_profiles, layer_difference, share_rows, summarize_differences
from gelora.records import IdEstimate, IdProfile
from gelora.runs import GeometryMeasurement

_CURVES, _DIFFERENCE, _MIDDLE = 280, 120, 56  # pixels: the two plots and what is between them
_NAME_LETTERS = 16
_DASHED_GLYPH = "╍"


@dataclass(frozen=True)
class Side:
    """One of the two curves: `name` says what it differs in, `says` is the start of a sentence about it ("Pooling last token")."""

    name: str
    says: str
    layer_names: tuple[str, ...]
    estimates: tuple[IdEstimate, ...]

    @property
    def short(self) -> str:
        """The name as it fits at the end of a line, for a figure."""
        return as_typed(self.name if len(self.name) <= _NAME_LETTERS else self.name[: _NAME_LETTERS - 1] + "…")

    @property
    def drawn(self) -> str:
        """The name for a figure."""
        return as_typed(self.name)


@dataclass(frozen=True)
class Comparison:
    """Two sides measured by one estimator; `differences` is second - first at every layer, None where depths differ.

    is_paired: their intervals are of the same half-samples' differences, not of two that are taken for independent."""

    estimator: str
    first: Side
    second: Side
    differences: tuple[LayerDifference, ...] | None
    is_paired: bool = False


def of_profiles(first: IdProfile, second: IdProfile, estimator: str, names: tuple[str, str], kind: str) -> Comparison:
    """Two profiles that both hold the estimator; kind: what they differ in ("pooling", "model", "dataset", "sinks")."""
    sides = [
        Side(name, name.capitalize() if kind == "sinks" else f"{kind.capitalize()} {name}", p.layer_names, p.estimates[estimator])
        for p, name in zip((first, second), names, strict=True)
    ]
    same = len(first.layer_names) == len(second.layer_names)
    if not same:
        return Comparison(estimator, sides[0], sides[1], None)
    return Comparison(estimator, sides[0], sides[1], compare_profiles(first, second, estimator), share_rows(first, second, estimator))


def of_run(measurements: Sequence[GeometryMeasurement]) -> Comparison:
    """A run's first measurement against its last, of the lines of its geometry, at least two; intervals as `change_half_width` says."""
    start, end = measurements[0], measurements[-1]
    sides = []
    for line, says in ((start, "The start"), (end, f"Step {end.step:,}")):
        sides.append(Side(f"step {line.step:,}", says, line.layer_names, tuple(line.estimates)))
    layers = enumerate(zip(sides[0].layer_names, sides[0].estimates, sides[1].estimates, strict=True))
    differences = tuple(layer_difference(layer, a, b, change_half_width(start, end, i)) for i, (layer, a, b) in layers)
    return Comparison(start.estimator, sides[0], sides[1], differences)


def finding(comparison: Comparison) -> str:
    """What the difference is, in one sentence made from the numbers; the null and what cannot be told are said plainly."""
    first, second = comparison.first, comparison.second
    if comparison.differences is None:
        means = [float(np.mean(found)) if (found := _defined(side)) else None for side in (first, second)]
        if means[0] is None or means[1] is None:
            return f"{(first if means[0] is None else second).says} has no dimension at any layer."
        return f"{second.says} reads {means[1]:.1f} on average over {_counted(second)}, {first.name} {means[0]:.1f} over {_counted(first)}."
    summary = summarize_differences(comparison.differences)
    if summary.mean is None or summary.largest is None or summary.largest.value is None:
        return "No layer has a dimension on both sides, so there is no difference to tell."
    average = f"the same as {first.name}" if abs(summary.mean) < 0.05 else _than(summary.mean, first.name)
    most = f"most {'apart ' if abs(summary.mean) < 0.05 else ''}at {summary.largest.layer} ({summary.largest.value:+.1f})"
    if not summary.n_with_interval:
        return f"{second.says} reads {average} on average, {most}; without intervals nobody can say whether that is noise."
    if not summary.n_significant:
        at = "" if summary.n_with_interval == len(comparison.differences) else f" at the {summary.n_with_interval} layers that have one"
        return (
            f"No difference exceeds its interval{at}: {second.name} and {first.name} cannot be told apart at this sample "
            f"({summary.mean:+.1f} on average)."
        )
    by_chance = 0.05 * summary.n_with_interval  # of 95% intervals, were there no difference at all
    chance = f" (chance alone gives about {by_chance:.1f})" if summary.n_significant <= 2 * by_chance else ""
    return (
        f"{second.says} reads {average} on average, {most}; "
        f"the difference exceeds its interval at {summary.n_significant} of {summary.n_with_interval} layers{chance}."
    )


def _counted(side: Side) -> str:
    """How many layers an average is over: those that have a dimension."""
    n_defined, n_layers = len(_defined(side)), len(side.layer_names)
    return f"{n_layers} layers" if n_defined == n_layers else f"the {n_defined} of {n_layers} layers that have a dimension"


def _than(mean: float, name: str) -> str:
    return f"{abs(mean):.1f} {'higher' if mean > 0 else 'lower'} than {name}"


def sink_notes(first: IdProfile, second: IdProfile) -> list[str]:
    """What a difference between two treatments of attention sinks comes from, and where; both profiles are of the same texts."""
    a, b = first.sinks, second.sinks
    if a is None or b is None:
        return ["One side was measured before sinks were recorded, so where they are is not known."]
    layers, is_scaled = first.layer_names, "unit" in (a.treatment, b.treatment)
    same = f"Both sides are the same texts, {a.n_tokens:,} tokens"
    if not a.shares.any():
        what = "all that differs is the length of the tokens" if is_scaled else "both sides are the same vectors"
        return [f"{same}. None of these exceeds {a.ratio:g} times the median norm at any layer: {what}."]
    most, largest = int(a.shares.argmax()), int(np.nanargmax(a.largest_norms))
    said = [
        f"{same}. At most {a.shares[most]:.1%} of these are sinks ({layers[most]}), the largest {a.largest_norms[largest]:.0f} times the "
        f"median norm ({layers[largest]})."
    ]
    n_without = int((a.shares == 0).sum())
    if n_without and first.pooling == "mean" and not is_scaled and not (a.left_out or b.left_out):
        said.append(f"{n_without} of {len(layers)} layers have none, and there both sides are the same vectors up to rounding.")
    gaps = np.abs(b.first_direction - a.first_direction)
    if np.isfinite(gaps).any():
        at = int(np.nanargmax(gaps))
        said.append(
            f"At {layers[at]} one direction holds {a.first_direction[at]:.0%} of the variance on the first side, "
            f"{b.first_direction[at]:.0%} on the second."
        )
    if a.left_out or b.left_out:
        said.append(f"Texts of sinks alone are left out: {len(a.left_out):,} on the first side, {len(b.left_out):,} on the second.")
    return [" ".join(said)]


def undefined_reasons(comparison: Comparison) -> list[str]:
    """One sentence for each layer of a side that has no dimension."""
    said = []
    for side in (comparison.first, comparison.second):
        gaps: dict[str, list[str]] = {}
        for layer, estimate in zip(side.layer_names, side.estimates, strict=True):
            if estimate.dimension is None:
                gaps.setdefault(str(estimate.note), []).append(layer)
        for note, layers in gaps.items():
            names_them = any(note.startswith(f"{layer}:") for layer in layers)  # a run's notes do
            said.append(f"{side.name}{'' if names_them else ', ' + ', '.join(layers)}: {note}")
    return said


def two_curves(comparison: Comparison, log: bool = False) -> go.Figure:
    """Both curves with their 95% bands over relative depth, solid with full markers against dashed with hollow ones; below them
    second - first with its interval, a full bar where the interval excludes 0.

    The axis counts blocks where both have the same number of them, else it runs from 0 (embeddings) to 1 (last block) and
    the lower plot is left out.
    """
    first, second = comparison.first, comparison.second
    differences = comparison.differences
    figure = _plots(has_difference=differences is not None)
    _, colour, _, symbol = estimator_style(comparison.estimator)
    places = [_places(side, relative=differences is None) for side in (first, second)]
    for side, x, is_second in ((first, places[0], False), (second, places[1], True)):
        _add_side(figure, comparison, side, x, is_second=is_second, colour=colour, symbol=symbol)
    values = [np.array([v for e in side.estimates for v in (e.dimension, e.ci_high) if v is not None]) for side in (first, second)]
    shown = value_range(values, log)
    set_value_axis(figure, shown, log, row=1)
    ends = [End(last_defined(_curve(side)), side.short, colour, glyph) for side, glyph in ((first, LINE_GLYPH), (second, _DASHED_GLYPH))]
    last = places[0][-1]
    label_ends(figure, ends, last, shown, _CURVES, log)
    if differences is None:
        figure.update_xaxes(range=[-0.03, 1.03], tickvals=[0, 0.25, 0.5, 0.75, 1], ticktext=["emb", "¼", "½", "¾", "last"], gridcolor=GRID)
        figure.update_xaxes(title_text="relative depth (emb = embeddings, last = output of the last block)", row=1, col=1)
    else:
        _add_differences(figure, comparison, colour)
        figure.update_xaxes(**layer_ticks(len(first.layer_names)), gridcolor=GRID, range=[-0.5, last + 0.5])
        figure.update_xaxes(title_text=LAYER_AXIS, row=2, col=1)
    finish(figure, height=TOP + _CURVES + BOTTOM + (0 if differences is None else _MIDDLE + _DIFFERENCE))
    figure.update_layout(margin={"r": label_margin(ends), "t": TOP, "b": BOTTOM}, showlegend=False)
    return figure


def _plots(has_difference: bool) -> go.Figure:
    if not has_difference:
        figure = make_subplots(rows=1, cols=1)
        titles = [("Both curves", 1.0)]
    else:
        whole = _CURVES + _MIDDLE + _DIFFERENCE
        figure = make_subplots(rows=2, cols=1, shared_xaxes=True)
        figure.update_yaxes(domain=[1 - _CURVES / whole, 1], row=1, col=1)
        figure.update_yaxes(domain=[0, _DIFFERENCE / whole], row=2, col=1)
        titles = [("Both curves", 1.0), ("Difference", _DIFFERENCE / whole)]
    for title, top in titles:
        add_title(figure, title, top)
    return figure


def _places(side: Side, relative: bool) -> list[float]:
    last = max(len(side.layer_names) - 1, 1)
    return [i / last if relative else float(i) for i in range(len(side.layer_names))]


def _add_side(
    figure: go.Figure, comparison: Comparison, side: Side, x: Sequence[float], *, is_second: bool, colour: str, symbol: str
) -> None:
    if any(e.ci_low is not None for e in side.estimates):
        before = len(figure.data)
        add_band(figure, side.estimates, x, colour)
        if is_second:  # an outline, so that the two bands are told apart where they lie over each other
            for band in figure.data[before:]:
                band.update(fillcolor=with_alpha(colour, 0.05), line={"width": 1, "dash": "dot", "color": with_alpha(colour, 0.7)})
    label = estimator_style(comparison.estimator)[0]
    hover = []
    for layer, estimate in zip(side.layer_names, side.estimates, strict=True):
        if estimate.dimension is None:
            hover.append(f"{side.drawn}, {layer}: {label} is undefined. {estimate.note}")
        else:
            interval = "" if estimate.ci_low is None else f", 95% interval {estimate.ci_low:.2f} to {estimate.ci_high:.2f}"
            hover.append(f"{side.drawn}, {layer}: {label} says {estimate.dimension:.2f}{interval}.")
    figure.add_trace(
        go.Scatter(
            x=list(x), y=[e.dimension for e in side.estimates], name=side.drawn, mode="lines+markers",
            line={"color": colour, "width": 2 if is_second else 3, "dash": "dash" if is_second else "solid"},
            marker={"color": colour, "size": 9, "symbol": f"{symbol}-open" if is_second else symbol, "line": {"width": 2, "color": colour}},
            hovertext=hover, hoverinfo="text", connectgaps=False,
        ), row=1, col=1,
    )  # fmt: skip
    for place, estimate, words in zip(x, side.estimates, hover, strict=True):
        if estimate.dimension is None:
            figure.add_annotation(
                x=place, y=0.0, yref="y domain", yanchor="bottom", yshift=14 if is_second else 0, text="⊘", showarrow=False, hovertext=words
            )


def _add_differences(figure: go.Figure, comparison: Comparison, colour: str) -> None:
    differences = comparison.differences or ()
    first, second = comparison.first, comparison.second
    hover = []
    for d in differences:
        if d.value is None:
            hover.append(f"{d.layer}: no difference. {d.note}")
            continue
        interval = f", 95% interval {d.ci_low:+.2f} to {d.ci_high:+.2f}" if d.ci_low is not None else ""
        hover.append(f"{d.layer}: {second.drawn} reads {d.value:+.2f} against {first.drawn}{interval}.")
    has_intervals = any(d.ci_low is not None for d in differences)
    figure.add_trace(
        go.Bar(
            x=list(range(len(differences))), y=[d.value for d in differences], width=0.5, name=f"{second.drawn} - {first.drawn}",
            marker={
                "color": [with_alpha(colour, 0.55 if d.is_significant or not has_intervals else 0.0) for d in differences],
                "line": {"color": colour, "width": 1.5},
            },
            error_y={
                "type": "data", "color": REFERENCE_COLOUR, "thickness": 2, "width": 5, "visible": has_intervals,
                "array": [None if d.ci_high is None or d.value is None else d.ci_high - d.value for d in differences],
            },
            hovertext=hover, hoverinfo="text", textposition="none",
        ), row=2, col=1,
    )  # fmt: skip
    for i, d in enumerate(differences):
        if d.value is None:
            figure.add_annotation(x=i, y=0, yref="y2", text="⊘", showarrow=False, hovertext=hover[i])
    ends = [v for d in differences for v in (d.value, d.ci_low, d.ci_high) if v is not None]
    reach = max([abs(v) for v in ends], default=1.0) or 1.0
    low, high = min([0.0, *ends]), max([0.0, *ends])
    figure.update_yaxes(
        title_text="difference", range=[low - 0.08 * reach, high + 0.08 * reach], gridcolor=GRID, nticks=5, tickformat="~g",
        zeroline=True, zerolinecolor=REFERENCE_COLOUR, zerolinewidth=1.5, row=2, col=1,
    )  # fmt: skip


def _curve(side: Side) -> np.ndarray:
    return np.array([np.nan if e.dimension is None else e.dimension for e in side.estimates])


def _defined(side: Side) -> list[float]:
    return [e.dimension for e in side.estimates if e.dimension is not None]
