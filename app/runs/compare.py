"""Runs beside each other: a metric over the steps, settings that differ, score against parameters, the dimension's drift.

Draws with Streamlit; sums are `gelora.runs`', figures `app.charts`'.
"""

import itertools
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.charts.drift import drift_limit, drift_map
from app.charts.runs import compare_runs, metric_against_parameters
from app.shared import components, figures
from app.shared.markdown import Markdown, md, plain
from app.shared.redraw import in_place
from app.shared.run_reading import geometry_of, metric_names, series_of, short_name
from app.shared.run_words import count, listed, main_metric, metric_word, short_path
from gelora.records import RunSpec
from gelora.runs import RunGroup, RunInfo, differences, is_significant, pareto_front, settings_of, summarise

_AT_MOST = 8  # runs in one overlay; more lines cannot be told apart


@in_place
def overlay(chosen: Sequence[RunInfo]) -> None:
    """One metric of the runs over the steps."""
    st.subheader("Compare metric", anchor=False)
    if len(chosen) > _AT_MOST:
        st.caption(plain(f"The first {_AT_MOST} of the {len(chosen)} are drawn."))
    shown = list(chosen)[:_AT_MOST]
    series = {run.id: series_of(run) for run in shown}
    first = main_metric(shown[0])
    names = metric_names(list(series.values()), first)
    if not names:
        st.caption("Nothing is logged yet.")
        return
    if st.session_state.get("runs_metric") not in names:
        # The first that as many of the runs have as any: a run that was stopped early may have no evaluation.
        st.session_state["runs_metric"] = max(names, key=lambda name: sum(name in metrics for metrics in series.values()))
    metric = st.selectbox("Metric", names, key="runs_metric", format_func=metric_word, width=260, persist_state="session")
    lines = {short_name(run): series[run.id][metric] for run in shown if metric in series[run.id]}
    figures.show(
        compare_runs(metric_word(metric), lines),
        "runs_overlay",
        says=f"{metric_word(metric).capitalize()} over the optimizer steps of {count(len(lines), 'run')}.",
        how_to_read="one line a run, with a colour, a dash and a mark of its own; the list under the axis names them.",
    )
    without = [short_name(run) for run in shown if metric not in series[run.id]]
    if without:
        st.caption(plain(f"Without this metric: {'; '.join(without)}."))


@in_place
def settings(chosen: Sequence[RunInfo]) -> None:
    """What differs between the runs; all settings of a single one."""
    specs = {run.id: run.spec for run in chosen if run.spec is not None}
    names = {run.id: short_name(run) for run in chosen}
    if len(specs) < 2:
        with st.expander("Settings", icon=":material/list:"):
            for spec in specs.values():
                found = settings_of(spec)
                values = [_said(name, value) for name, value in found.items()]
                st.dataframe(pd.DataFrame({"setting": list(found), "value": values}), hide_index=True)
        return
    found = differences(specs)
    st.subheader("Settings that differ" if found else "These runs have the same settings", anchor=False)
    if found:
        rows = [{"setting": name, **{names[run_id]: _said(name, v) for run_id, v in values.items()}} for name, values in found.items()]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="runs_differences")


def _said(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and name != "seed":
        return f"{value:,}"
    return "—" if value is None or value == "" or value == () else str(value)


@in_place
def against_parameters(runs: Sequence[RunInfo]) -> None:
    """Score against trained parameters of all finished runs of one model, held to the same rows: mean, spread over seeds, front."""
    kinds: dict[tuple[str, str, str], list[RunInfo]] = {}
    for run in runs:
        if run.state.status == "finished" and run.spec is not None and run.state.main_metric in run.state.metrics:
            kinds.setdefault((run.model, held_to(run.spec), run.state.main_metric or ""), []).append(run)
    comparable = {kind: found for kind, found in kinds.items() if len(found) > 1}
    if not comparable:
        return
    st.subheader("Score against parameters", anchor=False)
    options = sorted(comparable, key=lambda kind: -len(comparable[kind]))
    kind = options[0]
    if len(options) > 1:
        numbers = {str(i): option for i, option in enumerate(options)}
        words = {i: f"{o[1]} by {short_path(o[0])}, {metric_word(o[2])}" for i, o in numbers.items()}
        kind = numbers[st.selectbox("Runs of", list(numbers), format_func=words.__getitem__, width=420)]
    found = comparable[kind]
    groups = summarise(found, kind[2])
    front = pareto_front(groups, found[0].state.higher_is_better)
    figure = metric_against_parameters(metric_word(kind[2]), groups, front)
    best = "higher" if found[0].state.higher_is_better else "lower"
    figures.show(
        figure,
        "runs_pareto",
        says=f"{metric_word(kind[2]).capitalize()} against trained parameters of {count(len(groups), 'kind')} of run; {front_words(front)}",
        how_to_read=f"a point is the mean over seeds, its bar the sample standard deviation, small points single runs; {best} is "
        "better. Along the dashed line no mean is both cheaper and better; equal means at equal parameters both stand on it.",
    )
    st.caption(plain(front_words(front)))
    rows = [
        {
            "no.": number,
            "runs": group.label,
            "parameters": group.n_params,
            "mean": group.mean,
            "spread": group.spread,
            "seeds": len(group.values),
            "on the front": "✓" if group in front else "",
        }
        for number, group in enumerate(groups, start=1)
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, key="runs_groups", placeholder="–",
        column_config={
            "mean": st.column_config.NumberColumn(format="%.4f"), "spread": st.column_config.NumberColumn(format="%.4f"),
            "parameters": st.column_config.NumberColumn(format="localized"), "no.": st.column_config.NumberColumn(width=40),
        },
    )  # fmt: skip


def held_to(spec: RunSpec) -> str:
    """Which rows a run's score is of, in words; only scores of the same rows can be compared."""
    data, held_out = spec.data, spec.held_out
    named = {"text": data.text_column, "pair": data.pair_column, "label": data.label_column}
    columns = [f"{word} {name}" for word, name in named.items() if name]
    parts = [short_path(data.dataset), data.config, data.split, *columns]
    where = "" if held_out is None else " of " + " ".join(filter(None, (short_path(held_out.dataset), held_out.config, held_out.split)))
    return f"{' '.join(filter(None, parts))}, {spec.training.n_eval:,} rows held out{where}"


def front_words(front: Sequence[RunGroup]) -> str:
    """Which groups are on the Pareto front, and which of its neighbors the seeds cannot tell apart."""
    said = f"On the Pareto front: {listed([group.label for group in front])}."
    if len(front) < 2:
        return said
    pairs = list(itertools.pairwise(front))
    single = [group.label for group in front if group.spread is None]
    close = [f"{a.label} and {b.label}" for a, b in pairs if is_significant(a, b) is False]
    if close:
        said += f" Within the spread over seeds: {'; '.join(close)}; there the cheaper or simpler is as good a choice."
    if single:
        said += f" One run alone has no spread over seeds ({', '.join(single)}): nobody can say whether its difference is noise."
    return said


@in_place
def drift(runs: Sequence[RunInfo], chosen: Sequence[RunInfo]) -> None:
    """The dimension of every layer over the steps, of one run or of two side by side on one colour scale."""
    candidates = {run.id: run for run in (*chosen, *runs)}
    measured = {run_id: found for run_id, run in candidates.items() if len(found := geometry_of(run)) > 1}
    if not measured:
        return
    st.subheader("How the dimension drifts", anchor=False)
    default = [run.id for run in chosen if run.id in measured][:2] or list(measured)[:1]
    picked = st.multiselect(
        "Runs", list(measured), default=default, max_selections=2, format_func=lambda run_id: short_name(candidates[run_id]),
        key=f"drift_of_{'_'.join(default)}",
    )  # fmt: skip
    if not picked:
        return
    limit = drift_limit([measured[run_id] for run_id in picked])
    places = st.columns(len(picked), gap="medium")
    how = "a number is the dimension, its colour the change since the run's start: orange rose, blue fell, grey stayed. "
    how += "Bold where the change exceeds its 95% interval. Where numbers do not fit, + rose and − fell."
    for place, run_id in zip(places, picked, strict=True):
        with place:
            name, by = short_name(candidates[run_id]), components.estimator_words(measured[run_id][0].estimator)
            n = measured[run_id][-1].n_samples
            st.markdown(md("**{}** by {}{}", name, by, f", N = {n:,}" if n else ""))
            figures.show(
                drift_map(measured[run_id], limit),
                f"drift_{run_id}",
                says=f"Dimension of every layer by {by} at {count(len(measured[run_id]), 'step')} of {name}, coloured by its change.",
                how_to_read=how if run_id == picked[-1] else None,
            )
            notes = {f"step {m.step:,}: {m.note}" for m in measured[run_id] if m.note}
            if notes:
                with st.expander(plain(count(len(notes), "note"))):
                    st.markdown(plain(Markdown("\n").join(md("- {}", note) for note in sorted(notes))))
