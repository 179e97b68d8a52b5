"""Buttons that start something hear one press: the browser disables them at the press, until the page is drawn again.

Does not depend on what is started, nor does it promise anything: two tabs have two buttons, and `start_run` decides.
"""

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_SCRIPT = Path(__file__).parents[1] / "frontend" / "press_once.js"
_drawn = itertools.count()


def press_once(key: str) -> None:
    """Called after the button of this key was drawn and its press, if any, was carried out: it can be pressed again from here on."""
    _guard()(key=f"{key}_once", data={"button": key, "drawn": next(_drawn)}, height="content")


@cache
def _guard() -> Any:
    return st.components.v2.component("gelora_press_once", js=_SCRIPT.read_text(), isolate_styles=False)
