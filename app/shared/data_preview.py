"""The chosen data read in the background, once for all tabs: what a page may say of them, and the preview that it shows.

An answer is that of a file's path, size and time, or of a hub dataset on this machine; what lies elsewhere is not fetched unasked.
"""

from dataclasses import dataclass

import streamlit as st

from app import state
from app.shared.background import Background
from app.shared.markdown import plain
from app.shared.redraw import in_place, poll
from app.shared.run_words import count
from gelora.measurements import Job, file_state, key_of
from gelora.records import DataChoice
from gelora.sources import DataPreview, Table, data_at_hand, preview_of, read_table

_KEPT = 6  # tables in memory; the one looked at longest ago goes first
_WAIT_SECONDS = 0.6  # a small file is read by then, and the page does not flicker
_ERROR_STANDS_SECONDS = 60.0
_ROLES = {"text": "Text", "pair": "Second text", "label": "Label"}
_TASKS = {"": "as their values say", "classification": "classes", "regression": "numbers (regression)"}


@dataclass(frozen=True)
class Reading:
    """A dataset that was read, and its preview."""

    table: Table
    preview: DataPreview


def _read(wanted: tuple[DataChoice, bool], job: Job) -> Reading:
    choice, with_labels = wanted
    table = read_table(choice)
    return Reading(table, preview_of(table, with_labels=with_labels))


_READING = Background(
    "read-data",
    _read,
    "Reading the data",
    "a smaller file",
    key=lambda wanted: key_of(wanted[0].to_json(), wanted[1], file_state(wanted[0].dataset)),
    kept=_KEPT,
)


def of(choice: DataChoice, with_labels: bool = True) -> Reading | str | None:
    """The data, the sentence that says why they cannot be read, or None while they are being read."""
    job = _READING.job((choice, with_labels))
    if job is None or (job.error and job.seconds_since_end > _ERROR_STANDS_SECONDS):  # the hub may be back, the disk there
        job = _READING.start((choice, with_labels))
    if not job.wait(_WAIT_SECONDS):
        return None
    return job.error or _READING.answer((choice, with_labels))


def is_here(choice: DataChoice) -> bool:
    """Whether the data can be read without the network; a path that leads nowhere is an answer too."""
    return data_at_hand(choice) or choice.dataset.startswith(("/", ".", "~"))


def chosen() -> Reading | str | None:
    """The sidebar's data; None while they are read, or where they are not on this machine."""
    data = state.measurement().data
    return of(data) if is_here(data) else None


def problem() -> str | None:
    """Why the sidebar's data cannot be used, as far as that is known."""
    found = chosen()
    return found if isinstance(found, str) else None if found is None else found.preview.problem


# drawing


@in_place
def section() -> bool:
    """The preview of the sidebar's data with its roles to change; whether they can be measured."""
    data = state.measurement().data
    if not is_here(data):
        return True  # the measurement fetches them
    found = of(data)
    if found is None:
        wait(data)
        return False
    if isinstance(found, str):
        st.error(plain(found), icon=":material/error:")
        role_choices("preview_")
        return False
    if found.preview.problem:
        st.error(plain(found.preview.problem), icon=":material/error:")
    with st.expander(plain(f"Data as read: {summary(found.preview)}"), expanded=bool(found.preview.problem), icon=":material/table_view:"):
        role_choices("preview_")
        draw(found.preview)
    return found.preview.problem is None


def wait(data: DataChoice, with_labels: bool = True) -> None:
    """Say that the data are being read, and draw the page again when they were."""
    poll(0.5, lambda: of(data, with_labels) is None, True, lambda: st.caption(plain(f"Reading {data.dataset} …")))


def read_or_said(data: DataChoice, with_labels: bool = True) -> Reading | None:
    """The data; without them the line that they are being read, or the sentence why they cannot be."""
    found = of(data, with_labels)
    if found is None:
        wait(data, with_labels)
    elif isinstance(found, str):
        st.error(plain(found), icon=":material/error:")
    else:
        return found
    return None


@in_place
def role_choices(prefix: str = "") -> None:
    """Which column is the text, the second text, the label, and what the labels are; `prefix` for a second place on one page."""
    base = of(state.measurement().data.as_detected())
    columns = base.preview.columns if isinstance(base, Reading) else ()
    detected = {"text": "", "pair": "", "label": ""}
    if isinstance(base, Reading):
        used = base.table.choice
        detected = {"text": used.text_column or "", "pair": used.pair_column or "", "label": used.label_column or ""}
    with st.container(horizontal=bool(prefix)):
        for key, title in _ROLES.items():
            options = list(dict.fromkeys(["", *([] if key == "text" else [state.NO_COLUMN]), *columns, st.session_state[key]]))
            found = f": {detected[key] or 'none'}" if columns else ""
            _choice(title, key, prefix, options, {"": f"as detected{found}"})
        _choice("Labels are", "label_task", prefix, list(_TASKS), _TASKS)


def _choice(title: str, key: str, prefix: str, options: list[str], words: dict[str, str]) -> None:
    if prefix:
        st.session_state[prefix + key] = st.session_state[key]

    def show(name: str) -> str:
        return words.get(name, name)

    st.selectbox(plain(title), options, key=prefix + key, format_func=show, on_change=_take if prefix else None, args=(key, prefix))


def _take(key: str, prefix: str) -> None:
    st.session_state[key] = st.session_state[prefix + key]


def summary(preview: DataPreview) -> str:
    """Rows and labels in a few words."""
    labels = {
        "classification": f", {preview.n_classes:,} class{'' if preview.n_classes == 1 else 'es'}",
        "regression": ", a number to predict",
        "unlabeled": ", no labels",
    }
    return f"{count(preview.n_rows, 'row')}{labels[preview.task]}"


def draw(preview: DataPreview) -> None:
    """First rows, counts, labels, and what was taken for what."""
    st.dataframe(list(preview.rows), hide_index=True, width="stretch")
    said = [
        f"{preview.n_rows:,} rows", f"{preview.n_usable:,} usable", f"{preview.n_distinct:,} with different texts",
        f"{preview.n_empty:,} without text", f"{preview.n_unlabelled:,} without label", f"{preview.report.n_rejected:,} rejected",
        f"longest text {preview.longest:,} characters",
    ]  # fmt: skip
    st.markdown(plain(" · ".join(said)))
    if preview.label_counts:
        rest = f", {preview.n_classes - 10} more" if preview.n_classes > 10 else ""
        shown = ", ".join(f"{name} {n:,}" for name, n in list(preview.label_counts.items())[:10])
        st.markdown(plain(f"Labels (rows of each class): {shown}{rest}"))
    for sentence in (*preview.taken_for, *preview.report.rejected):
        st.caption(plain(sentence))
