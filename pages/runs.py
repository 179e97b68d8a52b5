"""The Runs page: every run in a table; tick some to see their metrics and settings beside each other."""

import dataclasses

import pandas as pd
import streamlit as st

from app import components, live, state
from app.charts import runs as run_charts
from gelora.runs import RunInfo, delete_run, history, list_runs

st.title("Runs")
runs = list_runs()
if not runs:
    st.info("No runs yet. Choose an offset on Ranks and start one on Fine-tune.")
    st.page_link(components.page_path("finetune"), label="To Fine-tune", icon=components.ICONS["finetune"])
    st.stop()


def row_of(run: RunInfo) -> dict[str, object]:
    metric = run.main_metric or "eval_loss"
    return {
        "state": f"{live.STATUS_ICONS[run.status]} {run.status}",
        "strategy": run.strategy or run.method,
        "parameters": run.n_adapter_params,
        "score": run.metrics.get(metric),
        "metric": live.METRIC_WORDS.get(metric, metric),
        "loss": run.metrics.get("loss"),
        "step": f"{run.step}/{run.total_steps or '?'}",
        "data": run.dataset,
        "model": run.model,
        "started (UTC)": (run.started_at or "")[:19].replace("T", " "),
        "run": run.id,
    }


table = pd.DataFrame([row_of(run) for run in runs])
score = st.column_config.NumberColumn(format="%.4f")
selection = st.dataframe(
    table,
    key="runs_table",
    hide_index=True,
    on_select="rerun",
    selection_mode="multi-row",
    column_config={"score": score, "loss": score, "parameters": st.column_config.NumberColumn(format="localized")},
)
st.download_button("Table as CSV", table.to_csv(index=False), "runs.csv", "text/csv", icon=":material/download:")
chosen = [runs[i] for i in selection.selection.rows if i < len(runs)]
if not chosen:
    st.caption("Tick rows to overlay their metrics, compare their settings, open or delete them.")
    st.stop()

series = {run.id: history(run.id) for run in chosen}
names = sorted({name for metrics in series.values() for name in metrics})
if names:
    default = names.index(chosen[0].main_metric) if chosen[0].main_metric in names else 0
    metric = st.selectbox("Metric", names, default, key="runs_metric", width=260, persist_state="session")
    overlay = {run_id: metrics[metric] for run_id, metrics in series.items() if metric in metrics}
    st.plotly_chart(run_charts.compare_runs(metric, overlay), key="runs_overlay", config=components.CHART_CONFIG)


def settings_of(run: RunInfo) -> dict[str, object]:
    if run.spec is None:
        return {}
    spec = run.spec
    plan = (
        {"ranks by block": str(list(spec.plan.block_ranks().values())), "offset": spec.plan.offset, "targets": spec.plan.target_modules}
        if spec.plan
        else {}
    )
    return {"model": spec.model, **dataclasses.asdict(spec.data), **dataclasses.asdict(spec.training), "seed": spec.seed, **plan}


settings = pd.DataFrame({run.id: settings_of(run) for run in chosen}).astype(str)
if len(chosen) > 1:
    different = settings[settings.nunique(axis=1) > 1]
    st.markdown("**Settings that differ**" if len(different) else "**These runs have the same settings.**")
    if len(different):
        st.dataframe(different)
else:
    with st.expander("Settings"):
        st.dataframe(settings)

with st.container(horizontal=True):
    if len(chosen) == 1 and st.button("Open on Fine-tune", key="open_run", type="primary"):
        state.choose("run", chosen[0].id)
        st.switch_page(components.page_path("finetune"))
    ended = [run for run in chosen if not run.is_live]
    if ended and st.button(f"Delete {len(ended)}", key="delete_runs", icon=":material/delete:"):
        st.session_state["_delete"] = [run.id for run in ended]
if st.session_state.get("_delete"):
    doomed = st.session_state["_delete"]
    st.warning(f"This removes metrics, log, checkpoints and adapter of: {', '.join(doomed)}.")
    with st.container(horizontal=True):
        if st.button("Delete for good", type="primary", key="delete_confirmed"):
            with components.errors_as_sentences():
                for run_id in doomed:
                    delete_run(run_id)
            st.session_state["_delete"] = []
            st.rerun()
        if st.button("Keep them", key="delete_kept"):
            st.session_state["_delete"] = []
            st.rerun()
