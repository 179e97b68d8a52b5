"""The Runs page: every run in a table; tick some to see their metrics and settings beside each other."""

import streamlit as st

from app.runs import compare, tables
from app.shared import components
from app.shared.redraw import poll
from gelora.runs import RunInfo, list_runs


def signature(runs: list[RunInfo]) -> list[tuple[object, ...]]:
    """What of the runs makes the page another: which there are and how they stand; not every step."""
    return [
        (run.id, run.state.status, run.state.queue_place, run.state.attempts, run.state.main_metric in run.state.metrics) for run in runs
    ]


st.title("Runs")
runs = list_runs()
poll(3.0, lambda: signature(list_runs()), signature(runs))  # runs come, go and change here or elsewhere
if not runs:
    st.info("No runs yet. Choose an offset on Ranks and start one on Fine-tune.")
    st.page_link(components.page_path("finetune"), label="To Fine-tune", icon=components.ICONS["finetune"])
    st.stop()

shown = tables.filtered(runs)
if not shown:
    st.info("No run passes these filters; clear some.")
    st.stop()
chosen = tables.table(shown)
with st.container():  # what is ticked moves nothing under it
    if chosen:
        tables.actions(chosen)
        compare.overlay(chosen)
        compare.settings(chosen)
    else:
        st.caption("Tick rows to overlay their metrics, compare their settings, open, repeat, resume or delete them.")
compare.against_parameters(shown)
compare.drift(shown, chosen)
