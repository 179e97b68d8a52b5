"""The parts that pages share: sentences, plans, errors, what is taken along.

Draws with Streamlit and asks the library for answers; computes nothing itself. What is measured is in `app.shared.measuring`.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
import streamlit as st

from app import state
from app.shared.markdown import plain
from gelora.csv_text import csv_text
from gelora.errors import GeloraError
from gelora.geometry import ESTIMATORS, no_rise_sentence, resolution_sentence, rises, sign_sentence as sign_sentence
from gelora.ranks import lora_arguments
from gelora.records import IdProfile, RankPlan
from gelora.sources import hub_name

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"home": "Home", "layers": "Layers", "ranks": "Ranks", "finetune": "Fine-tune", "runs": "Runs", "evidence": "Evidence",
         "estimators": "Calibration", "theory": "Theory"}  # fmt: skip
ICONS = {"home": ":material/home:", "layers": ":material/stacked_line_chart:", "ranks": ":material/view_comfy_alt:",
         "finetune": ":material/model_training:", "runs": ":material/table_rows:", "evidence": ":material/balance:",
         "estimators": ":material/tune:",
         "theory": ":material/school:"}  # fmt: skip


def as_csv(table: pd.DataFrame) -> str:
    """The table as CSV text for a download, without its index."""
    return csv_text(list(table.columns), table.itertuples(index=False, name=None))


def page_path(name: str) -> str:
    """What `st.switch_page` and `st.page_link` take for a page."""
    return str(ROOT / "pages" / f"{name}.py")


@contextlib.contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Show a GeloraError as its one sentence and end the page there; nothing that was done is lost."""
    try:
        yield
    except GeloraError as error:
        st.error(plain(error), icon=":material/error:")
        st.stop()


# sentences and plans


def finding(profile: IdProfile, estimator: str) -> str:
    """One sentence made from the numbers: a finding, the null, or what is not measurable."""
    all_rises = rises(profile, estimator)
    clear = [r for r in all_rises if r.goes_up]
    undefined = [e for e in profile.estimates[estimator] if e.dimension is None]
    if clear:
        best = max(clear, key=lambda rise: rise.value or 0.0)
        others = f" {len(clear) - 1} more rise{'s are' if len(clear) > 2 else ' is'} significant (95% CI excludes 0)."
        more = others if len(clear) > 1 else ""
        return f"Block {best.block} raises the dimension by {best.value:.1f} [{best.ci_low:.1f}, {best.ci_high:.1f}].{more}"
    if len(undefined) == len(profile.layer_names):
        return f"Not measurable: {undefined[0].note}"
    return str(no_rise_sentence(profile, estimator))


def resolution(profile: IdProfile) -> None:
    """What rise this sample can show, beside the finding; nothing where no interval says it."""
    sentence = resolution_sentence(profile)
    if sentence:
        st.caption(plain(sentence))


def focus_choice(title: str, width: int | str = "stretch") -> None:
    """The one estimator that findings, bands and ranks are of, among the chosen ones."""
    st.selectbox(
        plain(title),
        st.session_state["estimators"],
        key="estimator",
        format_func=estimator_words,
        width=width,  # type: ignore[arg-type]
        help="More estimators are chosen on Layers.",
    )


def estimator_words(estimator: str) -> str:
    """The name of an estimator as charts show it."""
    return ESTIMATORS[estimator].label


def offset_slider(width: int | Literal["stretch"] = "stretch") -> None:
    """The offset, the one number that a person chooses by eye."""
    st.slider(
        "Offset",
        0,
        max(state.SLIDER_OFFSET, st.session_state["offset"]),
        key="offset",
        width=width,
        on_change=state.leave_budget,
        help="Added to every block's rise. The rule alone gives ranks of 1 to 3, so the offset is most of the budget.",
    )


def undefined_reasons(profile: IdProfile, estimator: str) -> list[str]:
    """One sentence a layer that has no dimension."""
    pairs = zip(profile.layer_names, profile.estimates[estimator], strict=True)
    return [f"{name}: {estimate.note}" for name, estimate in pairs if estimate.dimension is None]


def undefined_elsewhere(profile: IdProfile, estimator: str) -> list[str]:
    """One sentence for each other estimator that has no dimension where this one has."""
    said = []
    for name, estimates in profile.estimates.items():
        pairs = zip(profile.layer_names, estimates, profile.estimates[estimator], strict=True)
        missing = {layer: e.note for layer, e, own in pairs if e.dimension is None and own.dimension is not None}
        if missing:
            where = "every layer" if len(missing) == len(estimates) else ", ".join(missing)
            said.append(f"{estimator_words(name)} has no dimension at {where}: {'; '.join(dict.fromkeys(map(str, missing.values())))}.")
    return said


def adapter_config_json(plan: RankPlan) -> str:
    """The plan as an `adapter_config.json` that PEFT's `LoraConfig.from_pretrained` reads; what it leaves out is PEFT's default."""
    return json.dumps({"peft_type": "LORA", "base_model_name_or_path": hub_name(plan.model_id), **lora_arguments(plan)}, indent=2)


def lora_snippet(plan: RankPlan) -> str:
    """Python that builds the plan's LoraConfig with PEFT alone."""
    lines = [f"    {name}={value!r}," for name, value in lora_arguments(plan).items()]
    return "\n".join(["from peft import LoraConfig", "", "config = LoraConfig(", *lines, ")"])
