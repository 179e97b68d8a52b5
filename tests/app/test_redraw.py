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


def test_a_poll_draws_the_page_once_what_is_looked_at_is_not_as_it_was_seen():
    def page():
        import streamlit as st

        from app.shared.redraw import poll

        st.session_state.setdefault("runs", 0)
        st.session_state["runs"] += 1
        poll(60, lambda: st.session_state["runs"], 1, lambda: st.markdown(f"part in run {st.session_state['runs']}"))

    app = AppTest.from_function(page).run()
    assert [text.value for text in app.markdown] == ["part in run 1"]
    app.run()  # the page's own run, which news never cut short
    assert [text.value for text in app.markdown] == ["part in run 2"]


def test_no_part_that_is_polled_draws_the_page_again_by_itself():
    """Buttons in a fragment may, after their click; before it, or without one, a rerun could swallow the click of another."""
    polled = 0
    for path in (*(ROOT / "app").rglob("*.py"), *(ROOT / "pages").glob("*.py")):
        tree = ast.parse(path.read_text())
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for name, function in functions.items():
            if any("fragment" in ast.unparse(decorator) for decorator in function.decorator_list):
                assert "st.rerun" not in ast.unparse(function), f"{path.name}: {name} has to say redraw_page()"
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "poll":
                polled += 1
                named = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)} & functions.keys()
                for name in named:
                    assert "st.rerun" not in ast.unparse(functions[name]), f"{path.name}: {name} is polled; poll draws the page"
    assert polled > 9


@pytest.mark.parametrize("name", components.PAGES)
def test_the_stations_move_nothing_when_something_begins_or_ends(bundled_sentences, monkeypatch, name):
    def places(moving: bool) -> list[tuple[int, str]]:
        monkeypatch.setattr(pipeline, "is_moving", lambda found: moving)
        app = open_app(name, n="150", seed="77")
        assert not app.exception
        return [(place, node.type) for place, node in app.main.children.items()]

    assert places(moving=True) == places(moving=False)
