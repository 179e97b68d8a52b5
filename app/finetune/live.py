"""The live view of one run: which one, when it is read again, and where its parts stand.

Holds nothing: a reload, a second tab or a restarted server shows the same, because the truth is on disk.
"""

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.finetune.live_geometry import geometry, is_measured
from app.shared import race_parts, run_parts
from app.shared.markdown import plain
from app.shared.redraw import in_place, poll, redraw_page
from gelora.errors import GeloraError
from gelora.runs import RunInfo, list_runs


@in_place
def chosen_run(runs: list[RunInfo]) -> str | None:
    """The run in the URL if it exists, else the one under way, else the next in the queue, else None."""
    wanted = st.session_state["run"]
    if wanted and any(run.id == wanted for run in runs):
        return str(wanted)
    if wanted:
        st.warning(plain(f"There is no run {wanted!r} any more."))
        state.choose("run", "")
    alive = sorted((run for run in runs if run.is_live), key=lambda run: (run.state.status != "running", run.state.queue_place or 0))
    if alive:
        state.choose("run", alive[0].id)
        return alive[0].id
    return None


def follow(run_id: str) -> None:
    """The run as it is now, and again every second while it lives.

    Alive, paused or ended, its parts stand in the same place, so that one state of it leaves nothing of another behind.
    """
    run = run_parts.read(run_id)
    if run is None:
        return
    switch, body, beside = st.container(), st.container(), st.container()
    paused = run.is_live and switch.toggle("Pause view", key="pause_view", help="The run goes on; the charts keep your zoom.")
    with body:
        if run.is_live and not paused:
            poll(1.0, lambda: _is_followed(run_id), True, lambda: _draw_anew(run_id))
        else:
            _still(run_id)
    with beside:
        # the other runs under way, whatever has become of the one that is looked at
        poll(2.0, lambda: None, None, lambda: run_parts.others(run_id, list_runs()))


def _is_chosen(run_id: str) -> bool:
    """Whether no other run was chosen, in a fragment, since the page was drawn."""
    return st.session_state["run"] in ("", run_id)


def _is_followed(run_id: str) -> bool:
    run = run_parts.read(run_id)
    return _is_chosen(run_id) and run is not None and run.is_live


@st.fragment
def _still(run_id: str) -> None:
    if not _is_chosen(run_id):
        redraw_page()
    _draw_anew(run_id)


def _draw_anew(run_id: str) -> None:
    run = run_parts.read(run_id)
    if run is not None:
        _draw(run)


def _draw(run: RunInfo) -> None:
    """Every part in a container of its own, so that one that comes or goes moves no other."""
    runs = list_runs()
    head, numbers, ends, buttons = st.container(), st.container(), st.container(), st.container()
    middle, below, texts = st.container(), st.container(), st.container()
    is_race = run.spec is not None and run.spec.race is not None
    left, right = middle.columns(2, gap="large") if is_race or is_measured(run) else (middle.container(), middle.container())
    _part(head, run_parts.heading, run, runs)
    _part(numbers, run_parts.status_line, run)
    if not run.is_live:
        _part(ends, run_parts.result, run)
    _part(buttons, run_parts.controls, run)
    if is_race:
        _part(left, race_parts.curves, run)
        _part(right, race_parts.differences, run)
    else:
        _part(left, run_parts.curves, run, runs)
        _part(right, geometry, run)
        _part(below, run_parts.examples, run)
    _part(texts, run_parts.log, run)
    _part(texts, run_parts.origin, run)


def _part(place: DeltaGenerator, draw: Callable[..., None], *what: object) -> None:
    """One part in its place; what is damaged is said there, and the other parts are drawn."""
    with place:
        try:
            draw(*what)
        except GeloraError as error:
            st.error(plain(error), icon=":material/error:")
