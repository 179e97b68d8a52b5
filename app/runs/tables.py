"""The table of all runs: which are shown, which are ticked, what is done with the ticked ones.

Draws with Streamlit; what is compared about them is in `app.runs.compare`.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import state
from app.shared import components, repeat_run, run_parts
from app.shared.markdown import plain
from app.shared.redraw import in_place
from app.shared.run_words import STATUS_ICONS, TASK_WORDS, count, main_metric, metric_word, short_path, size
from gelora.runs import METHOD_WORDS, RunInfo, RunNotes, delete_run, resume_run, set_notes

_KEEP: dict[str, Any] = {"persist_state": "session"}
_FILTERS: dict[str, Callable[[RunInfo], str | None]] = {
    "state": lambda run: run.state.status,
    "model": lambda run: run.model,
    "data": lambda run: run.dataset,
    "method": lambda run: run.method,
    "task": lambda run: run.state.task,
}
_ROW, _HEAD = 35, 38  # pixels of the table


def filtered(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """The runs that the filters leave; a filter is drawn only where it can tell runs apart."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Find", key="runs_text", placeholder="name, tag, id, model, data ...", width=230, **_KEEP).strip().lower()
        kept = [run for run in runs if text in _words_of(run)]
        for title, value_of in _FILTERS.items():
            options = sorted({str(value_of(run) or "?") for run in runs})
            if len(options) < 2:
                continue
            key = f"runs_{title}"
            st.session_state[key] = [name for name in st.session_state.get(key, []) if name in options]
            chosen = st.multiselect(plain(title.capitalize()), options, key=key, placeholder="all", width=190, format_func=_short, **_KEEP)
            kept = [run for run in kept if not chosen or str(value_of(run) or "?") in chosen]
    return kept


def _words_of(run: RunInfo) -> str:
    of_state = (run.state.status, run.state.task, run.state.reason)
    words = (run.id, run.model, run.dataset, run.method, run.strategy, *of_state, *run.notes.words)
    return " ".join(map(str, words)).lower()


def _short(name: str) -> str:
    return METHOD_WORDS.get(name) or TASK_WORDS.get(name) or short_path(name)


def rows_of(runs: Sequence[RunInfo]) -> pd.DataFrame:
    """One row a run."""
    return pd.DataFrame([_row(run) for run in runs])


def _row(run: RunInfo) -> dict[str, object]:
    metric = main_metric(run)
    place = f" (place {run.state.queue_place})" if run.state.status == "queued" and run.state.queue_place else ""
    return {
        "state": f"{STATUS_ICONS[run.state.status]} {run.state.status}{place}",
        "name": run.notes.name,
        "method": METHOD_WORDS.get(run.method, run.method),
        "strategy": run.strategy or "",
        "parameters": run.state.n_adapter_params,
        "score": run.state.metrics.get(metric),
        "metric": metric_word(metric),
        "loss": run.state.metrics.get("loss"),
        "seed": run.spec.seed if run.spec else None,
        "step": f"{run.state.step}/{run.state.total_steps or '?'}",
        "data": _short(run.dataset),
        "model": _short(run.model),
        "task": TASK_WORDS.get(run.state.task or "", ""),
        "started (UTC)": (run.state.started_at or "")[:19].replace("T", " "),
        "reason": run.state.reason or "",
        "tags": ", ".join(run.notes.tags),
        "run": run.id,
    }


def table(runs: Sequence[RunInfo]) -> list[RunInfo]:
    """The table; returns the ticked runs. Ticks stay with their runs when others come or go."""
    ids = [run.id for run in runs]
    ticked = [run_id for run_id in st.session_state.get("_ticked", []) if run_id in ids]
    buttons = st.container(horizontal=True, vertical_alignment="center")
    frame = rows_of(runs)
    frame = frame.drop(columns=[name for name in ("name", "tags") if not frame[name].any()])
    # A table knows its ticks by row number: with other rows it is another table, that starts with the same runs ticked.
    turn = st.session_state.get("_tick_turn", 0)
    key = f"runs_table_{turn}_{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:8]}"
    answer = st.dataframe(
        frame, key=key, hide_index=True, on_select="rerun", selection_mode="multi-row", placeholder="–",
        height=_HEAD + _ROW * min(max(len(ids), 1), 12),
        selection_default={"selection": {"rows": [ids.index(run_id) for run_id in ticked], "columns": [], "cells": []}},
        column_config={
            "score": st.column_config.NumberColumn(format="%.4f"), "loss": st.column_config.NumberColumn(format="%.4f"),
            "parameters": st.column_config.NumberColumn(format="localized"), "reason": st.column_config.TextColumn(width="medium"),
        },
    )  # fmt: skip
    chosen = [i for i in answer.selection.rows if i < len(ids)]
    hidden = [run_id for run_id in st.session_state.get("_ticked", []) if run_id not in ids]
    st.session_state["_ticked"] = [*hidden, *(ids[i] for i in chosen)]
    with buttons:
        if st.button("Tick all", key="tick_all", disabled=len(chosen) == len(ids)):
            _tick(ids)
        if st.button("Untick", key="tick_none", disabled=not chosen):
            _tick([])
        st.download_button("Table as CSV", components.as_csv(frame), "runs.csv", "text/csv", icon=":material/download:", on_click="ignore")
        st.caption(plain(f"{count(len(runs), 'run')} shown, {len(chosen)} ticked. Click a column's head to sort."))
    return [runs[i] for i in chosen]


def _tick(ids: list[str]) -> None:
    st.session_state["_ticked"] = ids
    st.session_state["_tick_turn"] = st.session_state.get("_tick_turn", 0) + 1
    st.rerun()


@in_place
def actions(chosen: Sequence[RunInfo]) -> None:
    """Open, repeat, resume, take away, delete."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(chosen) == 1:
            run = chosen[0]
            if st.button("Open on Fine-tune", key="open_run", type="primary", icon=":material/open_in_new:"):
                state.choose("run", run.id)
                st.switch_page(components.page_path("finetune"))
            spec = run.spec
            if spec is not None and st.button(
                "Repeat with changes", key="repeat_run", icon=":material/edit:", on_click=repeat_run.fill, args=(run.id, spec)
            ):
                st.switch_page(components.page_path("finetune"))
            run_parts.adapter_download(run)
        resumable = [run for run in chosen if run.can_resume]
        if resumable and st.button(plain(f"Resume {count(len(resumable), 'run')}"), key="resume_runs", icon=":material/resume:"):
            with components.errors_as_sentences(), st.spinner("Resuming ..."):
                for run in resumable:
                    resume_run(run.id)
            st.rerun()
        ended = [run for run in chosen if not run.is_live]
        if ended and st.button(plain(f"Delete {count(len(ended), 'run')}"), key="delete_runs", icon=":material/delete:"):
            st.session_state["_delete"] = [run.id for run in ended]
    if len(chosen) == 1:
        _notes(chosen[0])
    _confirm_deletion(chosen)


def _notes(run: RunInfo) -> None:
    """Name, notes and tags of the ticked run, to be read and changed."""
    title = f"Name and notes: {run.notes.name}" if run.notes.name else "Name and notes"
    with st.expander(plain(title)), st.form(f"notes_{run.id}", border=False):
        with st.container(horizontal=True):
            name = st.text_input("Name", run.notes.name, key=f"name_{run.id}", max_chars=120)
            tags = st.text_input("Tags", ", ".join(run.notes.tags), key=f"tags_{run.id}", placeholder="baseline, for the paper")
        text = st.text_area("Notes", run.notes.text, key=f"text_{run.id}", max_chars=20_000)
        if st.form_submit_button("Keep", icon=":material/save:"):
            with components.errors_as_sentences():
                set_notes(run.id, RunNotes(name, text).with_tags(tags))
            st.rerun()


def _confirm_deletion(chosen: Sequence[RunInfo]) -> None:
    doomed = [run for run in chosen if run.id in st.session_state.get("_delete", [])]
    if not doomed:
        st.session_state.pop("_delete", None)
        return
    n_bytes = sum(_bytes_in(run.folder) for run in doomed)
    adapters = sum(any((run.folder / "adapter").glob("*")) for run in doomed)
    st.warning(
        plain(
            f"This removes {count(len(doomed), 'run')} for good: metrics, log, checkpoints and {count(adapters, 'adapter')}, "
            f"{size(n_bytes)} in all. "
            f"{', '.join(run.id for run in doomed)}"
        ),
        icon=":material/delete:",
    )
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary", key="delete_confirmed"):
            with components.errors_as_sentences():
                for run in doomed:
                    delete_run(run.id)
            st.session_state.pop("_delete", None)
            st.rerun()
        if st.button("Keep them", key="delete_kept"):
            st.session_state.pop("_delete", None)
            st.rerun()


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue  # gone since the folder was listed
    return total
