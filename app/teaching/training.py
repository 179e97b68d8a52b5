"""Steps 2 and 6 of the tour: the run that one click starts, and what has become of it; the recorded run stands in for it.

Draws with Streamlit; which run it is `app.teaching.recorded_run` knows.
"""

from collections.abc import Callable

import streamlit as st

from app import state
from app.charts import large, large_runs
from app.shared.markdown import md, plain
from app.shared.press_once import press_once
from app.shared.redraw import in_place, poll
from app.shared.run_reading import reference_scores, series_of
from app.shared.run_words import duration, main_metric, metric_word, waits_for
from app.teaching.parts import draw, profile_or_wait, say
from app.teaching.recorded_run import ESTIMATOR, Harvest, find_run, harvest, recorded, same_run, tour_spec
from app.teaching.steps import GAINS, Question, gain_answer, gain_margin, last_layer_move, move_answer, run_finding, signed, verdict
from gelora.errors import GeloraError, RunUnderWay
from gelora.records import RunSpec
from gelora.runs import RunInfo, keep_ready, list_runs, start_run


def ask_for_run() -> None:
    """The click that starts the training; the run begins as soon as its ranks are known, and only once."""
    st.session_state["_run_asked"] = True


def _spec() -> RunSpec | None:
    profile = profile_or_wait((ESTIMATOR,))
    wanted = state.measurement()
    return None if profile is None else tour_spec(profile, wanted.model, wanted.data)


# step 2


@in_place
def training(question: Question, guess: int) -> None:
    """Step 2: starts the run that was asked for, then follows it."""
    runs = list_runs()
    run = find_run(st.session_state["tour_run"], None, runs)
    if run is None:
        run = _started(runs)
        if run is None:
            return
    st.session_state.pop("_run_asked", None)
    if run.is_live:
        _follow(run.id, 1.0, lambda run: _draw_run(run, question.answers[guess]))
    else:
        with st.container():  # as the polling above has one
            _draw_run(run, question.answers[guess])
        if run.state.status != "finished":
            st.button("Start another run", key="teach_start_again", on_click=_clear)
            press_once("teach_start_again")


def _started(runs: list[RunInfo]) -> RunInfo | None:
    """The run that was asked for, begun now or found under way; None while it cannot begin, with the reason on the page."""
    spec = _spec()
    if spec is None:
        return None
    there = find_run("", spec, runs)
    if there is not None:
        st.session_state["tour_run"] = there.id
        st.session_state["_joined"] = there.id
        st.rerun()  # with its id in the address
    if not st.session_state.get("_run_asked"):
        keep_ready()
        _start_button()
        return None
    st.session_state["_run_asked"] = False
    try:
        with st.spinner("Starting the run's process ..."):
            st.session_state["tour_run"] = start_run(spec)
    except RunUnderWay as equal:  # of another tab, or of a second press
        st.session_state["tour_run"] = st.session_state["_joined"] = equal.run_id
    except GeloraError as error:
        st.error(plain(error), icon=":material/error:")
        _start_button()
        return None
    st.rerun()


def _start_button() -> None:
    st.button("Start the training", key="teach_start", type="primary", on_click=ask_for_run)
    press_once("teach_start")


def _clear() -> None:
    st.session_state["tour_run"] = ""
    ask_for_run()


def _follow(run_id: str, every: float, draw: Callable[[RunInfo], None]) -> None:
    """Draw the run again every so many seconds while it lives."""

    def look() -> RunInfo | None:
        return find_run(run_id, None, list_runs())

    def draw_it() -> None:
        run = look()
        if run is not None:
            draw(run)

    poll(every, lambda: (run := look()) is not None and run.is_live, True, draw_it)


def _draw_run(run: RunInfo, said: str) -> None:
    _progress(run)
    joined = " It was under way already." if st.session_state.get("_joined") == run.id else ""
    found = _what_learns(run) + joined
    say(f"The class said: {said}. The answer comes in step 6{'; the run goes on meanwhile' if run.is_live else ''}.", found)
    loss = series_of(run).get("loss", [])
    draw(large_runs.falling_loss(loss, run.state.total_steps or 1), 2, found, "one dot a logged loss; the line is their running mean.")


def _what_learns(run: RunInfo) -> str:
    plan = run.spec.plan if run.spec is not None else None
    if plan is None:
        return f"Run {run.id}."
    share = plan.n_adapter_params / plan.n_model_params
    total = f"{plan.n_model_params / 1e6:,.1f} million" if plan.n_model_params >= 1e5 else f"{plan.n_model_params:,}"
    return f"{plan.n_adapter_params:,} adapter parameters learn, {share:.2%} of the model's {total}; the rest stays as it is."


def _progress(run: RunInfo) -> None:
    """How the run stands, in a line; a bar while it lives."""
    if run.state.status == "queued":
        n = waits_for(run, list_runs())
        st.progress(0.0, text=plain(f"The run waits for {n} other{'s' if n != 1 else ''}.") if n else "The run's process starts.")
    elif run.state.status == "running":
        total = run.state.total_steps or 0
        left = "" if run.state.seconds_left is None else f" · {duration(run.state.seconds_left)} left"
        stage = "" if run.state.stage == "training" else f" · {run.state.stage}"
        st.progress(
            min(1.0, run.state.step / total) if total else 0.0,
            text=plain(f"The class's run: step {run.state.step} of {total or '?'}{left}{stage}"),
        )
    elif run.state.status == "finished":
        st.progress(1.0, text=plain(f"The class's run has finished: {run.state.step} steps."))
    else:
        st.warning(plain(f"The class's run {run.state.status}: {run.state.reason or 'no reason is known'}"), icon=":material/info:")


# step 6


@in_place
def harvest_of_run(question: Question, guess: int) -> None:
    """Step 6: score and geometry of the class's run; while it is not finished, those of the recorded one, labelled."""
    run = find_run(st.session_state["tour_run"], None, list_runs())
    if run is not None and run.state.status == "finished":
        _harvested(run, question, guess)
        return
    with st.container():
        if run is not None and run.is_live:
            _follow(run.id, 2.0, _progress)
        elif run is not None:
            _progress(run)
    kept = recorded()
    why = "; none was started in step 2" if run is None else ""
    st.markdown(md(":material/history: **Recorded run** of {}{}.", kept.label(), why))
    _draw_harvest(kept.harvest, question, guess, 6)


def _harvested(run: RunInfo, question: Question, guess: int) -> None:
    references = reference_scores(run, list_runs(), main_metric(run))
    recorded_head = recorded().harvest.head_only
    if "head only" not in references and recorded_head is not None and same_run(run.spec, recorded().spec):
        references = {"head only, recorded": recorded_head, **references}
    _draw_harvest(harvest(run, references), question, guess, 8)


def _draw_harvest(found: Harvest, question: Question, guess: int, place: int) -> None:
    """place: 6 beside words on the recorded run, 8 with the screen for itself; the style sheet has their heights."""
    said = verdict(guess, move_answer(found.geometry), question.answers)
    gain = _gain_said(found)
    say(f"{gain} {said}" if gain else said, run_finding(found))
    metric = metric_word(found.metric)
    left, right = st.columns(2, gap="medium")
    with left:
        figure = large_runs.score_over_steps(metric, found.series.get(found.metric, []), found.references, found.total_steps)
        draw(figure, place, run_finding(found), None)
    with right:
        if len(found.geometry) > 1:
            figure = large.before_and_after(found.geometry[0], found.geometry[-1])
            moved = signed(last_layer_move(found.geometry) or 0.0)
            draw(figure, place + 1, f"The last layer's dimension moved by {moved}.", None)
        else:
            st.markdown("The dimension was not measured during this run.")


def _gain_said(found: Harvest) -> str:
    """What the class said in step 2, held against the score."""
    answer, head_only = st.session_state["guesses"].get("2"), found.head_only
    if answer is None or answer >= len(GAINS) or head_only is None or found.score is None:
        return ""
    truth = gain_answer(found.score, head_only)
    said = f"Step 2: {GAINS[answer]}? " + ("So it is." if truth == answer else f"Measured: {GAINS[truth]}.")
    if found.metric != "eval_accuracy" or found.n_held_out is None:
        return said
    margin = gain_margin(found.score, head_only, found.n_held_out)
    is_clear = abs(100 * (found.score - head_only)) > margin
    return said + ("" if is_clear else f" One seed, {found.n_held_out:,} rows held out: under {margin:.0f} points may be chance.")
