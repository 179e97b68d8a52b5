"""The form of a new experiment: what is trained, with which seeds and settings, and what it is compared with.

Draws with Streamlit and gives back the runs that the choices mean; what they cost is said in `app.finetune.intention`, which
data they are of in `app.finetune.task`.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import state
from app.finetune import race_form
from app.finetune.task import TaskChoice
from app.shared import measuring, planning
from app.shared.components import estimator_words
from app.shared.markdown import plain
from app.shared.redraw import in_place
from app.shared.repeat_run import NOT_SETTINGS
from gelora.errors import InputError
from gelora.geometry import ESTIMATORS
from gelora.records import LORA_INITS, PRECISIONS, RankPlan, RunSpec, TrainingConfig
from gelora.runs import installed_trackers, variants

WHAT = {
    "plan": "These ranks", "uniform": "Uniform rank", "adalora": "AdaLoRA", "head": "Head only", "bitfit": "BitFit",
    "full": "Full fine-tuning", "race": "Race of strategies",
}  # fmt: skip
DEFAULTS = TrainingConfig()
_KEEP: dict[str, Any] = {"persist_state": "session"}
_HELP = {
    "batch_size": "Examples a step, for each of the accumulated parts.",
    "auto_batch": "A batch that does not fit in memory is halved, and the parts doubled: the step sees the same examples.",
    "probe_size": "Held-out rows whose dimension is measured while training; 0 measures nothing.",
    "max_length": "Tokens of a text, or of a question with its context; 0 takes what the sidebar says.",
    "doc_stride": "Tokens that two windows of a long context share.",
    "log_every": "In optimizer steps; 0 chooses by the length of the run.",
    "eval_every": "In optimizer steps; 0 chooses by the length of the run.",
    "gradient_accumulation": "Parts of a step that are computed one after another: the step sees as many batches.",
    "loader_workers": "Processes that put batches together beside training; rows are tokenised before it, so 0 is mostly enough.",
    "precision": "auto: bfloat16 on a GPU that has it, float32 elsewhere.",
}


@dataclass(frozen=True)
class Form:
    """What a person has filled in; `specs_of` says which runs it means."""

    what: tuple[str, ...]
    seeds: str
    uniform: str
    offsets: str
    estimators: tuple[str, ...]
    reallocate_at: str
    settings: dict[str, Any]
    runs_at_once: int
    report_to: tuple[str, ...]
    race: race_form.RaceChoice | None = None


def draw() -> Form:
    """The form: what matters in view, the rest folded."""
    _defaults()
    what = st.pills("What to train", list(WHAT), selection_mode="multi", key="train_what", format_func=WHAT.__getitem__, **_KEEP)
    _again_note()
    with st.container(horizontal=True):
        _number("Epochs", "epochs", 0.01, 1000.0, 0.5)
        _number("Training rows", "n_train", 2, 10_000_000, 500)
        _number("Held-out rows", "n_eval", 2, 1_000_000, 100)
    with st.container(horizontal=True):
        _number("Learning rate", "learning_rate", 1e-8, 1.0, None, "%.2e")
        _number("Batch size", "batch_size", 1, 4096, 1)
        seeds = st.text_input("Seeds", key="train_seeds", help="One run each: 0, 1, 2 or 0-4.", **_KEEP)
        if "uniform" in what:
            uniform = st.text_input("Rank", key="train_uniform", help="One run each: 2, 4, 8.", width=160, **_KEEP)
        else:
            uniform = st.session_state["train_uniform"]
    race = race_form.draw() if "race" in what else None
    offsets, estimators = _sweeps()
    reallocate, at_once, report_to = _more()
    settings = {f.name: st.session_state[f"train_{f.name}"] for f in dataclasses.fields(TrainingConfig) if f.name not in NOT_SETTINGS}
    return Form(tuple(what), seeds, uniform, offsets, tuple(estimators), reallocate, settings, at_once, report_to, race)


def _defaults() -> None:
    """Give every field its value before its widget is drawn, so that a run to be repeated can set them."""
    for field in dataclasses.fields(TrainingConfig):
        if field.name not in NOT_SETTINGS:
            st.session_state.setdefault(f"train_{field.name}", getattr(DEFAULTS, field.name) if field.name != "max_length" else 0)
    texts = {"train_seeds": "0", "train_uniform": "2", "train_offsets": "", "train_reallocate_at": "", "train_runs_at_once": 1}
    for key, value in (texts | race_form.DEFAULTS | {"train_what": ["plan"], "train_estimators": [], "train_report_to": []}).items():
        st.session_state.setdefault(key, value)


def _number(label: str, name: str, low: float, high: float, step: float | None, form: str | None = None) -> None:
    st.number_input(plain(label), low, high, step=step, format=form, key=f"train_{name}", help=_HELP.get(name), **_KEEP)


def _sweeps() -> tuple[str, list[str]]:
    with st.expander("Compare several", icon=":material/compare_arrows:"):
        st.caption("Tick several methods above, give several seeds: all runs of one form share data, data order and settings.")
        offsets = st.text_input(
            "Offsets", key="train_offsets", placeholder="as on Ranks", help="The rule's ranks at each of them: 0, 1, 2, 4.", **_KEEP
        )
        profile = measuring.current_profile()
        measured = list(profile.estimates) if profile is not None else []
        chosen = [name for name in st.session_state["train_estimators"] if name in measured]
        if chosen != st.session_state["train_estimators"]:
            st.session_state["train_estimators"] = chosen
        estimators = st.multiselect(
            "Estimators", measured, key="train_estimators", format_func=estimator_words, placeholder="the one looked at",
            help="The rule's ranks by each of them. More estimators are measured on Layers.", **_KEEP,
        )  # fmt: skip
    return offsets, estimators


def _more() -> tuple[str, int, tuple[str, ...]]:
    with st.expander("More settings", icon=":material/settings:"):
        with st.container(horizontal=True):
            _choice("Precision", "precision", PRECISIONS)
            _choice("Device", "device", ("auto", "cpu", "cuda"))
            _choice("Initial adapter", "init_lora_weights", LORA_INITS)
        with st.container(horizontal=True):
            _toggle("Gradient checkpointing", "gradient_checkpointing")
            _toggle("Find the batch size", "auto_batch")
            _toggle("DoRA", "use_dora")
        with st.container(horizontal=True):
            _number("Accumulate", "gradient_accumulation", 1, 4096, 1)
            _number("Weight decay", "weight_decay", 0.0, 1.0, 0.01)
            _number("Warm-up (share)", "warmup_ratio", 0.0, 1.0, 0.01)
        with st.container(horizontal=True):
            _number("Adapter dropout", "lora_dropout", 0.0, 0.9, 0.05)
            _number("Longest input", "max_length", 0, 100_000, 32)
            _number("Context overlap", "doc_stride", 0, 100_000, 32)
        with st.container(horizontal=True):
            _number("Log every", "log_every", 0, 1_000_000, 1)
            _number("Evaluate every", "eval_every", 0, 1_000_000, 10)
            _number("Loader workers", "loader_workers", 0, 64, 1)
        with st.container(horizontal=True):
            _number("Probe rows", "probe_size", 0, 100_000, 64)
            _choice("Probe's estimator", "probe_estimator", tuple(ESTIMATORS), estimator_words)
            reallocate = st.text_input(
                "Re-allocate at", key="train_reallocate_at", placeholder="never",
                help="Shares of the training (0.25, 0.5) at which the rule is asked again and the adapters of these ranks are resized.",
                **_KEEP,
            )  # fmt: skip
        with st.container(horizontal=True):
            at_once = st.number_input(
                "Runs at once", 1, 64, key="train_runs_at_once", help="On one device; the others wait their turn.", width=180, **_KEEP
            )
            trackers = installed_trackers()
            report_to = st.multiselect(
                "Report to", trackers, key="train_report_to", disabled=not trackers,
                placeholder="none" if trackers else "no tracker is installed",
                help="Trackers that are told what a run logs, with their usual environment variables: MLflow (also where "
                "MLFLOW_TRACKING_URI is set), TensorBoard, Trackio, W&B. A run's metrics.jsonl has all of it in any case.", **_KEEP,
            )  # fmt: skip
    return reallocate, int(at_once), tuple(report_to)


def _choice(label: str, name: str, options: tuple[str, ...], words: Any = str) -> None:
    st.selectbox(plain(label), options, key=f"train_{name}", format_func=words, help=_HELP.get(name), **_KEEP)


def _toggle(label: str, name: str) -> None:
    st.toggle(plain(label), key=f"train_{name}", help=_HELP.get(name), **_KEEP)


@in_place
def _again_note() -> None:
    again = st.session_state.get("_again")
    if again is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(plain(f"Filled in from run {again[0]}") + ("; “these ranks” are that run's." if again[1] is not None else "."))
        if st.button("Clear", key="leave_again", type="tertiary"):
            del st.session_state["_again"]
            st.rerun()


# the runs that it means


def specs_of(form: Form, task: TaskChoice) -> list[RunSpec]:
    """The runs that the form means, in the order in which they are queued.

    Raises:
        GeloraError: nothing is chosen, a list of numbers is none, a setting is illegal, or there is no plan to train.
    """
    if not form.what:
        raise InputError("Choose what to train: at least one of the methods.")
    seeds = whole_numbers("Seeds", form.seeds)
    settings = form.settings | {"max_length": form.settings["max_length"] or st.session_state["length"], "task": task.kind}
    plain = [what for what in form.what if what not in ("plan", "uniform", "adalora", "race")]
    lora_only = {"use_dora": settings.pop("use_dora"), "init_lora_weights": settings.pop("init_lora_weights")}
    common = RunSpec(state.measurement().model, task.data, None, TrainingConfig(method="head", **settings), held_out=task.held_out)
    found: list[RunSpec] = []
    if "plan" in form.what or "adalora" in form.what:
        plans = _rule_plans(form)
        if "plan" in form.what:
            training = TrainingConfig(**settings, **lora_only, reallocate_at=shares(form.reallocate_at))
            found += variants(_like(common, training, plans), seeds=seeds, plans=plans)
        if "adalora" in form.what:
            found += variants(common, seeds=seeds, plans=plans, methods=["adalora"])
    if "uniform" in form.what:
        uniform = {f"r = {r}": planning.uniform_plan(r) for r in whole_numbers("Rank", form.uniform)}
        found += variants(_like(common, TrainingConfig(**settings, **lora_only), uniform), seeds=seeds, plans=uniform)
    if form.race is not None:
        lora = _like(common, TrainingConfig(**settings, **lora_only), {"any": planning.uniform_plan(1)})
        found.append(race_form.spec_of(form.race, lora, seeds, task))
    if plain:
        found += variants(common, seeds=seeds, methods=plain)
    unique = {spec.digest(): spec for spec in found}
    return sorted(unique.values(), key=lambda spec: seeds.index(spec.seed))


def _like(common: RunSpec, training: TrainingConfig, plans: dict[str, RankPlan]) -> RunSpec:
    return dataclasses.replace(common, training=training, plan=next(iter(plans.values())))


def _rule_plans(form: Form) -> dict[str, RankPlan]:
    again = st.session_state.get("_again")
    if form.offsets or form.estimators:
        return planning.plans_to_compare(whole_numbers("Offsets", form.offsets) if form.offsets else [], form.estimators)
    if again is not None and again[1] is not None:
        return {"these ranks": again[1]}
    return {"these ranks": planning.training_plan()}


def whole_numbers(what: str, text: str) -> list[int]:
    """The numbers in "0, 1, 2" or "0-4", each once.

    Raises:
        InputError: there is none, or something else is between the commas.
    """
    found: dict[int, None] = {}
    for part in filter(None, re.split(r"[,;\s]+", text.strip())):
        span = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        if span is None:
            raise InputError(f"{what}: {part!r} is no whole number; write 0, 1, 2 or 0-4.")
        first, last = int(span[1]), int(span[2] or span[1])
        if last - first > 100:
            raise InputError(f"{what}: {part} are more than 100; give fewer.")
        found |= dict.fromkeys(range(first, last + 1))
    if not found:
        raise InputError(f"{what}: give at least one number, such as 0.")
    return list(found)


def shares(text: str) -> tuple[float, ...]:
    """The shares in "0.25, 0.5", ascending.

    Raises:
        InputError: something between the commas is no number.
    """
    try:
        return tuple(sorted({float(part) for part in re.split(r"[,;\s]+", text.strip()) if part}))
    except ValueError as error:
        raise InputError(f"Re-allocate at: {text!r} are no numbers between 0 and 1; write 0.25, 0.5.") from error
