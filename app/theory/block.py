"""A card of the Theory page: the Jacobian of one block of the chosen model, probed in the background and kept for all tabs.

Draws with Streamlit; what is probed is `gelora.sources.probe_block`.
"""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import state
from app.charts import theory as charts
from app.charts.theory import Mark, Spectrum
from app.shared import figures, measuring, progress
from app.shared.background import Background
from app.shared.cache import pool
from app.shared.markdown import md, plain
from app.theory.maps import verdict_words
from gelora.measurements import Job, MeasurementSpec, device_of_work, warm_up
from gelora.records import IdProfile
from gelora.sources import BUNDLED_DATASET, BlockJacobian, load_sample, probe_block

_TOLERANCE = 1e-4  # gelora.sources.block_jacobian.RANK_TOLERANCE, which would load torch; a test holds them equal


@dataclass(frozen=True)
class Probing:
    """What decides the answer; two equal ones give the same."""

    measurement: MeasurementSpec
    block: int
    n_probes: int
    n_points: int

    def sentence(self) -> str:
        """The choice in words."""
        m = self.measurement
        return f"block {self.block} of {m.model} on {m.data.dataset}, {self.n_points} points, {self.n_probes} probes"


def _probe(wanted: Probing, job: Job) -> BlockJacobian:
    m = wanted.measurement
    with pool().turn(job):
        warm_up().wait(job.progress, data_too=m.data.dataset == BUNDLED_DATASET)
        with device_of_work() as device:
            sample = load_sample(m.data, m.n_samples, m.seed, distinct=m.distinct, progress=job.progress)
            return probe_block(
                m.model, sample, wanted.block, n_points=wanted.n_points, n_probes=wanted.n_probes,
                max_length=min(m.max_length, 32), seed=m.seed, device=device, progress=job.progress,
            )  # fmt: skip


PROBING = Background("probe-block", _probe, "The probing", "fewer probes or a smaller model")


def real_block() -> None:
    """The choices, the work under way, and what it gave."""
    chosen, profile = st.session_state, measuring.current_profile()
    most = len(profile.layer_names) - 1 if profile else 10_000
    chosen["th_block"] = min(chosen["th_block"], most)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input("Block", 1, most, key="th_block", width=112, help="Of the model in the sidebar, counted from 1.")
        st.number_input("Points", 1, 16, key="th_points", width=112, help="One position of each of so many texts.")
        st.number_input("Probes", 1, 16_384, key="th_probes", width=112, help="As many as the model is wide show the whole Jacobian.")
        wanted = Probing(state.measurement(), chosen["th_block"], chosen["th_probes"], chosen["th_points"])
        job, found = PROBING.job(wanted), PROBING.answer(wanted)
        at_work = job if job is not None and not job.is_over and found is None else None
        if found is None and at_work is None:
            st.button("Probe this block", key="probe_block", type="primary", on_click=PROBING.begin, args=(wanted,))
    with st.container():
        if at_work is not None:
            progress.follow(at_work, "cancel_probe")
        elif found is None and job is not None and job.error:
            progress.end(job)
    if found is not None:
        chosen["_probed"] = (wanted, found)
    if "_probed" not in chosen:
        if at_work is None:
            st.caption("Nothing is probed yet. With the bundled model it takes some seconds on a free CPU.")
        return
    probing, shown = chosen["_probed"]
    if probing != wanted:
        st.warning(plain(f"Probed: {probing.sentence()}. The choices have changed since."), icon=":material/history:")
    _draw(shown, probing, profile if probing == wanted else None)


def rank_words(found: BlockJacobian) -> str:
    """What the probes saw of the ranks, in one sentence; without a probe for every coordinate they are lower bounds."""
    least, most = int(found.ranks.min()), int(found.ranks.max())
    is_whole = found.n_probes == found.hidden_size
    ranks = f"{least}" if least == most else f"{least} to {most}"
    update = int(found.update_ranks.max())
    if is_whole:
        return f"J has rank {ranks} of {found.hidden_size} at {len(found.ranks)} points, J − I {update}; {found.seconds:.1f} s."
    return (
        f"J has rank at least {ranks} at {len(found.ranks)} points ({found.n_probes} probes, width {found.hidden_size}), "
        f"J − I at least {update}; {found.seconds:.1f} s."
    )


def sink_words(found: BlockJacobian, ratio: float) -> str:
    """Whether a point is an attention sink on entering the block, in one sentence."""
    of = f"the median of the {found.n_tokens:,} tokens of these texts"
    sinks = [
        f"{token!r} at position {at} ({norm:.0f})"
        for token, at, norm in zip(found.tokens, found.positions, found.norms, strict=True)
        if norm > ratio
    ]
    if not sinks:
        return f"No point is an attention sink: on entering the block the longest has {np.nanmax(found.norms, initial=0.0):.1f} times {of}."
    return (
        f"Attention sinks among the points, by their norm over {of}: {', '.join(sinks)}. There J is that of a state which says little of "
        "its text."
    )


def _draw(found: BlockJacobian, wanted: Probing, profile: IdProfile | None) -> None:
    st.markdown(md("**Block {}: {}**", found.block, rank_words(found)))
    marks = []
    if profile is not None and "twonn" in profile.estimates:
        marks = _beside(found, profile)
    else:
        st.caption("Measure the curve (the sidebar does) to see this block's ID in and out beside the rank.")
    figures.show(
        charts.spectra(
            [
                Spectrum("J", found.singular_values, charts.BLUE, "solid", "circle"),
                Spectrum("J − I, output minus input", found.update_values, charts.VIOLET, "dot", "triangle-up"),
            ],
            axis="singular value / largest",
            tolerance=_TOLERANCE,
            marks=marks,
            most=found.n_probes,
        ),
        "theory_block_spectra",
        says=rank_words(found),
        how_to_read=f"a line a point; each value is a lower bound of the Jacobian's own, those above {_TOLERANCE:g} of the largest count "
        "(the pass is in float32).",
    )
    st.caption(plain(sink_words(found, wanted.measurement.sink_ratio)))
    with st.expander("Where the points are"):
        for text, position, token, norm in zip(found.texts, found.positions, found.tokens, found.norms, strict=True):
            st.text(f"position {position}, token {token!r}, norm {norm:.1f} x median: {text[:160]}")


def _beside(found: BlockJacobian, profile: IdProfile) -> list[Mark]:
    before, after = (profile.estimates["twonn"][i].dimension for i in (found.block - 1, found.block))
    if before is None or after is None:
        st.caption("The ID of this block's input or output is not defined; the Layers page says why.")
        return []
    rank, added = int(found.ranks.max()), int(found.update_ranks.max())
    undecided = "does not hold" if found.n_probes == found.hidden_size else "is not decided by so few probes"
    for left_words, right_words, left, right in (
        ("ID of the output", "rank J", after, rank),
        ("rise, ID out − ID in", "rank of J − I", after - before, added),
    ):
        st.markdown(plain(verdict_words(left_words, right_words, left, right, "holds" if left <= right else undecided)))
    st.caption(plain(f"The IDs are TwoNN's of the pooled states ({profile.pooling}); the Jacobian is that of single positions."))
    return [Mark(before, f"ID in, {before:.1f}"), Mark(after, f"ID out, {after:.1f}")]
