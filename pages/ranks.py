"""The Ranks page: the offset is chosen by eye, and the rank wall and the budget follow."""

import pandas as pd
import streamlit as st

from app import components, measuring
from app.charts import ranks as rank_charts
from gelora.geometry import rises
from gelora.ranks import budget_by_block, equivalent_uniform_rank, plan_budget, uniform_comparison

st.title("Ranks")
profile, is_stale = measuring.profile_or_invitation()
estimator = components.focus(profile)
wall, controls = st.columns([2.6, 1], gap="large")
with wall:
    st.markdown(f"**{components.finding(profile, estimator)}**")
    components.offset_slider()
with controls:
    metrics = st.container(key="budget")
    components.rule_choices()
plan = components.plan_for(profile)
budget, uniform = plan_budget(plan), uniform_comparison(plan)

with metrics:
    st.metric("Adapter parameters", f"{budget.n_adapter_params:,}", help="r x (in + out), summed over the adapted matrices")
    with st.container(horizontal=True):
        st.metric("Share of the model", f"{budget.share:.3%}", width="content")
        st.metric("As one rank everywhere", f"r = {equivalent_uniform_rank(plan):.2f}", width="content")
        st.metric("Adapter file", f"{budget.adapter_bytes / 1e6:.2f} MB", width="content")
        st.metric("AdamW state", f"{budget.optimizer_bytes / 1e6:.2f} MB", width="content")
    st.caption("The adapter alone; a task's head is counted apart, on Fine-tune.")

with wall:
    st.plotly_chart(
        rank_charts.rank_wall(profile, plan, rises(profile, estimator), estimator, stale=is_stale),
        key="wall",
        config=components.CHART_CONFIG,
    )
    st.caption(
        "How to read it: above, the dimension at the blocks' boundaries with its 95% band, so that the segment over a column is "
        "that block's rise; below, one brick a unit of rank: grey is the offset, hatched orange the rise above it. Then the same "
        "bricks in one row, as wide as their parameters; the dotted lines are the same modules with one rank everywhere."
    )
    st.plotly_chart(rank_charts.budget_gauge(plan, uniform), key="gauge", config=components.CHART_CONFIG)
    if st.button("Use these ranks", type="primary", icon=":material/model_training:", key="use_ranks"):
        st.switch_page(components.page_path("finetune"))
    st.caption(
        "What is known: the rule bounds the rank from below by a heuristic, it proves nothing about a score. "
        "At equal budget an even spread was hard to beat; leaving blocks without an adapter hurt."
    )
for block, note in plan.block_notes.items():
    st.info(f"Block {block}: {note}", icon=":material/info:")

by_block = budget_by_block(plan)
differences = {rise.block: rise for rise in rises(profile, estimator)}
rows = pd.DataFrame(
    [
        {
            "block": block,
            "rise of ID": differences[block].value,
            "low": differences[block].ci_low,
            "high": differences[block].ci_high,
            "rank": rank,
            "alpha": next(plan.alphas[m.name] for m in plan.modules if m.block == block),
            "parameters": by_block.get(block, 0),
        }
        for block, rank in plan.block_ranks().items()
    ]
)
with st.expander("Block by block", expanded=False):
    formats = {name: st.column_config.NumberColumn(format="%.2f") for name in ("rise of ID", "low", "high")}
    st.dataframe(rows, hide_index=True, column_config=formats)
with st.expander("Beside uniform LoRA"):
    table = [{"allocation": "this plan", "adapter parameters": budget.n_adapter_params, "share of the model": f"{budget.share:.3%}"}]
    table += [
        {"allocation": f"r = {r}", "adapter parameters": b.n_adapter_params, "share of the model": f"{b.share:.3%}"} for r, b in uniform
    ]
    st.dataframe(table, hide_index=True)
with st.expander("Take it along"):
    st.code(components.lora_snippet(plan), language="python")
    with st.container(horizontal=True):
        st.download_button("Plan as JSON", plan.to_json(indent=1), "rank_plan.json", "application/json", icon=":material/download:")
        st.download_button(
            "adapter_config.json",
            components.adapter_config_json(plan),
            "adapter_config.json",
            "application/json",
            icon=":material/download:",
        )
        st.download_button("Table as CSV", rows.to_csv(index=False), "ranks.csv", "text/csv", icon=":material/download:")
