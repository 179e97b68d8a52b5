"""The Layers page's comparison: the present curve with one choice made differently (model, data, pooling, sinks), or a run's two ends.

Draws with Streamlit; the figure and its sentence are `app.charts.comparison`'s, what is measured it asks of `app.shared.measuring`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import state
from app.charts.comparison import Comparison, finding, of_profiles, of_run, sink_notes, two_curves, undefined_reasons
from app.shared import components, figures, measuring
from app.shared.cache import measurements
from app.shared.markdown import Markdown, bold, md, plain
from app.shared.run_reading import geometry_of, short_name
from app.shared.sample_words import POOLING_WORDS, sink_words
from gelora.geometry import comparability_notes
from gelora.measurements import MeasurementSpec, Quantity, only
from gelora.records import POOLINGS, DataChoice, IdProfile, legal_sinks
from gelora.runs import GeometryMeasurement, RunInfo, list_runs
from gelora.sources import READABLE, bundled_datasets, bundled_models

_KINDS = {
    "": "nothing",
    "model": "another model",
    "dataset": "another dataset",
    "pooling": "another pooling",
    "sinks": "with and without attention sinks",
    "run": "a run: before and after fine-tuning",
}
_POOLINGS = {"mean": "mean", "cls": "first token", "last": "last token", "tokens": "single tokens"}  # short, for the lines' ends
_SINKS = {"keep": "with sinks", "drop": "without sinks", "unit": "length 1"}
_TREATMENT = "treatment of sinks"
_HINTS = {
    "model": "Type a hub id (such as FacebookAI/roberta-base) or the path of a local folder.",
    "dataset": f"Type the path of {READABLE}, or a hub dataset id; its columns are taken as they are detected.",
}


def section(profile: IdProfile, estimator: str, is_stale: bool) -> None:
    """What to compare with, what it costs, and both curves over their difference; nothing is measured unasked."""
    st.subheader("Compare")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Compare with", list(_KINDS), key="compare", format_func=_KINDS.__getitem__, width=300, on_change=_kind_changed)
        kind = st.session_state["compare"]
        runs = _measured_runs() if kind == "run" else []
        if kind and (kind != "run" or runs):
            _other_chooser(kind, runs)
    with st.container():
        if not kind:
            st.caption(
                "The same curve of another model, dataset or pooling, or with attention sinks treated otherwise, on the same axes, "
                "with the difference below; or a run's two ends."
            )
        elif kind == "run":
            _before_and_after(runs)
        elif is_stale:
            st.caption("Measure the present choices first.")
        else:
            _beside(profile, estimator, kind)


def _kind_changed() -> None:
    """A new kind starts with the first that it offers; a model or dataset has to be named."""
    kind = st.session_state["compare"]
    if kind == "pooling":
        st.session_state["compare_to"] = next(name for name in POOLINGS if name != st.session_state["pooling"])
    elif kind == "sinks":
        present = state.measurement()
        others = [name for name in legal_sinks(present.pooling) if name != present.treatment]
        st.session_state["compare_to"] = "keep" if "keep" in others else others[0]
    elif kind == "run":
        st.session_state["compare_to"] = next((run.id for run in _measured_runs()), "")
    else:
        st.session_state["compare_to"] = next(iter(_known(kind)), "") if kind else ""


def _known(kind: str) -> list[str]:
    """Bundled and recent models or datasets without the present one."""
    key = {"model": "model", "dataset": "data"}[kind]
    bundled = [entry.model_id for entry in bundled_models()] if kind == "model" else [entry.dataset for entry in bundled_datasets()]
    return [name for name in dict.fromkeys([*bundled, *state.recent(key)]) if name != st.session_state[key]]


def _other_chooser(kind: str, runs: Sequence[RunInfo]) -> None:
    chosen = st.session_state["compare_to"]
    if kind == "run":
        names = {run.id: short_name(run) for run in runs}
        if chosen not in names:
            st.session_state["compare_to"] = next(iter(names))
            state.publish()
        st.selectbox("Run", list(names), key="compare_to", format_func=names.__getitem__, width=300)
    elif kind in ("pooling", "sinks"):
        pooling = st.session_state["pooling"]
        options = POOLINGS if kind == "pooling" else legal_sinks(pooling)
        if chosen not in options:
            _kind_changed()
            state.publish()

        def words(name: str) -> str:
            return POOLING_WORDS[name] if kind == "pooling" else sink_words(name, pooling)

        title = "Other pooling" if kind == "pooling" else f"Other {_TREATMENT}"
        st.selectbox(plain(title), options, key="compare_to", format_func=words, width=300)
    else:
        known = list(dict.fromkeys(["", *_known(kind), chosen]))
        st.selectbox(
            plain(f"Other {kind}"),
            known,
            key="compare_to",
            format_func=lambda name: name or "type a name",
            accept_new_options=True,
            help=_HINTS[kind],
            width=300,
        )


def _other_measurement(kind: str) -> MeasurementSpec:
    """The present measurement with the one choice made differently."""
    present, other = state.measurement(), st.session_state["compare_to"]
    if kind == "dataset":
        return replace(present, data=DataChoice(other))
    if kind == "pooling":
        return replace(present, pooling=other, sinks=None)  # each pooling with its own default treatment, as in `gelora sensitivity`
    return replace(present, **{kind: other})


def _beside(profile: IdProfile, estimator: str, kind: str) -> None:
    if not st.session_state["compare_to"]:
        st.caption(plain(f"Choose the other {kind}. {_HINTS[kind]}"))
        return
    wanted = _other_measurement(kind)
    if wanted == state.measurement():
        st.caption(plain(f"That is the present {_TREATMENT if kind == 'sinks' else kind}; choose another one."))
        return
    task = Quantity("estimators", (estimator,))
    measuring.offer(task, "Measure the other curve", "measure_other", wanted)
    other = measurements().find(wanted)
    if other is None or estimator not in other.estimates:
        if not measuring.is_at(task, wanted):
            st.caption(plain(_cost(profile, estimator, wanted)))
        return
    present = only(profile, [estimator])
    field = {"dataset": "data", "sinks": "treatment"}.get(kind, kind)
    names = _name(kind, getattr(state.measurement(), field)), _name(kind, st.session_state["compare_to"])
    notes = comparability_notes(present, other, estimator) + (sink_notes(present, other) if kind == "sinks" else [])
    has_sinks = any(side.sinks is not None and side.sinks.shares.any() for side in (present, other))
    if kind == "pooling" and has_sinks and wanted.treatment != state.measurement().treatment:
        ways = [sink_words(side.treatment, side.pooling) for side in (state.measurement(), wanted)]
        notes.append(f"Attention sinks too are treated otherwise: {ways[0]} on the first side, {ways[1]} on the second.")
    _draw(of_profiles(present, other, estimator, names, kind), notes)


def _name(kind: str, choice: object) -> str:
    """How one side is called in the chart."""
    if isinstance(choice, DataChoice):
        choice = choice.dataset
    if kind in ("pooling", "sinks"):
        return (_POOLINGS if kind == "pooling" else _SINKS)[str(choice)]
    return Path(str(choice)).name


def _cost(profile: IdProfile, estimator: str, wanted: MeasurementSpec) -> Markdown:
    seconds = sum(e.seconds for e in profile.estimates[estimator])
    return md(
        "{:,} texts of *{}* go through *{}*, pooling {}, attention sinks {}; with a model of the same size that takes as long as it took "
        "for the present curve. {} itself then takes about {:.0f} s, as before.",
        measuring.n_texts(wanted), wanted.data.dataset, wanted.model, wanted.pooling, sink_words(wanted.treatment, wanted.pooling),
        components.estimator_words(estimator), max(seconds, 1),
    )  # fmt: skip


def _measured_runs() -> list[RunInfo]:
    return [run for run in list_runs() if len(geometry_of(run)) > 1]


def _before_and_after(runs: Sequence[RunInfo]) -> None:
    run = next((run for run in runs if run.id == st.session_state["compare_to"]), None)
    if run is None:
        st.caption(
            "No run has measured its dimension at two steps yet. Start one on Fine-tune with the geometry probe on "
            "(its rows are set under the training settings); the first measurement comes before step 1."
        )
        st.page_link(components.page_path("finetune"), label="To Fine-tune", icon=components.ICONS["finetune"])
        return
    found = geometry_of(run)
    comparison = of_run(found)
    notes = [_probe_sentence(run, found[-1])]
    if run.is_live:
        notes.append(f"The run is still going; its last measurement so far is that of step {found[-1].step:,}.")
    _draw(comparison, notes)


def _probe_sentence(run: RunInfo, line: GeometryMeasurement) -> str:
    n = line.n_samples
    rows = f"{n:,} " if n else "" if run.spec is None else f"up to {run.spec.training.probe_size:,} "
    without = "" if line.intervals else " This run's probe had no half-samples, so no intervals."
    of = "" if run.spec is None else f" ({Path(run.spec.model).name} on {Path(run.spec.data.dataset).name})"
    return (
        f"Measured by the run itself{of}: {rows}held-out rows, the same ones at both steps, pooling mean, by "
        f"{components.estimator_words(line.estimator)}; not the sample of the curve above.{without}"
    )


def _draw(comparison: Comparison, notes: Sequence[str]) -> None:
    said = finding(comparison)
    st.markdown(bold(said))
    label = components.estimator_words(comparison.estimator)
    if comparison.differences is None:
        below = "They have different numbers of blocks: layers stand at their relative depth, and no layer can be subtracted from another."
    elif any(d.ci_low is not None for d in comparison.differences):
        how = "over the same half-samples" if comparison.is_paired else "with the two taken for independent"
        below = f"Bars are the second minus the first, whiskers its 95% interval {how}; hollow where it includes 0."
    else:
        below = "Bars are the second minus the first."
    figures.show(
        two_curves(comparison, st.session_state["log"]),
        "comparison",
        says=f"{label} at every layer, {comparison.first.name} against {comparison.second.name}. {said}",
        how_to_read=f"solid with full markers is {comparison.first.name}, dashed with hollow ones {comparison.second.name}. {below}",
    )
    for note in [*notes, *undefined_reasons(comparison)]:
        st.caption(plain(note))
