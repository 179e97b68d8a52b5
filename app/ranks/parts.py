"""The upper half of the Ranks page: choices, the rank allocation and its edits, notes.

Draws with Streamlit; plans come from `app.shared.planning`, its drawing from `app.ranks.allocation`.
"""

import streamlit as st

from app import state
from app.charts.allocation import SOLID_FROM, allocation_data
from app.charts.look import STRATEGY_COLOURS
from app.ranks.allocation import AllocationAnswer, rank_allocation
from app.shared import components, planning, studies
from app.shared.markdown import md, plain
from app.shared.memory import fits_sentence
from app.shared.redraw import in_place
from app.shared.run_words import listed
from gelora.errors import InputError
from gelora.ranks import STRATEGIES, parameter_note
from gelora.records import ROUNDINGS, IdProfile, RankPlan

BUDGETS = {"uniform": "as a uniform rank", "params": "as parameters", "mb": "as megabytes of the file"}
_EVEN_SPREAD = (
    "What is known: the paper bounds a block's rank and parameters from below; that a rise is the rank an update needs is a "
    "heuristic, and neither says anything of a score. At equal budget an even spread was hard to beat: "
    "of 20 paired comparisons on four tasks none was significant. Leaving blocks without an adapter hurt."
)


def choices(profile: IdProfile | None) -> None:
    """The left third: offset or budget, what the rule is made from, target modules."""
    chosen = st.session_state
    if profile is None and chosen["offset"] < 1:
        chosen["offset"] = 1  # without a curve there is no rise that would keep a block at offset 0
    st.number_input(
        "Offset" if profile is not None else "Uniform rank", 0 if profile is not None else 1, state.MAX_OFFSET, key="offset",
        on_change=state.leave_budget, help="The slider over the figure goes to 8; this field goes on.",
    )  # fmt: skip
    with st.popover("I have a budget", icon=":material/savings:", width="stretch"):
        _budget_choice()
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen["match"]:
            st.caption(md("Matched to the budget **{}**.", chosen["match"]))
            st.button("Clear", key="leave_budget", on_click=_clear)
    if profile is not None:
        components.focus_choice("Estimator")
        st.selectbox("Rounding", ROUNDINGS, key="rounding", help="A lower bound must not be rounded down, so the default is up.")
        st.number_input("Rise multiplier", 0.0, 100.0, step=0.5, key="scale", help="1 is the paper's rule.")
        st.segmented_control("Uncertainty from", state.UNCERTAINTY_FROM, key="doubt", on_change=_keep_one_chosen, help=_UNCERTAINTY_HELP)
    st.selectbox(
        "Target modules", list(dict.fromkeys([*state.TARGETS, chosen["targets"]])), key="targets", accept_new_options=True,
        help="Or names, several with commas: query,value or attention,mlp.output.dense",
    )  # fmt: skip


_UNCERTAINTY_HELP = (
    "Each unit of rank above the offset is as solid as its share: the probability of such a rise under its own interval "
    "(half-samples), or the share of the measured estimators that give the unit. It is hatched below 97.5% (its rise's 95% interval "
    "does not exclude what is below the unit), or below 80% of the estimators."
)


def _keep_one_chosen() -> None:
    if st.session_state["doubt"] is None:  # a second click on the chosen one takes it away
        st.session_state["doubt"] = state.UNCERTAINTY_FROM[0]


def _budget_choice() -> None:
    kind = st.radio("The budget", list(BUDGETS), format_func=BUDGETS.__getitem__, key="budget_kind")
    if kind == "mb":
        st.number_input("Megabytes", 0.001, 1e6, 0.15, format="%.3f", key="budget_mb")
    elif kind == "params":
        st.number_input("Parameters", 1, 10**12, 36_864, key="budget_params")
    else:
        st.number_input("Uniform rank", 1, 4096, 2, key="budget_uniform")
    st.caption("The largest offset whose whole plan fits is taken; what is left goes to the largest differences first.")
    st.button("Match it", type="primary", key="match_budget", on_click=_match)


def _match() -> None:
    kind = st.session_state["budget_kind"]
    amount = st.session_state[f"budget_{kind}"]
    st.session_state["match"] = f"{kind}:{amount:.3f}" if kind == "mb" else f"{kind}:{amount}"


def _clear() -> None:
    """Leave the budget, and stay at the offset that it gave."""
    st.session_state["offset"] = st.session_state.get("_matched_offset", st.session_state["offset"])
    state.leave_budget()


def finding(profile: IdProfile) -> str:
    """What stands over the figure, in the terms that its rank units are solid by: the rises' intervals, or the estimators' agreement."""
    if st.session_state["doubt"] == state.UNCERTAINTY_FROM[0]:
        return components.finding(profile, planning.focus(profile))
    units, shares, n_estimators = planning.units_and_shares(profile, planning.focus(profile))
    least = SOLID_FROM["estimators"]
    agreed = [str(block) for block, of_block in shares.items() if of_block and of_block[0] >= least and units.get(block)]
    where = f"a rise of block{'s' if len(agreed) > 1 else ''} {listed(agreed)}" if agreed else "no rise"
    return (
        f"At least {least:.0%} of {n_estimators} estimators agree on {where}. They read one sample, so agreement is no interval: "
        "half-samples say what another sample would give."
    )


@in_place
def plan_and_rule(profile: IdProfile | None) -> tuple[RankPlan, RankPlan]:
    """The plan to be used and the rule's plan, whose cost it has; where the choices give none, the reason, and the page ends."""
    with components.errors_as_sentences():
        rule = planning.rule_plan(profile)
        if st.session_state["match"] and rule.offset is not None:
            st.session_state["_matched_offset"] = rule.offset
    try:
        return planning.chosen_plan(profile), rule
    except InputError as error:
        st.warning(plain(f"{error} The rule's plan is shown instead."), icon=":material/info:")
        return planning.with_edits(rule), rule


def allocation(profile: IdProfile | None, plan: RankPlan, rule: RankPlan, beside: tuple[str, RankPlan] | None, stale: bool) -> None:
    """The rank allocation of the rule's plan with the edits, the chosen strategy's ranks drawn over it."""
    units, shares, n_shares = planning.units_and_shares(profile, rule.estimator or "")
    own = plan.strategy == rule.strategy
    data = allocation_data(
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
        fits=fits_sentence(plan, profile),
        editable=own,
        stale=stale,
    )
    answer = rank_allocation(data, key="allocation", on_change=lambda answer: _answered(answer, data["offset"]))
    # After a restart of the server the first word of an open tab comes without its callback.
    edit = answer.edit
    if edit is not None and st.session_state["edits"].get(str(edit["block"])) != edit["rank"]:
        edit_rank(str(edit["block"]), edit["rank"])
        st.rerun()
    if answer.offset != data["offset"]:
        state.choose_next(offset=answer.offset, match="")
        st.rerun()


def _answered(answer: AllocationAnswer, offset_before: int) -> None:
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
    st.caption(plain(f"{len(plan.edits)} modules by hand."))
    st.button("Undo", key="undo_edit", icon=":material/undo:", on_click=_undo, args=(1,))
    if len(edits) > 1:
        st.button("Undo all", key="undo_edits", on_click=_undo, args=(len(edits),))


def _undo(n: int) -> None:
    kept = list(st.session_state["edits"].items())[:-n]
    st.session_state["edits"] = dict(kept)


@in_place
def notes(plan: RankPlan) -> None:
    """Why blocks got their ranks, where that is not plain from the curve: one line for those that share a reason."""
    by_note: dict[str, list[int]] = {}
    for block, note in plan.block_notes.items():
        by_note.setdefault(note, []).append(block)
    for note, blocks in by_note.items():
        st.info(plain(f"Block{'s' if len(blocks) > 1 else ''} {', '.join(map(str, blocks))}: {note}."), icon=":material/info:")
    as_parameters = parameter_note(plan)
    if as_parameters:
        st.info(plain(as_parameters), icon=":material/info:")
    skipped = [block for block, rank in plan.block_ranks().items() if rank == 0]
    if skipped:
        numbers = ", ".join(map(str, skipped))
        st.info(plain(f"Skipped, without an adapter: block{'s' if len(skipped) > 1 else ''} {numbers}."), icon=":material/block:")
    if plan.shortfall:
        amount = f"{abs(plan.shortfall):,} parameters"
        unspent = f"{amount} of the budget stay unspent: no unit of rank fits."
        words = unspent if plan.shortfall > 0 else f"{amount} over the budget, by hand."
        st.caption(plain(words))


def even_spread() -> None:
    """What is known of any plan against an even spread of ranks, with what the recorded studies add."""
    recorded = studies.recorded_verdict()
    st.caption(md("{}{}", _EVEN_SPREAD, f" Recorded races (page Evidence): {recorded[0].lower()}{recorded[1:]}" if recorded else ""))
