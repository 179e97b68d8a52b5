"""Details of one estimator: the picture of its own idea, on the points that it was fitted to. Pure functions, no Streamlit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from app.charts import anatomy_growth, anatomy_laws
from app.charts.look import GRID, finish
from gelora.geometry import Estimator, PointCloud


@dataclass(frozen=True)
class Anatomy:
    """Figures, and one caption on how to read them."""

    figures: list[go.Figure]
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
    figures, caption = draw(name, fitted, cloud, truth)
    for figure in figures:
        finish(figure, height=400)
        figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"t": 64})
        figure.update_xaxes(gridcolor=GRID)
        figure.update_yaxes(gridcolor=GRID)
    return Anatomy(figures, caption)


_PICTURES: dict[str, Callable[[str, Any, PointCloud, float], anatomy_laws.Picture]] = {
    "twonn": anatomy_laws.twonn,
    "twonn-mle": anatomy_laws.twonn,
    "twonn-loglog": anatomy_laws.twonn,
    "mle": anatomy_laws.mle,
    "mind": anatomy_laws.mind,
    "danco": anatomy_laws.danco,
    "lpca": anatomy_laws.pointwise,
    "tle": anatomy_laws.pointwise,
    "mom": anatomy_laws.pointwise,
    "abide": anatomy_laws.abide,
    "gride": anatomy_growth.gride,
    "plateau": anatomy_growth.gride,
    "correlation": anatomy_growth.correlation,
    "ph0": anatomy_growth.ph0,
    "pca-pr": anatomy_growth.pca,
    "pca-ev": anatomy_growth.pca,
}
