"""The figure of a spectrum: every eigenvalue in its place, the edge of noise, the law of the tail as a line or dotted."""

import numpy as np
import pytest

from app.charts import spectrum as charts
from gelora.geometry import weight_spectrum


@pytest.mark.parametrize("side", [24, 400, 2000])
def test_points_edge_and_law_are_those_of_the_spectrum(side):
    rng = np.random.default_rng(1)
    found = weight_spectrum(rng.standard_normal((side, side // 2)) * (1 - rng.random(side // 2)) ** -0.5)
    law = found.power_law(0)
    figure = charts.reach(found, law)
    points = figure.data[0]
    assert (points.x[0], points.y[0]) == (found.eigenvalues[0], pytest.approx(1 / len(found.eigenvalues)))
    assert points.y[-1] == 1 and len(points.x) <= 1500 and (np.diff(points.x) <= 0).all()
    assert figure.layout.shapes[0].x0 == found.edge
    assert (law is None) == (side == 24) == (len(figure.data) == 1)
    if law is not None:
        line = figure.data[1]
        assert np.diff(np.log(line.y)) / np.diff(np.log(line.x)) == pytest.approx([1 - law.alpha] * 49)
        assert line.y[0] == pytest.approx(law.n_tail / len(found.eigenvalues)) and line.line.dash == "solid"


def test_a_law_that_does_not_fit_is_dotted_and_named_so():
    found = weight_spectrum(np.random.default_rng(0).standard_normal((900, 300)))
    line = charts.reach(found, found.power_law(50)).data[1]
    assert line.line.dash == "dot" and "unfit" in line.name
