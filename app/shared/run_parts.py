"""The parts of the live view of a run: status, controls, curves, examples, log, provenance, what is left behind.

Draws with Streamlit what `app.shared.run_reading` reads; decides nothing about when to read again (`app.finetune.live`).
"""

import io
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import streamlit as st

from app import state
from app.charts import training as charts
from app.shared import components, figures
from app.shared.markdown import md, plain
from app.shared.press_once import press_once
from app.shared.run_reading import geometry_of, reference_scores, series_of, short_name
from app.shared.run_words import STATUS_ICONS, TASK_WORDS, count, duration, main_metric, metric_word, size, waits_for
from gelora.errors import GeloraError
from gelora.runs import METHOD_WORDS, RunInfo, examples as read_examples, export_arm, log_tail, provenance, resume_run, run_info, stop_run

CURVES = {"loss": "Loss · metric", "rate": "Rate · gradient", "speed": "Speed · memory"}


def heading(run: RunInfo, runs: list[RunInfo]) -> None:
    """Which run, how it stands, and why if it has failed or stopped."""
    st.subheader(plain(f"{STATUS_ICONS[run.state.status]} {run.id}: {run.state.status}"), anchor=False)
    if run.state.reason:
        icon = ":material/error:" if run.state.status == "failed" else ":material/info:"
        (st.error if run.state.status == "failed" else st.info)(plain(run.state.reason), icon=icon)
    words = [run.model, f"on {run.dataset}", TASK_WORDS.get(run.state.task or "", ""), METHOD_WORDS.get(run.method, run.method)]
    words += [
        run.strategy or "",
        f"{run.state.n_adapter_params:,} parameters" if run.state.n_adapter_params else "",
        run.state.device or "",
    ]
    words.append(f"attempt {run.state.attempts}" if run.state.attempts > 1 else "")
    st.caption(plain(" · ".join(filter(None, words))))
    if run.state.status == "queued":
        n = waits_for(run, runs)
        place = f"place {run.state.queue_place} in the queue; " if run.state.queue_place else ""
        waits = f"waits for {count(n, 'run')}" if n else "starts in a moment"
        turn = f"Queued: {place}{waits}. It starts by itself, also when this page and the dashboard are closed."
        st.info(plain(turn), icon=":material/hourglass:")


def status_line(run: RunInfo) -> None:
    """Step, time left, and the numbers of this moment."""
    if run.state.status == "running":
        total = run.state.total_steps or 0
        left = "" if run.state.seconds_left is None else f" · {duration(run.state.seconds_left)} left"
        stage = "" if run.state.stage == "training" else f" · {run.state.stage}"
        words = f"step {run.state.step:,} of {f'{total:,}' if total else '?'}{left}{stage}"
        st.progress(min(1.0, run.state.step / total) if total else 0.0, text=plain(words))
    metric = main_metric(run)
    shown = {
        metric_word(metric).capitalize(): f"{run.state.metrics[metric]:.4g}" if metric in run.state.metrics else None,
        "Loss": f"{run.state.metrics['loss']:.4f}" if "loss" in run.state.metrics else None,
        "Examples/s": _whole(run.state.examples_per_second or run.state.metrics.get("examples_per_second")),
        "Tokens/s": _whole(run.state.tokens_per_second or run.state.metrics.get("tokens_per_second")),
        "GPU memory": _memory(run),
        "GPU in use": None if run.state.gpu_utilisation is None else f"{run.state.gpu_utilisation:.0%}",
    }
    with st.container(horizontal=True, gap="medium"):
        for title, value in shown.items():
            if value is not None:
                st.metric(plain(title), plain(value), width="content")


def _whole(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _memory(run: RunInfo) -> str | None:
    if run.state.gpu_memory_bytes is None:
        return None
    share = f" ({run.state.gpu_memory_bytes / run.state.gpu_memory_total_bytes:.0%})" if run.state.gpu_memory_total_bytes else ""
    return size(run.state.gpu_memory_bytes) + share


def controls(run: RunInfo) -> None:
    """Stop (asks once) while it lives; Resume where it can go on."""
    if run.is_live:
        _stop(run)
    elif run.can_resume:
        with st.container(horizontal=True, vertical_alignment="center"):
            resume = st.button("Resume", key="resume_run", type="primary", icon=":material/resume:")
            st.caption("Goes on from its last checkpoint, in the same record; from the beginning where there is none.")
        if resume:
            with components.errors_as_sentences(), st.spinner("Resuming ..."):
                resume_run(run.id, runs_at_once=int(st.session_state.get("train_runs_at_once", 1)))
            st.rerun(scope="app")
        press_once("resume_run")


def _stop(run: RunInfo) -> None:
    asked = st.session_state.get("_stop_asked") == run.id
    with st.container(horizontal=True, vertical_alignment="center"):
        if not asked:
            if st.button("Stop", key="stop_run", icon=":material/stop:"):
                st.session_state["_stop_asked"] = run.id
                st.rerun(scope="app")
            return
        queued = run.state.status == "queued"
        saved = "a checkpoint" if run.method == "race" else "a checkpoint and its adapter"
        st.markdown("Take it out of the queue?" if queued else plain(f"Stop this run? It saves {saved} first."))
        if st.button("Stop it", key="stop_confirmed", type="primary"):
            del st.session_state["_stop_asked"]
            with components.errors_as_sentences(), st.spinner("Stopping ..." if queued else "Stopping; the run saves a checkpoint ..."):
                stop_run(run.id)
            st.rerun(scope="app")
        if st.button("Keep it running", key="stop_kept"):
            del st.session_state["_stop_asked"]
            st.rerun(scope="app")


def curves(run: RunInfo, runs: list[RunInfo]) -> None:
    """Loss and metric, or learning rate and gradient norm, or speed and memory."""
    series = series_of(run)
    metric = main_metric(run)
    if not series.get("loss"):
        if run.state.status == "running":
            st.caption(plain(f"{run.state.stage.capitalize()} ... the first loss follows."))
        return
    view = st.segmented_control(
        "Curves", list(CURVES), default="loss", required=True, key="curves_view", format_func=CURVES.__getitem__,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if view == "loss":
        figure = charts.training_curves(
            series["loss"], series.get("eval_loss", []), metric_word(metric), series.get(metric, []),
            reference_scores(run, runs, metric), run.state.total_steps, [m.step for m in geometry_of(run) if m.reallocated],
        )  # fmt: skip
    else:
        named = {"learning_rate": "learning rate", "grad_norm": "gradient norm"} if view == "rate" else {
            "examples_per_second": "examples per second", "tokens_per_second": "tokens per second",
            "gpu_memory_bytes": "GPU memory (GB)", "gpu_utilisation": "GPU in use (share)",
        }  # fmt: skip
        scale = {"gpu_memory_bytes": 1e-9}
        found = {word: [(s, v * scale.get(name, 1)) for s, v in series[name]] for name, word in named.items() if series.get(name)}
        if not found:
            st.caption("None of these is logged yet.")
            return
        figure = charts.panels(found, run.state.total_steps)
    step, loss = series["loss"][-1]
    figures.show(
        figure,
        f"curves_{run.id}_{view}",
        says=f"{CURVES[view]} of the run over its optimizer steps; the last loss is {loss:.4g} at step {step:,}.",
    )
    st.caption(plain(f"Last loss {loss!r} at step {step}; every point is as logged in metrics.jsonl and log.txt."))


def examples(run: RunInfo) -> None:
    """A few held-out rows, what is right, and what the model says now."""
    found = read_examples(run.id)
    if not found or not found.get("rows"):
        return
    st.markdown(md("**Held-out examples at step {:,}**", found["step"]))
    marks = {True: "✓", False: "✗", None: "·"}
    rows = [
        {"": marks[row.get("right")], "prediction": row["prediction"], "truth": row["truth"], "given": row["given"]}
        for row in found["rows"]
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, key=f"examples_{run.id}", row_height=62,
        column_config={"": st.column_config.TextColumn(width=30), "given": st.column_config.TextColumn(width="large")},
    )  # fmt: skip


def log(run: RunInfo) -> None:
    """The end of the log; open where the run has failed."""
    with st.expander("Log", expanded=run.state.status == "failed", icon=":material/article:"):
        st.code(log_tail(run.id, 40) or "(empty so far)", language=None, height=260)


def origin(run: RunInfo) -> None:
    """Where the run came from and where it lies: versions, commit, data, device, the command that repeats it."""
    with st.expander("Provenance and files", icon=":material/fingerprint:"):
        found = dict(provenance(run.id))
        command = found.pop("command", None)
        if command:
            st.caption("The same again:")
            st.code(command if isinstance(command, str) else " ".join(command), language="bash", wrap_lines=True)
        facts = _flat(found) | {"fingerprint": run.fingerprint or "", "folder": str(run.folder)}
        st.dataframe(
            pd.DataFrame({"what": list(facts), "value": [str(value) for value in facts.values()]}),
            hide_index=True, column_config={"value": st.column_config.TextColumn(width="large")},
        )  # fmt: skip


def _flat(values: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def result(run: RunInfo) -> None:
    """What a run that has ended leaves behind, and where to go from here."""
    if run.state.status == "finished":
        what = "The race is over." if run.method == "race" else "Finished. The adapter loads with PEFT alone; its README says how."
        st.success(plain(what), icon=":material/check_circle:")
    with st.container(horizontal=True):
        adapter_download(run)
        if run.method == "race":
            arm_download(run)
        if st.button("Compare on Runs", key="to_runs", icon=components.ICONS["runs"]):
            st.session_state["_ticked"] = [run.id]
            st.switch_page(components.page_path("runs"))


def adapter_download(run: RunInfo) -> None:
    """The adapter's folder as a zip file, made when it is asked for; nothing where there is none."""
    adapter = run.folder / "adapter"
    if any(adapter.glob("*")):
        st.download_button(
            "Adapter (zip)", lambda: _zipped(adapter), f"{run.id}-adapter.zip", "application/zip", icon=":material/download:",
            on_click="ignore", key=f"adapter_{run.id}",
        )  # fmt: skip


def arm_download(run: RunInfo) -> None:
    """One arm of a race as an adapter's folder in a zip file, made when it is asked for."""
    if run.spec is None or run.spec.race is None or run.state.status != "finished":
        return
    race = run.spec.race
    with st.container(horizontal=True, vertical_alignment="bottom"):
        arm = st.selectbox("Arm", race.labels, key=f"arm_{run.id}", width=220)
        seed = st.selectbox("Seed", race.seeds, key=f"arm_seed_{run.id}", width=100)
        st.download_button(
            "Adapter (zip)", lambda: _exported(run.id, arm, seed), f"{run.id}-{arm.replace(' ', '-')}-seed-{seed}.zip", "application/zip",
            icon=":material/download:", on_click="ignore", key=f"adapter_{run.id}",
            help="What this arm has learned, as a plain PEFT adapter; model and data are loaded once more for it.",
        )  # fmt: skip


def _exported(run_id: str, arm: str, seed: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="gelora-arm-") as folder:
        return _zipped(export_arm(run_id, arm, Path(folder) / "adapter", seed))


def _zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(plain(file), file.relative_to(folder))
    return buffer.getvalue()


def others(run_id: str | None, runs: list[RunInfo]) -> None:
    """The other runs that are under way or wait, each a button that goes there."""
    live = [run for run in runs if run.is_live and run.id != run_id]
    if not live:
        return
    st.markdown("**Also under way**")
    with st.container(horizontal=True, gap="small"):
        for run in sorted(live, key=lambda r: (r.state.status != "running", r.state.queue_place or 0, r.id)):
            place = f" · place {run.state.queue_place}" if run.state.queue_place and run.state.status == "queued" else ""
            step = f" · step {run.state.step:,}" if run.state.status == "running" else ""
            words = f"{STATUS_ICONS[run.state.status]} {short_name(run)}{place}{step}"
            # A callback, since it is called whatever the run that brings the click draws.
            if st.button(plain(words), key=f"open_{run.id}", on_click=state.choose, args=("run", run.id)):
                st.rerun(scope="app")


def read(run_id: str) -> RunInfo | None:
    """The run as it is now; a sentence and None when it is gone."""
    try:
        return run_info(run_id)
    except GeloraError as error:
        st.error(plain(error), icon=":material/error:")
        return None
