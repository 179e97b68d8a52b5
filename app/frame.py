"""What stands on every page: the sidebar with model, data, sample and pooling, and the row of stations.

Draws with Streamlit; what was measured it asks of `app.shared.measuring`.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from app import state
from app.shared import components, data_preview, measuring, pipeline, whereabouts
from app.shared.markdown import Markdown, bold, md, plain
from app.shared.redraw import in_place, poll
from app.shared.sample_words import POOLING_WORDS, sink_words
from gelora.records import POOLINGS, SEPARATOR_WORDS, SINK_RATIOS, DataChoice
from gelora.sources import ENCODINGS, READABLE, bundled_datasets, bundled_models, names_a_file

ROOT = Path(__file__).resolve().parents[1]
_LONGEST_VALUE = 80  # characters of an illegal value that are said
_SEPARATORS = {"": "as found", "none": "none: one column"} | {word: word for word in SEPARATOR_WORDS if word != "none"}
_SINKS_HELP = (
    "In most decoders a few tokens (the first of a text, some delimiters) carry activations many times the rest, and the mean then "
    "tells the length of the text. **left out**: of the mean; for single tokens another one is drawn; for the last token "
    "*token before*, the nearest before it that is none. **kept**: all as they are. **length 1**: every token is scaled to length 1 first."
)
_HEADER_WORDS = {"": "names or data: as found", "yes": "names the columns", "no": "is data"}


def draw(current: str) -> None:
    """The sidebar with model, data, sample and pooling, and the row of stations over the page."""
    with st.sidebar:
        st.markdown("### Model and data")
        _model_chooser()
        _data_chooser()
        _sample_choices()
        measuring.measure_button()
        st.caption(plain(_machine_sentence()))
        st.toggle("Teaching", key="teach", help="Six steps for a class, without sidebar; a step once reached is found again.")
    _stations(current)
    _illegal_values()


@in_place
def _illegal_values() -> None:
    """What of the link that opened this tab could not be shown."""
    for key, text, shown in state.illegal():
        of = md("**{}={}** in this link is not legal", key, text[:_LONGEST_VALUE])
        st.warning(md("{}; {} is shown.", of, shown or "the default"), icon=":material/link_off:")


def _model_chooser() -> None:
    bundled = [entry.model_id for entry in bundled_models()]
    help_text = "The bundled model works offline. Type a hub id (such as FacebookAI/roberta-base) or the path of a local folder."
    options = [*bundled, *whereabouts.fetched(), *state.recent("model")]
    _chooser("Model", "model", options, plain(help_text) + _each(options, whereabouts.model_words))
    _said_when_known(lambda: whereabouts.model_words(st.session_state["model"]))


def _said_when_known(words: Callable[[], str]) -> None:
    """What is known of a choice; looked at again while the hub is being asked, which the page does not wait for."""
    said = words()
    with st.container():
        if said.endswith("…"):
            poll(1.0, lambda: words().endswith("…"), True, lambda: st.caption(plain(words())))
        else:
            st.caption(plain(said))


def _each(names: Sequence[str], words: Callable[[str], str]) -> Markdown:
    """The names with where each comes from, as a list in a help text."""
    return Markdown("").join(md("\n- **{}**: {}", name, words(name)) for name in dict.fromkeys(names))


def _chooser(title: str, key: str, offered: Sequence[str], help_text: Markdown, on_change: Callable[[], None] | None = None) -> None:
    """What is offered, the bundled first, and what is chosen; anything else can be typed."""
    options = list(dict.fromkeys([*offered, st.session_state[key]]))
    st.selectbox(plain(title), options, key=key, accept_new_options=True, on_change=on_change, help=plain(help_text))
    st.session_state[f"_recent_{key}"] = list(dict.fromkeys([*state.recent(key), st.session_state[key]]))[-8:]


def _data_chooser() -> None:
    bundled = [entry.dataset for entry in bundled_datasets()]
    help_text = f"The bundled sentences work offline. Type the path of {READABLE}, or a hub dataset id."
    options = [*bundled, *state.recent("data")]
    of_each = _each(options, lambda name: whereabouts.data_words(DataChoice(name)))
    _chooser("Data", "data", options, plain(help_text) + of_each, _forget_columns)
    _said_when_known(lambda: whereabouts.data_words(DataChoice(st.session_state["data"])))
    if st.session_state["data"] in bundled:
        return
    with st.expander("Columns and split"):
        is_file = names_a_file(st.session_state["data"])
        if not is_file:
            st.text_input("Configuration", key="config", help="Such as sst2 of nyu-mll/glue; empty for the default.")
            st.text_input("Split", key="split", help="Empty for train.")
        else:
            _file_choices()
        _read_or_fetch()


@in_place
def _read_or_fetch() -> None:
    """The roles of columns once the data are read; what is not on this machine is fetched when somebody asks for it."""
    data = state.measurement().data
    asked = st.session_state.get("_fetched_data")
    if not data_preview.is_here(data) and asked != (data.dataset, data.config, data.split):
        if st.button("Fetch and read it", key="fetch_data"):
            st.session_state["_fetched_data"] = (data.dataset, data.config, data.split)
            st.rerun()
        return
    found = data_preview.of(data)
    if found is None:
        data_preview.wait(data)
        return
    said = found if isinstance(found, str) else found.preview.problem
    if said:
        st.error(plain(said))
    data_preview.role_choices()
    if not isinstance(found, str):
        st.caption(plain(data_preview.summary(found.preview)))


def _file_choices() -> None:
    offered = list(dict.fromkeys(["", *ENCODINGS, st.session_state["encoding"]]))
    with st.container(horizontal=True):
        st.selectbox("Encoding", offered, key="encoding", format_func=lambda name: name or "UTF-8, or as marked", accept_new_options=True)
        st.selectbox("Separator", ["", *SEPARATOR_WORDS], key="separator", format_func=_SEPARATORS.__getitem__)
        st.selectbox("First row", ["", *state.HEADERS], key="header", format_func=_HEADER_WORDS.__getitem__)
    st.toggle("Leave out rows that do not fit the header", key="skip_rows", help="They are counted; otherwise the first is an error.")


def _forget_columns() -> None:
    for key in ("config", "split", "text", "pair", "label", "label_task", "encoding", "header", "separator"):
        st.session_state[key] = ""
    st.session_state["skip_rows"] = False


_WITHOUT_A_WORD = 5000  # texts, beyond which the sidebar says how cost grows


def _sample_choices() -> None:
    lengths = sorted({*state.MAX_LENGTHS, st.session_state["length"]})
    st.select_slider("Sample (texts)", measuring.sample_sizes(state.measurement()), key="n", format_func="{:,}".format)
    if st.session_state["n"] > _WITHOUT_A_WORD:
        st.caption("Neighbors are sought among all pairs: twice the texts take four times as long, and twice the memory.")
    st.selectbox(
        "Pooling", POOLINGS, key="pooling", format_func=POOLING_WORDS.__getitem__, help="Pooling changes ranks more than rounding does."
    )
    _sinks_choice(st.session_state["pooling"])
    with st.expander("More about the sample"):
        st.number_input("Seed", min_value=0, max_value=2**31, key="seed")
        st.select_slider("Tokens per text, at most", lengths, key="length")
        st.toggle("Distinct texts only", key="distinct", help="Near duplicates ruin an estimate; leave this on unless you study that.")


def _sinks_choice(pooling: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.selectbox(
            "Attention sinks", state.sink_choices(pooling), key="sinks", width=134, help=_SINKS_HELP,
            format_func=lambda sinks: sink_words(sinks, pooling),
        )  # fmt: skip
        st.number_input(
            "× median", *SINK_RATIOS, key="sink_ratio", step=0.5, format="%g", width=82,
            help="A token is a sink in a layer where its norm exceeds this many times the median norm of all the sample's tokens there.",
        )  # fmt: skip


def _machine_sentence() -> str:
    torch = sys.modules.get("torch")  # never import it on the page's first paint
    if torch is None or not hasattr(torch, "cuda"):
        device = f"{os.cpu_count()} CPU cores"
    elif torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    else:
        device = f"CPU, {os.cpu_count()} cores"
    return f"{device} · the bundled model and data need no network"


@in_place
def _stations(current: str) -> None:
    """The stations as a row of chips, or on a phone as one control (app/frontend/frame.css shows the one or the other)."""
    st.html(ROOT / "app" / "frontend" / "frame.css")
    found = pipeline.stations()
    if pipeline.is_moving(found) or measuring.is_measuring():  # while the libraries load no station runs yet
        seen = measuring.news(state.measurement())  # what a measurement gives meanwhile the rest of the page is to show too
        poll(2.0, lambda: measuring.news(state.measurement()), seen, lambda: _chips(current, pipeline.stations()))
    else:
        _chips(current, found)


def _chips(current: str, found: Sequence[pipeline.Station]) -> None:
    query = state.as_query()
    step = pipeline.step_of(found, current)
    with st.container(horizontal=True, gap="small", key="stations"):
        for number, station in enumerate(found, start=1):
            st.page_link(
                components.page_path(station.page),
                label=bold(station.label) if number == step and current in pipeline.STEPS else plain(station.label),
                help=plain(station.words),
                query_params=query,
            )
    with st.container(key="step"):
        here = found[step - 1]
        with st.popover(plain(f"Step {step} of {len(found)} · {here.label}"), width="stretch"):
            for number, station in enumerate(found, start=1):
                st.page_link(components.page_path(station.page), label=plain(f"{number} {station.label}"), query_params=query)
