"""The parts that every page shares: the sidebar with the choices, the stations, the measure panel, errors, downloads.

Draws with Streamlit and asks `app.cache` and the library for answers; computes nothing itself.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import streamlit as st

from app import state
from app.cache import Job, measurements, structure
from gelora.errors import GeloraError, InputError
from gelora.geometry import rises
from gelora.ranks import allocate_ranks, uniform_ranks
from gelora.records import POOLINGS, ROUNDINGS, IdProfile, RankPlan
from gelora.runs import list_runs
from gelora.sources import DatasetInfo, bundled_datasets, bundled_models, describe_dataset

ROOT = Path(__file__).resolve().parents[1]
CHART_CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
PAGES = {"layers": "Layers", "ranks": "Ranks", "finetune": "Fine-tune", "runs": "Runs"}
ICONS = {"layers": ":material/stacked_line_chart:", "ranks": ":material/view_comfy_alt:",
         "finetune": ":material/model_training:", "runs": ":material/table_rows:"}  # fmt: skip

POOLING_WORDS = {
    "mean": "mean of all tokens",
    "cls": "first token",
    "last": "last token",
    "tokens": "single tokens",
}


def page_path(name: str) -> str:
    """What `st.switch_page` and `st.page_link` take for a page."""
    return str(ROOT / "pages" / f"{name}.py")


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show a GeloraError as its one sentence and end the page there; nothing that was done is lost."""
    try:
        yield
    except GeloraError as error:
        st.error(str(error), icon=":material/error:")
        st.stop()


# the frame: what stands on every page


def frame(current: str) -> None:
    """The sidebar with model, data, sample and pooling, and the row of stations over the page."""
    with st.sidebar:
        st.markdown("### Model and data")
        _model_chooser()
        _data_chooser()
        _sample_choices()
        _measure_button()
        st.caption(_machine_sentence())
    _stations(current)


def _model_chooser() -> None:
    bundled = [entry.model_id for entry in bundled_models()]
    options = list(dict.fromkeys([*bundled, *_recent("model"), st.session_state["model"]]))
    st.selectbox(
        "Model",
        options,
        key="model",
        accept_new_options=True,
        help="The bundled model works offline. Type a hub id (such as FacebookAI/roberta-base) or the path of a local folder.",
    )
    _remember("model")


def _data_chooser() -> None:
    bundled = [entry.dataset for entry in bundled_datasets()]
    options = list(dict.fromkeys([*bundled, *_recent("data"), st.session_state["data"]]))
    st.selectbox(
        "Data",
        options,
        key="data",
        accept_new_options=True,
        on_change=_forget_columns,
        help="The bundled sentences work offline. Type the path of a .jsonl, .csv or .parquet file, or a hub dataset id.",
    )
    _remember("data")
    if st.session_state["data"] in bundled:
        return
    with st.expander("Columns and split"):
        is_file = Path(st.session_state["data"]).suffix in (".jsonl", ".csv", ".parquet", ".json")
        if not is_file:
            st.text_input("Configuration", key="config", help="Such as sst2 of nyu-mll/glue; empty for the default.")
            st.text_input("Split", key="split", help="Empty for train.")
        try:
            info = _described(state.measurement().data.to_json())
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


@st.cache_data(show_spinner="Reading the columns ...", ttl=300, max_entries=16)
def _described(choice_json: str) -> DatasetInfo:
    from gelora.records import DataChoice

    choice = DataChoice.from_json(choice_json)
    return describe_dataset(DataChoice(choice.dataset, choice.config, choice.split))


def _forget_columns() -> None:
    for key in ("config", "split", "text", "pair", "label"):
        st.session_state[key] = ""


def _recent(key: str) -> list[str]:
    return list(st.session_state.get(f"_recent_{key}", []))


def _remember(key: str) -> None:
    st.session_state[f"_recent_{key}"] = list(dict.fromkeys([*_recent(key), st.session_state[key]]))[-8:]


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


def _measure_button() -> None:
    wanted = state.measurement()
    if st.button("Measure", type="primary", width="stretch", key="measure", disabled=is_measuring()):
        measurements().start(wanted)
        st.session_state["_asked"] = True
        st.rerun()


def is_measuring() -> bool:
    """Whether the chosen measurement is under way."""
    job = measurements().job(state.measurement())
    return job is not None and not job.is_over


def _machine_sentence() -> str:
    import importlib.util
    import os
    import sys

    torch = sys.modules.get("torch")  # never import it on the page's first paint
    if torch is None or not hasattr(torch, "cuda") or importlib.util.find_spec("torch") is None:
        device = f"{os.cpu_count()} CPU cores"
    elif torch.cuda.is_available():
        device = torch.cuda.get_device_name(0)
    else:
        device = f"CPU, {os.cpu_count()} cores"
    return f"{device} · the bundled model and data need no network"


def _stations(current: str) -> None:
    profile = current_profile()
    live = any(run.is_live for run in list_runs())
    dimension = "running" if is_measuring() else "done" if profile else "stale" if shown_profile()[0] else "empty"
    marks = {"done": "✓", "stale": "◌", "running": "▸", "empty": "○"}
    stations = [
        ("layers", "Dimension", dimension),
        ("ranks", "Ranks", "done" if profile else "stale" if shown_profile()[0] else "empty"),
        ("finetune", "Run", "running" if live else "empty"),
        ("runs", "Compare", "done" if list_runs() else "empty"),
    ]
    with st.container(horizontal=True, gap="small", key="stations"):
        for page, title, mark in stations:
            label = f"{marks[mark]} {title} · {mark}"
            st.page_link(page_path(page), label=f"**{label}**" if page == current else label)


# the measurement on the page


def current_profile() -> IdProfile | None:
    """The profile of exactly the present choices, or None; a found one becomes the one shown."""
    wanted = state.measurement()
    profile = measurements().find(wanted)
    if profile is not None:
        st.session_state["_shown"] = (profile, wanted)
    return profile


def shown_profile() -> tuple[IdProfile | None, state.Measurement | None]:
    """The last profile that was shown in this tab and what it was measured with."""
    return st.session_state.get("_shown", (None, None))


def profile_or_invitation() -> tuple[IdProfile, bool]:
    """The profile to draw and whether it is stale; without any, an invitation to measure, and the page ends.

    Draws the progress of a measurement under way, its error, or "measured with ..." over a stale one.
    """
    wanted = state.measurement()
    profile = current_profile()
    job = measurements().job(wanted)
    if profile is None and job is not None:
        if not job.is_over:
            _progress()
        elif job.error:
            st.error(job.error, icon=":material/error:")
    if profile is not None:
        return profile, False
    old, measured_with = shown_profile()
    if old is not None and measured_with is not None:
        if job is None or job.is_over:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.warning(f"Measured with {measured_with.sentence()}. The choices have changed since.", icon=":material/history:")
                if st.button("Measure again", key="measure_again"):
                    measurements().start(wanted)
                    st.rerun()
        return old, True
    if job is None or job.is_over:
        with st.container(border=True):
            st.markdown(
                f"**Nothing is measured yet.** {wanted.n_samples:,} texts of *{wanted.data.dataset}* go through *{wanted.model}*; "
                "the dimension of every layer's hidden states is then estimated by TwoNN and MLE. "
                "With the bundled model on two CPU cores that takes some 20 seconds the first time."
            )
            if st.button("Measure the curve", type="primary", key="measure_first"):
                measurements().start(wanted)
                st.rerun()
    st.stop()


@st.fragment(run_every=0.4)
def _progress() -> None:
    job = measurements().job(state.measurement())
    if job is None or job.is_over:
        st.rerun(scope="app")
    _draw_progress(job)
    if st.button("Cancel", key="cancel_measure"):
        job.cancel()


def _draw_progress(job: Job) -> None:
    left = "" if job.seconds_left is None else f" · {max(job.seconds_left, 0):.0f} s left in this step"
    counted = f" {job.done:,} of {job.total:,}" if job.total else ""
    st.progress(job.done / job.total if job.total else 0.0, text=f"{job.stage}{counted}{left}")


# sentences and plans


def finding(profile: IdProfile, estimator: str) -> str:
    """One sentence made from the numbers: a finding, the null, or what is not measurable."""
    all_rises = rises(profile, estimator)
    clear = [r for r in all_rises if r.value is not None and r.ci_low is not None and r.ci_low > 0]
    undefined = [e for e in profile.estimates[estimator] if e.dimension is None]
    if clear:
        best = max(clear, key=lambda rise: rise.value or 0.0)
        more = f" {len(clear) - 1} more block{'s' if len(clear) > 2 else ''} rise beyond doubt." if len(clear) > 1 else ""
        return f"Block {best.block} raises the dimension by {best.value:.1f} [{best.ci_low:.1f}, {best.ci_high:.1f}].{more}"
    if len(undefined) == len(profile.layer_names):
        return f"Not measurable: {undefined[0].note}"
    return "No rise exceeds its interval: ranks above the offset are rounding or noise."


def rule_choices() -> None:
    """Estimator, rounding and target modules: what the rule asks beside the offset."""
    st.selectbox("Estimator", ("twonn", "twonn-mle", "mle"), key="estimator", format_func=lambda e: _estimator_words(e))
    st.selectbox("Rounding", ROUNDINGS, key="rounding", help="A lower bound must not be rounded down, so the default is up.")
    st.selectbox("Target modules", state.TARGETS, key="targets")


def _estimator_words(estimator: str) -> str:
    from app.charts import estimator_style

    return estimator_style(estimator)[0]


def plan_for(profile: IdProfile, estimator: str | None = None) -> RankPlan:
    """The GeLoRA plan at the present offset, rounding and targets."""
    chosen = st.session_state
    return allocate_ranks(profile, chosen["targets"], chosen["offset"], chosen["rounding"], estimator or chosen["estimator"])


def training_plan(what: str, r: int | None) -> RankPlan | None:
    """The plan that a run is to use: these ranks (asks for a profile), one rank everywhere, or None for the head alone."""
    if what == "head":
        return None
    if what == "uniform" and r is not None:
        return uniform_ranks(structure(state.measurement().model), r, st.session_state["targets"])
    profile = current_profile()
    if profile is None:
        raise InputError(
            "These ranks need a measured curve of the chosen model and data: press Measure first, or train one rank everywhere."
        )
    return plan_for(profile)


def offset_slider(width: int | str = "stretch") -> None:
    """The offset, the one number that a person chooses by eye."""
    st.slider(
        "Offset",
        0,
        state.MAX_OFFSET,
        key="offset",
        width=width,
        help="Added to every block's rise. The rule alone gives ranks of 1 to 3, so the offset is most of the budget.",
    )


def undefined_reasons(profile: IdProfile, estimator: str) -> list[str]:
    """One sentence a layer that has no dimension."""
    pairs = zip(profile.layer_names, profile.estimates[estimator], strict=True)
    return [f"{name}: {estimate.note}" for name, estimate in pairs if estimate.dimension is None]


def adapter_config_json(plan: RankPlan) -> str:
    """The plan as the text of PEFT's `adapter_config.json`."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plan.to_lora_config().save_pretrained(folder)
        return (Path(folder) / "adapter_config.json").read_text(encoding="utf-8")


def lora_snippet(plan: RankPlan) -> str:
    """Python that builds the plan's LoraConfig with PEFT alone."""
    config = plan.to_lora_config()
    return "\n".join(
        [
            "from peft import LoraConfig",
            "",
            "config = LoraConfig(",
            f"    r={config.r},",
            f"    lora_alpha={config.lora_alpha},",
            f"    target_modules={sorted(config.target_modules)!r},",
            f"    rank_pattern={config.rank_pattern!r},",
            f"    alpha_pattern={config.alpha_pattern!r},",
            ")",
        ]
    )
