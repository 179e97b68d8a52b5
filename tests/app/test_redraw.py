"""A page that is drawn again: no click is lost, and what comes and goes moves nothing else."""

import ast
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from test_pages import open_app

from app.shared import components, pipeline

ROOT = Path(__file__).resolve().parents[2]


def test_a_click_is_heard_though_a_fragment_before_the_button_has_news():
    def page():
        import streamlit as st

        from app.shared.redraw import redraw_page

        @st.fragment(run_every=60)
        def news():
            redraw_page()

        news()
        if st.button("Go", key="go"):
            st.markdown("heard")

    app = AppTest.from_function(page).run()
    app.button(key="go").click().run()
    assert [text.value for text in app.markdown] == ["heard"]


def test_no_fragment_draws_the_page_again_by_itself():
    """Buttons in a fragment may, after their click; before it, or without one, a rerun could swallow the click of another."""
    ticking = []
    for path in (*(ROOT / "app").rglob("*.py"), *(ROOT / "pages").glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any("fragment" in ast.unparse(d) for d in function.decorator_list):
                ticking.append(function.name)
                assert "st.rerun" not in ast.unparse(function), f"{path.name}: {function.name} has to say redraw_page()"
    assert len(ticking) > 10


@pytest.mark.parametrize("name", components.PAGES)
def test_the_stations_move_nothing_when_something_begins_or_ends(bundled_sentences, monkeypatch, name):
    def places(moving: bool) -> list[tuple[int, str]]:
        monkeypatch.setattr(pipeline, "is_moving", lambda found: moving)
        app = open_app(name, n="150", seed="77")
        assert not app.exception
        return [(place, node.type) for place, node in app.main.children.items()]

    assert places(moving=True) == places(moving=False)
