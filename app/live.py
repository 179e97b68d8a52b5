"""The live view of one run: status, curves, log tail, stop. Reads the run's own files and the run store, every second.

Holds nothing: a reload, a second tab or a restarted server shows the same, because the truth is on disk.
"""

import math

import streamlit as st

from app import components, shell, state
from app.cache import dataset_info
from app.charts import runs as run_charts
from gelora.errors import RunError
from gelora.ranks import plan_budget
from gelora.records import RunSpec
from gelora.runs import RunInfo, history, list_runs, log_tail, run_info, stop_run

STATUS_ICONS = {"queued": "⏳", "running": "▶", "finished": "✓", "failed": "✗", "stopped": "■"}
METRIC_WORDS = {
    "eval_accuracy": "accuracy",
    "eval_pearson": "Pearson r",
    "eval_f1": "F1",
    "eval_spearman": "Spearman rho",
    "eval_mse": "MSE",
}


def chosen_run() -> str | None:
    """The run in the URL if it exists, else the newest one that is alive, else None."""
    wanted = st.session_state["run"]
    runs = list_runs()
    if wanted and any(run.id == wanted for run in runs):
        return str(wanted)
    if wanted:
        st.warning(f"There is no run {wanted!r} any more.")
        state.choose("run", "")
    alive = [run for run in runs if run.is_live]
    if alive:
        state.choose("run", alive[0].id)
        return alive[0].id
    return None


def draw_intention(spec: RunSpec) -> bool:
    """What will happen when Start is pressed: task, parameters, steps, the command. Returns whether it can be started."""
    info = dataset_info(spec.data.to_json())
    if info.task == "unlabeled":
        st.warning(f"{spec.data.dataset} has no label column, so there is nothing to learn. Choose one in the sidebar, or other data.")
        return False
    inputs = f"*{info.text_column}*" + (f" and *{info.pair_column}*" if info.pair_column else "")
    outputs = f"{len(info.label_names)} classes" if info.label_names else "a number"
    st.markdown(f"**{info.task.capitalize()}**: {inputs} → *{info.label_column}* ({outputs})")
    if spec.plan is None:
        st.markdown("Trains the **head alone**, the plain reference for any adapter.")
    else:
        budget = plan_budget(spec.plan)
        st.metric("Adapter parameters", f"{budget.n_adapter_params:,}", f"{budget.share:.3%} of the model", delta_color="off")
    training = spec.training
    steps = max(1, math.ceil(training.n_train / training.batch_size) * training.epochs)
    st.caption(
        f"{training.n_train:,} rows to train, {training.n_eval:,} held out, about {steps:,.0f} steps. "
        "The run is a process of its own; closing this tab does not end it."
    )
    st.code(shell.train_command(spec), language="bash", wrap_lines=True)
    return True


def follow(run_id: str) -> None:
    """The run as it is now, and again every second while it lives."""
    try:
        info = run_info(run_id)
    except RunError as error:
        st.error(str(error))
        return
    if not info.is_live:
        _draw(info)
        return
    paused = st.toggle("Pause view", key="pause_view", help="The run goes on; the charts keep your zoom.")
    if paused:
        _draw(info)
    else:
        _live(run_id)


@st.cache_data(show_spinner=False, max_entries=8)
def _history(run_id: str, state: tuple[object, ...]) -> dict[str, list[tuple[int, float]]]:
    """The run's metrics; read anew only when its state says that something was logged."""
    return history(run_id)


@st.fragment(run_every=1.0)
def _live(run_id: str) -> None:
    info = run_info(run_id)
    _draw(info)
    if not info.is_live:
        st.rerun(scope="app")


def _draw(info: RunInfo) -> None:
    st.subheader(f"{STATUS_ICONS[info.status]} {info.id}: {info.status}", anchor=False)
    if info.reason:
        (st.error if info.status == "failed" else st.info)(info.reason)
    series = _history(info.id, (info.status, info.step, tuple(sorted(info.metrics.items()))))
    _status_line(info)
    if info.is_live:
        _stop_controls(info)
    metric = info.main_metric or "eval_loss"
    word = METRIC_WORDS.get(metric, metric)
    references = {"majority class": info.majority_accuracy} if info.majority_accuracy is not None and metric == "eval_accuracy" else {}
    references |= _head_only_reference(info, metric)
    if series.get("loss"):
        figure = run_charts.training_curves(
            series["loss"], series.get("eval_loss", []), word, series.get(metric, []), references, info.total_steps
        )
        st.plotly_chart(figure, key=f"curves_{info.id}", config=components.CHART_CONFIG)
        st.caption(
            f"Last loss {series['loss'][-1][1]!r} at step {series['loss'][-1][0]}; every point is as logged in the run store and the log."
        )
    elif info.is_live:
        st.caption(f"{info.stage.capitalize()} ... the first loss follows.")
    with st.expander("Log", expanded=info.status == "failed"):
        st.code(log_tail(info.id, 30) or "(empty so far)", language=None, height=260)
    if info.status == "finished":
        _draw_result(info)


def _status_line(info: RunInfo) -> None:
    total = info.total_steps or 0
    if info.is_live:
        left = "" if info.seconds_left is None else f" · {info.seconds_left:.0f} s left"
        st.progress(min(1.0, info.step / total) if total else 0.0, text=f"step {info.step:,} of {total or '?'}{left}")
    with st.container(horizontal=True):
        if "loss" in info.metrics:
            st.metric("Loss", f"{info.metrics['loss']:.4f}")
        for name in METRIC_WORDS:
            if name in info.metrics:
                st.metric(METRIC_WORDS[name].capitalize(), f"{info.metrics[name]:.3f}")
        if "examples_per_second" in info.metrics:
            st.metric("Examples per second", f"{info.metrics['examples_per_second']:.0f}")
        if info.n_adapter_params:
            st.metric("Adapter parameters", f"{info.n_adapter_params:,}")


def _stop_controls(info: RunInfo) -> None:
    asked = st.session_state.get("_stop_asked") == info.id
    with st.container(horizontal=True):
        if not asked:
            if st.button("Stop", key="stop_run", icon=":material/stop:"):
                st.session_state["_stop_asked"] = info.id
                st.rerun(scope="app")
            return
        st.markdown("Stop this run? It saves a checkpoint and its adapter first.")
        if st.button("Stop it", key="stop_confirmed", type="primary"):
            del st.session_state["_stop_asked"]
            with components.errors_as_sentences(), st.spinner("Stopping; the run saves a checkpoint ..."):
                stop_run(info.id)
            st.rerun(scope="app")
        if st.button("Keep it running", key="stop_kept"):
            del st.session_state["_stop_asked"]
            st.rerun(scope="app")


def _head_only_reference(info: RunInfo, metric: str) -> dict[str, float]:
    """The score of a finished head-only run with the same model, data and seed, if there is one."""
    if info.method == "head" or info.spec is None:
        return {}
    for other in list_runs():
        same = other.spec is not None and (other.spec.model, other.spec.data, other.spec.seed) == (
            info.spec.model,
            info.spec.data,
            info.spec.seed,
        )
        if other.method == "head" and other.status == "finished" and same and metric in other.metrics:
            return {"head only": other.metrics[metric]}
    return {}


def _draw_result(info: RunInfo) -> None:
    adapter = info.folder / "adapter"
    st.success("Finished. The adapter loads with PEFT alone; its README says how.", icon=":material/check_circle:")
    with st.container(horizontal=True):
        if any(adapter.glob("*")):
            st.download_button(
                "Adapter (zip)", _zipped(str(adapter)), f"{info.id}-adapter.zip", "application/zip", icon=":material/download:"
            )
        if st.button("Compare on Runs", key="to_runs", icon=components.ICONS["runs"]):
            st.switch_page(components.page_path("runs"))
    with st.expander("Where it lies"):
        st.code(str(adapter), language=None)


@st.cache_data(show_spinner=False, max_entries=4)
def _zipped(folder: str) -> bytes:
    import io
    import zipfile
    from pathlib import Path

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return buffer.getvalue()
