"""A figure as every page shows it: drawn, said in words, with the line that tells how to read it, and what can be taken along.

Does not depend on what is drawn. The browser itself makes the pictures out of what it shows (`app/frontend/pictures.js`).
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go
import streamlit as st

from app.charts.data import figure_table
from app.charts.look import theme_template
from app.charts.words import with_our_tags_alone
from app.shared import components
from app.shared.markdown import md

CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
_FRONTEND = Path(__file__).parents[1] / "frontend"


def show(
    figure: go.Figure,
    key: str,
    *,
    says: str,
    how_to_read: str | None = None,
    on_select: Callable[[], None] | Literal["ignore"] = "ignore",
    height: Literal["content", "stretch"] = "content",
) -> None:
    """Draw a figure under `key` (which also names its files); beneath it how to read it, its numbers as CSV, itself as PNG and SVG.

    says: what the figure shows in one sentence, for those who cannot see it. on_select: called when a point is clicked.
    height: the figure's own, or what the page gives it.
    """
    figure = with_our_tags_alone(figure)
    # Streamlit's own theme for charts has words in a grey that is too pale on white.
    figure.update_layout(template=_template(st.context.theme.type or "light"))
    config = CONFIG | {"toImageButtonOptions": {"format": "svg", "filename": key}}
    if on_select == "ignore":
        st.plotly_chart(figure, key=key, config=config, alt=says, height=height, theme=None)
    else:
        st.plotly_chart(figure, key=key, config=config, alt=says, height=height, theme=None, on_select=on_select, selection_mode="points")
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        if how_to_read:
            st.caption(md("How to read it: {}", how_to_read), width="stretch")
        export_buttons(figure, key)


@cache
def _template(theme: str) -> go.layout.Template:
    ink, ground, accent = (st.get_option(f"theme.{theme}.{name}") for name in ("textColor", "backgroundColor", "linkColor"))
    return theme_template(ink or "#000000", ground or "#ffffff", accent or "#000000")


def export_buttons(figure: go.Figure, key: str, background: str | None = None) -> None:
    """Buttons for the figure's numbers (a table that is made when it is asked for) and for the picture.

    background: the picture's, the page's own unless given. A figure with a width of its own keeps it in the picture.
    """
    with st.container(horizontal=True, gap="xxsmall", width="content", vertical_alignment="center"):
        st.download_button(
            "CSV",
            lambda: components.as_csv(figure_table(figure)),
            f"{key}.csv",
            "text/csv",
            key=f"{key}_csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            help="The numbers of this figure; beside it, the figure itself.",
        )
        size = {"width": figure.layout.width, "height": figure.layout.height} if figure.layout.width else {}
        chart = re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())  # as Streamlit writes a key into a class
        _pictures()(
            key=f"{key}_pictures",
            data={"chart": chart, "name": key, "background": background, "size": size},
            width="content",
            height="content",
        )


@cache
def _pictures() -> Any:
    css, script = ((_FRONTEND / f"pictures.{kind}").read_text() for kind in ("css", "js"))
    return st.components.v2.component("gelora_pictures", css=css, js=script, isolate_styles=False)
