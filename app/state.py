"""What a person has chosen: held in the session, written into the URL, read back from it on a reload.

Holds their names, defaults and legal values; draws nothing and computes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.shared.parsers import answers, budget, flag, names_of_estimators, number_in, one_of, ranks_by_hand, real_in, steps, words
from gelora.geometry import ESTIMATORS
from gelora.measurements import MeasurementSpec
from gelora.ranks import STRATEGIES
from gelora.records import POOLINGS, ROUNDINGS, SEPARATOR_WORDS, SINK_RATIO, SINK_RATIOS, SINKS, DataChoice, legal_sinks

LABEL_TASKS = ("classification", "regression")
MOST_SAMPLES = 100_000
N_SAMPLES = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, MOST_SAMPLES)
MAX_LENGTHS = (32, 64, 128, 256, 512)
TARGETS = ("attention", "attention-qv", "mlp", "all-linear", "experts")
MAX_OFFSET = 4096
SLIDER_OFFSET = 8  # as far as sliders go by themselves; a number field goes on
COMPARED = (
    "model",
    "dataset",
    "pooling",
    "sinks",
    "run",
)  # what Layers compares the present curve with; a run: before and after
VIEWS = ("twonn", "distances", "scale", "neighbors", "map", "duplicates", "spectrum")  # of one opened layer
MATRICES = ("overlap", "cka")  # of every two layers
UNCERTAINTY_FROM = ("half-samples", "estimators")
HEADERS = {"yes": True, "no": False}  # whether a file's first row names its columns
ALWAYS = "twonn"  # the estimator that is always measured: the rule's own


def _estimators(text: str) -> list[str]:
    return in_order(names_of_estimators(text))


@dataclass(frozen=True)
class _Field:
    default: object
    parse: Callable[[str], object]


# One row a choice: the key is the widget's key and the URL's parameter.
FIELDS = {
    "model": _Field("all-MiniLM-L6-v2", str),
    "data": _Field("docstrings", str),
    "config": _Field("", str),
    "split": _Field("", str),
    "text": _Field("", str),
    "pair": _Field("", str),
    "label": _Field("", str),
    "label_task": _Field("", one_of("", *LABEL_TASKS)),
    "encoding": _Field("", str),
    "header": _Field("", one_of("", *HEADERS)),
    "separator": _Field("", one_of("", *SEPARATOR_WORDS)),
    "skip_rows": _Field(False, flag),
    "n": _Field(1000, number_in(10, MOST_SAMPLES)),
    "seed": _Field(0, number_in(0, 2**31)),
    "distinct": _Field(True, flag),
    "pooling": _Field("mean", one_of(*POOLINGS)),
    "sinks": _Field("", one_of("", *SINKS)),  # empty: as the pooling does by itself
    "sink_ratio": _Field(SINK_RATIO, real_in(*SINK_RATIOS)),
    "length": _Field(128, number_in(4, 8192)),
    "estimators": _Field(["twonn", "mle", "gride", "danco"], _estimators),
    "estimator": _Field(ALWAYS, one_of(*ESTIMATORS)),
    "log": _Field(False, flag),
    "baselines": _Field(False, flag),
    "layer": _Field(1, number_in(0, 10_000)),
    "view": _Field(None, one_of(*VIEWS)),
    "matrix": _Field("overlap", one_of(*MATRICES)),
    "matrix_name": _Field("", str),  # of the opened block's matrices the one whose spectrum is drawn
    "sentence": _Field(0, number_in(0, 10_000_000)),
    "offset": _Field(1, number_in(0, MAX_OFFSET)),
    "rounding": _Field("ceil", one_of(*ROUNDINGS)),
    "targets": _Field("attention", words),
    "scale": _Field(1.0, real_in(0, 100)),
    "match": _Field("", budget),
    "strategy": _Field("gelora", one_of(*STRATEGIES)),
    "floor": _Field(1, number_in(0, 4096)),
    "cap": _Field(0, number_in(0, 4096)),
    "doubt": _Field("half-samples", one_of(*UNCERTAINTY_FROM)),
    "edits": _Field({}, ranks_by_hand),
    "plan_only": _Field(False, flag),
    "beside": _Field("", str),
    "run": _Field("", str),
    "compare": _Field("", one_of("", *COMPARED)),
    "compare_to": _Field("", str),
    "teach": _Field(False, flag),
    "step": _Field(1, number_in(1, 6)),
    "guesses": _Field({}, answers),
    "shown": _Field((), steps),
    "tour_run": _Field("", str),
}

NO_COLUMN = "(none)"
_OF_PAGE: dict[str, tuple[str, ...]] = {}


def register(page: str, choices: Mapping[str, tuple[object, Callable[[str], object]]]) -> None:
    """Hold a page's own choices too: {key: (default, how the URL's text is read)}."""
    FIELDS.update({key: _Field(default, parse) for key, (default, parse) in choices.items()})
    _OF_PAGE[page] = tuple(choices)


def choices_of(page: str) -> tuple[str, ...]:
    """The keys that a page has registered."""
    return _OF_PAGE.get(page, ())


def restore() -> None:
    """Fill the session from the URL (first run of a session) and from the defaults, which stand for illegal values too."""
    st.session_state.update(st.session_state.pop("_next", {}))
    for key, field in FIELDS.items():
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]  # keeps a widget's value on pages that do not draw it
            continue
        value = dict(field.default) if isinstance(field.default, dict) else field.default
        if key in st.query_params:
            try:
                value = field.parse(st.query_params[key])
            except (ValueError, KeyError):
                st.session_state.setdefault("_illegal", {})[key] = st.query_params[key]
        st.session_state[key] = value
    if st.session_state["sinks"] not in sink_choices(st.session_state["pooling"]):  # the default by its name, or of another pooling
        st.session_state["sinks"] = ""
    if st.session_state["estimator"] not in st.session_state["estimators"]:  # a link may name the one and not the other
        st.session_state["estimators"] = in_order([*st.session_state["estimators"], st.session_state["estimator"]])


def illegal() -> list[tuple[str, str, str]]:
    """Key, text and what is shown in its place, for every value of the link that is not legal, until a person changes the choice."""
    found: dict[str, str] = st.session_state.get("_illegal", {})
    at_default = [key for key in found if st.session_state[key] == FIELDS[key].default]
    return [(key, found[key], _as_text(FIELDS[key].default)) for key in at_default]


def sink_choices(pooling: str) -> tuple[str, ...]:
    """What can be chosen about attention sinks, as the field "sinks" holds it: the default is empty."""
    return ("", *legal_sinks(pooling)[1:])


def in_order(names: list[str]) -> list[str]:
    """The estimators in the order of the registry, each once, ALWAYS among them."""
    return [name for name in ESTIMATORS if name in names or name == ALWAYS]


def publish() -> None:
    """Write every choice that differs from its default into the URL, so that a reload or a link brings it back."""
    wanted = as_query()
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def as_query() -> dict[str, str]:
    """Every choice that differs from its default, as the URL holds it."""
    return {key: _as_text(st.session_state[key]) for key, field in FIELDS.items() if st.session_state[key] != field.default}


def recent(key: str) -> list[str]:
    """What this tab has chosen as its "model" or "data", the latest last."""
    return list(st.session_state.get(f"_recent_{key}", []))


def choose(key: str, value: object) -> None:
    """Set a choice that no widget holds (the run looked at)."""
    st.session_state[key] = value


def choose_next(**values: object) -> None:
    """Set choices for the next run, in one whose widgets, drawn already, hold them."""
    st.session_state["_next"] = st.session_state.get("_next", {}) | values


def leave_budget() -> None:
    """An offset that a person sets takes the place of a budget that was to be matched."""
    st.session_state["match"] = ""


def measurement() -> MeasurementSpec:
    """The choices that decide the profile."""
    return measurement_of(st.session_state)


def measurement_of(chosen: Mapping[Any, Any]) -> MeasurementSpec:
    """The same of any choices, by the names of FIELDS."""
    data = DataChoice(
        dataset=chosen["data"],
        config=chosen["config"] or None,
        split=chosen["split"] or None,
        text_column=chosen["text"] or None,
        pair_column=_column(chosen["pair"]),
        label_column=_column(chosen["label"]),
        label_task=chosen["label_task"] or None,
        encoding=chosen["encoding"] or None,
        header=HEADERS.get(chosen["header"]),
        separator=chosen["separator"] or None,
        skip_bad_rows=chosen["skip_rows"],
    )
    sinks = chosen["sinks"] if chosen["sinks"] in legal_sinks(chosen["pooling"]) else None  # what was chosen for another pooling
    return MeasurementSpec(
        chosen["model"], data, chosen["n"], chosen["seed"], chosen["distinct"], chosen["pooling"], chosen["length"],
        sinks, float(chosen["sink_ratio"]),
    )  # fmt: skip


def fields_of(spec: MeasurementSpec) -> dict[str, object]:
    """The values of FIELDS that mean this measurement; what only the command line chooses has none."""
    return {
        "model": spec.model,
        **fields_of_data(spec.data),
        "n": spec.n_samples,
        "seed": spec.seed,
        "distinct": spec.distinct,
        "pooling": spec.pooling,
        "length": spec.max_length,
        "sinks": spec.sinks or "",
        "sink_ratio": spec.sink_ratio,
    }


def fields_of_data(data: DataChoice) -> dict[str, object]:
    """The values of FIELDS that mean this data."""
    return {
        "data": data.dataset,
        "config": data.config or "",
        "split": data.split or "",
        "text": data.text_column or "",
        "pair": _as_chosen(data.pair_column),
        "label": _as_chosen(data.label_column),
        "label_task": data.label_task or "",
        "encoding": data.encoding or "",
        "header": next((word for word, value in HEADERS.items() if value is data.header), ""),
        "separator": data.separator or "",
        "skip_rows": data.skip_bad_rows,
    }


def _as_chosen(column: str | None) -> str:
    return NO_COLUMN if column == "" else column or ""


def _column(text: str) -> str | None:
    return "" if text == NO_COLUMN else text or None


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ";".join(f"{name}:{rank}" for name, rank in value.items())
    return str(int(value)) if isinstance(value, bool) else str(value)
