"""The Layers page: the intrinsic dimension of every layer, by every chosen estimator, and the rank each would give."""

from functools import partial

import streamlit as st

from app.charts import layers as layer_charts
from app.layers import comparison, opened_layer, paper, parts, similarity
from app.shared import components, figures, measuring, planning
from app.shared.markdown import bold, md, plain

st.title("Layers")
measuring.estimator_chooser()
profile, is_stale = measuring.profile_or_invitation()
estimator = planning.focus(profile)
with st.container():  # parts that come and go must not move what stands under them (app/shared/redraw.py)
    st.markdown(bold(components.finding(profile, estimator)))
    components.resolution(profile)
    if len(profile.estimates) > 1:
        st.markdown(plain(components.sign_sentence(profile)))

with st.container(horizontal=True, vertical_alignment="bottom"):
    components.focus_choice("Focus", width=180)
    components.offset_slider(width=260)
    st.toggle("Log axis", key="log")
    with_baselines = parts.baselines_toggle(profile, estimator)
measuring.draw_jobs("baselines")
if not is_stale:
    profile = measuring.current_profile() or profile

plans, no_plan = planning.plans_by_estimator(profile)
figures.show(
    layer_charts.id_by_layer(
        profile,
        estimator,
        plans,
        layer=st.session_state["layer"],
        log=st.session_state["log"],
        baselines=with_baselines,
        stale=is_stale,
    ),
    "id_chart",
    says=f"Intrinsic dimension of every layer by {measuring.labels(list(profile.estimates))}, over the rank that each gives every block. "
    f"{components.finding(profile, estimator)}",
    how_to_read=md(
        "a rise from one point to the next says that this block spreads the data over more dimensions, "
        "and the rule gives it more rank. The band is the 95% interval of the focus estimator; it does not see bias. "
        "A hollow marker with the word *scale* changes by more than its interval when half of the sample is used. ⊘ has no dimension. "
        "The last row of ranks counts the estimators that give the rank most of them give. "
        "{}A click on a marker opens its layer below.",
        parts.mark_words(profile),
    ),
    on_select=partial(parts.layer_clicked, "id_chart"),
)
with st.container():
    parts.hint_of_height(profile)
    parts.sinks(profile, is_stale)
    if estimator == "twonn-mle":
        st.caption(
            "The interval of this estimator is exact under the Pareto law alone; on real neighbors it is too narrow "
            "(near 90% instead of 95%)."
        )
    if no_plan:
        st.info(plain(no_plan), icon=":material/info:")
    for reason in components.undefined_reasons(profile, estimator):
        st.info(plain(reason), icon=":material/do_not_disturb_on:")
    for reason in components.undefined_elsewhere(profile, estimator):
        st.caption(plain(reason))

paper.section(profile, estimator, plans)
comparison.section(profile, estimator, is_stale)
opened_layer.section(profile, estimator, is_stale)
similarity.section(profile, st.session_state["layer"], is_stale)
parts.sensitivity_section(estimator, is_stale)
st.subheader("Numbers")
parts.numbers(profile, estimator, plans)

model, source = profile.model, profile.sample_source
said = (
    f"{model.model_id} ({model.model_type}, {model.n_layers} blocks, width {model.hidden_size}, revision {model.revision[:10]}) · "
    f"{source.choice.dataset}, {profile.estimates[estimator][0].n_samples} vectors, seed {source.seed}, pooling {profile.pooling}, "
    f"{profile.max_length} tokens, {profile.metric}, k = {profile.n_neighbors}. "
    "States are the residual stream after each block, before any final norm; "
    "models with the norm before and after the block are not comparable."
)
st.caption(plain(said))
