"""Teaching mode: six steps for a class, one question and one figure each, without sidebar.

Owns the way through them: Back, step n of 6, Next, Leave, Reset, and that a prediction comes before what is shown. What a
step asks is in `app.teaching.steps`, what it shows in `app.teaching.parts`.
"""

from pathlib import Path

import streamlit as st

from app.shared.markdown import md, plain
from app.shared.press_once import press_once
from app.teaching import parts, steps, training
from gelora.errors import GeloraError
from gelora.measurements import warm_up
from gelora.runs import run_info, stop_run

_SHOWS = {
    1: parts.size,
    2: training.training,
    3: parts.curve,
    4: parts.agreement,
    5: parts.ranks,
    6: training.harvest_of_run,
}
_STYLE = Path(__file__).parents[1] / "frontend" / "teaching.css"


def draw() -> None:
    """The step that the session is at."""
    st.html(_STYLE)
    warm_up()  # the libraries load while the class thinks
    step = st.session_state["step"]
    _way(step)
    if st.session_state.get("_reset_asked"):
        _reset()
        return
    question = parts.question(step)
    st.title(plain(question.title), anchor=False)
    guess = guess_of(step, len(question.answers))
    if step not in st.session_state["shown"]:
        _ask(step, question, guess)
    elif guess is None:  # a link that someone has shortened
        _hide(step)
        st.rerun()
    else:
        _SHOWS[step](question, guess)


def guess_of(step: int, n_answers: int) -> int | None:
    """Which answer the class has chosen for a step, or None."""
    guess = st.session_state["guesses"].get(str(step))
    return guess if guess is not None and guess < n_answers else None


def _way(step: int) -> None:
    """Back, where one is, Next; at the other end Reset and Leave. A presenter's remote sends PageUp and PageDown."""
    with st.container(horizontal=True, vertical_alignment="center", key="teach_way"):
        st.button(
            "Back", key="teach_back", icon=":material/arrow_back:", disabled=step == 1, on_click=_go, args=(step - 1,), shortcut="PageUp"
        )
        st.markdown(md("**step {} of {}**", step, steps.N_STEPS), width="content")
        st.button("Next", key="teach_next", icon=":material/arrow_forward:", icon_position="right", type="primary",
                  disabled=step == steps.N_STEPS, on_click=_go, args=(step + 1,), shortcut="PageDown")  # fmt: skip
        st.space("stretch")
        st.button("Reset", key="teach_reset", type="tertiary", on_click=_ask_reset)
        st.button("Leave", key="teach_leave", type="tertiary", on_click=_leave)


def _ask(step: int, question: steps.Question, guess: int | None) -> None:
    key = f"teach_guess_{step}"
    with st.container(key="teach_question"):
        chosen = st.radio(
            plain(question.asks), range(len(question.answers)), index=guess, key=key, format_func=question.answers.__getitem__,
            on_change=_guessed, args=(step, key),
        )  # fmt: skip
        st.button(plain(question.button), key="teach_show", type="primary", disabled=chosen is None, on_click=_show, args=(step,))
        press_once("teach_show")


def _go(step: int) -> None:
    st.session_state["step"] = step
    st.session_state.pop("_reset_asked", None)


def _guessed(step: int, key: str) -> None:
    answer = st.session_state[key]
    st.session_state["guesses"] = st.session_state["guesses"] | ({} if answer is None else {str(step): answer})


def _show(step: int) -> None:
    parts.begin(step)
    if step == 2:
        training.ask_for_run()
    st.session_state["shown"] = tuple(sorted({*st.session_state["shown"], step}))


def _hide(step: int) -> None:
    st.session_state["shown"] = tuple(other for other in st.session_state["shown"] if other != step)


def _leave() -> None:
    st.session_state["teach"] = False
    st.session_state.pop("_reset_asked", None)


def _ask_reset() -> None:
    st.session_state["_reset_asked"] = True


def _reset() -> None:
    """Asks once; runs are left as they are unless it is asked to stop the tour's."""
    st.title("Begin again?", anchor=False)
    live = _live_run()
    st.markdown(
        "Predictions are forgotten and the tour begins at step 1. Measurements stay; runs stay in the run list."
        + (plain(f" The run {live} is still under way.") if live else "")
    )
    with st.container(horizontal=True):
        st.button("Begin again", key="teach_reset_yes", type="primary", on_click=_begin_again)
        if live and st.button("Begin again and stop the run", key="teach_reset_stop"):
            try:
                with st.spinner("Stopping; the run saves a checkpoint ..."):
                    stop_run(live)
            except GeloraError as error:
                st.error(plain(error), icon=":material/error:")
                return
            _begin_again()
            st.rerun()
        st.button("Keep going", key="teach_reset_no", on_click=_keep)


def _live_run() -> str | None:
    run_id = st.session_state["tour_run"]
    try:
        return run_id if run_id and run_info(run_id).is_live else None
    except GeloraError:
        return None  # deleted meanwhile


def _begin_again() -> None:
    st.session_state.update({"step": 1, "guesses": {}, "shown": (), "tour_run": ""})
    st.session_state.pop("_reset_asked", None)
    st.session_state.pop("_begun", None)  # what was cancelled may be asked for again
    for step in range(1, steps.N_STEPS + 1):
        st.session_state.pop(f"teach_guess_{step}", None)


def _keep() -> None:
    st.session_state.pop("_reset_asked", None)
