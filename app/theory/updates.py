"""Two cards of the Theory page: the singular values of a LoRA update, and the Fisher information of a softmax layer."""

import numpy as np
import streamlit as st

from app.charts import theory as charts
from app.charts.theory import Mark, Spectrum
from app.shared import figures
from app.shared.markdown import bold
from app.shared.run_reading import short_name
from app.theory import choices
from gelora.geometry import MapSpec, SmoothMap, TwoNN, charted_points
from gelora.ranks import FisherSpectrum, UpdateSpectrum, adapter_spectra, random_factors, softmax_fisher, spectrum_of
from gelora.runs import RunInfo, list_runs

_WIDTH = 96  # of the matrix that random factors update
_COORDINATES = 24  # of the points whose Fisher information is taken


def lora_update() -> None:
    """Random factors, or the adapter of a finished run."""
    chosen = st.session_state
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Factors", list(choices.UPDATES), key="th_update", format_func=choices.UPDATES.__getitem__, required=True)
        if chosen["th_update"] == "random":
            st.slider("Rank r", 1, 64, key="th_r", width=240)
            st.toggle("B has left its zero", key="th_begun", help="Off: as LoRA begins, with B = 0.")
    if chosen["th_update"] == "random":
        _random_update(chosen["th_r"], chosen["th_begun"])
    else:
        _trained_update()


def _random_update(r: int, is_begun: bool) -> None:
    whole, found = _random(r, is_begun)
    counted = int(np.sum(whole > charts.FLOOR))
    if not is_begun:
        st.markdown(f"**B is zero, so all {len(whole):d} singular values of B A are 0 and its rank is {found.rank:d}.**")
    else:
        st.markdown(
            f"**Of the {len(whole):d} singular values of this {_WIDTH:d} x {_WIDTH:d} product {found.rank:d} are above 1e-6 of the "
            f"largest; the other {len(whole) - found.rank:d} are rounding. Effective rank {found.effective_rank:.1f} of r = "
            f"{r:d}.**"
        )
    figures.show(
        charts.spectra(
            [Spectrum("B A, decomposed whole", whole, charts.BLUE, "solid", "circle")],
            axis="singular value",
            marks=[Mark(r, f"r = {r}")],
            relative=False,
            most=len(whole),
        ),
        "theory_update",
        says=f"{counted} of {len(whole)} singular values are above {charts.FLOOR:g}; r is {r}.",
        how_to_read=f"a dot a singular value, computed from the whole product; what is 0 is drawn at {charts.FLOOR:g}.",
    )


@st.cache_data(show_spinner=False, max_entries=128)
def _random(r: int, is_begun: bool) -> tuple[np.ndarray, UpdateSpectrum]:
    a, b = random_factors(r, _WIDTH, _WIDTH, 0, 1.0 if is_begun else 0.0)
    return np.linalg.svd(b @ a, compute_uv=False), spectrum_of(a, b, 1.0)


def _trained_update() -> None:
    chosen = st.session_state
    runs = {
        run.id: run for run in list_runs() if run.state.status == "finished" and (run.folder / "adapter" / "adapter_config.json").is_file()
    }
    if not runs:
        st.info(
            "No finished run has an adapter yet: Fine-tune starts one, and its update is shown here when it ends.", icon=":material/info:"
        )
        return
    if chosen["th_run"] not in runs:
        chosen["th_run"] = next(iter(runs))
    run = runs[st.selectbox("Run", list(runs), key="th_run", format_func=lambda run_id: _run_words(runs[run_id]))]
    found = {spectrum.module: spectrum for spectrum in _adapter(str(run.folder / "adapter"), run.state.ended_at)}
    if chosen["th_module"] not in found:
        chosen["th_module"] = next(iter(found))
    shown = found[st.selectbox("Module", list(found), key="th_module")]
    effective = [spectrum.effective_rank for spectrum in found.values()]
    st.markdown(
        bold(
            f"{shown.module}: r = {shown.r}, rank {shown.rank}, effective rank {shown.effective_rank:.2f}. Over {len(found)} "
            f"modules the effective rank is {min(effective):.2f} to {max(effective):.2f}, r {min(s.r for s in found.values())} to "
            f"{max(s.r for s in found.values())}."
        )
    )
    figures.show(
        charts.spectra(
            [Spectrum("alpha / r · B A", shown.singular_values, charts.BLUE, "solid", "circle")],
            axis="singular value",
            marks=[Mark(shown.effective_rank, f"effective rank {shown.effective_rank:.2f}")],
            relative=False,
            most=len(shown.singular_values),
        ),
        "theory_trained_update",
        says=f"The {len(shown.singular_values)} singular values of the trained update of {shown.module}.",
        how_to_read=f"the update has {shown.out_features} x {shown.in_features} entries; all values beyond r are 0 and not drawn.",
    )


def _run_words(run: RunInfo) -> str:
    return f"{short_name(run)} · {run.model}"


@st.cache_data(show_spinner="Reading the adapter ...", max_entries=16)
def _adapter(folder: str, ended_at: str | None) -> tuple[UpdateSpectrum, ...]:
    return adapter_spectra(folder)


def fisher() -> None:
    """The exact Fisher information of a softmax layer on data of few dimensions, flat or bent."""
    chosen = st.session_state
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.slider("Dimension d of the data", 2, 12, key="th_f_d", width=220)
        st.slider("Classes C", 2, 6, key="th_f_classes", width=220)
        st.toggle("Bent through all coordinates", key="th_f_bent")
    d, classes, is_bent = chosen["th_f_d"], chosen["th_f_classes"], chosen["th_f_bent"]
    found, measured = _fisher(d, classes, is_bent)
    st.markdown(
        f"**F has rank {found.rank:d}; {found.most:d} = (C − 1) · {_COORDINATES:d} is the most that a softmax allows. "
        f"The data have dimension {d:d} (TwoNN reads {measured:.1f}) and span {found.spanned:d} of {_COORDINATES:d} coordinates.**"
    )
    below = (classes - 1) * d
    figures.show(
        charts.spectra(
            [Spectrum("eigenvalues of F", found.eigenvalues, charts.BLUE, "solid", "circle")],
            axis="eigenvalue / largest",
            tolerance=found.tolerance,
            marks=[Mark(below, f"(C − 1) d = {below}"), Mark(found.most, f"(C − 1) n = {found.most}")],
            most=len(found.eigenvalues),
        ),
        "theory_fisher",
        says=f"{len(found.eigenvalues)} eigenvalues, {found.rank} of them above {found.tolerance:g} of the largest.",
        how_to_read="a dot a direction of the weights, by how much the predictions change along it; left of the first upright line "
        "lie as many as flat data of this dimension would have.",
    )


@st.cache_data(show_spinner=False, max_entries=128)
def _fisher(d: int, n_classes: int, is_bent: bool) -> tuple[FisherSpectrum, float]:
    points = charted_points("gaussian", 800, d, _COORDINATES, 0).points
    if is_bent:
        points = SmoothMap(MapSpec("hidden", _COORDINATES, _COORDINATES, _COORDINATES))(points)
    return softmax_fisher(points, n_classes), TwoNN().fit(points).dimension_
