"""Similarity of layers on the Layers page: what is drawn is what was measured, and the layer looked at is marked in each figure."""

import re

import numpy as np
import pytest
from made_profiles import make_similarity
from playwright.sync_api import expect
from test_opened_layer import open_layers, opened, said

from app.charts import similarity as charts
from app.charts.data import figure_table
from app.layers.similarity import finding
from app.state import MATRICES

LONG = 120_000


@pytest.mark.parametrize("which", MATRICES)
@pytest.mark.parametrize("n_layers", [6, 30, 80])
def test_every_cell_has_its_number_its_words_and_its_layer(which, n_layers):
    found = make_similarity(n_layers)
    figure = charts.matrix(found, which, layer=2)
    cells, clicks = figure.data
    np.testing.assert_allclose(np.array(cells.z, dtype=float), getattr(found, which))
    assert (cells.texttemplate is not None) == (n_layers < 10)
    for at, (i, j) in enumerate(np.ndindex(n_layers + 1, n_layers + 1)):
        assert (clicks.y[at], clicks.x[at], clicks.customdata[at]) == (i, j, j)
        assert clicks.hovertext[at] == cells.hovertext[i][j]
        assert clicks.hovertext[at].startswith(f"{found.layer_names[i]} and {found.layer_names[j]}: ")
    outlined = {(shape.x0, shape.x1) if shape.yref == "y domain" else (shape.y0, shape.y1) for shape in figure.layout.shapes}
    assert outlined == {(1.5, 2.5)} and len(figure.layout.shapes) == 2
    assert len(figure.layout.xaxis.tickvals) <= 14


def test_the_words_of_a_cell():
    overlap, cka = (charts.matrix(make_similarity(), which).data[0].hovertext for which in MATRICES)
    assert overlap[1][2] == "block 1 and block 2: 78% of the 20 nearest are the same ∓ 0.08."
    assert cka[1][2] == "block 1 and block 2: CKA 0.61 ∓ 0.06."
    assert overlap[1][1] == "block 1 and block 1: 100% of the 20 nearest are the same."


def test_a_layer_without_neighbors_is_a_gap_with_its_reason():
    found = make_similarity(gap=True)
    figure = charts.matrix(found, "overlap")
    assert set(figure.data[0].z[0]) == {None}
    assert "1 distinct vector of 101" in figure.data[0].hovertext[0][3] and "1 distinct vector" in figure.data[0].hovertext[2][0]
    assert [note.text for note in figure.layout.annotations] == ["⊘"]
    depth = charts.along_depth(found)
    lines = [trace for trace in depth.data if trace.mode == "lines+markers"]
    assert [line.y[0] for line in lines] == [None, None, None] and all(np.isfinite(line.y[1]) for line in lines)
    assert finding(found).startswith("Block 2 changes the neighbors most: 78% of the 20 nearest stay (78% where")


@pytest.mark.parametrize("label_kind", ["", "classification", "regression"])
def test_imbalance_stands_between_the_layers_and_labels_at_them(label_kind):
    found = make_similarity(6, label_kind)
    figure = charts.along_depth(found, layer=3)
    forward, backward, *labels = [trace for trace in figure.data if trace.mode == "lines+markers"]
    for line, values in ((forward, found.forward), (backward, found.backward)):
        assert list(line.x) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5] and list(line.customdata) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(line.y, values)
    assert forward.hovertext[1] == "Block 2, from a block's input to its output: imbalance 0.0367, 95% interval 0.033 to 0.0403."
    assert len(labels) == bool(label_kind)
    if label_kind:
        assert list(labels[0].x) == list(labels[0].customdata) == list(range(7))
        assert ("share the label" if label_kind == "classification" else "apart") in labels[0].hovertext[0]
    marks = [shape for shape in figure.layout.shapes if shape.x0 == shape.x1 == 3]
    assert len(marks) == 1 + bool(label_kind)


def test_the_files_hold_every_number_once():
    found = make_similarity(6)
    table = figure_table(charts.matrix(found, "overlap", 1))
    assert len(table) == 49 and table["z"].sum() == pytest.approx(found.overlap.sum())
    assert len(figure_table(charts.along_depth(found))) == 6 + 6 + 7


def test_nothing_is_measured_before_it_is_asked_for(tiny):
    from app.shared.cache import measurements, pool

    app = open_layers(*tiny, n="85")
    assert "Compared are the nearest neighbors of every text" in said(app.caption)
    app.button(key="measure_similarity").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    app = opened(app)
    assert not app.exception and not app.error
    assert "changes the neighbors most" in said(app.markdown)
    (wanted,) = {job.wanted for job in measurements().pool.jobs("measure") if job.wanted.n_samples == 85}
    found = measurements().find_similarity(wanted)
    assert f"**{finding(found)}**" in [element.value for element in app.markdown]
    assert len(app.get("plotly_chart")) == 3
    app.session_state["matrix"] = "cka"
    app.run()
    assert not app.exception and app.query_params["matrix"] == "cka"


@pytest.mark.browser
def test_a_layer_chosen_in_one_figure_is_marked_in_all(dashboard, browser, tiny):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(LONG)
    page.goto(f"{dashboard.url}/?page=layers&model={tiny[0]}&data={tiny[1]}&n=63&estimators=twonn,mle")
    page.get_by_role("button", name="Measure the curve").click()
    page.get_by_role("button", name="Compare the layers").click(timeout=LONG)
    matrix = page.locator(".st-key-layer_matrix .js-plotly-plot")
    expect(matrix.locator(".shapelayer path")).to_have_count(2, timeout=LONG)

    def shows(layer: int) -> None:
        """The curve, the matrix's column and the figure along depth mark it, and nothing is being drawn any more."""
        page.wait_for_function(
            "layer => ['id_chart', 'layer_matrix', 'layer_depth'].every(key => (document.querySelector(`.st-key-${key} .js-plotly-plot`)"
            "?.layout?.shapes ?? []).some(s => s.yref?.endsWith('domain') && (s.x0 + s.x1) / 2 === layer))",
            arg=layer,
        )
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=LONG)

    shows(1)
    box = matrix.locator(".nsewdrag").bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.4 * box["height"])
    expect(page).to_have_url(re.compile(r"layer=3(&|$)"), timeout=LONG)
    shows(3)
    page.locator(".st-key-layer_depth .scatterlayer .points path.point").nth(1).click(force=True)
    expect(page).to_have_url(re.compile(r"layer=2(&|$)"), timeout=LONG)
    shows(2)
    page.close()
