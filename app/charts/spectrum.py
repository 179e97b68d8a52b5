"""The spectrum of states or of a weight matrix: how far eigenvalues reach, the edge of noise, the law of the tail. Pure functions."""

import numpy as np
import plotly.graph_objects as go

from app.charts import anatomy_laws
from app.charts.look import GRID, PAIR, REFERENCE_COLOUR, finish
from gelora.geometry import PowerLaw, Spectrum

_MOST_POINTS = 1500
_IN_VIEW = 0.97  # of the eigenvalues; the axis can be dragged to the others
HEIGHT = 380


def reach(spectrum: Spectrum, law: PowerLaw | None) -> go.Figure:
    """The share of eigenvalues at least as large as each, both axes logarithmic; the edge of noise, and the law of the tail as a line."""
    values = spectrum.eigenvalues
    n = len(values)
    places = np.unique(np.geomspace(1, n, min(n, _MOST_POINTS)).astype(int)) - 1
    figure = go.Figure(
        go.Scatter(
            x=values[places], y=(places + 1) / n, mode="markers", name="eigenvalues",
            marker={"size": 5, "color": PAIR[0]}, hoverinfo="text",
            hovertext=[f"The {place + 1:,}. of {n:,} eigenvalues is {values[place]:.3g}." for place in places],
        )
    )  # fmt: skip
    if law is not None:
        x = np.geomspace(law.start, values[0], 50)
        name = f"power law, α = {law.alpha:.1f}{' (unfit)' if law.is_unfit else ''}"
        figure.add_trace(
            go.Scatter(
                x=x, y=law.n_tail / n * (x / law.start) ** (1 - law.alpha), mode="lines", name=name, hoverinfo="skip",
                line={"color": PAIR[1], "width": 2.5, "dash": "dot" if law.is_unfit else "solid"},
            )
        )  # fmt: skip
    anatomy_laws.add_mark(figure, spectrum.edge, "edge of noise", REFERENCE_COLOUR, "dash", high=True, log=True)
    low = min(float(values[int(_IN_VIEW * (n - 1))]), spectrum.edge) / 1.5  # the few that are nearly 0 would take half of the axis
    figure.update_xaxes(
        type="log", title_text="eigenvalue", gridcolor=GRID, exponentformat="power", range=np.log10([low, 2 * values[0]]).tolist(), dtick=1
    )
    figure.update_yaxes(type="log", title_text="share at least as large", gridcolor=GRID, range=[np.log10(0.6 / n), 0.15], dtick=1)
    finish(figure, height=HEIGHT)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"t": 56})
    return figure
