"""The measurement as a page shows it: what is there, what is asked for, what is under way, what went wrong.

Draws with Streamlit and asks `app.shared.cache`; computes nothing itself.
"""

from collections.abc import Callable

import streamlit as st

from app import state
from app.shared import data_preview, progress
from app.shared.cache import measurements
from app.shared.markdown import Markdown, md, plain
from app.shared.redraw import in_place, poll
from gelora.geometry import ESTIMATORS
from gelora.measurements import MeasurementSpec, MeasuringJob, Quantity, only, seconds_of, warm_up
from gelora.records import IdProfile
from gelora.sources import BUNDLED_DATASET, data_at_hand


def chosen_task() -> Quantity:
    """The chosen estimators as something to measure."""
    return Quantity("estimators", tuple(st.session_state["estimators"]))


def is_measuring() -> bool:
    """Whether estimators of the chosen measurement are under way."""
    return any(job.quantity.kind == "estimators" and not job.is_over for job in measurements().jobs(state.measurement()))


def current_profile() -> IdProfile | None:
    """The chosen estimators as far as they are measured for exactly the present choices, or None."""
    wanted = state.measurement()
    profile = measurements().find(wanted)
    if profile is None:
        return None
    profile = only(profile, st.session_state["estimators"])
    if not profile.estimates:
        return None
    st.session_state["_shown"] = (profile, wanted)
    return profile


def shown_profile() -> tuple[IdProfile | None, MeasurementSpec | None]:
    """The last profile that was shown in this tab and what it was measured with."""
    return st.session_state.get("_shown", (None, None))


@in_place
def profile_or_invitation(other_doors: Callable[[], None] | None = None) -> tuple[IdProfile, bool]:
    """The profile to draw and whether it is stale; without any, an invitation to measure, and the page ends.

    Draws the progress of what is under way, its error, or "measured with ..." over a stale one. other_doors: draws what
    else can be done where nothing is measured.
    """
    wanted = state.measurement()
    draw_jobs("estimators")  # first: what ends after this look at the jobs makes the page run again, what ended before is there
    profile = current_profile()
    if profile is not None:
        _offer_missing()
        return profile, False
    warm_up()
    is_usable = is_measuring() or data_preview.section()  # why the data cannot be read stands in the place of the invitation
    old, measured_with = shown_profile()
    if old is not None and measured_with is not None:
        if not is_measuring():
            with st.container(horizontal=True, vertical_alignment="center"):
                st.warning(plain(f"Measured with {measured_with.sentence()}. The choices have changed since."), icon=":material/history:")
                if st.button("Measure again", key="measure_again", disabled=not is_usable):
                    _start(chosen_task())
        return old, True
    if is_usable and not is_measuring():
        with st.container(border=True):
            told = md("{:,} texts of *{}* go through *{}*", n_texts(wanted), wanted.data.dataset, wanted.model)
            by = (
                f"the dimension of every layer's hidden states is then estimated by {labels(st.session_state['estimators'])}. "
                "With the bundled model on two CPU cores the first curve stands after some 20 seconds."
            )
            st.markdown(md("**Nothing is measured yet.** {}; {}", told, by))
            if st.button("Measure the curve", type="primary", key="measure_first"):
                _start(chosen_task())
    if other_doors is not None:
        other_doors()
    st.stop()


def _offer_missing() -> None:
    """Name the chosen estimators that nobody is measuring, with a button; a page opened by a link does not work unasked."""
    missing = measurements().missing(state.measurement(), chosen_task())
    if missing and not is_measuring():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(plain(f"Not measured yet: {labels(missing)}."), icon=":material/pending:")
            if st.button("Measure", key="measure_missing"):
                _start(chosen_task())


def labels(names: list[str] | tuple[str, ...]) -> str:
    """The estimators' names as one phrase."""
    words = [ESTIMATORS[name].label for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def n_texts(wanted: MeasurementSpec) -> int:
    """How many texts a measurement has: as many as are asked for, or as there are rows where that is known on this machine."""
    n_rows = n_rows_known(wanted)
    return wanted.n_samples if n_rows is None else min(wanted.n_samples, n_rows)


def n_rows_known(wanted: MeasurementSpec) -> int | None:
    """How many texts the data have for a measurement; None where that is not known, or they are still being read."""
    if wanted.data.dataset == BUNDLED_DATASET or not data_at_hand(wanted.data):
        return None
    found = data_preview.of(wanted.data)
    if not isinstance(found, data_preview.Reading):  # the page says that it is being read, or why it cannot be
        return None
    return found.preview.n_distinct if wanted.distinct else found.preview.n_usable


def sample_sizes(wanted: MeasurementSpec) -> list[int]:
    """The sizes that can be chosen, as far as the data go, the present one among them."""
    n_rows = n_rows_known(wanted)
    most = state.MOST_SAMPLES if n_rows is None else min(max(n_rows, state.N_SAMPLES[0]), state.MOST_SAMPLES)
    return sorted({*(size for size in state.N_SAMPLES if size < most), most, wanted.n_samples})


def news(wanted: MeasurementSpec, kind: str = "estimators") -> tuple[int, int]:
    """Results that the measurement's jobs of that kind have given so far, and how many have ended: others mean something new to draw."""
    jobs = _jobs(kind, wanted)
    return sum(job.n_results for job in jobs), sum(job.is_over for job in jobs)


def _jobs(kind: str, wanted: MeasurementSpec | None) -> list[MeasuringJob]:
    return [job for job in measurements().jobs(wanted or state.measurement()) if job.quantity.kind == kind]


def estimator_chooser() -> None:
    """Which estimators are measured and drawn; a new one is measured at once and alone, one taken away is only hidden."""
    st.multiselect(
        "Estimators",
        list(ESTIMATORS),
        key="estimators",
        format_func=lambda name: ESTIMATORS[name].label,
        on_change=_estimators_changed,
        help=plain(Markdown("\n\n").join(md("**{}** {} *{}*", kind.label, kind.idea, kind.source) for kind in ESTIMATORS.values())),
    )


def _estimators_changed() -> None:
    st.session_state["estimators"] = state.in_order(st.session_state["estimators"])
    if st.session_state["estimator"] not in st.session_state["estimators"]:
        st.session_state["estimator"] = state.ALWAYS
    if measurements().find(state.measurement()) is not None:  # before the first curve a person presses Measure
        measurements().start(state.measurement(), chosen_task())


def is_at(task: Quantity, wanted: MeasurementSpec | None = None) -> bool:
    """Whether work of this kind is under way for `wanted`, the chosen measurement unless given."""
    jobs = measurements().jobs(wanted or state.measurement())
    return any((job.quantity.kind, job.quantity.focus) == (task.kind, task.focus) and not job.is_over for job in jobs)


def begin_once(task: Quantity) -> None:
    """Begin what a toggle asks for; not again in this tab once it was begun, so that an error or a Cancel stays on the page."""
    begun = st.session_state.setdefault("_begun", set())
    asked = (state.measurement().sentence(), task)
    if asked not in begun:
        begun.add(asked)
        _start(task)


@in_place
def offer(task: Quantity, words: str, key: str, wanted: MeasurementSpec | None = None) -> None:
    """A button for what the task lacks; nothing when it is all there or under way. Errors and progress stand here too.

    wanted: what it is measured with, the chosen measurement unless given.
    """
    draw_jobs(task.kind, wanted)
    missing = measurements().missing(wanted or state.measurement(), task)
    if missing and not is_at(task, wanted) and st.button(plain(words), key=key, icon=":material/play_arrow:"):
        _start(task, wanted=wanted)


def offer_again(task: Quantity, words: str, key: str) -> None:
    """A button that measures all of the task again, unless it is under way."""
    if not is_at(task) and st.button(plain(words), key=key, icon=":material/refresh:"):
        _start(task, again=True)


def measure_button() -> None:
    """The sidebar's button: measure what is chosen and missing, or all of it again."""
    missing = measurements().missing(state.measurement(), chosen_task())
    seconds = seconds_of(state.measurement(), missing) if set(missing) == set(chosen_task().names) else None
    label = "Measure" if seconds is None else f"Measure ~{max(seconds, 1):.0f} s"
    if st.button(
        plain(label), type="primary", width="stretch", key="measure", disabled=is_measuring() or data_preview.problem() is not None
    ):
        _start(chosen_task(), again=not missing)


def _start(task: Quantity, again: bool = False, wanted: MeasurementSpec | None = None) -> None:
    measurements().start(wanted or state.measurement(), task, again)
    st.rerun()


@in_place
def draw_jobs(kind: str, wanted: MeasurementSpec | None = None) -> None:
    """Progress with Cancel of every job of that kind under way; of ended ones the error, as long as what it was for is missing.

    wanted: whose jobs, the chosen measurement's unless given.
    """
    seen = news(wanted or state.measurement(), kind)
    jobs = _jobs(kind, wanted)
    for job in jobs:
        if job.is_over and measurements().missing(job.wanted, job.quantity):
            progress.end(job)
    if len(jobs) > seen[1]:
        poll(0.4, lambda: news(wanted or state.measurement(), kind), seen, lambda: _bars(kind, wanted))


def _bars(kind: str, wanted: MeasurementSpec | None) -> None:
    for i, job in enumerate(job for job in _jobs(kind, wanted) if not job.is_over):
        progress.with_cancel(job, f"cancel_{kind}_{i}{'_other' if wanted else ''}", job.now or job.quantity.words())
