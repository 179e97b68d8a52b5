"""Two cards of the Theory page: a map of chosen rank on a manifold of chosen dimension, and an update that no rise asks for."""

import numpy as np
import streamlit as st

from app.charts import theory as charts
from app.charts.look import minus
from app.charts.theory import Level, Spectrum
from app.shared import figures, measuring
from app.shared.markdown import Markdown, bold, md, plain
from app.theory import choices
from gelora.geometry import CHARTED, MAP_KINDS, RANK_TOLERANCE, Bound, MapMeasurement, Measured, TwoNN, charted_points, measure_map, rises
from gelora.ranks import RankNeed, update_of_each_rank

_KINDS = {"linear": "linear, W x", "hidden": "one hidden layer, GELU", "residual": "residual, x + Q a"}
_ICONS = {
    "holds": ":material/check:",
    "holds within the interval": ":material/check_small:",
    "is undecided without an interval": ":material/question_mark:",
    "does not hold": ":material/close:",
}


def chosen_map() -> None:
    """The card: choices, what was measured, every bound with its verdict."""
    _map_choices()
    choice = choices.map_choice(st.session_state)
    found = _measured(choice)
    st.markdown(bold(sentence(choice, found)))
    st.markdown(plain(Markdown("  \n").join(bound_words(bound) for bound in found.bounds)))
    if any(bound.verdict == "does not hold" for bound in found.bounds):
        st.caption(
            "A measured ID is an estimate at a scale: noise, curvature and few points carry it past bounds that no smooth map breaks. "
            "Try less noise or more points."
        )
    left, right = st.columns(2)
    with left:
        figures.show(
            charts.levels(_levels(found, choice.spec.rank)),
            "theory_levels",
            says=sentence(choice, found),
            how_to_read="blue was measured from points, with 95% intervals from half-samples; red is known or counted.",
        )
    with right:
        figures.show(
            charts.spectra(
                [
                    Spectrum("whole J", found.ambient_values, charts.VIOLET, "dot", "triangle-up"),
                    Spectrum("J on the tangent space", found.tangent_values, charts.BLUE, "solid", "circle"),
                ],
                axis="singular value / largest",
                tolerance=RANK_TOLERANCE,
            ),
            "theory_spectra",
            says=f"Singular values of the Jacobian at {len(found.tangent_values)} points; above the tolerance lie {found.tangent_rank} "
            f"on the tangent space and {found.ambient_rank} of the whole.",
            how_to_read=f"a line a point; values above {RANK_TOLERANCE:g} of the largest count; 0 is drawn at {charts.FLOOR:g}.",
        )
    st.caption(
        "The tangent spaces come from the parametrisation that the manifold is drawn by, before the noise; the Jacobian from the map's "
        "formula. The rank is the largest over the points."
    )


def _map_choices() -> None:
    chosen = st.session_state
    with st.container(horizontal=True):
        st.selectbox("Manifold", list(CHARTED), key="th_manifold", width=150)
        legal = choices.limits(chosen)
        _number("Dimension d", "th_d", legal["th_d"])
        legal = choices.limits(chosen)
        _number("Coordinates n", "th_n_in", legal["th_n_in"])
        st.number_input("Noise", 0.0, 1.0, step=0.01, key="th_noise", width=112, help="Of the input, in each of its n coordinates.")
        st.select_slider("Points N", sorted({200, 500, 1000, 2000, chosen["th_n"]}), key="th_n", width=160)
    with st.container(horizontal=True):
        st.selectbox("Map", MAP_KINDS, key="th_kind", format_func=_KINDS.__getitem__, width=210)
        if chosen["th_kind"] != "residual":
            _number("Coordinates m", "th_n_out", (1, choices.MAX_WIDTH))
        _number("Rank r", "th_rank", choices.limits(chosen)["th_rank"])
        if chosen["th_kind"] == "residual":
            st.number_input("Gain", 0.1, 50.0, step=0.5, key="th_gain", width=112, help="Factor of the update.")
            st.number_input("Context k", 0, 20, key="th_context", width=112, help="Numbers that the update reads and x does not hold.")
        st.number_input("Seed", 0, 1000, key="th_seed", width=112)


def _number(label: str, key: str, legal: tuple[int, int]) -> None:
    """A number held inside what the other choices allow."""
    st.session_state[key] = min(max(st.session_state[key], legal[0]), legal[1])
    st.number_input(plain(label), *legal, key=key, width=112)


@st.cache_data(show_spinner="Mapping and measuring ...", max_entries=128)
def _measured(choice: choices.MapChoice) -> MapMeasurement:
    return measure_map(choice.manifold, choice.n_samples, choice.dimension, choice.spec, choice.noise, choice.seed)


def sentence(choice: choices.MapChoice, found: MapMeasurement) -> str:
    """What was measured, in one sentence."""
    rise, ends = minus(f"{found.rise.value:+.1f}"), (found.rise.ci_low, found.rise.ci_high)
    interval = ", ".join(minus(f"{end:+.1f}") for end in ends if end is not None) or "no interval"
    where = "on manifold and context" if found.n_context else "on the tangent space"
    return (
        f"Measured ID {found.before.value:.1f} in, {found.after.value:.1f} out (rise {rise} [{interval}]); "
        f"J has rank {found.tangent_rank} {where}, {found.ambient_rank} in all; r = {choice.spec.rank}."
    )


def bound_words(bound: Bound) -> Markdown:
    """An inequality with its numbers and its verdict."""
    return verdict_words(bound.left_words, bound.right_words, bound.left, bound.right, bound.verdict)


def verdict_words(left_words: str, right_words: str, left: float, right: float, verdict: str) -> Markdown:
    """The same of any two values; what `verdict` says is that the bound "holds", or else."""
    value = minus(f"{left:g}" if float(left).is_integer() else f"{left:.2f}")
    icon = Markdown(_ICONS.get(verdict, _ICONS["does not hold"]))
    said = f"{left_words} ≤ {right_words}: {value} {'≤' if left <= right else '>'} {right:g}."
    return md("{} {} **The bound {}, as computed.**", icon, said, verdict)


def _levels(found: MapMeasurement, rank: int) -> list[Level]:
    def measured(name: str, value: Measured) -> Level:
        return Level(name, value.value, value.ci_low, value.ci_high, True)

    counted = [("dim M, known", found.dimension)]
    counted += [("dim M + context", found.dimension + found.n_context)] if found.n_context else []
    after = [("rank r, chosen", rank), ("rank J, tangent", found.tangent_rank), ("rank J, whole", found.ambient_rank)]
    return [
        *(Level(name, value, None, None, False) for name, value in counted),
        measured("ID in", found.before),
        measured("ID out", found.after),
        *(Level(name, value, None, None, False) for name, value in after),
    ]


def rotation() -> None:
    """A rotation that an update must learn: no rise, and yet a rank that is needed."""
    chosen = st.session_state
    with st.container(horizontal=True):
        st.slider("Planes that turn", 1, 10, key="th_planes", width=240)
        st.slider("Angle (degrees)", 1, 180, key="th_angle", width=240)
    found, before, after = _needed(chosen["th_planes"], chosen["th_angle"])
    bound = max(after - before, 0.0)
    st.markdown(
        f"**Measured ID {before:.2f} before and {after:.2f} after: the rise asks for rank {bound:.1f}. "
        f"The update needs rank {found.needed:d}; rank 1 leaves {found.errors[1]:.0%} of the error.**"
    )
    figures.show(
        charts.error_by_rank(found.errors, bound, found.needed, 24),
        "theory_needed",
        says=f"The error that the best update of each rank leaves; rank {found.needed} is the first that leaves none.",
        how_to_read="each dot is the least squared error that any update of that rank can leave on the points, as a share of that "
        "of no update; solved exactly.",
    )
    profile = measuring.current_profile()
    if profile is not None and "twonn" in profile.estimates:
        defined = [rise.value for rise in rises(profile, "twonn") if rise.value is not None]
        st.markdown(
            plain(
                f"On the curve measured here ({profile.model.model_id}, TwoNN), the rise is 0 or less in "
                f"{sum(value <= 0 for value in defined)} of {len(defined)} blocks: there the rule's bound is 0 and the rank is the offset."
            )
        )
    else:
        st.caption("When a curve is measured (the sidebar does), this card also counts the blocks whose bound is 0.")


@st.cache_data(show_spinner=False, max_entries=64)
def _needed(n_planes: int, degrees: int) -> tuple[RankNeed, float, float]:
    points = charted_points("gaussian", 1000, 6, 24, 0, noise=0.05).points  # the noise spans all 24 coordinates
    found = update_of_each_rank(points, n_planes, np.deg2rad(degrees))
    return found, TwoNN().fit(found.before).dimension_, TwoNN().fit(found.after).dimension_
