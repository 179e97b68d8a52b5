"""A card of the Theory page: heading, paragraph, formula, what moves, a question with its folded answer, the source.

Draws the layout; the words are in `app.theory.texts`, what moves on it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app import state
from app.shared.markdown import Markdown, md, plain
from gelora.errors import GeloraError


@dataclass(frozen=True)
class Words:
    """What a card says; paragraph, question, answer and source are Markdown, formulas are KaTeX, one a line."""

    title: str
    paragraph: str
    formulas: tuple[str, ...]
    question: str
    answer: str
    source: str


@st.fragment
def draw(number: int, key: str, words: Words, body: Callable[[], None]) -> None:
    """One card as a fragment of its own, so that its controls redraw nothing else; an error ends the card alone."""
    with st.container(border=True, key=f"card_{key}"):
        st.subheader(plain(f"{number} · {words.title}"), anchor=key)
        st.markdown(Markdown(words.paragraph))
        for formula in words.formulas:
            st.latex(formula)
        try:
            body()
        except GeloraError as error:
            st.error(plain(error), icon=":material/error:")
        st.markdown(md("**To the class:** {}", Markdown(words.question)))
        with st.expander("Answer"):
            st.markdown(Markdown(words.answer))
        st.caption(md("Source: {}", Markdown(words.source)))
    state.publish()  # a fragment's choices are in the URL too
