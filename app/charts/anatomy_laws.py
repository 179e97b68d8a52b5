"""Estimators that fit a law to what they read at every point: the statistics, and the law beside them. Pure functions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy import special, stats

from app.charts.look import LINE_GLYPH, OFFSET_COLOUR, REFERENCE_COLOUR, estimator_style, named
from gelora.geometry import PointCloud, norms_and_angles

GREY = OFFSET_COLOUR
Picture = tuple[list[go.Figure], str]
"""Figures, and how to read them."""


def twonn(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """Log ratios against their empirical law, with the fitted line."""
    figure, how = twonn_ratios(name, fitted, truth)
    return [figure], f"How to read it: {how}"


def twonn_ratios(name: str, fitted: Any, truth: float | None = None) -> tuple[go.Figure, str]:
    """Log ratios against their empirical law, the fitted line through the origin, the discarded tail in grey; how to read it.

    fitted: has TwoNN's `log_mu_`, `minus_log_survival_`, `kept_` and `dimension_`.
    """
    colour = estimator_style(name)[1]
    x, y, kept = fitted.log_mu_[:-1], fitted.minus_log_survival_, min(fitted.kept_, len(fitted.log_mu_) - 1)
    figure = go.Figure()
    add_points(figure, x[:kept], y[:kept], "kept" if kept < len(x) else "ratios", colour, "This point has log μ = %{x:.3f}; it is kept.")
    if kept < len(x):
        add_points(figure, x[kept:], y[kept:], "discarded tail", GREY, "This point has log μ = %{x:.3f}; it is in the discarded tail.")
    _lines_through_origin(figure, float(x.max()), float(y.max()), fitted.dimension_, truth, colour)
    figure.update_xaxes(title_text="log μ = log(r₂ / r₁)", range=[0, float(x.max()) * 1.03])
    figure.update_yaxes(title_text="−log(1 − F)", range=[0, float(y.max()) * 1.05])
    how = (
        "the line through the origin is fitted to the coloured points alone; its slope is the dimension"
        if kept < len(x)
        else f"every ratio counts, and the line's slope is the {'log-log' if name == 'twonn-loglog' else 'maximum-likelihood'} dimension"
    )
    return figure, (
        "one dot a point, by how much farther its second neighbor is than its first. Where the density is even, the dots "
        f"lie on a line through the origin: {how}. Dots that bend away from it say that the model does not hold there."
    )


def _lines_through_origin(figure: go.Figure, right: float, top: float, dimension: float, truth: float | None, colour: str) -> None:
    lines = [] if truth is None else [(truth, f"slope of the truth, {truth:g}", "dash", REFERENCE_COLOUR)]
    for slope, words, dash, hue in (*lines, (dimension, f"slope {dimension:.2f}", "solid", colour)):
        end = min(right, top / slope) if slope > 0 else right
        figure.add_trace(
            go.Scatter(
                x=[0, end], y=[0, slope * end], mode="lines", name=words, line={"color": hue, "width": 2.5, "dash": dash},
                hovertext=f"A line with the {words}.", hoverinfo="text",
            )
        )  # fmt: skip


def mle(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The sums of log ratios of all points against the Gamma law."""
    k = fitted.n_neighbors
    sums = (k - 1) / fitted.dimension_pw_
    law = lambda d: lambda x: stats.gamma.pdf(x, k - 1, scale=1 / d)  # noqa: E731
    figure = _histogram_and_laws(name, sums, law, fitted.dimension_, truth)
    figure.update_xaxes(title_text=f"S = sum of log(r_k / r_j) at a point, k = {k}")
    return [figure], (
        "How to read it: bars count the points by how their neighbors' distances grow; the curve is the Gamma law that one dimension "
        "for all points would give. Bars wider than the curve say that density or dimension differ from place to place."
    )


def mind(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The nearest distances as shares of the farthest one read, against their density."""
    k = fitted.n_neighbors
    lengths = cloud.lengths(k)
    shares = lengths[:, 0] / lengths[:, -1]

    def law(d: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: (k - 1) * d * x ** (d - 1) * np.maximum(1 - x**d, 0) ** (k - 2)

    figure = _histogram_and_laws(name, shares, law, fitted.dimension_, truth, high=1.0)
    figure.update_xaxes(title_text=f"nearest distance as a share of the {k}-th, r₁ / r_k")
    return [figure], (
        "How to read it: bars count the points by how near their nearest neighbor is compared with the last one read; the curve is the "
        "density with the dimension that makes these shares likeliest. In high dimension all neighbors are almost equally far."
    )


def pointwise(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The dimension of every neighborhood on its own."""
    values = np.asarray(fitted.dimension_pw_, dtype=float)
    figure = _histogram(values[np.isfinite(values)], estimator_style(name)[1])
    figure.update_xaxes(title_text="dimension at a point")
    add_mark(figure, fitted.dimension_, f"estimate {fitted.dimension_:.2f}", estimator_style(name)[1], "solid", high=True)
    add_mark(figure, truth, f"truth {truth:g}", REFERENCE_COLOUR, "dash")
    return [figure], "How to read it: bars count the points by the dimension that each one's neighborhood has on its own."


def abide(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """How many points lie in the inner part of a neighborhood, against the binomial law of the estimate and of the truth."""
    colour, within = estimator_style(name)[1], fitted.neighborhoods_ - 1
    numbers, n_points = np.unique(within, return_counts=True)
    x = np.arange(int(fitted.inner_counts_.max()) + 2)
    seen = np.bincount(fitted.inner_counts_, minlength=len(x)) / len(within)
    hover = [f"{share:.1%} of the points have {n} in their inner part." for n, share in zip(x, seen, strict=True)]
    figure = go.Figure(go.Bar(x=x, y=seen, name="points", marker={"color": colour, "opacity": 0.4}, hovertext=hover, hoverinfo="text"))
    for d, words, line in (
        (truth, f"truth, d = {truth:g}", {"color": REFERENCE_COLOUR, "width": 2.5, "dash": "dash"}),
        (fitted.dimension_, f"fitted, d = {fitted.dimension_:.2f}", {"color": colour, "width": 2.5}),
    ):
        law = n_points @ stats.binom.pmf(x, numbers[:, None], fitted.radius_ratio_**d) / len(within)
        _add_law(figure, x, law, words, line)
    figure.update_xaxes(title_text=f"points within {fitted.radius_ratio_:.2f} of a neighborhood's radius")
    figure.update_yaxes(title_text="share of points")
    return [figure], (
        f"How to read it: a neighborhood reaches as far as its density is even, here to neighbor {within.mean() + 1:.0f} on average; bars "
        "count how many of its points lie in the inner part, lines are the binomial law of a dimension. "
        f"p = {fitted.p_value_:.2g} that bars and fitted law agree."
    )


def danco(name: str, fitted: Any, cloud: PointCloud, truth: float) -> Picture:
    """The two statistics with the laws that one dimension gives them, and the divergence from the balls of every dimension."""
    colour, k = estimator_style(name)[1], fitted.n_neighbors
    norms, angles = norms_and_angles(cloud, k)
    balls = {"truth": int(np.argmin(np.abs(fitted.dimensions_ - truth))), "estimate": int(np.argmin(fitted.kl_))}
    words = {"truth": f"balls of the truth, d = {truth:g}", "estimate": f"balls most alike, d = {fitted.dimension_:.2f}"}
    hues = {"truth": (REFERENCE_COLOUR, "dash"), "estimate": (colour, "solid")}
    of_norms, of_angles = _histogram(norms, colour), _histogram(angles.ravel(), colour, "pairs of neighbors")
    for which, place in balls.items():
        hue, dash = hues[which]
        line = {"color": hue, "width": 2.5, "dash": dash}
        x = np.linspace(max(1e-6, float(norms.min())), 1, 300)
        d = float(fitted.calibrated_.d_ml[place])
        _add_law(of_norms, x, k * d * x ** (d - 1) * np.maximum(1 - x**d, 0) ** (k - 1), words[which], line)
        x = np.linspace(0, np.pi, 300)
        nu, tau = float(fitted.calibrated_.nu[place]), float(fitted.calibrated_.tau[place])
        _add_law(of_angles, x, np.exp(tau * (np.cos(x - nu) - 1)) / (2 * np.pi * special.i0e(tau)), words[which], line)
    of_norms.update_xaxes(title_text="nearest distance / (k + 1)-th")
    of_angles.update_xaxes(title_text="angle between two neighbors (radians)")
    divergence = go.Figure()
    for y, label, hue, dash in (
        (fitted.kl_norms_, "norms", "#0072B2", "dot"),
        (fitted.kl_angles_, "angles", "#A8780A", "dashdot"),
        (fitted.kl_, "both", colour, "solid"),
    ):
        divergence.add_trace(
            go.Scatter(
                x=fitted.dimensions_, y=np.maximum(y, 1e-7), mode="lines", name=label, line={"color": hue, "width": 2, "dash": dash},
                hovertemplate=f"Against balls of dimension %{{x:.1f}} the {label} diverge by %{{y:.3g}}.<extra></extra>",
            )
        )  # fmt: skip
    add_mark(divergence, truth, f"truth {truth:g}", *hues["truth"], log=True)
    add_mark(divergence, fitted.dimension_, f"least at {fitted.dimension_:.2f}", *hues["estimate"], high=True, log=True)
    ticks = [d for d in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if d <= fitted.max_dimension]
    divergence.update_xaxes(title_text="dimension of the balls (log scale)", type="log", tickvals=ticks, ticktext=[str(d) for d in ticks])
    divergence.update_yaxes(title_text="divergence (log scale)", type="log", nticks=6, exponentformat="power")
    return [of_norms, of_angles, divergence], (
        "How to read it: two things gather as the dimension grows, the nearest distance near the farthest one read, and the angles "
        "between neighbors near 90°. The sample's bars are held against balls of every dimension with as many points, curves for two of "
        "them; where both together differ least is the estimate."
    )


def _histogram_and_laws(
    name: str,
    values: np.ndarray,
    law: Callable[[float], Callable[[np.ndarray], np.ndarray]],
    dimension: float,
    truth: float,
    high: float | None = None,
) -> go.Figure:
    colour = estimator_style(name)[1]
    figure = _histogram(values, colour)
    x = np.linspace(max(1e-6, 0.7 * float(values.min())), high or float(values.max()), 300)
    _add_law(figure, x, law(truth)(x), f"truth, d = {truth:g}", {"color": REFERENCE_COLOUR, "width": 2.5, "dash": "dash"})
    _add_law(figure, x, law(dimension)(x), f"fitted, d = {dimension:.2f}", {"color": colour, "width": 2.5})
    return figure


def _add_law(figure: go.Figure, x: np.ndarray, y: np.ndarray, words: str, line: dict[str, object]) -> None:
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=words, line=line, hoverinfo="skip"))


def _histogram(values: np.ndarray, colour: str, what: str = "points") -> go.Figure:
    counts, edges = np.histogram(values, bins=min(60, max(12, int(2 * len(values) ** (1 / 3)))))
    width = np.diff(edges)
    ends = zip(counts, edges[:-1], edges[1:], strict=True)
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts / (len(values) * width),
            width=width,
            name=what,
            marker={"color": colour, "opacity": 0.4, "line": {"width": 0}},
            hovertext=[f"{n:,} of {len(values):,} {what} between {a:.3g} and {b:.3g}." for n, a, b in ends],
            hoverinfo="text",
        )
    )
    figure.update_yaxes(title_text="density")
    figure.update_layout(bargap=0)
    return figure


def add_points(figure: go.Figure, x: np.ndarray, y: np.ndarray, words: str, colour: str, hover: str, size: int = 6) -> None:
    """Dots with one sentence each."""
    marker = {"color": colour, "size": size, "opacity": 0.75}
    figure.add_trace(go.Scatter(x=x, y=y, mode="markers", name=words, marker=marker, hovertemplate=f"{hover}<extra></extra>"))


def add_mark(figure: go.Figure, x: float, words: str, colour: str, dash: str, high: bool = False, log: bool = False) -> None:
    """An upright line with its name, in the upper or lower half."""
    figure.add_vline(x=x, line={"color": colour, "dash": dash, "width": 2})
    figure.add_annotation(
        x=np.log10(x) if log else x, y=0.97 if high else 0.86, yref="paper", xanchor="left", xshift=4, showarrow=False,
        text=named(words, colour, LINE_GLYPH if dash == "solid" else "┅"),
    )  # fmt: skip
