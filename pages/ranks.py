"""The Ranks page: the offset is chosen by eye, and the rank allocation and the budget follow; strategies, edits, exports."""

import streamlit as st

from app.ranks import files, parts, tables
from app.shared import components, measuring, memory
from app.shared.markdown import bold, plain
from gelora.ranks import STRATEGIES

st.title("Ranks")
profile, is_stale = None, False
with st.container():  # what comes and goes over the figure must not move it: moved, it would be built again under a hand that drags it
    if measuring.current_profile() is not None or not st.session_state["plan_only"]:
        profile, is_stale = measuring.profile_or_invitation(files.doors)
stage, controls = st.columns([2.7, 1], gap="large")  # in this order, so that a phone shows the figure before the choices
with controls:
    parts.choices(profile)
plan, rule = parts.plan_and_rule(profile)
with stage:
    if profile is None:
        st.markdown(
            "**Planned from the configuration alone.** No dimension is measured, so every block gets the same; the sidebar measures."
        )
    else:
        st.markdown(bold(parts.finding(profile)))
        components.resolution(profile)
        for sentence in profile.sinks.one_direction_sentences(profile.layer_names) if profile.sinks is not None else ():
            st.warning(plain(sentence), icon=":material/warning:")
    parts.allocation(profile, plan, rule, files.plan_beside(plan), is_stale)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Use these ranks" if plan.strategy == rule.strategy else f"Use these ranks ({STRATEGIES[plan.strategy].label})"
        if st.button(plain(label), type="primary", icon=":material/model_training:", key="use_ranks"):
            st.switch_page(components.page_path("finetune"))
        parts.edit_buttons(plan)
    if profile is not None:
        st.caption(
            "How to read it: above, the dimension at the blocks' boundaries with its 95% band, so that the segment over a column is "
            "that block's rise; below, one box a rank unit: grey is the offset, orange the rise above it, the paler and hatched "
            "the less it is supported, dotted what has some support but is not in the plan. Then the same units in one row, as wide as "
            "their parameters; the dotted lines are the same modules with a uniform rank. A click adds or removes a rank unit."
        )
    parts.even_spread()
parts.notes(plan)
tables.strategies(rule, profile, is_stale)
memory.memory(plan, profile)
tables.module_table(plan)
tables.beside_uniform(plan)
files.export_buttons(plan, rule, profile)
files.import_section(plan)
