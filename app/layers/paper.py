"""The Layers page's curve for a paper: at a column's width, as SVG, with its numbers and the sentence for the methods section.

Draws with Streamlit; how a figure is printed is `app.charts.paper`'s.
"""

from collections.abc import Mapping

import streamlit as st

from app.charts.layers import id_by_layer
from app.charts.paper import WIDTHS_MM, for_paper, methods_sentence
from app.charts.words import with_our_tags_alone
from app.shared import figures
from app.shared.markdown import plain
from gelora.records import IdProfile, RankPlan


def section(profile: IdProfile, estimator: str, plans: Mapping[str, RankPlan]) -> None:
    """Folded; opened, the main curve as it will be printed, and what belongs beside it. Made when it is opened."""
    folded = st.expander("For a paper", icon=":material/article:", key="for_paper", on_change="rerun")
    if not folded.open:
        return
    with folded:
        width = st.segmented_control(
            "Width",
            list(WIDTHS_MM.values()),
            key="paper_width",
            default=84,
            required=True,
            format_func=lambda mm: f"{mm} mm",
            help=plain(", ".join(f"{mm} mm: {words}" for words, mm in WIDTHS_MM.items())),
        )
        figure = for_paper(id_by_layer(profile, estimator, plans, log=st.session_state["log"]), width or 84)
        with st.container(key="paper_sheet"):
            st.plotly_chart(
                with_our_tags_alone(figure),
                key="paper_figure",
                theme=None,  # its own ink on its own paper, whatever the page's theme
                width="content",
                config={"displaylogo": False, "staticPlot": False},
                alt=f"The curve as it is printed at {width} mm; its numbers are those of the figure above.",
            )
        figures.export_buttons(figure, "paper_figure", background=figure.layout.paper_bgcolor)
        st.caption("The SVG has this width at 96 pixels an inch, as browsers, Inkscape and LaTeX's svg package read it.")
        st.code(methods_sentence(profile, list(profile.estimates)), language=None, wrap_lines=True)
