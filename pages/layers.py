"""The Layers page: the intrinsic dimension of every layer, by every estimator, and the rank each would give."""

import pandas as pd
import streamlit as st

from app import charts, components

st.title("Layers")
profile, is_stale = components.profile_or_invitation()
estimator = st.session_state["estimator"]
st.markdown(f"**{components.finding(profile, estimator)}**")

with st.container(horizontal=True, vertical_alignment="bottom"):
    st.selectbox(
        "Focus",
        list(profile.estimates),
        key="estimator",
        format_func=lambda name: charts.estimator_style(name)[0],
        width=180,
    )
    components.offset_slider(width=280)

plans, no_plan = components.plans_by_estimator(profile)
st.plotly_chart(charts.id_by_layer(profile, estimator, plans, stale=is_stale), key="id_chart", config=components.CHART_CONFIG)
st.caption(
    "How to read it: a rise from one point to the next says that this block spreads the data over more dimensions, "
    "and the rule gives it more rank. The band is the 95% interval of the focus estimator; it does not see bias. "
    "A hollow marker with the word *scale* changes by more than its interval when half of the sample is used. ⊘ has no dimension."
)
if estimator == "twonn-mle":
    st.caption(
        "The interval of this estimator is exact under the Pareto law alone; on real neighbors it is too narrow (near 90% instead of 95%)."
    )
if no_plan:
    st.info(no_plan, icon=":material/info:")
for reason in components.undefined_reasons(profile, estimator):
    st.info(reason, icon=":material/do_not_disturb_on:")

columns = {"layer": list(profile.layer_names)}
for name, estimates in profile.estimates.items():
    columns[name] = [e.dimension for e in estimates]
    columns[f"{name} low"] = [e.ci_low for e in estimates]
    columns[f"{name} high"] = [e.ci_high for e in estimates]
columns["distinct vectors"] = [e.n_distinct for e in profile.estimates[estimator]]
table = pd.DataFrame(columns)
with st.expander("The numbers"):
    st.dataframe(table, hide_index=True, column_config={c: st.column_config.NumberColumn(format="%.2f") for c in table.columns[1:-1]})
with st.container(horizontal=True):
    st.download_button("Curve as CSV", table.to_csv(index=False), "id_profile.csv", "text/csv", icon=":material/download:")
    st.download_button("Profile as JSON", profile.to_json(indent=1), "id_profile.json", "application/json", icon=":material/download:")

model, source = profile.model, profile.sample_source
st.caption(
    f"{model.model_id} ({model.model_type}, {model.n_layers} blocks, width {model.hidden_size}, revision {model.revision[:10]}) · "
    f"{source.choice.dataset}, {profile.estimates[estimator][0].n_samples} vectors, seed {source.seed}, pooling {profile.pooling}, "
    f"{profile.max_length} tokens, {profile.metric}, k = {profile.n_neighbors}. "
    "States are the residual stream after each block, before any final norm; "
    "models with the norm before and after the block are not comparable."
)
