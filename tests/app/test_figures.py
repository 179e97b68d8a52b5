"""Every figure of every page is drawn by `app.shared.figures.show`: with words, numbers and pictures to take along."""

import ast
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
# The one picture that is not the page's: as it will be printed, in its own ink on its own paper.
PRINTED = ROOT / "app" / "layers" / "paper.py"
FILES = sorted(file for folder in ("app", "pages") for file in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_figures_py_draws_a_plotly_chart(file):
    if file in (ROOT / "app" / "shared" / "figures.py", PRINTED):
        return
    names = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
    assert not [node.lineno for node in names if node.attr == "plotly_chart"], "use app.figures.show"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_figure_says_what_it_shows(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "figures.show":
            assert "says" in [keyword.arg for keyword in node.keywords], f"{file.name}:{node.lineno}"


def page() -> None:
    import plotly.graph_objects as go

    from app.shared import figures

    figures.show(go.Figure(go.Scatter(x=[1], y=[2], name="a")), "one", says="One point at 1 and 2.", how_to_read="left is less.")


def test_a_figure_has_its_words_and_its_numbers_beside_it():
    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.caption[0].value == "How to read it: left is less."
    (chart,) = app.get("plotly_chart")
    assert chart.proto.alt == "One point at 1 and 2."
    assert [button.label for button in app.get("download_button")] == ["CSV"]
