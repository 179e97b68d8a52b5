"""The geometry of a run while it trains: the curve that moves, a step to look back at, the ranks the rule would want now.

Draws with Streamlit; the figure is `app.charts.drift`.
"""

import streamlit as st

from app.charts.drift import moving_curve
from app.shared import components, figures
from app.shared.markdown import plain
from app.shared.run_reading import geometry_of
from gelora.runs import GeometryMeasurement, RunInfo


def is_measured(run: RunInfo) -> bool:
    """Whether there are measurements, or will be."""
    return bool(geometry_of(run)) or (run.state.status == "running" and run.spec is not None and run.spec.training.probe_size > 0)


def geometry(run: RunInfo) -> None:
    """The curve at one step with the earlier ones behind it, and what measuring costs."""
    found = geometry_of(run)
    if not found:
        if run.spec is not None and run.spec.training.probe_size == 0:
            st.caption("This run does not measure its dimension: its probe has 0 rows.")
        elif run.state.status == "running":
            st.caption("The dimension of every layer is measured at the start, at every evaluation and at the end; the first follows.")
        return
    shown = _step_choice(run, found)
    now = found[shown]
    by = components.estimator_words(now.estimator)
    figures.show(
        moving_curve(found, shown),
        f"geometry_{run.id}",
        says=f"Dimension of every layer by {by} at step {now.step:,} of the run, over the ranks that are in use and those the rule "
        "would want now.",
        how_to_read="the segment over a block is what the block adds, the band the 95% interval of each layer. Where the fill rises over "
        "the outline, the rule would give that block more rank than it has; hatched is what it would give for a rise within its interval.",
    )
    st.caption(plain(" ".join(filter(None, (_resolution(now), _cost(found))))))
    if now.note:
        st.caption(plain(f"Step {now.step:,}: {now.note}"))
    changes = [f"{m.step:,}" for m in found if m.reallocated]
    if changes:
        st.caption(plain(f"Ranks were re-allocated at step {', '.join(changes)}."))


def _step_choice(run: RunInfo, found: list[GeometryMeasurement]) -> int:
    """The measurement looked at: the newest one, until a person moves back; then that one, until they return to the end."""
    if len(found) == 1:
        return 0
    key, last_key = f"geometry_at_{run.id}", f"_geometry_last_{run.id}"
    last = len(found) - 1
    if key not in st.session_state or st.session_state[key] in (st.session_state.get(last_key), None) or st.session_state[key] > last:
        st.session_state[key] = last
    st.session_state[last_key] = last
    words = {i: f"step {m.step:,}{' ↻' if m.reallocated else ''}" for i, m in enumerate(found)}
    return int(st.select_slider("Look back", list(words), key=key, format_func=words.__getitem__))


def _resolution(now: GeometryMeasurement) -> str:
    """What the probe's rows can show, where it has intervals."""
    if not now.resolved:
        return ""
    return f"Smallest rise that the {now.n_samples:,} held-out rows of the probe resolve: {now.resolved:.1f}."


def _cost(found: list[GeometryMeasurement]) -> str:
    share = found[-1].share
    seconds = sum(m.seconds for m in found)
    share_words = "" if share is None else f"{share:.1%} of training"
    return f"Measuring cost {share_words}{f' ({seconds:.1f} s in {len(found)} measurements)' if share_words else f'{seconds:.1f} s'}."
