"""The Calibration page's work in the background, and its parts: progress, table, one estimator in detail.

Draws with Streamlit; the figures are those of `app.charts.calibration`.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.calibration.choices import N_SAMPLES, SWEEPS, CalibrationSpec, calibration_spec
from app.charts.look import estimator_style, minus
from app.shared import progress
from app.shared.background import Background
from app.shared.cache import pool
from app.shared.markdown import md, plain
from app.shared.redraw import in_place
from app.shared.run_words import listed
from gelora.geometry import (
    ESTIMATORS,
    FIXED_DIMENSIONS,
    INTERVALS,
    MANIFOLDS,
    Case,
    Estimator,
    PointCloud,
    Summary,
    Trial,
    calibrate,
    closest,
)
from gelora.measurements import Job

N_NEIGHBORS = 20


def _calibrate(wanted: CalibrationSpec, job: Job) -> tuple[Trial, ...]:
    with pool().turn(job, "calibration"):
        return calibrate(
            wanted.cases(),
            wanted.estimators,
            range(wanted.n_seeds),
            n_neighbors=N_NEIGHBORS,
            interval=wanted.interval,
            progress=job.progress,
        )


CALIBRATION = Background("calibrate", _calibrate, "The calibration", "fewer points or a smaller width")


# the parts of the page


def choices() -> CalibrationSpec:
    """The widgets that say what is drawn and who measures it."""
    chosen = st.session_state
    st.selectbox("Manifold", list(FIXED_DIMENSIONS), key="cal_manifold", format_func=_manifold_words)
    fixed = FIXED_DIMENSIONS[chosen["cal_manifold"]] is not None
    if fixed and chosen["cal_sweep"] == "d":
        chosen["cal_sweep"] = "none"
    sweeps = [sweep for sweep in SWEEPS if not (fixed and sweep == "d")]
    st.radio("Sweep", sweeps, key="cal_sweep", format_func=SWEEPS.__getitem__, horizontal=True)
    with st.container(horizontal=True):
        if not fixed:
            word = "d, up to" if chosen["cal_sweep"] == "d" else "Dimension d"
            st.number_input(plain(word), 1, 500, key="cal_d", width=112)
        if chosen["cal_manifold"] in MANIFOLDS:
            st.number_input("Width", 1, 5000, key="cal_width", width=112, help="Number of coordinates that the points are embedded in.")
    word = "Points N, up to" if chosen["cal_sweep"] == "n" else "Points N"
    st.select_slider(plain(word), sorted({*N_SAMPLES, chosen["cal_n"]}), key="cal_n")
    with st.container(horizontal=True):
        st.number_input("Noise", 0.0, 10.0, step=0.01, key="cal_noise", width=112, help=_NOISE_HELP)
        st.number_input("Draws", 1, 100, key="cal_seeds", width=112, help="Each with a seed of its own: 0, 1, 2, ...")
    st.multiselect("Estimators", list(ESTIMATORS), key="cal_estimators", format_func=lambda name: estimator_style(name)[0])
    st.selectbox("Intervals", INTERVALS, key="cal_interval", format_func=_INTERVAL_WORDS.__getitem__)
    return calibration_spec(chosen)


@in_place
def trials_or_invitation(wanted: CalibrationSpec) -> tuple[CalibrationSpec, tuple[Trial, ...]]:
    """The calibration to draw and its answers; without any, an invitation, and the page ends.

    What differs from `wanted` is stale. Draws the progress of work under way, its error, or what the old answers are of.
    """
    trials, job = CALIBRATION.answer(wanted), CALIBRATION.job(wanted)
    busy = job is not None and not job.is_over
    if trials is not None:
        st.session_state["_calibrated"] = (wanted, trials)
        return wanted, trials
    if job is not None and busy:
        progress.follow(job, "cancel_calibrate")
    elif job is not None:
        progress.end(job)
    if "_calibrated" in st.session_state:
        old, trials = st.session_state["_calibrated"]
        if not busy:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.warning(plain(f"Measured with {old.sentence()}. The choices have changed since."), icon=":material/history:")
                _start_button("Measure again", wanted)
        return old, trials
    if not busy:
        with st.container(border=True):
            told = (
                f"{wanted.n_seeds} draws of points whose dimension is known ({wanted.sentence()}) are given to each estimator. Small cases "
                "take a few seconds; DANCo's first time at a number of points takes longer, since it draws balls of every dimension to "
                "compare with."
            )
            st.markdown(md("**Nothing is measured yet.** {}", told))
            _start_button("Draw and measure", wanted)
    st.stop()


def _start_button(words: str, wanted: CalibrationSpec) -> None:
    if not wanted.estimators:
        st.info("Choose at least one estimator.", icon=":material/info:")
    elif st.button(plain(words), type="primary", key="calibrate"):
        wanted.cases()  # what is not legal is said at once
        CALIBRATION.start(wanted)
        st.rerun()


def finding(summaries: tuple[Summary, ...]) -> str:
    """One sentence made from the numbers."""
    defined = [s for s in summaries if s.relative_bias is not None]
    if not defined:
        return f"Not measurable: {summaries[0].notes[0] if summaries[0].notes else 'no estimator has an answer.'}"
    hardest = max(s.truth for s in defined), max(s.case.n_samples for s in defined)
    at_end = [s for s in defined if (s.truth, s.case.n_samples) == hardest]
    first = closest(at_end)
    near = sum(abs(s.relative_bias or 0.0) <= 0.1 for s in at_end)
    where = f"d = {hardest[0]}, N = {hardest[1]:,}"
    nearest = _nearest_words(first)
    if not near:
        return f"At {where} no estimator is within 10% of the truth; {nearest}."
    return f"At {where}, {near} of {len(at_end)} estimators are within 10% of the truth; {nearest}."


def _nearest_words(first: Sequence[Summary]) -> str:
    """Who comes closest, if the spread over draws leaves one alone; else all that it cannot tell apart."""
    labels = [estimator_style(s.estimator)[0] for s in first]
    off = [f"{s.mean:.2f} ({minus(f'{s.relative_bias:+.1%}')})" for s in first]
    if any(s.sd is None for s in first):
        return f"{labels[0]} reads {off[0]}, but one draw has no spread, so none can be called the closest"
    if len(first) == 1:
        return f"{labels[0]} comes closest with {off[0]}, by more than the spread over {first[0].n_defined} draws"
    return f"the closest, {listed(labels)}, are within their spread: {labels[0]} reads {off[0]}, {labels[-1]} {off[-1]}"


def table(summaries: tuple[Summary, ...]) -> pd.DataFrame:
    """One row a case and estimator: what is read first comes first; the CSV holds all of it."""
    return pd.DataFrame(
        [
            {
                "estimator": estimator_style(s.estimator)[0],
                "d": s.truth,
                "N": s.case.n_samples,
                "mean": s.mean,
                "bias %": None if s.relative_bias is None else 100 * s.relative_bias,
                "own ms": 1000 * s.seconds,
                "interval ms": 1000 * s.interval_seconds,
                "sd": s.sd,
                "interval width": s.interval_width,
                "holds d %": None if s.coverage is None else 100 * s.coverage,
                "bias": s.bias,
                "shared ms": 1000 * s.shared_seconds,
                "draws": s.n_trials,
                "note": "; ".join(s.notes),
            }
            for s in summaries
        ]
    )


def draw_table(shown: pd.DataFrame) -> None:
    """The table as a page has room for it."""
    left_out = ["bias", "shared ms", "draws", *(name for name in ("d", "N") if shown[name].nunique() == 1)]
    left_out += [name for name in ("note",) if not shown[name].any()]
    formats = {name: "%.2f" for name in ("mean", "sd", "interval width")} | {"bias %": "%+.1f", "holds d %": "%.0f"}
    formats |= {"own ms": "%.1f", "interval ms": "%.0f"}
    helps = {
        "own ms": "One estimate, after what all estimators share.",
        "interval ms": "The half-samples behind the interval; 0 where it comes from a formula.",
        "sd": "Standard deviation over the draws.",
        "holds d %": "Share of the draws whose 95% interval holds the truth.",
    }
    columns = {name: st.column_config.NumberColumn(format=form, help=helps.get(name)) for name, form in formats.items()}
    st.dataframe(shown.drop(columns=left_out), hide_index=True, column_config=columns)


@st.cache_resource(show_spinner=False, max_entries=4)
def _cloud(case: Case) -> PointCloud:
    cloud = PointCloud(case.points(0))
    cloud.graph(min(N_NEIGHBORS, cloud.n_points - 1))
    return cloud


@st.cache_resource(show_spinner="Fitting ...", max_entries=64)
def fitted(case: Case, estimator: str) -> tuple[Estimator, PointCloud]:
    """The estimator on the first draw of the case, without an interval, and the points.

    Raises:
        DataError: the draw has no such dimension, and why.
    """
    cloud = _cloud(case)
    return ESTIMATORS[estimator].make(N_NEIGHBORS, 0).estimate(cloud), cloud


_INTERVAL_WORDS = {
    "own": "the estimator's own",
    "half-samples": "from half-samples, for all",
    "none": "analytic only (fastest)",
}
_NOISE_HELP = "Standard deviation of Gaussian noise in every ambient coordinate; with enough of it the dimension is the ambient width."


def _manifold_words(name: str) -> str:
    dimension = FIXED_DIMENSIONS[name]
    return name.replace("_", " ") if dimension is None else f"{name.replace('_', ' ')} (d = {dimension})"
