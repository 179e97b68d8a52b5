"""What the steps of the tour show that rest on measurements (1, 3, 4, 5): figure, what the class said, what was found.

Draws with Streamlit; sentences come from `app.teaching.steps`, figures from `app.charts.large`. Steps 2 and 6, which are of
a run, are in `app.teaching.training`.
"""

import plotly.graph_objects as go
import streamlit as st

from app import state
from app.charts import large, large_runs
from app.charts.large import SHAPES
from app.shared import figures, measuring, progress
from app.shared.cache import measurements
from app.shared.components import estimator_words
from app.shared.markdown import bold, plain
from app.teaching import ratios
from app.teaching.ratios import Ratios
from app.teaching.recorded_run import ESTIMATOR, OFFSET, ROUNDING, TARGETS
from app.teaching.steps import (
    Question,
    agreement_answer,
    agreement_finding,
    disputed_blocks,
    question as question_of,
    shape_finding,
    shape_of,
    share_answer,
    share_finding,
    sink_finding,
    size_answer,
    size_finding,
    size_range,
    verdict,
)
from gelora.measurements import MeasurementSpec, Quantity
from gelora.ranks import allocate_ranks
from gelora.records import IdProfile

OFFSETS = (1, 2, 4, 8)
_LEAST_ESTIMATORS = ("twonn", "mle", "gride")  # what step 4 compares where only one estimator is chosen


def question(step: int) -> Question:
    """The question of a step about the chosen model and sample; reads no model, so that it stands at once."""
    wanted = state.measurement()
    profile = measurements().find(wanted)
    return question_of(step, profile.model if profile is not None else None, len(tour_estimators()), wanted.n_samples)


def tour_estimators() -> tuple[str, ...]:
    """The estimators that step 4 compares: the chosen ones, TwoNN among them; never one alone."""
    chosen = tuple(st.session_state["estimators"])
    return chosen if len(chosen) > 1 else tuple(state.in_order([*chosen, *_LEAST_ESTIMATORS]))


def begin(step: int) -> None:
    """Begin what the step and the later ones need, where it is not there: asked for by the button that shows."""
    wanted = state.measurement()
    if step == 1:
        ratios.start(wanted)
    if step < 6:
        measurements().start(wanted, Quantity("estimators", tour_estimators()))


def say(spoken: str, found: str) -> None:
    """What the class said, and what was found."""
    with st.container(key="teach_found", gap="xxsmall"):
        st.markdown(plain(spoken))
        st.markdown(bold(found))


def draw(figure: go.Figure, step: int, says: str, how_to_read: str | None) -> None:
    """The step's figure, as high as the screen leaves room for."""
    with st.container(key=f"teach_figure_{step}"):
        figures.show(figure, f"teach_step_{step}", says=says, how_to_read=how_to_read, height="stretch")


# steps 1, 3, 4, 5: measurements


def size(question: Question, guess: int) -> None:
    """Step 1: the line whose slope is the dimension."""
    ratios = _ratios()
    if ratios is None:
        return
    truth = size_answer(ratios.dimension, ratios.n_coordinates)
    found = size_finding(ratios.dimension, ratios.n_coordinates, ratios.layer)
    say(verdict(guess, truth, question.answers), found)
    figure = large.ratio_line(
        ratios.log_mu, ratios.heights, ratios.kept, ratios.dimension, ratios.n_coordinates, size_range(guess, ratios.n_coordinates)
    )
    draw(figure, 1, found, "one dot a text; the slope of the line through the dots is the dimension.")


def curve(question: Question, guess: int) -> None:
    """Step 3: the curve over the layers."""
    profile = profile_or_wait((ESTIMATOR,))
    if profile is None:
        return
    shapes = list(SHAPES)
    found = shape_finding(profile, ESTIMATOR)
    say(verdict(guess, shapes.index(shape_of(profile, ESTIMATOR)), question.answers), found)
    draw(large.one_curve(profile, ESTIMATOR, shapes[guess]), 3, found, "the band is the 95% interval; emb are the embeddings.")


def agreement(question: Question, guess: int) -> None:
    """Step 4: the curves of several estimators."""
    names = tour_estimators()
    profile = profile_or_wait(names)
    if profile is None:
        return
    found = agreement_finding(profile, names)
    say(verdict(guess, agreement_answer(profile, names), question.answers), found)
    figure = large.several_curves(profile, names, disputed_blocks(profile, names))
    draw(figure, 4, found, f"one line an estimator, all from the same vectors.{sink_finding(profile)}")


def ranks(question: Question, guess: int) -> None:
    """Step 5: ranks as stacked units, with offset and estimator to choose."""
    names = tour_estimators()
    profile = profile_or_wait((ESTIMATOR,))
    if profile is None:
        return
    _say_ranks(question, guess, profile, [name for name in names if name in profile.estimates])


def _say_ranks(question: Question, guess: int, profile: IdProfile, names: list[str]) -> None:
    words = st.container()
    with st.container(horizontal=True, vertical_alignment="center", key="teach_choices"):
        offsets = sorted({*OFFSETS, st.session_state["offset"]})
        offset = st.segmented_control("Offset", offsets, key="offset", required=True, on_change=state.leave_budget)
        if st.session_state["estimator"] not in names:
            st.session_state["estimator"] = ESTIMATOR
        estimator = st.segmented_control("Dimension by", names, key="estimator", required=True, format_func=estimator_words)
    assert offset is not None and estimator is not None  # both are required
    plan = allocate_ranks(profile, TARGETS, offset, ROUNDING, estimator)
    truth = share_answer(allocate_ranks(profile, TARGETS, OFFSET, ROUNDING, ESTIMATOR))
    found = share_finding(plan)
    with words:
        say(verdict(guess, truth, question.answers), found)
    draw(large_runs.rank_units(plan), 5, found, "one box a rank unit; the number is the block's rank.")


def profile_or_wait(names: tuple[str, ...]) -> IdProfile | None:
    """All that is measured, when the named estimators are there; else None, with their progress or a button to measure them."""
    wanted, task = state.measurement(), Quantity("estimators", names)
    was_at_it = measuring.is_measuring()  # looked at first: what ends after this makes the page run again
    missing = measurements().missing(wanted, task)
    if not missing:
        return measurements().find(wanted)
    measuring.draw_jobs("estimators")
    if was_at_it and not measuring.is_measuring():
        st.rerun()
    if not was_at_it:
        st.markdown(plain(f"Not measured yet: {measuring.labels(missing)}."))
        st.button("Measure", key="teach_measure", type="primary", on_click=_measure, args=(wanted, task))
    return None


def _measure(wanted: MeasurementSpec, quantity: Quantity) -> None:
    measurements().start(wanted, quantity)


def _ratios() -> Ratios | None:
    wanted = state.measurement()
    job = ratios.MAKING.job(wanted)
    if job is not None and not job.is_over:
        progress.follow(job, "teach_cancel")
        return None
    found = ratios.ratios(wanted)
    if found is None:
        if job is not None:
            progress.end(job)
        st.button("Measure", key="teach_measure", type="primary", on_click=begin, args=(1,))
    return found
