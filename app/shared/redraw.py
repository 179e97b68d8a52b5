"""How a page is drawn again: the one way to poll, and what is owed to the hand that is on it: parts keep their places, no click is lost.

Does not depend on what is drawn.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

P = ParamSpec("P")
R = TypeVar("R")


def in_place(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw a part in one container, however much it draws from run to run, so that it moves nothing else on the page.

    Streamlit knows an element by its position. What moves is built again: until the run ends the page shows the old elements
    beside the new ones, and a click on an old one, or a word typed into it, is lost.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with st.container():
            return draw(*args, **kwargs)

    return drawn


def redraw_page() -> None:
    """Called in a fragment that found news: the page is drawn again, from a tick of the fragment alone.

    While the whole page is being drawn it returns, and the next tick does it: a rerun in the middle would end the run that
    brings a click before the button is reached, and the click would be lost.
    """
    context = get_script_run_ctx()
    if context is not None and context.fragment_ids_this_run:
        st.rerun(scope="app")


def poll(every: float, look: Callable[[], object], seen: object, draw: Callable[[], object] = lambda: None) -> None:
    """Draw a part now and every so many seconds; once what is looked at differs from what was seen, draw the page.

    Call it only while something is under way: a page that is drawn without this call polls no more.

    Args:
        every: seconds between two looks.
        look: what the page depends on, as it is now: whether work is over, how many results there are. Asked at every tick.
        seen: its value in the page as it stands, taken before the page read what it draws, so that nothing in between is missed.
        draw: draws the part; it may find the work over, until the page is drawn.
    """

    @st.fragment(run_every=every)
    def tick() -> None:
        if look() != seen:
            redraw_page()
        draw()

    tick()
