"""One layer opened, on the Layers page: which layer, which view of it, and the views that are figures.

Draws with Streamlit what `app.layers.opening` has opened; views that are texts are in `app.layers.texts`.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import streamlit as st

from app import state
from app.charts import opened as charts, scales as scale_charts
from app.layers import spectrum, texts
from app.layers.opening import OPENING, Opening
from app.shared import components, figures, measuring, progress
from app.shared.cache import measurements
from app.shared.markdown import Markdown, md, plain
from gelora.errors import DataError, InputError
from gelora.measurements import Job, Quantity
from gelora.opened_layer import OpenedLayer
from gelora.records import IdProfile

VIEW_WORDS = {
    "twonn": "TwoNN fit",
    "distances": "Distances",
    "scale": "Scale",
    "neighbors": "Neighbors",
    "map": "Map",
    "duplicates": "Duplicates",
    "spectrum": "Spectrum",
}
_AT_ONCE_SECONDS = 0.5  # what opens so quickly needs no progress bar


def section(profile: IdProfile, estimator: str, is_stale: bool) -> None:
    """‹ layer ›, the views, and the chosen view of that layer; nothing is computed for the others."""
    st.subheader("One layer")
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        layer = layer_selector(profile)
        view = st.pills("View", state.VIEWS, key="view", format_func=VIEW_WORDS.__getitem__, label_visibility="collapsed", wrap=True)
    if profile.sinks is not None:
        st.caption(plain(profile.sinks.layer_sentence(layer)))
    with st.container():
        if view is None:
            st.caption("A click on a marker of the curve, or on one of these views, opens the layer.")
        elif view == "scale":
            _scale(profile, layer, estimator, is_stale)
        elif is_stale:
            st.info("Measure the present choices first; a layer is opened for what is chosen now.", icon=":material/history:")
        elif view == "spectrum":
            spectrum.view(profile, layer)
        else:
            opened = _opened(profile, layer)
            if opened is not None:
                _VIEWS[view](opened, profile, estimator)


def layer_selector(profile: IdProfile) -> int:
    """‹ layer ›: the layer looked at, also chosen by a click on a marker of the curve."""
    last = len(profile.layer_names) - 1
    st.session_state["layer"] = min(st.session_state["layer"], last)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", width="content"):
        st.button("‹", key="layer_before", on_click=_step, args=(-1, last), disabled=st.session_state["layer"] == 0, help="One layer down")
        st.selectbox(
            "Layer", range(last + 1), key="layer", format_func=lambda i: profile.layer_names[i], width=170, label_visibility="collapsed"
        )
        st.button("›", key="layer_after", on_click=_step, args=(1, last), disabled=st.session_state["layer"] == last, help="One layer up")
    return int(st.session_state["layer"])


def _step(by: int, last: int) -> None:
    st.session_state["layer"] = min(max(st.session_state["layer"] + by, 0), last)


# opening


def _opened(profile: IdProfile, layer: int) -> OpenedLayer | None:
    """The opened layer; without it the work under way, or why it ended and what to do."""
    wanted = Opening(state.measurement(), layer)
    job = OPENING.job(wanted)
    if job is None:
        job = OPENING.start(wanted)
        job.wait(_AT_ONCE_SECONDS)
    opened = OPENING.answer(wanted) if job.is_over else None  # what ends after this look at the job makes the page run again
    if opened is None:
        _say(wanted, job)
        return None
    if opened.sample_source != profile.sample_source:
        st.info(
            "The curve was measured on other texts than those that are here now, so its layers cannot be opened; "
            "*Measure* in the sidebar measures the present ones.",
            icon=":material/info:",
        )
        return None
    return opened


def _say(wanted: Opening, job: Job) -> None:
    again = (replace(wanted, may_run_model=True),)
    if not job.is_over:
        progress.follow(job, "cancel_open")
    elif job.error:
        progress.end(job)
        st.button("Open it again", key="open_again", on_click=OPENING.begin, args=again)
    else:
        st.info(
            "The hidden states of this measurement are not on the disk any more; the texts must go through the model once again.",
            icon=":material/info:",
        )
        st.button("Open it", key="open_anew", icon=":material/play_arrow:", on_click=OPENING.begin, args=again)


# views


def _twonn(opened: OpenedLayer, profile: IdProfile, estimator: str) -> None:
    where = texts.depth(opened.name)
    name = "twonn-mle" if estimator == "twonn-mle" else "twonn"
    estimate = profile.estimates[name][opened.layer] if name in profile.estimates else None
    if estimate is not None and estimate.dimension is None:
        st.info(md("No dimension at {}: {}. *Duplicates* shows which.", where, estimate.note), icon=":material/do_not_disturb_on:")
        return
    if opened.graph is None or opened.n_points < 3:
        st.info(plain(f"No ratio at {where}: {_few(opened)}."), icon=":material/do_not_disturb_on:")
        return
    try:
        ratios = charts.fit(opened, name)
    except (DataError, InputError) as error:
        st.info(plain(error), icon=":material/do_not_disturb_on:")
        return
    kept = min(ratios.fitted.kept_, opened.n_points)
    of = f"{where} by {components.estimator_words(name)}: {kept:,} of {opened.n_points:,}"
    st.markdown(md("The slope is **{:.2f}**, the dimension of {} ratios count.", ratios.dimension, of))
    line, how = charts.twonn_line(ratios)
    left, right = st.columns(2, gap="large")
    with left:
        says = f"Log ratios of {where} rise along a line of slope {ratios.dimension:.2f}; the discarded tail is grey."
        figures.show(line, "twonn_line", says=says, how_to_read=how)
    with right:
        figures.show(
            charts.ratio_histogram(ratios),
            "ratio_histogram",
            says=f"Histogram of the ratio of second to first neighbor distance at {where}, beside the Pareto law with "
            f"d = {ratios.dimension:.2f}.",
            how_to_read=Markdown(
                "bars count the points by the ratio μ of their two nearest distances; the curve is the density $d\\,\\mu^{-(d+1)}$ "
                "of the fitted dimension. The higher the dimension, the nearer all ratios are to 1."
            ),
        )


def _distances(opened: OpenedLayer, profile: IdProfile, estimator: str) -> None:
    figure = charts.distances(opened)
    if figure is None or opened.graph is None:
        st.info(plain(f"No distances at {texts.depth(opened.name)}: {_few(opened)}."), icon=":material/do_not_disturb_on:")
        return
    k, lengths = opened.graph.n_neighbors, opened.graph.distances
    beside, near = charts.random_pair_distance(opened), float(np.median(lengths[:, 0]))
    told = f"At {texts.depth(opened.name)} the nearest neighbor is {near:.3g} away (median), the {k}-th {np.median(lengths[:, -1]):.3g}"
    told += f", a random pair {beside:.3g}: the nearest is {near / beside:.0%} as far as any." if beside else "."
    st.markdown(plain(told))
    figures.show(
        figure,
        "neighbor_distances",
        says=told,
        how_to_read="steps count the points by the distance to their nearest and to their farthest kept neighbor. In high dimension the "
        "two gather near each other and near the distance of a random pair (the root of the mean square): everything is about equally far.",
    )


def _map(opened: OpenedLayer, profile: IdProfile, estimator: str) -> None:
    chosen = min(st.session_state["sentence"], opened.n_rows - 1)
    figure = charts.plane_map(opened, chosen)
    if figure is None or opened.plane is None:
        st.info(plain(f"No map of {texts.depth(opened.name)}: {_few(opened)}."), icon=":material/do_not_disturb_on:")
        return
    what, where = texts.noun(opened), texts.depth(opened.name)
    held = float(opened.plane.shares.sum())
    labels = {True: "The data have no labels to colour by. ", False: ""}[opened.labels is None]
    shown = f"{charts.MOST_POINTS:,} of {opened.n_rows:,}" if opened.n_rows > charts.MOST_POINTS else f"{opened.n_rows:,}"
    st.markdown(md("The plane of widest spread holds **{:.0%}** of the variance of {}. {}", held, where, labels))
    st.caption(plain(f"Ringed: {texts.clipped(opened.words(chosen))}"))
    figures.show(
        figure,
        "plane_map",
        says=f"{shown} {what}s of {where} in their principal plane, which holds {held:.0%} of the variance.",
        how_to_read=md(
            "one mark a {what} ({shown}), placed by the two principal components of the vectors. What is near here can be far in the "
            "directions left out. A click chooses a {what}; it is ringed, and *Neighbors* lists who is near it in all directions.",
            what=what,
            shown=shown,
        ),
        on_select=_row_clicked,
    )


def _row_clicked() -> None:
    points = st.session_state["plane_map"].selection.points
    if points and points[0].get("customdata") is not None:
        data = points[0]["customdata"]
        st.session_state["sentence"] = int(data[0] if isinstance(data, list | tuple) else data)


def _scale(profile: IdProfile, layer: int, estimator: str, is_stale: bool) -> None:
    """With fewer rows and with farther neighbors: does the number describe the layer, or the scale it is seen at?"""
    if not is_stale:
        measuring.offer(Quantity("scales", tuple(profile.estimates)), "Measure at other scales", "measure_scales")
        profile = measuring.current_profile() or profile  # what came in since; what comes in later is the progress line's to tell
    fewer = scale_charts.decimation(profile, layer, estimator, st.session_state["log"])
    whole = profile if is_stale else measurements().find(state.measurement()) or profile  # the plateau is measured with the curve
    farther = scale_charts.neighbor_scales(whole, layer, st.session_state["log"])
    if fewer is None and farther is None:
        st.caption(
            "A number that hangs on the scale describes the sample as much as the layer. Two ways to look: with N/2, N/4 and N/8 of the "
            "rows, and with neighbors farther away. Some seconds for the quick estimators, longer with DANCo or PH0."
        )
        return
    left, right = st.columns(2, gap="large")
    with left:
        if fewer is not None:
            figures.show(
                fewer,
                "decimation",
                says=f"{profile.layer_names[layer]} by {measuring.labels(list(profile.estimates))}, with all rows and with fewer.",
                how_to_read="each point is the mean over disjoint random parts of so many rows, its bar one standard deviation over "
                "the parts. A line that is still moving at the right says that N is too small for the number to be the layer's own.",
            )
    with right:
        if farther is not None:
            figures.show(
                farther,
                "neighbor_scales",
                says=f"Dimension of {profile.layer_names[layer]} by GRIDE, from near neighbors to far ones.",
                how_to_read="GRIDE looks at all rows, at neighbors n1 and n2 = 2 n1. A fall from the left is noise, a fall to the "
                "right is curvature and edges. The plateau is marked where the line is flattest (only beyond a steep fall, where it "
                "outgrows one): the points look there like a manifold of that dimension, unless the line is steep even so.",
            )


def _few(opened: OpenedLayer) -> str:
    return "all vectors are equal" if opened.n_points == 1 else f"only {opened.n_points} vectors differ"


_VIEWS: dict[str, Callable[[OpenedLayer, IdProfile, str], None]] = {
    "twonn": _twonn,
    "distances": _distances,
    "neighbors": lambda opened, profile, estimator: texts.neighbors(opened),
    "map": _map,
    "duplicates": lambda opened, profile, estimator: texts.duplicates(opened),
}
