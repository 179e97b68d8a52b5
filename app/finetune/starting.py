"""Start: each run of the form once. What is under way already is led to, and started again where a repeat is asked for.

Draws with Streamlit; which runs they are `app.finetune.form` says, and what they will do `app.finetune.intention`.
"""

from collections.abc import Sequence

import streamlit as st

from app import state
from app.finetune.form import Form
from app.shared.markdown import plain
from app.shared.press_once import press_once
from app.shared.redraw import in_place
from app.shared.run_words import count
from gelora.errors import GeloraError, RunUnderWay
from gelora.records import RunSpec
from gelora.runs import RunInfo, run_under_way, start_run


def draw(specs: Sequence[RunSpec], filled: Form, can_start: bool, is_pressed: bool, runs: Sequence[RunInfo]) -> None:
    """What is under way already, and the button; is_pressed: it was, before this run; runs: all of them, newest first."""
    there = [run for spec in specs if (run := run_under_way(spec, runs)) is not None]
    repeat = _under_way(there, len(specs))
    n = len(specs) if repeat else len(specs) - len(there)
    words = "Start" if len(specs) == 1 else f"Start {count(n, 'run')}"
    disabled = not can_start or not n
    st.button(
        plain(words), type="primary", width="stretch", key="start_run", icon=":material/play_arrow:", disabled=disabled, on_click=_press
    )
    if is_pressed and can_start:
        _start(specs, filled, repeat)
    press_once("start_run")


def was_pressed() -> bool:
    """Whether Start was pressed before this run of the page, once; also a button that another tab's run has disabled meanwhile."""
    return bool(st.session_state.pop("_start_pressed", False))


def _press() -> None:
    st.session_state["_start_pressed"] = True


@in_place
def _under_way(there: Sequence[RunInfo], n_specs: int) -> bool:
    """Which of the form's runs are under way, with the way to one; whether they are to be started all the same."""
    if not there:
        return False
    first = there[0]
    said = f"Run {first.id} is {first.state.status}"
    st.caption(plain(f"{said} and trains exactly this." if n_specs == 1 else f"Of these {n_specs}, {len(there)} are under way. {said}."))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Open it", key="open_equal", on_click=state.choose, args=("run", first.id), icon=":material/open_in_new:")
        return st.toggle("Repeat", key="train_repeat", help="Starts the same once more, beside what is under way.")


def _start(specs: Sequence[RunSpec], filled: Form, repeat: bool) -> None:
    """Queue all of them in order; what was queued before an error stays."""
    started: list[str] = []
    there: list[str] = []
    try:
        with st.spinner("Starting the run's process ..." if len(specs) == 1 else plain(f"Queueing {len(specs)} runs ...")):
            for spec in specs:
                try:
                    started.append(start_run(spec, filled.runs_at_once, filled.report_to, repeat))
                except RunUnderWay as equal:
                    there.append(equal.run_id)
    except GeloraError as error:
        done = f" {count(len(started), 'run')} of {len(specs)} started." if len(specs) > 1 else ""
        st.error(plain(f"{error}{done}"), icon=":material/error:")
        if not started:
            return
    state.choose("run", (started or there)[0])
    st.session_state["_found_under_way"] = there
    st.session_state.pop("_form_open", None)
    st.rerun()


@in_place
def found_under_way() -> None:
    """What the last press of Start did not start a second time, said while one of these runs is looked at."""
    there = st.session_state.get("_found_under_way", [])
    if st.session_state["run"] in there:
        verb = "was" if len(there) == 1 else "were"
        st.info(
            plain(f"{', '.join(there)} {verb} under way already, so nothing was started a second time. To train the same once more, "
            "open A new run and turn on Repeat."), icon=":material/info:",
        )  # fmt: skip
