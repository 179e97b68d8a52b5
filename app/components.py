"""The parts that pages share: the measurement as a page shows it, sentences, plans, errors, what is taken along.

Draws with Streamlit and asks `app.cache` and the library for answers; computes nothing itself.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import streamlit as st

from app import state
from app.cache import Job, measurements, preparation, structure
from gelora.errors import GeloraError, InputError
from gelora.geometry import rises
from gelora.ranks import allocate_ranks, lora_arguments, uniform_ranks
from gelora.records import ROUNDINGS, IdProfile, RankPlan

ROOT = Path(__file__).resolve().parents[1]
CHART_CONFIG = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
PAGES = {"layers": "Layers", "ranks": "Ranks", "finetune": "Fine-tune", "runs": "Runs", "estimators": "Calibration"}
ICONS = {"layers": ":material/stacked_line_chart:", "ranks": ":material/view_comfy_alt:",
         "finetune": ":material/model_training:", "runs": ":material/table_rows:", "estimators": ":material/tune:"}  # fmt: skip


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


# the measurement on the page


def is_measuring() -> bool:
    """Whether the chosen measurement is under way."""
    job = measurements().job(state.measurement())
    return job is not None and not job.is_over


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
    preparation()
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


def plans_by_estimator(profile: IdProfile) -> tuple[dict[str, RankPlan], str | None]:
    """The plan that every estimator gives, and a sentence where one gives none (offset 0 and no rise, say)."""
    plans, reason = {}, None
    for estimator in profile.estimates:
        try:
            plans[estimator] = plan_for(profile, estimator)
        except InputError as error:
            reason = f"{estimator}: {error}"
    return plans, reason


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
    """The plan as an `adapter_config.json` that PEFT's `LoraConfig.from_pretrained` reads; what it leaves out is PEFT's default."""
    return json.dumps({"peft_type": "LORA", "base_model_name_or_path": plan.model_id, **lora_arguments(plan)}, indent=2)


def lora_snippet(plan: RankPlan) -> str:
    """Python that builds the plan's LoraConfig with PEFT alone."""
    lines = [f"    {name}={value!r}," for name, value in lora_arguments(plan).items()]
    return "\n".join(["from peft import LoraConfig", "", "config = LoraConfig(", *lines, ")"])
