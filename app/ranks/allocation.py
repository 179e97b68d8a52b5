"""Mounts the rank allocation: slider, ID curve, units and gauge in one component that redraws while the slider moves.

Owns the component, what it says back, and how Plotly comes to the browser; knows no rule: `data` holds every number.

Plotly travels as the payload of a second component, gzipped: plotly.min.js is 4.9 MB, its gzip 1.5 MB. Streamlit keeps a message
of that size in the tab and from then on sends its hash alone; what a rerun costs and sends is measured by
`benchmarks/rank_wall.py`. The other ways fall short: `app/static` needs a folder that can be written, and is wrong after an
update of Plotly; an installed component serves only files inside our own package, where Plotly's source is not ours to put;
the media store has no public way in and forgets its files with the server. The payload needs no file, no path and no network,
and is the same bytes after a restart.
"""

import gzip
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import streamlit as st
from plotly.offline import get_plotlyjs

from app.charts.look import GRID, OFFSET_COLOUR, REFERENCE_COLOUR, RISE_COLOUR, UNIT_EDGE
from gelora.errors import InputError

FRONTEND = Path(__file__).parents[1] / "frontend"
COLOURS = {"offset": OFFSET_COLOUR, "rise": RISE_COLOUR, "reference": REFERENCE_COLOUR, "grid": GRID, "edge": UNIT_EDGE}


class AllocationEdit(TypedDict):
    """A click on a rank unit: this block is to have this rank. `nonce` grows with every word of the browser."""

    block: int
    rank: int
    nonce: int


class AllocationAnswer(NamedTuple):
    """What the allocation says in this run: the offset that its slider was released at, and the unit that was clicked, if any."""

    offset: int
    edit: AllocationEdit | None


def rank_allocation(data: dict[str, Any], *, key: str, on_change: Callable[[AllocationAnswer], object] | None = None) -> AllocationAnswer:
    """Draw the allocation for `data` and answer what was done to it in this run.

    Args:
        data: blocks, curve, budget and bounds of the offset as plain JSON values; never changed.
        key: the component's key, unique on the page.
        on_change: called with the answer, before the page runs, when the slider was released or a unit was clicked. A server
            that was restarted under an open tab does not know it yet: the first word after that is in the returned answer alone.

    Returns:
        The offset released in this run, else `data["offset"]`; the edit clicked in this run, else None.

    Raises:
        InputError: the browser said something else than a whole offset between the bounds, or a block of `data` and a rank >= 0.
    """

    def told() -> None:
        said = st.session_state[key]
        for word in (said.get("offset"), said.get("edit")):
            if word is not None:
                st.session_state[f"{key}.last_message"] = _whole(word, "nonce")
        if on_change is not None:
            on_change(allocation_answer(data, said.get("offset"), said.get("edit")))

    # The number of the last word goes back, so that the browser knows which of its words this picture answers.
    shown = data | {"colours": COLOURS, "last_message": st.session_state.get(f"{key}.last_message")}
    with st.container(gap=None):
        said = _allocation()(key=key, data=shown, on_offset_change=told, on_edit_change=told)
        _loader()(key=f"{key}.plotly", data=_plotly_source())
    return allocation_answer(data, said.get("offset"), said.get("edit"))


def allocation_answer(data: dict[str, Any], offset: Any, edit: Any) -> AllocationAnswer:
    """What the browser said, checked against what it was shown.

    Args:
        data: as `rank_allocation` takes it.
        offset: None, or {"value": offset, "nonce": number of the word}.
        edit: None, or {"block": number, "rank": rank asked for, "nonce": number of the word}.

    Returns:
        The answer; without an offset that of `data`.

    Raises:
        InputError: no whole numbers, an offset out of bounds, an unknown block or a negative rank.
    """
    if offset is not None:
        chosen = _whole(offset, "value")
        highest = max(data["max_offset"], data["offset"])
        if not data["least_offset"] <= chosen <= highest:
            raise InputError(
                f"The rank allocation gave the offset {chosen}; it goes from {data['least_offset']} to {highest}: move the slider again."
            )
    else:
        chosen = data["offset"]
    if edit is None:
        return AllocationAnswer(chosen, None)
    block, rank = _whole(edit, "block"), _whole(edit, "rank")
    if block not in {b["block"] for b in data["blocks"]} or rank < 0:
        raise InputError(
            f"The rank allocation gave rank {rank} to block {block}; a rank is 0 or more and a block is one of the plan's: click again."
        )
    return AllocationAnswer(chosen, {"block": block, "rank": rank, "nonce": _whole(edit, "nonce")})


def _whole(word: Any, name: str) -> int:
    value = word.get(name) if isinstance(word, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value != int(value):
        raise InputError(f"The rank allocation answered {word!r}, in which {name!r} has to be a whole number: reload the page.")
    return int(value)


@cache
def _allocation() -> Any:
    return st.components.v2.component(
        "gelora_rank_allocation",
        css=(FRONTEND / "rank_allocation.css").read_text(),
        js=_script(
            "plotly_slot.js",
            "allocation_plan.js",
            "allocation_layout.js",
            "allocation_figure.js",
            "allocation_export.js",
            "rank_allocation.js",
        ),
        isolate_styles=False,  # Plotly writes its styles into the document, where a shadow root does not see them
    )


@cache
def _loader() -> Any:
    return st.components.v2.component("gelora_plotly", js=_script("plotly_slot.js", "plotly_loader.js"), isolate_styles=False)


def _script(*names: str) -> str:
    """One module of several files: a component's script can import nothing."""
    return "\n".join((FRONTEND / name).read_text() for name in names)


@cache
def _plotly_source() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), mtime=0)  # no date inside: the same bytes, and so the same hash, in every process
