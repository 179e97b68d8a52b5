"""The parts of the Layers page that are of all layers: baselines, sensitivity to each choice, the numbers.

Draws with Streamlit; what is measured it asks of `app.shared.measuring`.
"""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app import state
from app.charts import scales as scale_charts
from app.shared import components, figures, measuring
from app.shared.cache import measurements
from app.shared.markdown import Markdown, md, plain
from app.shared.redraw import in_place
from gelora.geometry import BASELINES, sign_agreement
from gelora.measurements import IdentityCache, Quantity
from gelora.ranks import rank_agreement
from gelora.records import ONE_DIRECTION, IdProfile, RankPlan
from gelora.sensitivity import VARIATIONS

_HIGH = 8.0  # curves so many times apart are hard to read on one linear axis


def baselines_toggle(profile: IdProfile, estimator: str) -> bool:
    """Whether the focus estimator's baselines are drawn; those that are missing are measured when it is switched on."""
    task = Quantity("baselines", (estimator,))
    shown = st.toggle(
        "Baselines",
        key="baselines",
        help="What the estimator says when only each feature's values are left (shuffled), or only the covariance (Gaussian). "
        "A layer well below both lies on something that no linear dependence explains.",
    )
    if shown and not all(estimator in profile.baselines.get(kind, {}) for kind in BASELINES) and not measuring.is_at(task):
        measuring.begin_once(task)
    return shown


def hint_of_height(profile: IdProfile) -> None:
    """Say that a logarithmic axis helps when the curves lie far apart."""
    heights = {name: float(curve[curve > 0].max()) for name in profile.estimates if ((curve := profile.dimensions(name)) > 0).any()}
    if not st.session_state["log"] and heights and max(heights.values()) > _HIGH * min(heights.values()):
        top, low = max(heights, key=heights.__getitem__), min(heights, key=heights.__getitem__)
        high, low_words = components.estimator_words(top), components.estimator_words(low)
        st.caption(md("{} lies {:.0f} times as high as {}; *Log axis* spreads the others.", high, heights[top] / heights[low], low_words))


def mark_words(profile: IdProfile) -> Markdown:
    """How the shade behind some layers is read; empty where there is none."""
    is_marked = profile.sinks is not None and profile.sinks.one_direction_layers()
    if not is_marked:
        return Markdown("")
    return md("Shaded: more than {:.0%} of the variance lies in *one direction*, whatever the cause. ", ONE_DIRECTION)


def sinks(profile: IdProfile, is_stale: bool) -> None:
    """What is to be said of attention sinks, and where the token that stands for a text is often one, what else can be taken."""
    report = profile.sinks
    if report is None:
        return
    for sentence in report.sentences(profile.layer_names):
        st.caption(plain(sentence))
    if report.chosen_is_sink() is None or report.treatment != "keep" or is_stale:
        return
    if profile.pooling == "last":
        st.button("Take the nearest token before it that is no sink", key="sinks_before", on_click=_choose, args=({"sinks": "drop"},))
    elif profile.pooling == "cls":  # no token lies before the first
        st.button("Take the mean without sinks", key="sinks_mean", on_click=_choose, args=({"pooling": "mean", "sinks": ""},))


def _choose(choices: dict[str, str]) -> None:
    st.session_state.update(choices)


def layer_clicked(figure: str) -> None:
    """A click on a marker of that figure chooses its layer, which is its customdata or else its place; on the curve it opens it too."""
    points = st.session_state[figure].selection.points
    if points:
        data = points[0].get("customdata")
        data = data[0] if isinstance(data, list | tuple) else data
        st.session_state["layer"] = round(points[0]["x"] if data is None else data)
        if figure == "id_chart":
            st.session_state["view"] = st.session_state["view"] or state.VIEWS[0]


_ALTERNATIVES: IdentityCache[dict[str, go.Figure]] = IdentityCache(16)


@in_place
def sensitivity_section(estimator: str, is_stale: bool) -> None:
    """The focus estimator's curve when one choice is made differently, as small multiples."""
    st.subheader("How sensitive is it?")
    label = components.estimator_words(estimator)
    if is_stale:
        st.caption("Measure the present choices first.")
        return
    measuring.offer(Quantity("sensitivity", VARIATIONS, estimator), f"Vary every choice for {label}", "measure_sensitivity")
    known = measurements().find_sensitivity(state.measurement(), estimator)
    if known is None:
        st.caption(
            "One choice at a time is made differently: distance, number of texts, pooling, attention sinks, repeated texts, and for "
            "TwoNN the share of ratios left out. New texts and poolings go through the model again, so it takes a minute or two with "
            "the bundled model; "
            "what is done appears as it comes."
        )
        return
    # Five figures that hang on nothing else of the page; one set a theme, since a figure takes its words' colour from it.
    drawn = _ALTERNATIVES.get(known, st.context.theme.type, lambda: scale_charts.sensitivity_figures(known))
    for start in range(0, len(drawn), 2):
        for column, (variation, figure) in zip(st.columns(2, gap="large"), list(drawn.items())[start : start + 2], strict=False):
            with column:
                figures.show(
                    figure,
                    f"sensitivity_{variation}",
                    says=f"The curve of {label} with another {scale_charts.VARIATION_WORDS[variation]}: "
                    f"{', '.join(known.curves[variation])}; the widest gap at any layer is {known.span(variation):.1f}.",
                )
    spans = ", ".join(f"{scale_charts.VARIATION_WORDS[v]} {known.span(v):.1f}" for v in drawn)
    how = f"{label} with one choice made differently, all on the same axis; thick, with its 95% interval, is the present choice."
    st.caption(plain(f"How to read it: {how} The widest gap between two lines at any layer: {spans}."))
    for variation, note in known.notes.items():
        st.caption(plain(f"Left out, {scale_charts.VARIATION_WORDS[variation]}: {note}."))


def numbers(profile: IdProfile, estimator: str, plans: dict[str, RankPlan]) -> None:
    """Every number on the page as a table, as CSV and as JSON."""
    columns: dict[str, list] = {"layer": list(profile.layer_names)}
    for name, estimates in profile.estimates.items():
        columns[name] = [e.dimension for e in estimates]
        columns[f"{name} low"] = [e.ci_low for e in estimates]
        columns[f"{name} high"] = [e.ci_high for e in estimates]
    for kind, curves in profile.baselines.items():
        columns |= {f"{name} {kind}": list(curve) for name, curve in curves.items()}
    columns["distinct vectors"] = [e.n_distinct for e in profile.estimates[estimator]]
    table = pd.DataFrame(columns)
    with st.expander("The numbers"):
        st.dataframe(table, hide_index=True, column_config={c: st.column_config.NumberColumn(format="%.2f") for c in table.columns[1:-1]})
        if len(profile.estimates) > 1:
            st.caption("What the estimators say together of each block: the sign of its rise, and its rank.")
            st.dataframe(_agreement_table(profile, plans), hide_index=True)
    with st.container(horizontal=True):
        st.download_button("Curve as CSV", components.as_csv(table), "id_profile.csv", "text/csv", icon=":material/download:")
        st.download_button("Profile as JSON", profile.to_json(indent=1), "id_profile.json", "application/json", icon=":material/download:")


def _agreement_table(profile: IdProfile, plans: dict[str, RankPlan]) -> pd.DataFrame:
    ranks = rank_agreement(plans)
    rows = []
    for sign in sign_agreement(profile):
        row = {"block": sign.block, "sign of the rise": sign.verdict}
        row |= {word: ", ".join(map(components.estimator_words, getattr(sign, word))) for word in ("up", "down", "unclear", "undefined")}
        if sign.block in ranks:
            rank = ranks[sign.block]
            row |= {"rank": rank.rank, "given by": f"{rank.n_agree} of {rank.n_plans}", "ranks": f"{rank.lowest} to {rank.highest}"}
        rows.append(row)
    return pd.DataFrame(rows)
