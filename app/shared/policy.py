"""What a page may load, said to the browser: nothing from elsewhere (`app/frontend/policy.js`)."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_SCRIPT = Path(__file__).parents[1] / "frontend" / "policy.js"


def load_nothing_from_elsewhere() -> None:
    """Holds in a tab from its first drawing on, on every page; a second wall behind `app.shared.markdown`."""
    _policy()(key="policy", height="content")


@cache
def _policy() -> Any:
    return st.components.v2.component("gelora_policy", js=_SCRIPT.read_text(), isolate_styles=False)
