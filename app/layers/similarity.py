"""How alike the layers are, on the Layers page: every two as a matrix, consecutive ones and their labels over depth.

Draws with Streamlit; what is measured it asks of `app.shared.measuring`.
"""

from functools import partial

import streamlit as st

from app import state
from app.charts import similarity as charts
from app.layers import parts
from app.shared import figures, measuring
from app.shared.cache import measurements
from app.shared.markdown import bold, plain
from app.shared.redraw import in_place
from gelora.geometry import unlike_layers
from gelora.measurements import Quantity
from gelora.records import IdProfile, LayerSimilarity

_TASK = Quantity("similarity", ("layers",))


@in_place
def section(profile: IdProfile, layer: int, is_stale: bool) -> None:
    """The figures with `layer` marked in each, or what it costs to have them; nothing is measured unasked."""
    st.subheader("Between layers")
    if is_stale:
        st.caption("Measure the present choices first.")
        return
    measuring.offer(_TASK, "Compare the layers", "measure_similarity")
    found = measurements().find_similarity(state.measurement())
    if found is None:
        st.caption(
            "A dimension says how many directions a layer fills, not whether it keeps what was near. Compared are the nearest neighbors "
            "of every text, layer by layer, and their labels where there are any; two to five times as long as the quick estimators take."
        )
        return
    if unlike_layers(found, profile) is not None:
        st.info("This was measured on other texts or another state of the model than the curve.", icon=":material/info:")
        measuring.offer_again(_TASK, "Compare the layers again", "similarity_again")
        return
    st.markdown(bold(finding(found)))
    left, right = st.columns(2, gap="large")
    with left:
        _matrix(found, layer)
    with right:
        _along_depth(found, layer)
    for name, note in found.notes.items():
        st.caption(plain(f"Undefined at {name}: {note}."))


def finding(found: LayerSimilarity) -> str:
    """Which block changes the neighbors most, in one sentence."""
    shared = [(float(found.overlap[block - 1, block]), block) for block in range(1, len(found.layer_names))]
    defined = [(value, block) for value, block in shared if value == value]
    if not defined:
        return "No two consecutive layers can be compared."
    (least, where), (most, _) = min(defined), max(defined)
    return (
        f"Block {where} changes the neighbors most: {least:.0%} of the {found.n_neighbors} nearest stay "
        f"({most:.0%} where they change least, {found.chance_overlap:.0%} by chance)."
    )


def _matrix(found: LayerSimilarity, layer: int) -> None:
    st.segmented_control("Every two layers by", state.MATRICES, key="matrix", format_func=charts.MATRIX_WORDS.__getitem__, required=True)
    which = st.session_state["matrix"]
    told = {
        "overlap": f"the share of the {found.n_neighbors} nearest neighbors that two layers have in common, averaged over texts; by chance "
        f"{found.chance_overlap:.1%}.",
        "cka": "the alignment of inner products (debiased), 1 where one layer is the other turned and scaled, 0 by chance. One huge "
        "feature is all it sees.",
    }[which]
    figures.show(
        charts.matrix(found, which, layer),
        "layer_matrix",
        says=f"Matrix of {charts.MATRIX_WORDS[which]} of every two of {len(found.layer_names)} layers. {finding(found)}",
        how_to_read=f"{told} Bright blocks along the diagonal are layers that agree. A click chooses the column's layer.",
        on_select=partial(parts.layer_clicked, "layer_matrix"),
    )


def _along_depth(found: LayerSimilarity, layer: int) -> None:
    labels = " Below, neighbors' labels: above the dotted line (random pairs) the layer sorts texts by label."
    if found.label_kind == "regression":
        labels = " Below, how far the labels of neighbors are apart: under the dotted line (random pairs) the layer sorts texts by label."
    figures.show(
        charts.along_depth(found, layer),
        "layer_depth",
        says=f"Information imbalance of consecutive layers, both ways{', and label overlap' if found.label_kind else ''}, over depth.",
        how_to_read="near 0 the layer before tells who is near in the next (solid), or the next in the one before (dashed); 1 is chance. "
        "Where solid is under dashed, the block throws something away." + (labels if found.label_kind else ""),
        on_select=partial(parts.layer_clicked, "layer_depth"),
    )
