"""The first two cards of the Theory page: how neighborhoods grow, and TwoNN on points of known dimension."""

import numpy as np
import streamlit as st
from scipy.spatial.distance import cdist

from app.charts import theory as charts
from app.charts.anatomy import anatomy
from app.charts.look import minus
from app.shared import figures
from app.shared.markdown import bold
from app.theory import choices
from gelora.geometry import MANIFOLDS, Estimator, PointCloud, TwoNN

_SHAPES = {"segment": ("affine", 1), "spiral": ("spiral", 1), "disc": ("ball", 2)}
_N_POINTS, _N_CURVE = 300, 1500
_STEP = 1.3  # the exponent at r is read between r / 1.3 and 1.3 r


def dimension() -> None:
    """A shape in the plane, a ball that grows, and the exponent of what it holds."""
    chosen = st.session_state
    with st.container(horizontal=True):
        st.selectbox("Shape", list(choices.SHAPES), key="th_shape", format_func=choices.SHAPES.__getitem__, width=180)
        st.slider("Radius r", 0.01, 0.5, step=0.01, key="th_radius", width=240)
        st.slider("Noise", 0.0, 0.2, step=0.01, key="th_shape_noise", width=240)
    points, radii, counts = _growth(chosen["th_shape"], chosen["th_shape_noise"])
    slopes = np.diff(np.log(counts), axis=0) / (2 * np.log(_STEP))
    slopes, radius, truth = slopes[0], chosen["th_radius"], _SHAPES[chosen["th_shape"]][1]
    here = float(np.interp(np.log(radius), np.log(radii), slopes))
    held = float(np.exp(np.interp(np.log(radius), np.log(radii), np.log(counts).mean(axis=0))))
    st.markdown(f"**Around r = {radius:g} a ball holds about {held:.0f} of {_N_CURVE:,} points and grows like r to the power {here:.2f}.**")
    left, right = st.columns([1, 1.3])
    with left:
        figures.show(
            charts.shape_and_ball(points[:_N_POINTS], points[0], radius),
            "theory_shape",
            says=f"{_N_POINTS} points of a {chosen['th_shape']} and a circle of radius {radius:g} around one of them.",
            how_to_read=f"{_N_POINTS} of the points; those in the circle are the neighbors of the one at its centre.",
        )
    with right:
        figures.show(
            charts.local_dimension(radii, slopes, radius, truth),
            "theory_growth",
            says=f"The growth exponent against the radius; at r = {radius:g} it is {here:.2f}.",
            how_to_read=f"the height is the dimension that the shape shows at that radius, over all {_N_CURVE:,} points.",
        )


@st.cache_data(show_spinner=False, max_entries=64)
def _growth(shape: str, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the plane in units of their size, radii, and the mean number within r / step and r * step: [2, n_radii]."""
    manifold, d = _SHAPES[shape]
    points = MANIFOLDS[manifold](_N_CURVE, d, 2, 0)
    points = (points - points.mean(axis=0)) / np.ptp(points @ np.linalg.svd(points - points.mean(axis=0))[2].T, axis=0).max()
    points = points + noise * np.random.default_rng(1).standard_normal(points.shape)
    radii = np.geomspace(0.01, 0.5, 60)
    apart = np.sort(cdist(points, points), axis=None)[_N_CURVE:]
    counts = np.array([np.searchsorted(apart, radii * step, "right") for step in (1 / _STEP, _STEP)]) / _N_CURVE
    return points, radii, np.maximum(counts, 1 / _N_CURVE)


def twonn() -> None:
    """TwoNN's line on a cube of chosen dimension."""
    chosen = st.session_state
    with st.container(horizontal=True):
        st.slider("Dimension d", 1, 30, key="th_two_d", width=240)
        st.slider("Points N", 100, 2000, step=100, key="th_two_n", width=240)
    d, n = chosen["th_two_d"], chosen["th_two_n"]
    fitted, cloud = _fitted(d, n)
    off = minus(f"{fitted.dimension_ / d - 1:+.0%}")
    read = f"{fitted.dimension_:.2f} [{fitted.ci_low_:.2f}, {fitted.ci_high_:.2f}]"
    st.markdown(bold(f"{n:,} points uniform in a cube of {d} sides read {read}, {off} off."))
    picture = anatomy("twonn", fitted, cloud, truth=float(d))
    if picture is not None:
        figures.show(
            picture.figures[0],
            "theory_twonn",
            says=f"TwoNN's ratios with a line of slope {fitted.dimension_:.2f}; the true dimension is {d}.",
            how_to_read=picture.caption.removeprefix("How to read it: "),
        )


@st.cache_resource(show_spinner=False, max_entries=64)
def _fitted(d: int, n: int) -> tuple[Estimator, PointCloud]:
    cloud = PointCloud(MANIFOLDS["affine"](n, d, max(d, 2), 0))
    return TwoNN().fit(cloud), cloud
