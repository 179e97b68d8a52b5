"""Estimators that read how something grows with scale, size or rank: the growth, and its slope. Pure functions."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.charts.anatomy_laws import GREY, Picture, add_mark, add_points
from app.charts.look import REFERENCE_COLOUR, estimator_style
from gelora.geometry import Plateau, PointCloud


def gride(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """GRIDE at every scale, and the scale that the estimate reads."""
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
                f"At neighbors {a} and {b}, {r:.3g} away on average, GRIDE says {d:.2f}."
                for a, b, r, d in zip(*(c[defined] for c in (curve.n1, curve.n2, curve.mean_lengths, curve.dimensions)), strict=True)
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
    return [figure], (
        "How to read it: the same ratio between ever farther neighbors, so from the finest scale at the left to the whole cloud at "
        f"the right; the ring is {why}. Noise lifts the left end, edges and curvature bend the right one; a flat stretch between them "
        "is the dimension."
    )


def correlation(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The correlation integral on log scales, and its slope where it is read."""
    colour = estimator_style(name)[1]
    radii, integral = fitted.radii_, fitted.correlation_integral_
    low, high = np.median(cloud.lengths(fitted.n2)[:, [fitted.n1 - 1, fitted.n2 - 1]], axis=0)
    used = (radii >= low * (1 - 1e-9)) & (radii <= high * (1 + 1e-9))
    figure = go.Figure()
    hover = "A share of %{y:.3g} of all pairs lies within %{x:.3g}."
    add_points(figure, radii[~used], integral[~used], "other radii", GREY, hover)
    add_points(figure, radii[used], integral[used], "radii of the estimate", colour, hover)
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
    return [figure], (
        "How to read it: how many pairs of points lie within a radius, both on log scales. The slope between the median distances to "
        f"neighbors {fitted.n1} and {fitted.n2} is the dimension; at the right the curve flattens because the cloud ends."
    )


def ph0(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The length of the minimum spanning tree against the number of points."""
    colour = estimator_style(name)[1]
    sizes, lengths = fitted.sizes_.astype(float), fitted.lengths_
    figure = go.Figure()
    add_points(figure, sizes, lengths, "trees", colour, "A minimum spanning tree of %{x:,} points is %{y:.4g} long.", size=11)
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
    return [figure], (
        "How to read it: the shortest tree that joins n of the points, for growing n. On log scales its length grows with slope "
        "m = 1 − 1/d, so d = 1 / (1 − m): in high dimension m is near 1, and a small error of m is a large one of d."
    )


def pca(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The shares of the variance, direction by direction."""
    colour = estimator_style(name)[1]
    shares = fitted.explained_variance_ratio_
    shown = shares[: int(min(len(shares), max(1.6 * truth, 1.6 * fitted.dimension_, 6)))]
    directions = np.arange(1, len(shown) + 1)
    together = np.cumsum(shares)[: len(shown)]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=directions, y=shown, name="share of the variance", marker={"color": colour, "opacity": 0.55},
            hovertext=[
                f"Direction {i} holds {share:.1%} of the variance; the first {i} together {total:.1%}."
                for i, share, total in zip(directions, shown, together, strict=True)
            ],
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
    add_mark(figure, truth, f"truth {truth:g}", REFERENCE_COLOUR, "dash")
    add_mark(figure, fitted.dimension_, f"estimate {fitted.dimension_:.2f}", colour, "solid", high=True)
    figure.update_xaxes(title_text="direction, by variance", range=[0.4, len(shown) + 0.6])
    figure.update_yaxes(title_text="share of the variance", tickformat=".0%", rangemode="tozero")
    counted = "the number of leading directions that hold 95%" if name == "pca-ev" else "one over the sum of the squared shares"
    return [figure], (
        f"How to read it: the variance of the whole cloud along its main directions; the estimate is {counted}. It counts the directions "
        "of the flat space that the cloud fills: a curved manifold needs more of them than it has dimensions."
    )
