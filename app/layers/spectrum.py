"""The view of an opened layer that shows spectra: of its states, and of the weights of the block that made them.

Draws with Streamlit; spectra are `gelora.geometry`'s, made in the background once for all tabs.
"""

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import state
from app.charts import spectrum as charts
from app.layers import texts
from app.layers.opening import Opening, opened_states
from app.shared import figures, progress
from app.shared.background import Background
from app.shared.cache import pool
from app.shared.markdown import md, plain
from gelora.errors import DataError
from gelora.geometry import UNFIT, PowerLaw, Spectrum, covariance_spectrum, weight_spectrum
from gelora.measurements import Job
from gelora.records import IdProfile, SampleSource
from gelora.sources import block_weights

_HOW_TO_READ = (
    "one point an eigenvalue, its height the share of those as large or larger. Right of the dashed edge lies what independent entries "
    "of the bulk's variance would not show. A power law is a straight line, its density falls as λ to the −α; dotted where its p is "
    f"below {UNFIT:g}: then it does not describe the tail."
)


@dataclass(frozen=True)
class Found:
    """A spectrum with the law of its tail."""

    spectrum: Spectrum
    law: PowerLaw | None


@dataclass(frozen=True)
class LayerSpectra:
    """Of a layer's states (or why they have none), and of the matrices of its block by name (none of the embeddings)."""

    sample_source: SampleSource
    states: Found | str
    weights: dict[str, Found]


def _measure(wanted: Opening, job: Job) -> LayerSpectra | None:
    spec, layer = wanted.measurement, wanted.layer
    read = opened_states(wanted, job)
    if read is None:
        return None
    sample, states = read
    with pool().turn(job):
        weights = block_weights(spec.model, layer, job.progress) if layer else {}
    n = len(weights) + 1
    found: dict[str, Found] = {}
    for name, weight in weights.items():
        job.progress("Spectra", len(found), n)
        found[name] = _found(weight_spectrum(weight))
    job.progress("Spectra", len(found), n)
    try:
        of_states: Found | str = _found(covariance_spectrum(states.values[layer]))
    except DataError as error:  # equal vectors; the weights have a spectrum all the same
        of_states = str(error)
    return LayerSpectra(sample.source, of_states, found)


def _found(spectrum: Spectrum) -> Found:
    return Found(spectrum, spectrum.power_law())


SPECTRA = Background(
    "layer-spectra", _measure, "The spectrum", "fewer samples or a smaller model", key=lambda wanted: wanted.measurement.key(wanted.layer)
)


def view(profile: IdProfile, layer: int) -> None:
    """Both figures and the table, the work under way, or why it ended; begun when it is asked for, since the model is read for it."""
    wanted = Opening(state.measurement(), layer, may_run_model=True)
    job, found = SPECTRA.job(wanted), SPECTRA.answer(wanted)
    where = texts.depth(profile.layer_names[layer])
    if found is None:
        if job is not None and not job.is_over:
            progress.follow(job, "cancel_spectrum")
            return
        if job is not None:
            progress.end(job)
        of = where if layer == 0 else f"{where} and of the weights of its block"
        what = f"The eigenvalues of the covariance of {of}: how many directions reach beyond noise, and how the tail falls."
        st.caption(plain(f"{what} The model's weights are read for it; some seconds with a small one."))
        st.button("Measure the spectra", key="measure_spectra", icon=":material/play_arrow:", on_click=SPECTRA.begin, args=(wanted,))
        return
    if found.sample_source != profile.sample_source:
        st.info("The curve was measured on other texts than those that are here now; measure it again.", icon=":material/info:")
        return
    left, right = st.columns(2, gap="large")
    with left:
        if isinstance(found.states, str):
            st.info(plain(f"No spectrum of {where}. {found.states}"), icon=":material/do_not_disturb_on:")
        else:
            st.markdown(md("**States of {}**: {}", where, _words(found.states)))
            _figure(found.states, "spectrum_states", f"States of {where}")
    with right:
        _weights(found.weights, is_explained=isinstance(found.states, Found))
    if found.weights:
        st.dataframe(_table(found.weights), hide_index=True)


def _weights(weights: dict[str, Found], is_explained: bool) -> None:
    if not weights:
        st.caption("The embeddings are made by no block's matrices, or the block's are experts that share one parameter.")
        return
    names = list(weights)
    if st.session_state["matrix_name"] not in names:
        st.session_state["matrix_name"] = names[0]
    name = st.selectbox("Matrix", names, key="matrix_name", label_visibility="collapsed")
    st.markdown(md("**Weights of {}**: {}", name, _words(weights[name])))
    _figure(weights[name], "spectrum_weights", f"Weights of {name}", is_explained)


def _figure(found: Found, key: str, what: str, is_explained: bool = False) -> None:
    figures.show(
        charts.reach(found.spectrum, found.law),
        key,
        says=f"{what}: {_words(found)}",
        how_to_read=None if is_explained else _HOW_TO_READ,
    )


def _words(found: Found) -> str:
    spectrum, law = found.spectrum, found.law
    n = len(spectrum.eigenvalues)
    said = f"stable rank {spectrum.stable_rank:.1f}; {spectrum.n_beyond:,} of {n:,} eigenvalues beyond the edge of noise"
    if law is None:
        return f"{said}; too few for a power law."
    if law.is_unfit:
        return f"{said}; the tail is no power law (p = {law.p:.2f})."
    return f"{said}; tail with α = {law.alpha:.1f} ∓ {law.error:.1f} over {law.n_tail:,} values (p = {law.p:.2f})."


def _table(weights: dict[str, Found]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "matrix": name,
                "rows": found.spectrum.n_rows,
                "columns": found.spectrum.n_columns,
                "stable rank": round(found.spectrum.stable_rank, 2),
                "beyond the edge": found.spectrum.n_beyond,
                "α": None if found.law is None else round(found.law.alpha, 2),
                "p of the law": None if found.law is None else found.law.p,
                "power law": "too few" if found.law is None else "unfit" if found.law.is_unfit else "fits",
            }
            for name, found in weights.items()
        ]
    )
