"""What stands on every page: the sidebar with model, data, sample and pooling, and the row of stations.

Draws with Streamlit; what was measured it asks of `app.measuring`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import components, measuring, state
from app.cache import dataset_info
from gelora.errors import GeloraError
from gelora.records import POOLINGS, DataChoice
from gelora.runs import list_runs
from gelora.sources import FILE_ENDINGS, DatasetInfo, bundled_datasets, bundled_models

POOLING_WORDS = {
    "mean": "mean of all tokens",
    "cls": "first token",
    "last": "last token",
    "tokens": "single tokens",
}


def draw(current: str) -> None:
    """The sidebar with model, data, sample and pooling, and the row of stations over the page."""
    with st.sidebar:
        st.markdown("### Model and data")
        _model_chooser()
        _data_chooser()
        _sample_choices()
        measuring.measure_button()
        st.caption(_machine_sentence())
    _stations(current)


def _model_chooser() -> None:
    bundled = [entry.model_id for entry in bundled_models()]
    help_text = "The bundled model works offline. Type a hub id (such as FacebookAI/roberta-base) or the path of a local folder."
    _chooser("Model", "model", bundled, help_text)


def _chooser(title: str, key: str, bundled: list[str], help_text: str, on_change: Callable[[], None] | None = None) -> None:
    """Bundled names first, then what this tab has chosen before; anything else can be typed."""
    options = list(dict.fromkeys([*bundled, *_recent(key), st.session_state[key]]))
    st.selectbox(title, options, key=key, accept_new_options=True, on_change=on_change, help=help_text)
    st.session_state[f"_recent_{key}"] = list(dict.fromkeys([*_recent(key), st.session_state[key]]))[-8:]


def _recent(key: str) -> list[str]:
    return list(st.session_state.get(f"_recent_{key}", []))


def _data_chooser() -> None:
    bundled = [entry.dataset for entry in bundled_datasets()]
    help_text = "The bundled sentences work offline. Type the path of a .jsonl, .csv or .parquet file, or a hub dataset id."
    _chooser("Data", "data", bundled, help_text, _forget_columns)
    if st.session_state["data"] in bundled:
        return
    with st.expander("Columns and split"):
        is_file = Path(st.session_state["data"]).suffix in FILE_ENDINGS
        if not is_file:
            st.text_input("Configuration", key="config", help="Such as sst2 of nyu-mll/glue; empty for the default.")
            st.text_input("Split", key="split", help="Empty for train.")
        try:
            info = dataset_info(
                DataChoice(st.session_state["data"], st.session_state["config"] or None, st.session_state["split"] or None).to_json()
            )
        except GeloraError as error:
            st.error(str(error))
            return
        _column_choice("Text", "text", info, info.text_column, may_be_none=False)
        _column_choice("Second text", "pair", info, info.pair_column, may_be_none=True)
        _column_choice("Label", "label", info, info.label_column, may_be_none=True)
        st.caption(f"{info.n_rows:,} rows" if info.n_rows is not None else "")


def _column_choice(title: str, key: str, info: DatasetInfo, detected: str | None, may_be_none: bool) -> None:
    options = ["", *([state.NO_COLUMN] if may_be_none else []), *info.columns]
    if st.session_state[key] not in options:
        options.append(st.session_state[key])
    st.selectbox(title, options, key=key, format_func=lambda name: name or f"as detected: {detected or 'none'}")


def _forget_columns() -> None:
    for key in ("config", "split", "text", "pair", "label"):
        st.session_state[key] = ""


def _sample_choices() -> None:
    sizes = sorted({*state.N_SAMPLES, st.session_state["n"]})
    lengths = sorted({*state.MAX_LENGTHS, st.session_state["length"]})
    st.select_slider("Sample (texts)", sizes, key="n")
    st.selectbox(
        "Pooling", POOLINGS, key="pooling", format_func=POOLING_WORDS.__getitem__, help="Pooling changes ranks more than rounding does."
    )
    with st.expander("More about the sample"):
        st.number_input("Seed", min_value=0, max_value=2**31, key="seed")
        st.select_slider("Tokens per text, at most", lengths, key="length")
        st.toggle("Distinct texts only", key="distinct", help="Near duplicates ruin an estimate; leave this on unless you study that.")


def _machine_sentence() -> str:
    torch = sys.modules.get("torch")  # never import it on the page's first paint
    if torch is None or not hasattr(torch, "cuda"):
        device = f"{os.cpu_count()} CPU cores"
    elif torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    else:
        device = f"CPU, {os.cpu_count()} cores"
    return f"{device} · the bundled model and data need no network"


def _stations(current: str) -> None:
    profile = measuring.current_profile()
    runs = list_runs()
    run = "running" if any(run.is_live for run in runs) else "done" if any(run.status == "finished" for run in runs) else "empty"
    dimension = "running" if measuring.is_measuring() else "done" if profile else "stale" if measuring.shown_profile()[0] else "empty"
    marks = {"done": "✓", "stale": "◌", "running": "▸", "empty": "○"}
    stations = [
        ("layers", "Dimension", dimension),
        ("ranks", "Ranks", "done" if profile else "stale" if measuring.shown_profile()[0] else "empty"),
        ("finetune", "Run", run),
        ("runs", "Compare", "done" if len(runs) > 1 else "empty"),
    ]
    with st.container(horizontal=True, gap="small", key="stations"):
        for page, title, mark in stations:
            label = f"{marks[mark]} {title} · {mark}"
            st.page_link(components.page_path(page), label=f"**{label}**" if page == current else label)
