"""A figure as every page shows it: drawn, said in words, with the line that tells how to read it and its numbers to take along.

Knows nothing of what is drawn.
"""

from collections.abc import Callable
from typing import Literal

import plotly.graph_objects as go
import streamlit as st

from app.charts.data import figure_table

# The browser itself makes the picture (SVG) out of what it shows.
CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


def show(
    figure: go.Figure,
    key: str,
    *,
    says: str,
    how_to_read: str | None = None,
    on_select: Callable[[], None] | Literal["ignore"] = "ignore",
) -> None:
    """Draw a figure under `key` (which also names its files), and beneath it how to read it and its numbers as CSV.

    says: what the figure shows in one sentence, for those who cannot see it. on_select: called when a point is clicked.
    """
    config = CONFIG | {"toImageButtonOptions": {"format": "svg", "filename": key}}
    if on_select == "ignore":
        st.plotly_chart(figure, key=key, config=config, alt=says)
    else:
        st.plotly_chart(figure, key=key, config=config, alt=says, on_select=on_select, selection_mode="points")
    with st.container(horizontal=True, vertical_alignment="top"):
        if how_to_read:
            st.caption(f"How to read it: {how_to_read}", width="stretch")
        st.download_button(
            "CSV",
            lambda: figure_table(figure).to_csv(index=False),
            f"{key}.csv",
            "text/csv",
            key=f"{key}_csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            help="The numbers of this figure. The picture itself: the camera over the figure.",
        )
