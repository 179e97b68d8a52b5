"""How a piece of work stands, as every page draws it: a bar with words and time left, Cancel, and how it ended without an answer.

Does not depend on what the work is for.
"""

import streamlit as st

from app.shared.markdown import plain
from app.shared.redraw import poll
from gelora.measurements import Job


def follow(job: Job, key: str, before: str = "", n_results: int | None = None) -> None:
    """`with_cancel` again and again while the job is under way; at its end, or at a further result, the page is drawn.

    n_results: how many of its results the page shows, all that there are unless given.
    """
    seen = False, job.n_results if n_results is None else n_results
    poll(0.4, lambda: (job.is_over, job.n_results), seen, lambda: with_cancel(job, key, before))


def with_cancel(job: Job, key: str, before: str = "") -> None:
    """The bar with its words, those of `before` first, and Cancel under `key` beside it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        left = "" if job.seconds_left is None else f" · {max(job.seconds_left, 0):.0f} s left in this step"
        counted = f" {job.done:,} of {job.total:,}" if job.total else ""
        words = f"{before} · {job.stage}" if before else job.stage
        st.progress(job.done / job.total if job.total else 0.0, text=plain(f"{words}{counted}{left}"))
        st.button("Cancel", key=key, disabled=job.is_cancelled, on_click=job.cancel)


def end(job: Job) -> None:
    """What a job that has ended with words says: that it was cancelled, or what went wrong."""
    if job.error and job.is_cancelled:
        st.info(plain(job.error), icon=":material/cancel:")
    elif job.error:
        st.error(plain(job.error), icon=":material/error:")
