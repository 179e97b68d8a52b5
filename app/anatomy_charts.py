"""One estimator taken apart: the picture of its own idea, on the points that it was fitted to. Pure functions, no Streamlit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy import stats

from app.charts import GRID, REFERENCE_COLOUR, estimator_style, finish
from gelora.geometry import Estimator, PointCloud

GREY = "#8b95a3"


@dataclass(frozen=True)
class Anatomy:
    """A figure and how to read it."""

    figure: go.Figure
    caption: str


def anatomy(name: str, fitted: Estimator, cloud: PointCloud, truth: float) -> Anatomy | None:
    """The picture of the estimator's idea, or None where it has none.

    Args:
        name: of the estimator, as in ESTIMATORS.
        fitted: it, fitted to `cloud`.
        cloud: the points.
        truth: their dimension, drawn beside the estimate.
    """
    draw = _PICTURES.get(name)
    if draw is None:
        return None
    figure, caption = draw(name, fitted, cloud, truth)
    finish(figure, height=400)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"t": 60})
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID)
    return Anatomy(figure, caption)


def _twonn(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    colour = estimator_style(name)[1]
    x, y, kept = fitted.log_mu_[:-1], fitted.minus_log_survival_, min(fitted.kept_, len(fitted.log_mu_) - 1)
    figure = go.Figure()
    _points(figure, x[:kept], y[:kept], "kept" if kept < len(x) else "ratios", colour, "Ratio log μ = %{x:.3f}: kept.")
    if kept < len(x):
        _points(figure, x[kept:], y[kept:], "discarded tail", GREY, "Ratio log μ = %{x:.3f}: in the discarded tail.")
    _lines_through_origin(figure, float(x.max()), float(y.max()), fitted.dimension_, truth, colour)
    figure.update_xaxes(title_text="log μ = log(r₂ / r₁)", range=[0, float(x.max()) * 1.03])
    figure.update_yaxes(title_text="−log(1 − F)", range=[0, float(y.max()) * 1.05])
    how = (
        "the line through the origin is fitted to the coloured points alone; its slope is the dimension"
        if kept < len(x)
        else "every ratio counts, and the line's slope is the maximum-likelihood dimension"
    )
    return figure, (
        "How to read it: one dot a point, by how much farther its second neighbor is than its first. Where the density is even, the dots "
        f"lie on a line through the origin: {how}. Dots that bend away from it say that the model does not hold there."
    )


def _lines_through_origin(figure: go.Figure, right: float, top: float, dimension: float, truth: float, colour: str) -> None:
    for slope, words, dash, hue in (
        (truth, f"slope of the truth, {truth:g}", "dash", REFERENCE_COLOUR),
        (dimension, f"slope {dimension:.2f}", "solid", colour),
    ):
        end = min(right, top / slope) if slope > 0 else right
        figure.add_trace(
            go.Scatter(
                x=[0, end], y=[0, slope * end], mode="lines", name=words, line={"color": hue, "width": 2.5, "dash": dash},
                hovertext=f"A line with the {words}.", hoverinfo="text",
            )
        )  # fmt: skip


def _mle(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    k = fitted.n_neighbors
    sums = (k - 1) / fitted.dimension_pw_
    law = lambda d: lambda x: stats.gamma.pdf(x, k - 1, scale=1 / d)  # noqa: E731
    figure = _histogram_and_laws(name, sums, law, fitted.dimension_, truth)
    figure.update_xaxes(title_text=f"S = sum of log(r_k / r_j) at a point, k = {k}")
    return figure, (
        "How to read it: bars count the points by how their neighbors' distances grow; the curve is the Gamma law that one dimension "
        "for all points would give. Bars wider than the curve say that density or dimension differ from place to place."
    )


def _mind(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    k = fitted.n_neighbors
    lengths = cloud.lengths(k)
    shares = lengths[:, 0] / lengths[:, -1]

    def law(d: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: (k - 1) * d * x ** (d - 1) * np.maximum(1 - x**d, 0) ** (k - 2)

    figure = _histogram_and_laws(name, shares, law, fitted.dimension_, truth, high=1.0)
    figure.update_xaxes(title_text=f"nearest distance as a share of the {k}-th, r₁ / r_k")
    return figure, (
        "How to read it: bars count the points by how near their nearest neighbor is compared with the last one read; the curve is the "
        "density with the dimension that makes these shares likeliest. In high dimension all neighbors are almost equally far."
    )


def _pointwise(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    values = np.asarray(fitted.dimension_pw_, dtype=float)
    figure = _histogram_and_laws(name, values[np.isfinite(values)], None, fitted.dimension_, truth)
    figure.update_xaxes(title_text="dimension at a point")
    _mark(figure, fitted.dimension_, f"estimate {fitted.dimension_:.2f}", estimator_style(name)[1], "solid")
    _mark(figure, truth, f"truth {truth:g}", REFERENCE_COLOUR, "dash")
    return figure, "How to read it: bars count the points by the dimension that each one's neighborhood has on its own."


def _histogram_and_laws(
    name: str,
    values: np.ndarray,
    law: Callable[[float], Callable[[np.ndarray], np.ndarray]] | None,
    dimension: float,
    truth: float,
    high: float | None = None,
) -> go.Figure:
    colour = estimator_style(name)[1]
    figure = go.Figure()
    counts, edges = np.histogram(values, bins=min(60, max(12, int(2 * len(values) ** (1 / 3)))), density=False)
    width = np.diff(edges)
    figure.add_trace(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2, y=counts / (len(values) * width), width=width, name="points", marker={"color": colour, "opacity": 0.4},
            hovertext=[f"{n} of {len(values)} points between {a:.3g} and {b:.3g}." for n, a, b in zip(counts, edges[:-1], edges[1:], strict=True)],
            hoverinfo="text",
        )
    )  # fmt: skip
    figure.update_yaxes(title_text="density")
    figure.update_layout(bargap=0)
    if law is not None:
        x = np.linspace(max(1e-6, edges[0] * 0.7), high or edges[-1], 300)
        for d, words, dash, hue in (
            (truth, f"law for the truth, d = {truth:g}", "dash", REFERENCE_COLOUR),
            (dimension, f"fitted law, d = {dimension:.2f}", "solid", colour),
        ):
            figure.add_trace(
                go.Scatter(x=x, y=law(d)(x), mode="lines", name=words, line={"color": hue, "width": 2.5, "dash": dash}, hoverinfo="skip")
            )
    return figure


def _gride(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    from gelora.geometry import Plateau

    colour = estimator_style(name)[1]
    curve = fitted.curve_ if name == "plateau" else Plateau(n_subsamples=0).estimate(cloud).curve_
    used = fitted.scale_ if name == "plateau" else fitted.n2
    defined = np.isfinite(curve.dimensions)
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=curve.n2[defined], y=curve.dimensions[defined], mode="lines+markers", name="GRIDE at this scale",
            error_y={"array": 1.96 * curve.deviations[defined], "thickness": 1.2, "width": 3, "color": colour},
            line={"color": colour, "width": 2.5}, marker={"size": 7},
            hovertext=[
                f"Neighbors {a} and {b}, {r:.3g} away on average: dimension {d:.2f}."
                for a, b, r, d in zip(curve.n1[defined], curve.n2[defined], curve.mean_lengths[defined], curve.dimensions[defined], strict=True)
            ],
            hoverinfo="text",
        )
    )  # fmt: skip
    at = np.flatnonzero(curve.n2 == used)
    if at.size:
        figure.add_trace(
            go.Scatter(
                x=[used], y=[curve.dimensions[at[0]]], mode="markers", name=f"the estimate, {fitted.dimension_:.2f}",
                marker={"size": 16, "symbol": "circle-open", "color": colour, "line": {"width": 3}}, hoverinfo="skip",
            )
        )  # fmt: skip
    figure.add_hline(y=truth, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 2}, annotation_text=f"truth {truth:g}")
    figure.update_xaxes(
        title_text="farther neighbor n₂ = 2 n₁ (log scale)", type="log", tickvals=curve.n2, ticktext=[str(n) for n in curve.n2]
    )
    figure.update_yaxes(title_text="dimension", range=[0, 1.15 * float(max(truth, np.max(curve.dimensions[defined], initial=0.0)))])
    why = "where it is flattest" if name == "plateau" else "at the scale that it reads"
    return figure, (
        "How to read it: the same ratio between ever farther neighbors, so from the finest scale at the left to the whole cloud at the "
        f"right; the ring is {why}. Noise lifts the left end, edges and curvature bend the right one; a flat stretch between is the dimension."
    )


def _correlation(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    colour = estimator_style(name)[1]
    radii, integral = fitted.radii_, fitted.correlation_integral_
    low, high = np.median(cloud.lengths(fitted.n2)[:, [fitted.n1 - 1, fitted.n2 - 1]], axis=0)
    used = (radii >= low * (1 - 1e-9)) & (radii <= high * (1 + 1e-9))
    figure = go.Figure()
    hover = "Within %{x:.3g}: a share of %{y:.3g} of all pairs."
    _points(figure, radii[~used], integral[~used], "other radii", GREY, hover)
    _points(figure, radii[used], integral[used], "radii of the estimate", colour, hover)
    start = integral[used][0]
    x = np.geomspace(radii[0], min(radii[-1], low * (1 / start) ** (1 / max(fitted.dimension_, 1e-9))), 2)
    for slope, words, dash, hue in (
        (truth, f"slope of the truth, {truth:g}", "dash", REFERENCE_COLOUR),
        (fitted.dimension_, f"slope {fitted.dimension_:.2f}", "solid", colour),
    ):
        figure.add_trace(
            go.Scatter(
                x=x, y=start * (x / low) ** slope, mode="lines", name=words, line={"color": hue, "width": 2, "dash": dash}, hoverinfo="skip"
            )
        )
    figure.update_xaxes(title_text="radius r (unit of the data, log scale)", type="log")
    figure.update_yaxes(title_text="share of pairs nearer than r (log scale)", type="log", exponentformat="power")
    return figure, (
        "How to read it: how many pairs of points lie within a radius, both on log scales. The slope between the median distances to "
        f"neighbors {fitted.n1} and {fitted.n2} is the dimension; at the right the curve flattens because the cloud ends."
    )


def _ph0(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    colour = estimator_style(name)[1]
    sizes, lengths = fitted.sizes_.astype(float), fitted.lengths_
    figure = go.Figure()
    _points(figure, sizes, lengths, "trees", colour, "A minimum spanning tree of %{x:,} points is %{y:.4g} long.", size=11)
    centre = float(np.exp(np.log(lengths).mean())), float(np.exp(np.log(sizes).mean()))
    for slope, words, dash, hue in (
        ((truth - 1) / truth, f"growth of the truth, exponent {(truth - 1) / truth:.3f}", "dash", REFERENCE_COLOUR),
        (fitted.slope_, f"exponent {fitted.slope_:.3f} → dimension {fitted.dimension_:.2f}", "solid", colour),
    ):
        figure.add_trace(
            go.Scatter(
                x=sizes,
                y=centre[0] * (sizes / centre[1]) ** slope,
                mode="lines",
                name=words,
                line={"color": hue, "width": 2, "dash": dash},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(title_text="number of points n (log scale)", type="log", tickvals=sizes, ticktext=[f"{n:,.0f}" for n in sizes])
    figure.update_yaxes(title_text="length of the tree (unit of the data, log scale)", type="log", nticks=6)
    return figure, (
        "How to read it: the shortest tree that joins n of the points, for growing n. On log scales its length grows with slope "
        "m = 1 − 1/d, so d = 1 / (1 − m): in high dimension m is near 1, and a small error of m is a large one of d."
    )


def _pca(name: str, fitted: Any, cloud: PointCloud, truth: float) -> tuple[go.Figure, str]:
    colour = estimator_style(name)[1]
    shares = fitted.explained_variance_ratio_
    shown = shares[: int(min(len(shares), max(3 * truth, 2 * fitted.dimension_, 10)))]
    directions = np.arange(1, len(shown) + 1)
    together = np.cumsum(shares)[: len(shown)]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=directions, y=shown, name="share of the variance", marker={"color": colour, "opacity": 0.55},
            hovertext=[f"Direction {i} holds {s:.1%} of the variance; the first {i} together {t:.1%}." for i, s, t in zip(directions, shown, together, strict=True)],
            hoverinfo="text",
        )
    )  # fmt: skip
    if name == "pca-ev":
        figure.add_trace(
            go.Scatter(x=directions, y=together, name="together", mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip")
        )
        figure.add_hline(
            y=fitted.explained, line={"color": REFERENCE_COLOUR, "dash": "dot", "width": 1.5}, annotation_text=f"{fitted.explained:.0%}"
        )
    _mark(figure, truth, f"truth {truth:g}", REFERENCE_COLOUR, "dash")
    _mark(figure, fitted.dimension_, f"estimate {fitted.dimension_:.2f}", colour, "solid", high=True)
    figure.update_xaxes(title_text="direction, by variance", range=[0.4, len(shown) + 0.6])
    figure.update_yaxes(title_text="share of the variance", tickformat=".0%", rangemode="tozero")
    counted = "the number of leading directions that hold 95%" if name == "pca-ev" else "one over the sum of the squared shares"
    return figure, (
        f"How to read it: the variance of the whole cloud along its main directions; the estimate is {counted}. It counts the directions "
        "of the flat space that the cloud fills: a curved manifold needs more of them than it has dimensions."
    )


def _points(figure: go.Figure, x: np.ndarray, y: np.ndarray, words: str, colour: str, hover: str, size: int = 6) -> None:
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="markers",
            name=words,
            marker={"color": colour, "size": size, "opacity": 0.75},
            hovertemplate=hover + "<extra></extra>",
        )
    )


def _mark(figure: go.Figure, x: float, words: str, colour: str, dash: str, high: bool = False) -> None:
    figure.add_vline(
        x=x, line={"color": colour, "dash": dash, "width": 2}, annotation_text=words,
        annotation_position="top right" if high else "bottom right", annotation_font={"color": colour},
    )  # fmt: skip


_PICTURES: dict[str, Callable[[str, Any, PointCloud, float], tuple[go.Figure, str]]] = {
    "twonn": _twonn,
    "twonn-mle": _twonn,
    "mle": _mle,
    "gride": _gride,
    "plateau": _gride,
    "mind": _mind,
    "correlation": _correlation,
    "ph0": _ph0,
    "pca-pr": _pca,
    "pca-ev": _pca,
    "lpca": _pointwise,
    "tle": _pointwise,
    "mom": _pointwise,
}
