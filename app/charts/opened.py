"""Figures of one opened layer: TwoNN's ratios, distances to neighbors, the principal plane. Pure functions, no Streamlit."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go

from app.charts import anatomy_laws
from app.charts.look import GRID, PAIR, REFERENCE_COLOUR, estimator_style, finish
from app.charts.words import as_typed
from gelora.geometry import TwoNN
from gelora.opened_layer import OpenedLayer

HEIGHT = 400
MOST_POINTS = 5000  # drawn in one picture; a browser grows slow beyond
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
# Colour and marker of each label in the order of the classes; where there are more, the rarest share one look.
_LABEL_LOOKS = (
    ("#0072B2", "circle"), ("#D55E00", "square"), ("#009E73", "diamond"), ("#D6337C", "triangle-up"),
    ("#8A5CF0", "cross"), ("#A8780A", "triangle-down"), ("#008FA3", "star"), ("#B5553D", "x"),
)  # fmt: skip
_OTHERS = ("#8b95a3", "circle-open")
_HOVER_LINE, _HOVER_LINES = 60, 4


@dataclass(frozen=True)
class Ratios:
    """TwoNN fitted to an opened layer, ready to be drawn."""

    name: str
    fitted: TwoNN
    graph_points: int

    @property
    def dimension(self) -> float:
        """The slope."""
        return float(self.fitted.dimension_)


def fit(opened: OpenedLayer, name: str) -> Ratios:
    """TwoNN ("twonn" the slope, "twonn-mle" the likelihood) on the layer's neighbors.

    Raises:
        DataError: the layer has no such dimension, and why.
        InputError: fewer than three vectors differ.
    """
    fitted = TwoNN(method="mle" if name == "twonn-mle" else "fit").fit(opened.graph)
    return Ratios(name, fitted, opened.n_points)


def twonn_line(ratios: Ratios) -> tuple[go.Figure, str]:
    """Every point's log ratio against its empirical law, with the fitted line; and how to read it."""
    fitted = ratios.fitted
    n = len(fitted.minus_log_survival_)
    places = _thinned(n)
    drawn = SimpleNamespace(
        log_mu_=np.append(fitted.log_mu_[places], fitted.log_mu_[-1]),
        minus_log_survival_=fitted.minus_log_survival_[places],
        kept_=int(np.searchsorted(places, fitted.kept_)),
        dimension_=fitted.dimension_,
    )
    figure, how = anatomy_laws.twonn_ratios(ratios.name, drawn)
    return _finished(figure), how


def ratio_histogram(ratios: Ratios) -> go.Figure:
    """How often each ratio mu = r2 / r1 occurs, beside the Pareto density of the fitted dimension."""
    _, colour, _, _ = estimator_style(ratios.name)
    fitted, n = ratios.fitted, ratios.graph_points
    mu, d = np.exp(fitted.log_mu_), ratios.dimension
    cut = float(mu[min(fitted.kept_, n) - 1])
    right = max(float(np.quantile(mu, 0.99)), cut)
    width = (cut - 1) / max(8, min(40, round(n ** (1 / 2)))) or 1e-6
    edges = 1 + width * np.arange(int(np.ceil((right - 1) / width)) + 1)
    counts, _ = np.histogram(mu, edges)
    kept = edges[1:] <= cut + width / 2
    figure = go.Figure()
    for which, words, hue in ((kept, "kept", colour), (~kept, "discarded tail", anatomy_laws.GREY)):
        if which.any():
            says = zip(counts[which], edges[:-1][which], edges[1:][which], strict=True)
            figure.add_trace(
                go.Bar(
                    x=((edges[:-1] + edges[1:]) / 2)[which], y=counts[which] / (n * width), width=width, name=words,
                    marker={"color": hue, "opacity": 0.45, "line": {"width": 0}}, hoverinfo="text",
                    hovertext=[f"{c:,} of {n:,} points have μ between {a:.3f} and {b:.3f}." for c, a, b in says],
                )
            )  # fmt: skip
    x = np.linspace(1, edges[-1], 200)
    figure.add_trace(
        go.Scatter(
            x=x, y=d * x ** -(d + 1), mode="lines", name=f"Pareto law, d = {d:.2f}", line={"color": colour, "width": 2.5},
            hovertemplate=f"The Pareto law with d = {d:.2f} has the density %{{y:.3g}} at μ = %{{x:.3f}}.<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="μ = r₂ / r₁", range=[1, float(edges[-1])])
    figure.update_yaxes(title_text="density")
    figure.update_layout(bargap=0)
    return _finished(figure)


def random_pair_distance(opened: OpenedLayer) -> float | None:
    """Root mean square distance of two rows drawn at random, from the variance of all coordinates; None under cosine."""
    if opened.plane is None or opened.graph is None or opened.graph.metric != "euclidean" or not opened.plane.shares[0]:
        return None
    total = float((opened.plane.coordinates[:, 0] ** 2).sum() / opened.plane.shares[0])
    return float(np.sqrt(2 * total / (opened.n_rows - 1)))


def distances(opened: OpenedLayer) -> go.Figure | None:
    """Histograms of the distance to the nearest and to the k-th neighbor, a random pair marked; None without neighbors."""
    if opened.graph is None:
        return None
    lengths, k, n = opened.graph.distances, opened.graph.n_neighbors, opened.n_points
    beside = random_pair_distance(opened)
    is_log = float(lengths.max()) > 30 * float(max(lengths[:, 0].min(), np.finfo(float).tiny))
    low, high = float(lengths.min()), max(float(lengths.max()), beside or 0.0)
    n_bins = max(16, min(60, round(2 * n ** (1 / 2))))
    edges = np.geomspace(low, high * 1.001, n_bins + 1) if is_log else np.linspace(low, high * 1.001 + 1e-12, n_bins + 1)
    figure = go.Figure()
    named = [("nearest neighbor, r₁", lengths[:, 0], PAIR[0], "solid")]
    named += [(f"{k}-th neighbor, r{str(k).translate(_SUBSCRIPTS)}", lengths[:, -1], PAIR[1], "dash")] if k > 1 else []
    for words, values, colour, dash in named:
        counts, _ = np.histogram(values, edges)
        ends = list(pairwise(edges))
        figure.add_trace(
            go.Scatter(
                x=[x for pair in ends for x in pair], y=[c for c in counts for _ in "ab"], mode="lines", fill="tozeroy", name=words,
                line={"color": colour, "width": 2, "dash": dash}, hoverinfo="text",
                hovertext=[
                    f"{c:,} of {n:,} points have their {words.split(',')[0]} between {a:.3g} and {b:.3g} away."
                    for c, (a, b) in zip(counts, ends, strict=True) for _ in "ab"
                ],
            )
        )  # fmt: skip
    if beside is not None:
        anatomy_laws.add_mark(figure, beside, f"random pair {beside:.3g}", REFERENCE_COLOUR, "dot", high=True, log=is_log)
        figure.layout.annotations[-1].update(xanchor="right", xshift=-4)
    figure.update_xaxes(title_text=f"{opened.graph.metric} distance{' (log scale)' if is_log else ''}", type="log" if is_log else "linear")
    figure.update_yaxes(title_text="points", rangemode="tozero")
    return _finished(figure)


def plane_map(opened: OpenedLayer, chosen: int | None = None) -> go.Figure | None:
    """The rows in the principal plane, coloured and marked by label, `chosen` ringed; None where all vectors are equal.

    customdata of every marker is its row.
    """
    if opened.plane is None:
        return None
    rows = _thinned(opened.n_rows)
    figure = go.Figure()
    if opened.labels is None:
        _add_rows(figure, opened, rows, "rows", {"color": _LABEL_LOOKS[0][0], "symbol": "circle"})
    elif opened.task == "classification":
        for words, of_label, colour, symbol in _by_label(opened, rows):
            _add_rows(figure, opened, of_label, words, {"color": colour, "symbol": symbol})
    else:
        bar = {"title": {"text": "label"}, "thickness": 12}
        scale = {"color": [opened.labels[row] for row in rows], "colorscale": "Cividis", "showscale": True, "colorbar": bar}
        _add_rows(figure, opened, rows, "rows", scale)
    if chosen is not None:
        x, y = opened.plane.coordinates[chosen]
        figure.add_trace(
            go.Scatter(
                x=[x], y=[y], mode="markers", name="chosen", hoverinfo="text", hovertext=_hover(opened, chosen), customdata=[chosen],
                marker={"size": 17, "symbol": "circle-open", "color": REFERENCE_COLOUR, "line": {"width": 3}},
            )
        )  # fmt: skip
    first, second = opened.plane.shares
    figure.update_xaxes(title_text=f"first principal axis ({first:.0%} of the variance)", zeroline=False)
    figure.update_yaxes(title_text=f"second ({second:.0%})", zeroline=False, scaleanchor="x")
    finish(figure, height=500)
    figure.update_layout(legend={"orientation": "h", "y": -0.14, "yanchor": "top", "x": 0}, margin={"t": 12})
    return _with_grid(figure)


def _by_label(opened: OpenedLayer, rows: np.ndarray) -> list[tuple[str, np.ndarray, str, str]]:
    """Name, rows, colour and marker of each label in the order of the classes; the rarest together where there are many."""
    assert opened.labels is not None
    classes = np.array(opened.labels)
    counts = Counter(opened.labels)
    own = sorted(counts)
    if len(own) > len(_LABEL_LOOKS):
        own = sorted(label for label, _ in counts.most_common(len(_LABEL_LOOKS) - 1))
    parts = []
    for label, look in zip(own, _LABEL_LOOKS, strict=False):
        first = int(np.flatnonzero(classes == label)[0])
        parts.append((str(opened.label(first)), rows[classes[rows] == label], *look))
    if len(own) < len(counts):
        parts.append((f"{len(counts) - len(own)} other labels", rows[~np.isin(classes[rows], own)], *_OTHERS))
    return [part for part in parts if len(part[1])]


def _add_rows(figure: go.Figure, opened: OpenedLayer, rows: np.ndarray, words: str, marker: dict[str, object]) -> None:
    assert opened.plane is not None
    figure.add_trace(
        go.Scatter(
            x=opened.plane.coordinates[rows, 0], y=opened.plane.coordinates[rows, 1], mode="markers", name=as_typed(words),
            customdata=[int(row) for row in rows], hovertext=[_hover(opened, int(row)) for row in rows], hoverinfo="text",
            marker={"size": 7, "opacity": 0.85, "line": {"width": 0}, **marker}, showlegend=words != "rows",
        )
    )  # fmt: skip


def _hover(opened: OpenedLayer, row: int) -> str:
    """The row's text in short lines, its label before it."""
    words, lines = opened.words(row).split(), [""]
    for word in words:
        word = word[:_HOVER_LINE]
        if len(lines[-1]) + len(word) >= _HOVER_LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > _HOVER_LINES:
        lines = [*lines[:_HOVER_LINES], "…"]
    label = opened.label(row)
    return "<br>".join([*([f"<b>{as_typed(label)}</b>"] if label is not None else []), *map(as_typed, lines)])


def _thinned(n: int) -> np.ndarray:
    """At most MOST_POINTS places out of n, evenly spread."""
    return np.arange(n) if n <= MOST_POINTS else np.unique(np.linspace(0, n - 1, MOST_POINTS).astype(int))


def _finished(figure: go.Figure) -> go.Figure:
    finish(figure, height=HEIGHT)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"t": 64})
    return _with_grid(figure)


def _with_grid(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID)
    return figure
