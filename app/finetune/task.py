"""What a run learns, as the Fine-tune page asks it: task and columns as proposed and changeable, presets, held-out rows.

Draws with Streamlit; the proposal is `gelora.tasks`'.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import state
from app.shared import data_preview
from app.shared.markdown import md, plain
from app.shared.repeat_run import held_out_words
from app.shared.run_words import TASK_WORDS
from gelora.errors import GeloraError
from gelora.measurements import IdentityCache
from gelora.records import TASK_KINDS, DataChoice
from gelora.sources import READABLE, Table, labelled_rows, names_a_file
from gelora.tasks import PRESETS, Proposal, apply_preset, propose_for

_KEEP: dict[str, Any] = {"persist_state": "session"}
_ROLES = {  # what text, pair and label are called in each kind of task
    "question-answering": ("Question", "Context", "Answers"),
    "instruction": ("Instruction", "Input", "Answer"),
    "causal-lm": ("Text", "", ""),
}


@dataclass(frozen=True)
class TaskChoice:
    """Task and data of the runs to be started.

    kind: "auto" or one of TASK_KINDS; learned: the kind that it comes to; sentence: inputs and outputs in words;
    n_held_out_rows: rows of `held_out`, None without it or where they are not on this machine; roles: columns of text, second
    text and label as proposed.
    """

    kind: str
    learned: str
    data: DataChoice
    held_out: DataChoice | None
    sentence: str
    reasons: tuple[str, ...]
    n_rows: int
    n_held_out_rows: int | None
    n_classes: int
    roles: tuple[str, str | None, str | None] = ("", None, None)


def draw() -> TaskChoice | None:
    """The choices, folded; None, with a sentence, where the data cannot be read or has not the columns."""
    st.session_state.setdefault("train_task", "auto")
    st.session_state.setdefault("train_held_out", "")
    _forget_columns_of_other_data()
    with st.expander("Task and columns", icon=":material/schema:"):
        _preset_choice()
        kind = st.selectbox(
            "Task", ("auto", *TASK_KINDS), key="train_task", format_func=lambda k: TASK_WORDS.get(k, "as the columns say"), **_KEEP
        )
        base = data_preview.of(state.measurement().data.as_detected())
        columns = base.preview.columns if isinstance(base, data_preview.Reading) else ()
        _column_choices(kind, columns)
        st.text_input(
            "Held-out rows from", key="train_held_out", placeholder="split off the training data",
            help=plain(f"The path of {READABLE} with the same columns, or the name of another split of the same dataset."), **_KEEP,
        )  # fmt: skip
    data = _chosen_data()
    reading = data_preview.read_or_said(data)
    if reading is None:
        return None
    held_out = _held_out(data)
    held_out_rows = None
    if held_out is not None and data_preview.is_here(held_out):
        held_out_rows = data_preview.read_or_said(held_out)
        if held_out_rows is None:
            return None
    try:
        found = _settled(kind, data, reading, held_out, held_out_rows)
        _preview(found)
        return found
    except GeloraError as error:
        st.error(plain(error), icon=":material/error:")
        return None


def _forget_columns_of_other_data() -> None:
    of = (st.session_state["data"], st.session_state["config"])
    if st.session_state.get("_train_columns_of", of) != of:
        st.session_state.update(dict.fromkeys(("train_text", "train_pair", "train_label"), ""))
    st.session_state["_train_columns_of"] = of


def _column_choices(kind: str, columns: tuple[str, ...]) -> None:
    titles = _ROLES.get(kind, ("Text", "Second text", "Label"))
    with st.container(horizontal=True):
        for key, title in zip(("train_text", "train_pair", "train_label"), titles, strict=True):
            if not title:
                continue
            none = [] if key == "train_text" else [state.NO_COLUMN]
            options = list(dict.fromkeys(["", *none, *columns, st.session_state.setdefault(key, "")]))
            st.selectbox(plain(title), options, key=key, format_func=lambda name: name or "as proposed", **_KEEP)


def _preset_choice() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Preset", ["", *PRESETS], key="train_preset", format_func=lambda n: PRESETS[n].title if n else "none", **_KEEP)
        folder = st.text_input("Its files (empty: the hub)", key="train_preset_folder", placeholder="/data/glue/rte", **_KEEP)
        st.button("Use it", key="use_preset", disabled=not name, on_click=_use_preset, args=(name, folder))
    said = st.session_state.pop("_preset_said", None)
    if said:
        st.error(plain(said), icon=":material/error:")


def _use_preset(name: str, folder: str) -> None:
    try:
        data, held_out, training = apply_preset(name, folder or None)
    except GeloraError as error:
        st.session_state["_preset_said"] = str(error)
        return
    st.session_state.update(state.fields_of_data(data))
    st.session_state.update({"train_task": training.task, "train_max_length": training.max_length, "train_doc_stride": training.doc_stride})
    st.session_state.update({"train_held_out": held_out_words(data, held_out), "train_text": "", "train_pair": "", "train_label": ""})
    st.session_state["_train_columns_of"] = (data.dataset, data.config or "")


def _held_out(data: DataChoice) -> DataChoice | None:
    words = st.session_state["train_held_out"].strip()
    if not words:
        return None
    if names_a_file(words):
        return dataclasses.replace(data, dataset=words, config=None, split=None)
    return dataclasses.replace(data, split=words)


def _with_columns(data: DataChoice, columns: tuple[str | None, str | None, str | None]) -> DataChoice:
    """The data with the columns that are given, those of the sidebar where none is."""
    text, pair, label = columns
    return dataclasses.replace(
        data,
        text_column=text or data.text_column,
        pair_column=_column(pair, data.pair_column),
        label_column=_column(label, data.label_column),
    )


def _column(chosen: str | None, otherwise: str | None) -> str | None:
    return "" if chosen == state.NO_COLUMN else chosen or otherwise


def _chosen_data() -> DataChoice:
    chosen = tuple(st.session_state.get(key) or None for key in ("train_text", "train_pair", "train_label"))
    return _with_columns(state.measurement().data, chosen)  # type: ignore[arg-type]


def _preview(task: TaskChoice) -> None:
    """The first rows under the roles that the task gives them."""
    has_labels = task.learned in ("classification", "regression")
    choice = dataclasses.replace(task.data, label_task=task.learned) if has_labels else task.data
    text, pair, label = task.roles
    choice = dataclasses.replace(choice, text_column=text, pair_column=pair or "", label_column=label or "")
    found = data_preview.read_or_said(choice, has_labels)
    if found is not None:
        if found.preview.problem:
            st.error(plain(found.preview.problem), icon=":material/error:")
        with st.expander(plain(f"Data as read: {data_preview.summary(found.preview)}"), icon=":material/table_view:"):
            data_preview.draw(found.preview)


_PROPOSALS: IdentityCache[Proposal] = IdentityCache(16)
_CLASSES: IdentityCache[int] = IdentityCache(16)


def _n_classes(table: Table, proposal: Proposal) -> int:
    labels = labelled_rows(dataclasses.replace(table, choice=proposal.applied_to(table.choice)), "classification").labels
    return len(labels.as_classes()[1]) if labels is not None else 1


def _settled(
    kind: str, data: DataChoice, reading: data_preview.Reading, held_out: DataChoice | None, held_out_rows: data_preview.Reading | None
) -> TaskChoice:
    asked, table = None if kind == "auto" else kind, reading.table
    proposal = _PROPOSALS.get(table, (data.to_json(), asked), lambda: propose_for(table, data, asked))
    n_rows = table.n_rows
    learned = proposal.kind
    inputs = md("*{}*", proposal.text_column) + (md(" and *{}*", proposal.pair_column) if proposal.pair_column else "")
    n_classes, outputs = 1, ""
    if learned == "classification":
        n_classes = _CLASSES.get(table, proposal, lambda: _n_classes(table, proposal))
        outputs = f" ({n_classes} classes)"
    elif learned == "regression":
        outputs = " (a number)"
    arrow = md(" → *{}*{}", proposal.label_column, outputs) if proposal.label_column else ""
    sentence = md("**{}**: {}{}", TASK_WORDS[learned], inputs, arrow)
    roles = (proposal.text_column, proposal.pair_column, proposal.label_column)
    n_held_out = held_out_rows.table.n_rows if held_out_rows is not None else None
    return TaskChoice(kind, learned, data, held_out, sentence, proposal.reasons, n_rows, n_held_out, n_classes, roles)
