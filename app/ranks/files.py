"""What the Ranks page gives away and takes in: adapter config, snippet, tables, command and link; profiles, plans, adapters.

Draws with Streamlit; files are read by the library.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from app import state
from app.ranks.tables import module_rows
from app.shared import components, measuring, module_scores, planning, shell
from app.shared.cache import measurements, store
from app.shared.markdown import md, plain
from app.shared.run_reading import short_name
from gelora.errors import GeloraError, InputError
from gelora.home import local_path
from gelora.measurements import MeasurementSpec, ResultStore
from gelora.ranks import UpdateSpectrum, export_lora_config, look_back_scores, plan_from_adapter
from gelora.records import METHODS_WITH_PLAN, IdProfile, ModuleScores, RankPlan
from gelora.runs import list_runs
from gelora.sources import decoded, kind_of, unpacked

KINDS = ["json", "gz", "safetensors", "bin"]


def _plans() -> ResultStore[RankPlan]:
    """Plans that were imported, by digest, so that a link to them lives on."""
    return store("plans", RankPlan)


def plan_beside(plan: RankPlan) -> tuple[str, RankPlan] | None:
    """The imported plan that is drawn over the curve, with its name; only if it is of the same matrices' model."""
    found = _plans().find(st.session_state["beside"]) if st.session_state["beside"] else None
    if found is None:
        return None
    label = "adapter" if found.strategy == "imported" else f"{found.strategy} plan"
    if found.model_id != plan.model_id and not {module.name for module in found.modules} & {module.name for module in plan.modules}:
        st.warning(plain(f"The {label} that was imported is of {found.model_id}, this curve of {plan.model_id}: it is not drawn."))
        return None
    return label, found


def export_buttons(plan: RankPlan, rule: RankPlan, profile: IdProfile | None) -> None:
    """Everything that can be exported: for PEFT, for a spreadsheet, for a shell, for a colleague."""
    expander = st.expander("Export", icon=":material/download:", on_change="rerun", key="export_open")
    with expander:
        if not expander.open:
            return
        _config(plan)
        with st.container(horizontal=True):
            _download("Plan as JSON", plan.to_json(indent=1), "rank_plan.json", "application/json")
            _download("Plan as CSV", components.as_csv(module_rows(plan)), "rank_plan.csv", "text/csv")
            if profile is not None:
                _download("Profile as JSON", profile.to_json(indent=1), "profile.json", "application/json")
                _download("Profile as CSV", components.as_csv(profile_rows(profile)), "profile.csv", "text/csv")
        st.caption("The figures save themselves as PNG or SVG: the camera at their upper right. The same from a shell:")
        st.code(shell.plan_command(plan, rule, profile), language="bash", wrap_lines=True)
        st.caption("A link that reopens this page as it is:")
        st.code(link(), language=None, wrap_lines=True)


@st.cache_data(max_entries=200, show_spinner="PEFT is trying this configuration on the model without weights")
def _what_peft_says(digest: str, _plan: RankPlan) -> tuple[bool, str]:
    """Whether PEFT makes this plan of its config, and what is to be said of that; once for each plan."""
    try:
        return True, export_lora_config(_plan)[1] or ""
    except GeloraError as error:
        return False, str(error)


def _config(plan: RankPlan) -> None:
    """The plan's config to copy and to download, after PEFT has made exactly this plan of it on the meta device."""
    good, words = _what_peft_says(plan.digest(), plan)
    if not good:
        st.error(plain(words))
        return
    if words:
        st.caption(plain(f"{words}."))
    st.code(components.lora_snippet(plan), language="python")
    _download("adapter_config.json", components.adapter_config_json(plan), "adapter_config.json", "application/json")


def _download(words: str, content: str, name: str, kind: str) -> None:
    st.download_button(plain(words), content, name, kind, icon=":material/download:", on_click="ignore", key=f"download_{name}")


def link() -> str:
    """The address of this page with every choice."""
    base = (st.context.url or "").split("?")[0].removesuffix("ranks")
    return f"{base}?{urlencode({'page': 'ranks', **state.as_query()})}"


def profile_rows(profile: IdProfile) -> pd.DataFrame:
    """One row a layer and estimator."""
    return pd.DataFrame(
        [
            {"layer": layer, "estimator": name, "dimension": e.dimension, "ci_low": e.ci_low, "ci_high": e.ci_high,
             "n_samples": e.n_samples, "n_distinct": e.n_distinct, "note": e.note}
            for name, curve in profile.estimates.items()
            for layer, e in zip(profile.layer_names, curve, strict=True)
        ]
    )  # fmt: skip


def doors() -> None:
    """What else can be done where nothing is measured: plan from the configuration alone, or import a profile."""
    left, right = st.columns(2)
    with left.container(border=True):
        st.markdown(
            "**Plan only.** The model's configuration is enough for budgets, uniform ranks and ranks by depth; no dimension is measured."
        )
        st.button("Plan without a curve", key="plan_only_door", on_click=_set, args=("plan_only", True))
    with right.container(border=True):
        st.markdown("**Import a profile** that `gelora measure --json` wrote, here or on a machine with a GPU.")
        _uploader("door")
        _said()


def import_section(plan: RankPlan) -> None:
    """Upload of a profile, a plan or an adapter; the one imported, and how to use its ranks or remove it."""
    with st.expander("Import a profile, a plan or an adapter", icon=":material/upload:", expanded=bool(st.session_state["beside"])):
        _uploader("page")
        path = st.text_input("Or a LoRA adapter's folder on this machine", key="adapter_path", persist_state="session")
        st.button("Read it", key="read_adapter", disabled=not path, on_click=_read_folder, args=(path,))
        _finished_runs(plan.model_id)
        _said()
        beside = plan_beside(plan)
        if beside is None:
            return
        label, other = beside
        ranks = f"{min(other.ranks.values())} to {max(other.ranks.values())}"
        told = f"{other.model_id}: {len(other.modules)} modules, ranks {ranks}, {other.n_adapter_params:,} parameters."
        st.markdown(md("Imported: the **{}** of {}", label, told))
        for part in other.also_trained:
            st.caption(plain(f"Beside these the adapter trains {part.words}."))
        if other.also_trained:
            st.caption(plain(f"In all PEFT trains {other.n_trained_params:,} parameters of it."))
        for block, note in other.block_notes.items():
            st.caption(plain(f"{f'Block {block}' if block else 'The whole'}: {note}"))
        used = module_scores.look_back_of(other.digest())
        if used is not None:
            _used(used, plan)
        with st.container(horizontal=True):
            st.button("Use its ranks as edits", key="take_ranks", on_click=_take_ranks, args=(plan, other))
            st.button("Remove", key="leave_beside", on_click=_set, args=("beside", ""))


def _finished_runs(model_id: str) -> None:
    """The adapters that runs of this model have left."""
    runs = {
        run.id: run
        for run in list_runs()
        if run.state.status == "finished" and run.spec and run.spec.model == model_id and run.method in METHODS_WITH_PLAN
    }
    if runs:
        chosen = st.selectbox("Or the adapter of a finished run", list(runs), format_func=lambda run_id: short_name(runs[run_id]))
        st.button("Read the run's adapter", key="read_run", on_click=_read_folder, args=(str(runs[chosen].folder / "adapter"),))


def _used(scores: ModuleScores, plan: RankPlan) -> None:
    """What training used of an imported adapter, beside the ranks on the page."""
    modules = {module.name: module for module in _structure().modules}
    rows = []
    for name, shares in scores.components.items():
        found = UpdateSpectrum(name, len(shares), modules[name].in_features, modules[name].out_features, 1.0, np.sqrt(shares))
        rows.append(
            {"module": name, "r": found.r, "effective rank": found.effective_rank, "stable rank": found.stable_rank,
             "rank of 99% energy": found.energy_rank(), "above noise": found.n_above_noise, "rank on this page": plan.ranks.get(name)}
        )  # fmt: skip
    numbers = {name: st.column_config.NumberColumn(format="%.2f") for name in ("effective rank", "stable rank")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=numbers)
    st.caption(
        "What training used of each module, beside the rank that this page gives it; the strategy Look-back has ranks of it at this budget."
    )


def _uploader(where: str) -> None:
    version = st.session_state.setdefault("_upload_version", 0)
    key = f"upload_{where}_{version}"
    st.file_uploader(
        "profile.json, rank_plan.json, or adapter_config.json and adapter_model.safetensors", KINDS, accept_multiple_files=True,
        key=key, on_change=_uploaded, args=(key,),
    )  # fmt: skip


def _said() -> None:
    """What came of the last upload."""
    good, words = st.session_state.pop("_upload_said", (True, ""))
    if words:
        (st.success if good else st.error)(plain(words))


def _uploaded(key: str) -> None:
    files = {file.name: file.getvalue() for file in st.session_state[key]}
    if not files:
        return
    try:
        st.session_state["_upload_said"] = (True, _take_in(files))
    except GeloraError as error:
        st.session_state["_upload_said"] = (False, str(error))
    st.session_state["_upload_version"] += 1


def _read_folder(path: str) -> None:
    try:
        st.session_state["_upload_said"] = (True, _take_adapter(local_path(path)))
    except GeloraError as error:
        st.session_state["_upload_said"] = (False, str(error))


def _take_in(files: Mapping[str, bytes]) -> str:
    """Take in what was uploaded and say what it was.

    Raises:
        GeloraError: it is neither a profile, a plan nor an adapter of this model.
    """
    if len(files) == 1 and next(iter(files)).endswith((".json", ".json.gz")):
        (name, content), *_ = files.items()
        content = unpacked(name, content)
        what = kind_of(content)
        if what is not None:
            raise InputError(f"{name} is {what}. Give a profile, a plan or an adapter_config.json.")
        try:
            text = decoded(name, content, None)[0]
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name} is not JSON ({error}); give a profile, a plan or an adapter_config.json.") from error
        kind = fields.get("record") if isinstance(fields, dict) else None
        if kind == "IdProfile":
            return _open_profile(IdProfile.from_json(text))
        if kind == "RankPlan":
            return _compare_with(RankPlan.from_json(text))
        if not isinstance(fields, dict) or "peft_type" not in fields:
            raise InputError(f"{name} is neither a profile nor a plan of GeLoRA Lab, nor the adapter_config.json of a LoRA adapter.")
    with tempfile.TemporaryDirectory(prefix="gelora-adapter-") as folder:
        for name, content in files.items():
            (Path(folder) / Path(name).name).write_bytes(content)
        return _take_adapter(Path(folder))


def _take_adapter(path: Path) -> str:
    """The ranks of an adapter, and where it has weights, what of them training used."""
    structure = _structure()
    plan = plan_from_adapter(path, structure)
    said = _compare_with(plan)
    try:
        module_scores.keep_look_back(plan.digest(), look_back_scores(path, structure))
    except GeloraError as error:  # a config alone has ranks too
        return f"{said} What training used of them is not read: {error}"
    return f"{said} What training used of them is the strategy Look-back."


def _structure():  # type: ignore[no-untyped-def]
    return planning.structure_of(measuring.current_profile())


def _open_profile(profile: IdProfile) -> str:
    """Take the profile for what was measured with its own choices, and make them the page's."""
    if profile.model.points == "halves":
        raise InputError("This profile is of halves of blocks, which the pages do not draw; plan from it by gelora plan --profile.")
    spec = MeasurementSpec.of(profile)
    chosen = {**state.fields_of(spec), "estimators": state.in_order(list(profile.estimates)), "plan_only": False}
    for key, value in chosen.items():
        st.session_state[key] = value
    if st.session_state["estimator"] not in profile.estimates:
        st.session_state["estimator"] = next(iter(profile.estimates))
    measurements().add(state.measurement(), profile)
    return f"The profile of {spec.model} on {spec.data.dataset} is open; model, data and sample are set to its own."


def _compare_with(plan: RankPlan) -> str:
    _plans().add(plan.digest(), plan)
    st.session_state["beside"] = plan.digest()
    return f"{len(plan.modules)} modules with ranks {min(plan.ranks.values())} to {max(plan.ranks.values())} are drawn beside the rule's."


def _take_ranks(plan: RankPlan, other: RankPlan) -> None:
    """Every targeted module gets the other plan's rank by hand, 0 where that has none; what is cut to a smaller side is said."""
    ranks = {module.name: min(other.ranks.get(module.name, 0), module.smaller_side) for module in plan.modules}
    if any(ranks.values()):
        st.session_state["edits"] = ranks
        cut = [name for name, rank in ranks.items() if rank < other.ranks.get(name, 0)]
        if cut:
            words = f"{len(cut)} ranks above the smaller side of their matrix, such as that of {cut[0]}, were cut to that side."
            st.session_state["_upload_said"] = (True, words)
    else:
        st.session_state["_upload_said"] = (False, "None of the modules targeted here has a rank there; choose its target modules first.")


def _set(key: str, value: object) -> None:
    st.session_state[key] = value
