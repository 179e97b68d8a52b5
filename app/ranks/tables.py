"""The lower half of the Ranks page: every strategy at one budget, every module's rank, uniform LoRA beside it.

Draws with Streamlit; plans come from `app.shared.planning`, module scores from `app.shared.module_scores`.
"""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from app.charts.ranks import ranks_by_strategy
from app.ranks.parts import edit_rank
from app.shared import figures, module_scores, planning, progress
from app.shared.markdown import plain
from app.shared.redraw import in_place
from app.shared.run_words import listed
from gelora.ranks import STRATEGIES, equivalent_uniform_rank, plan_budget, same_ranks, uniform_comparison
from gelora.records import SCORE_STRATEGIES, IdProfile, RankPlan

_BOUNDS_HELP = (
    "The least and the highest rank of a block (of a matrix, where matrices are ranked by themselves), for all strategies but GeLoRA and "
    "Uniform. No published rule has a cap; without one a single matrix can take a fifth of the budget."
)


@in_place
def strategies(rule: RankPlan, profile: IdProfile | None, stale: bool) -> None:
    """Every strategy at the rule's cost at most, and which of them is to be used."""
    st.subheader("Strategies at this budget")
    wanted = planning.scores_spec(rule.target_modules)
    job = module_scores.MEASURING.job(wanted)  # looked at before the scores are, so that what comes in meanwhile makes the page run again
    at_work, n_results = (job, job.n_results) if job is not None and not job.is_over else (None, 0)
    plans, reasons = planning.all_strategies(rule, profile)
    missing = [name for name in SCORE_STRATEGIES if name in reasons and planning.scores_of(name, rule.target_modules) is None]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Use", list(STRATEGIES), key="strategy", format_func=lambda name: STRATEGIES[name].label, width=220)
        st.number_input("Floor", 0, 4096, key="floor", width=130, help=_BOUNDS_HELP)
        st.number_input("Cap (0: none)", 0, 4096, key="cap", width=130, help=_BOUNDS_HELP)
        if missing and at_work is None and st.button(
            "Compute module scores", key="score_matrices", icon=":material/play_arrow:",
            help="Gradient, Fisher, EVA and weight spectrum read the model itself, the first three on 64 rows of the data.",
        ):  # fmt: skip
            module_scores.MEASURING.start(wanted)
            st.rerun()
    if at_work is not None:
        progress.follow(at_work, "cancel_scoring", n_results=n_results)
    elif job is not None and job.error and missing:
        st.info(plain(job.error), icon=":material/info:")
    figures.show(
        ranks_by_strategy(plans, stale),
        "strategies_chart",
        says=f"Rank of every block by {', '.join(STRATEGIES[name].label for name in plans)}, "
        f"each at no more than {rule.n_adapter_params:,} parameters.",
        how_to_read=f"every strategy gets at most the {rule.n_adapter_params:,} parameters of the allocation; a bar is a block's mean, "
        "the line on it reaches from its lowest matrix to its highest.",
    )
    rows = [
        {"strategy": STRATEGIES[name].label, "parameters": plan.n_adapter_params, "unspent": rule.n_adapter_params - plan.n_adapter_params,
         "lowest rank": min(plan.ranks.values()), "highest rank": max(plan.ranks.values()),
         "idea": STRATEGIES[name].idea, "source": STRATEGIES[name].source}
        for name, plan in plans.items()
    ]  # fmt: skip
    numbers = {name: st.column_config.NumberColumn(format="localized") for name in ("parameters", "unspent")}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=numbers)
    for names in same_ranks({STRATEGIES[name].label: plan for name, plan in plans.items()}):
        st.caption(plain(f"{listed(list(names))} are the same ranks here: to compare them compares nothing."))
    _reasons({name: reason for name, reason in reasons.items() if name not in missing})


def _reasons(reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        st.caption(plain(f"{STRATEGIES[name].label}: {reason}"))


def module_table(plan: RankPlan) -> None:
    """Every module's rank, to be changed by hand."""
    expander = st.expander("Ranks by module", on_change="rerun", key="modules_open")
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
                **{name: st.column_config.NumberColumn(format="localized") for name in ("parameters", "in", "out")},
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
    with st.expander("Compare with uniform LoRA"):
        costs = {f"this plan (r = {equivalent_uniform_rank(plan):.2f})": plan_budget(plan)}
        costs |= {f"r = {r}": budget for r, budget in uniform_comparison(plan, (1, 2, 4, 8, 16))}
        rows = [
            {"allocation": name, "adapter parameters": budget.n_adapter_params, "share of the model": f"{budget.share:.3%}"}
            for name, budget in costs.items()
        ]
        numbers = {"adapter parameters": st.column_config.NumberColumn(format="localized")}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=numbers)
