"""The parts of the Ranks page: choices, wall, strategies, memory, the table that takes edits.

Draws with Streamlit; plans come from `app.planning`, the wall's drawing from `app.rank_wall`.
"""

import itertools
import sys
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app import components, planning, state
from app.cache import dataset_info, head_parameters
from app.charts.look import STRATEGY_COLOURS
from app.charts.ranks import ranks_by_strategy
from app.charts.wall import wall_data
from app.rank_wall import WallAnswer, rank_wall
from app.scoring import scorer
from gelora.doctor import gpu_memory
from gelora.errors import GeloraError, InputError
from gelora.ranks import STRATEGIES, equivalent_uniform_rank, memory_estimate, plan_budget, uniform_comparison
from gelora.records import ROUNDINGS, IdProfile, RankPlan

BUDGETS = {"uniform": "as one rank everywhere", "params": "as parameters", "mb": "as megabytes of the file"}
DTYPE_WORDS = {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
EVEN_SPREAD = (
    "What is known: the rule bounds the rank from below by a heuristic, it proves nothing about a score. At equal budget an even "
    "spread was hard to beat: of 20 paired comparisons on four tasks none was significant. Leaving blocks without an adapter hurt."
)


def choices(profile: IdProfile | None) -> None:
    """The left third: offset or budget, what the rule is made from, target modules."""
    chosen = st.session_state
    st.number_input(
        "Offset" if profile is not None else "Rank everywhere", 0 if profile is not None else 1, state.MAX_OFFSET, key="offset",
        on_change=state.leave_budget, help="The slider over the wall goes to 8; this field goes on.",
    )  # fmt: skip
    with st.popover("I have a budget", icon=":material/savings:", width="stretch"):
        _budget_choice()
    if chosen["match"]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Matched to the budget **{chosen['match']}**.")
            st.button("Let go", key="leave_budget", on_click=_let_go)
    if profile is not None:
        components.focus_choice("Estimator")
        st.selectbox("Rounding", ROUNDINGS, key="rounding", help="A lower bound must not be rounded down, so the default is up.")
        st.number_input("Scale of the rises", 0.0, 100.0, step=0.5, key="scale", help="1 is the paper's rule.")
        st.segmented_control("Doubt by", state.DOUBTS, key="doubt", on_change=_keep_a_doubt, help=_DOUBT_HELP)
    st.selectbox(
        "Target modules", list(dict.fromkeys([*state.TARGETS, chosen["targets"]])), key="targets", accept_new_options=True,
        help="Or names, several with commas: query,value or attention,mlp.output.dense",
    )  # fmt: skip


_DOUBT_HELP = (
    "Each unit of rank above the offset is as solid as the share of those that want it: the random halves of the sample, "
    "or the estimators that are measured."
)


def _keep_a_doubt() -> None:
    if st.session_state["doubt"] is None:  # a second click on the chosen one takes it away
        st.session_state["doubt"] = state.DOUBTS[0]


def _budget_choice() -> None:
    kind = st.radio("The budget", list(BUDGETS), format_func=BUDGETS.__getitem__, key="budget_kind")
    if kind == "mb":
        st.number_input("Megabytes", 0.001, 1e6, 0.15, format="%.3f", key="budget_mb")
    elif kind == "params":
        st.number_input("Parameters", 1, 10**12, 36_864, key="budget_params")
    else:
        st.number_input("Rank everywhere", 1, 4096, 2, key="budget_uniform")
    st.caption("The largest offset whose whole plan fits is taken; what is left goes to the largest differences first.")
    st.button("Match it", type="primary", key="match_budget", on_click=_match)


def _match() -> None:
    kind = st.session_state["budget_kind"]
    amount = st.session_state[f"budget_{kind}"]
    st.session_state["match"] = f"{kind}:{amount:.3f}" if kind == "mb" else f"{kind}:{amount}"


def _let_go() -> None:
    """Leave the budget, and stay at the offset that it gave."""
    st.session_state["offset"] = st.session_state.get("_matched_offset", st.session_state["offset"])
    state.leave_budget()


def plan_and_rule(profile: IdProfile | None) -> tuple[RankPlan, RankPlan]:
    """The plan to be used and the rule's plan, whose cost it has; where the choices give none, the reason, and the page ends."""
    with components.errors_as_sentences():
        rule = planning.rule_plan(profile)
        if st.session_state["match"] and rule.offset is not None:
            st.session_state["_matched_offset"] = rule.offset
    try:
        return planning.chosen_plan(profile), rule
    except InputError as error:
        st.warning(f"{error} The rule's plan is shown instead.", icon=":material/info:")
        return planning.with_edits(rule), rule


def wall(profile: IdProfile | None, plan: RankPlan, rule: RankPlan, beside: tuple[str, RankPlan] | None, stale: bool) -> None:
    """The wall of the rule's plan with the edits, the chosen strategy's ranks laid over it."""
    units, shares, n_shares = planning.units_and_shares(profile, rule.estimator or "")
    own = plan.strategy == rule.strategy
    data = wall_data(
        plan if own else rule,
        profile=profile,
        units=units,
        shares=shares,
        shares_of=st.session_state["doubt"],
        n_shares=n_shares,
        max_offset=state.SLIDER_OFFSET,
        least_offset=0 if profile is not None else 1,
        compare=None if own else (STRATEGIES[plan.strategy].label, STRATEGY_COLOURS[plan.strategy], plan),
        overlay=beside,
        fits=_fits_sentence(plan, profile),
        editable=own,
        stale=stale,
    )
    rank_wall(data, key="wall", on_change=lambda answer: _wall_said(answer, data["offset"]))


def _wall_said(answer: WallAnswer, offset_before: int) -> None:
    if answer.edit is not None:
        edit_rank(str(answer.edit["block"]), answer.edit["rank"])
    elif answer.offset != offset_before:
        st.session_state["offset"] = answer.offset
        state.leave_budget()


def edit_rank(name: str, rank: int) -> None:
    """Give a block or a module another rank by hand; the newest edit is the first to be undone."""
    edits = dict(st.session_state["edits"])
    edits.pop(name, None)
    if name.isdigit():  # a whole block: what was said of its matrices one by one is overruled
        edits = {other: r for other, r in edits.items() if _block_of(other) != name}
    st.session_state["edits"] = edits | {name: rank}


def _block_of(module: str) -> str | None:
    """The number of a module's block, from its dotted name: blocks count from 1, names from 0."""
    numbers = [int(part) for part in module.split(".") if part.isdigit()]
    return str(numbers[0] + 1) if numbers and not module.isdigit() else None


def edit_buttons(plan: RankPlan) -> None:
    """Undo the last edit, or all; how many modules are by hand."""
    edits = st.session_state["edits"]
    if not edits:
        return
    st.caption(f"{len(plan.edits)} modules by hand.")
    st.button("Undo", key="undo_edit", icon=":material/undo:", on_click=_undo, args=(1,))
    if len(edits) > 1:
        st.button("Undo all", key="undo_edits", on_click=_undo, args=(len(edits),))


def _undo(n: int) -> None:
    kept = list(st.session_state["edits"].items())[:-n]
    st.session_state["edits"] = dict(kept)


def notes(plan: RankPlan) -> None:
    """Why blocks got their ranks, where that is not plain from the curve: one line for those that share a reason."""
    by_note: dict[str, list[int]] = {}
    for block, note in plan.block_notes.items():
        by_note.setdefault(note, []).append(block)
    for note, blocks in by_note.items():
        st.info(f"Block{'s' if len(blocks) > 1 else ''} {', '.join(map(str, blocks))}: {note}.", icon=":material/info:")
    skipped = [block for block, rank in plan.block_ranks().items() if rank == 0]
    if skipped:
        numbers = ", ".join(map(str, skipped))
        st.info(f"Skipped, without an adapter: block{'s' if len(skipped) > 1 else ''} {numbers}.", icon=":material/block:")
    if plan.shortfall:
        amount = f"{abs(plan.shortfall):,} parameters"
        words = f"{amount} of the budget stay unspent: no unit of rank fits." if plan.shortfall > 0 else f"{amount} over the budget, by hand."
        st.caption(words)


def strategies(rule: RankPlan, profile: IdProfile | None, stale: bool) -> None:
    """Every strategy at the rule's cost, and which of them is to be used."""
    st.subheader("Strategies at this budget")
    plans, reasons = planning.all_strategies(rule, profile)
    wanted = planning.scoring_of(rule.target_modules)
    missing = [name for name in scorer().missing(wanted) if name in reasons]
    job = scorer().job(wanted)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Use", list(STRATEGIES), key="strategy", format_func=lambda name: STRATEGIES[name].label, width=220)
        if missing and (job is None or job.is_over) and st.button(
            "Score the matrices", key="score_matrices", icon=":material/play_arrow:",
            help="Gradient, Fisher, EVA and weight spectrum read the model itself, on 64 rows of the data: some 10 seconds on the bundled model.",
        ):  # fmt: skip
            scorer().start(wanted)
            st.rerun()
    if job is not None and not job.is_over:
        _scoring_progress(job.n_results)
    elif job is not None and job.error and missing:
        st.info(job.error, icon=":material/info:")
    st.plotly_chart(ranks_by_strategy(plans, stale), key="strategies_chart", config=components.CHART_CONFIG)
    st.caption(
        f"How to read it: every strategy gets the {rule.n_adapter_params:,} parameters of the wall; a bar is a block's mean rank, "
        "the line on it reaches from its lowest matrix to its highest."
    )
    rows = [
        {"strategy": STRATEGIES[name].label, "parameters": plan.n_adapter_params, "unspent": rule.n_adapter_params - plan.n_adapter_params,
         "lowest rank": min(plan.ranks.values()), "highest rank": max(plan.ranks.values()), "idea": STRATEGIES[name].idea, "source": STRATEGIES[name].source}
        for name, plan in plans.items()
    ]  # fmt: skip
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"parameters": st.column_config.NumberColumn(format="localized")})
    _reasons({name: reason for name, reason in reasons.items() if name not in missing})


def _reasons(reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        st.caption(f"{STRATEGIES[name].label}: {reason}")


@st.fragment(run_every=0.4)
def _scoring_progress(n_results: int) -> None:
    job = scorer().job(planning.scoring_of(st.session_state["targets"]))
    if job is None or job.is_over or job.n_results != n_results:
        st.rerun(scope="app")
    assert job is not None  # noqa: S101 (st.rerun does not return)
    with st.container(horizontal=True, vertical_alignment="center"):
        counted = f" {job.done:,} of {job.total:,}" if job.total else ""
        st.progress(job.done / job.total if job.total else 0.0, text=f"{job.stage}{counted}")
        if st.button("Cancel", key="cancel_scoring", disabled=job.is_cancelled):
            job.cancel()


def memory(plan: RankPlan, profile: IdProfile | None) -> None:
    """What a training step takes, by part, and whether it fits the GPU that is there."""
    expander = st.expander("Does it fit? Memory of a training step", on_change="rerun", key="memory_open")
    with expander:
        if not expander.open:
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            batch = st.number_input("Batch size", 1, 4096, 16, key="memory_batch", persist_state="session", width=130)
            length = st.number_input("Tokens per text", 4, 100_000, st.session_state["length"], key="memory_length", persist_state="session", width=150)
            dtype = st.selectbox("Weights in", list(DTYPE_WORDS), key="memory_dtype", persist_state="session", width=140)
            task = st.segmented_control(
                "Task", ["classification", "causal-lm"], default="classification", key="memory_task", persist_state="session"
            )  # fmt: skip
            checkpointing = st.toggle("Gradient checkpointing", key="memory_checkpointing", persist_state="session")
        try:
            n_head = _head_parameters() if task != "causal-lm" else 0
        except GeloraError as error:
            st.caption(f"The head is not counted: {error}")
            n_head = 0
        estimate = memory_estimate(
            plan, planning.structure_of(profile), batch_size=int(batch), length=int(length), dtype=dtype, n_head_params=n_head,
            task=task or "classification", gradient_checkpointing=checkpointing,
        )  # fmt: skip
        parts = {
            "weights": estimate.weights_bytes, "gradients": estimate.gradient_bytes, "AdamW's two moments": estimate.optimizer_bytes,
            "activations": estimate.activation_bytes, "in all": estimate.total_bytes,
        }  # fmt: skip
        budget = plan_budget(plan, n_head)
        st.dataframe(
            pd.DataFrame([{"part": part, "MB": n_bytes / 1e6} for part, n_bytes in parts.items()]),
            hide_index=True, column_config={"MB": st.column_config.NumberColumn(format="%.2f")},
        )  # fmt: skip
        st.caption(
            f"{budget.n_adapter_params:,} parameters of the adapter and {n_head:,} of the head are trained and saved: "
            f"{budget.adapter_bytes / 1e6:.2f} MB. The estimate of activations is arithmetic on the model's shape; docs/ranks.md has how near it was to measured ones."
        )
        gpu = _gpu()
        if gpu is None:
            st.caption("No GPU is seen here; gelora plan says it on the machine that has one.")
        else:
            words = "It fits" if estimate.fits(gpu.free_bytes) else "It does not fit"
            st.markdown(f"**{words} the {gpu.name}**: {gpu.free_bytes / 1e9:.1f} of {gpu.total_bytes / 1e9:.1f} GB are free.")


def _head_parameters() -> int:
    wanted = state.measurement()
    info = dataset_info(wanted.data.to_json())
    n_labels = len(info.label_names) if info.label_names else 1
    return head_parameters(wanted.model, n_labels)


def _gpu():  # type: ignore[no-untyped-def]  # the type's module loads no torch, its maker does
    torch = sys.modules.get("torch")  # never import it on the page's first paint
    return gpu_memory() if torch is not None and hasattr(torch, "cuda") else None


def _fits_sentence(plan: RankPlan, profile: IdProfile | None) -> str | None:
    gpu = _gpu()
    if gpu is None:
        return None
    estimate = memory_estimate(plan, planning.structure_of(profile), batch_size=16, length=st.session_state["length"], dtype="float32")
    words = "fits" if estimate.fits(gpu.free_bytes) else "does not fit"
    return f"a step with batch 16 {words} the {gpu.name}"


def module_table(plan: RankPlan) -> None:
    """Every module's rank, to be changed by hand."""
    expander = st.expander("Module by module", on_change="rerun", key="modules_open")
    with expander:
        if not expander.open:
            return
        st.caption("Change a rank in the table; it is marked, kept in the link, and can be undone. 0 takes the adapter away.")
        rows = module_rows(plan)
        version = st.session_state.setdefault("_modules_version", 0)
        key = f"modules_{version}"  # a new table after each edit, so that an edit is applied once
        st.data_editor(
            rows, key=key, hide_index=True, disabled=[name for name in rows.columns if name != "rank"],
            on_change=_table_edited, args=(key, [module.name for module in plan.modules], [module.smaller_side for module in plan.modules]),
            column_config={
                "rank": st.column_config.NumberColumn(min_value=0, step=1, required=True),
                "alpha": st.column_config.NumberColumn(format="%g"),
                "parameters": st.column_config.NumberColumn(format="localized"),
            },
        )  # fmt: skip


def _table_edited(key: str, names: list[str], limits: list[int]) -> None:
    for row, changes in st.session_state[key]["edited_rows"].items():
        if changes.get("rank") is not None:
            edit_rank(names[int(row)], min(int(changes["rank"]), limits[int(row)]))
    st.session_state["_modules_version"] += 1


def module_rows(plan: RankPlan) -> pd.DataFrame:
    """One row a module."""
    return pd.DataFrame(
        [
            {
                "block": module.block,
                "module": module.name,
                "rank": plan.ranks[module.name],
                "by hand": f"was {plan.edits[module.name]}" if module.name in plan.edits else "",
                "alpha": plan.alphas[module.name],
                "parameters": plan.ranks[module.name] * module.n_params_per_rank,
                "in": module.in_features,
                "out": module.out_features,
                "kind": module.kind,
            }
            for module in plan.modules
        ]
    )


def beside_uniform(plan: RankPlan) -> None:
    """The plan's cost beside uniform LoRA of the same modules."""
    with st.expander("Beside uniform LoRA"):
        budget = plan_budget(plan)
        rows = [{"allocation": f"this plan (r = {equivalent_uniform_rank(plan):.2f})", "adapter parameters": budget.n_adapter_params, "share of the model": f"{budget.share:.3%}"}]
        for r, uniform in itertools.chain(uniform_comparison(plan, (1, 2, 4, 8, 16))):
            rows.append({"allocation": f"r = {r}", "adapter parameters": uniform.n_adapter_params, "share of the model": f"{uniform.share:.3%}"})
        st.dataframe(pd.DataFrame(rows), hide_index=True)
