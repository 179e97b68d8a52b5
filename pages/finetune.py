"""The Fine-tune page: what will be trained and what it costs; Start; then the run's live metrics."""

import streamlit as st

from app import state
from app.finetune import form, intention, live, starting, task
from app.shared import components, pipeline, run_parts
from app.shared.markdown import plain
from gelora.errors import GeloraError
from gelora.runs import RunInfo, keep_ready, list_runs


def new_run(runs: list[RunInfo]) -> None:
    """The form beside what will happen; Start. What cannot be started says why, and the rest of the page goes on."""
    is_pressed = starting.was_pressed()
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        form_place, task_place = st.container(), st.container()
        with task_place:
            chosen = task.draw()
        with form_place:
            filled = form.draw()
    with right:
        said, start_place = st.container(), st.container()
    if chosen is None:
        return
    with said:
        st.markdown(plain(chosen.sentence))
        for reason in chosen.reasons:
            st.caption(plain(reason))
        try:
            specs = form.specs_of(filled, chosen)
            can_start = intention.draw(specs, chosen, filled.runs_at_once)
            if can_start:
                keep_ready()  # while the person looks at what Start will do
        except GeloraError as error:
            st.info(plain(error), icon=":material/info:")
            return
    with start_place:  # however many sentences stand over it
        starting.draw(specs, filled, can_start, is_pressed, runs)


st.title("Fine-tune")
runs = list_runs()
run_id = live.chosen_run(runs)
starting.found_under_way()
form_place = st.container()
if run_id is None:
    goes_on = "it goes on when this tab or the dashboard is closed, and this page finds it again"
    if runs:
        st.info(plain(f"No run is under way: {pipeline.stations()[-1].words}. Start one above: {goes_on}; or open one on Runs."))
        st.page_link(components.page_path("runs"), label="Open Runs", icon=components.ICONS["runs"], query_params=state.as_query())
    else:
        st.info(plain(f"No run yet. Start one above: {goes_on}."))
    run_parts.others(None, runs)
else:
    live.follow(run_id)  # before the form, whose data may take a while to read
with form_place, st.expander("A new run", expanded=run_id is None or "_form_open" in st.session_state, icon=":material/tune:"):
    new_run(runs)
