"""A card of the Theory page: what one long token does to the mean of a text, on texts of known dimension, and in the measured model."""

from typing import NamedTuple

import numpy as np
import streamlit as st

from app import state
from app.charts import theory as charts
from app.charts.look import estimator_style
from app.shared import figures, measuring
from app.shared.components import estimator_words
from app.shared.markdown import bold, plain
from app.theory.choices import SINK_NORMS
from gelora.errors import DataError
from gelora.geometry import ESTIMATORS, MANIFOLDS, PointCloud
from gelora.records import SINK_RATIO

ESTIMATED = ("twonn", "mle", "gride")
_N_TEXTS, _SHORTEST, _LONGEST = 500, 8, 40
_RADIUS, _SPREAD = 0.2, 0.05  # of what texts differ in, beside the norm 1 of a token; of the first tokens' norms, relative


class Texts(NamedTuple):
    """Texts made for the card: all tokens of a text but the first are its point [n, d + 2], of norm 1."""

    points: np.ndarray
    lengths: np.ndarray
    first_norms: np.ndarray  # of the first tokens, around 1: all along one direction of their own


def made_texts(d: int) -> Texts:
    """500 texts of 8 to 40 tokens on a small sphere of dimension d, away from the origin: tokens share most of their direction."""
    rng = np.random.default_rng(0)
    points = MANIFOLDS["sphere"](_N_TEXTS, d, d + 1, 0)
    points = points * (_RADIUS / np.linalg.norm(points, axis=1, keepdims=True))
    points = np.column_stack([points, np.full(_N_TEXTS, np.sqrt(1 - _RADIUS**2))])
    return Texts(points, rng.integers(_SHORTEST, _LONGEST + 1, _N_TEXTS), 1 + _SPREAD * rng.standard_normal(_N_TEXTS))


def pooled(texts: Texts, norm: float, treatment: str) -> np.ndarray:
    """The mean of each text [n, d + 3] when its first token is about `norm` times as long as the others; treatments as in `SinkReport`.

    The median norm is 1, since most tokens have it.
    """
    first = norm * texts.first_norms
    if treatment == "unit":
        first = np.ones_like(first)
    is_out = (first > SINK_RATIO) & (treatment == "drop")
    others = texts.lengths - 1
    weights, first = np.where(is_out, 1.0, others / texts.lengths), np.where(is_out, 0.0, first / texts.lengths)
    return np.column_stack([texts.points * weights[:, None], first])


def one_direction(rows: np.ndarray) -> float:
    """Share of the variance in the first direction."""
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    return float(values[0] / values.sum())


@st.cache_data(show_spinner=False, max_entries=16)
def readings(d: int) -> dict[str, dict[str, list[float | None]]]:
    """{treatment: {estimator: its dimension at each of SINK_NORMS, None where it has none}}."""
    texts, known = made_texts(d), {}
    found: dict[str, dict[str, list[float | None]]] = {}
    for treatment in ("keep", "drop", "unit"):
        answers = []
        for norm in SINK_NORMS:
            rows = pooled(texts, norm, treatment)
            key = rows.tobytes()  # at length 1, and once all sinks are left out, the norm no longer matters
            if key not in known:
                cloud = PointCloud(rows)
                known[key] = [_dimension(name, cloud) for name in ESTIMATED]
            answers.append(known[key])
        found[treatment] = {name: [answer[i] for answer in answers] for i, name in enumerate(ESTIMATED)}
    return found


def _dimension(estimator: str, cloud: PointCloud) -> float | None:
    try:
        return float(ESTIMATORS[estimator].make(20, 0).fit(cloud).dimension_)
    except DataError:
        return None


def sinks() -> None:
    """A planted sink that grows, what the estimators then read with it and without, and what sinks there are in the chosen model."""
    chosen = st.session_state
    with st.container(horizontal=True):
        st.slider("Dimension d of the texts", 2, 12, key="th_sink_d", width=240)
        st.select_slider("Norm of the first token (others: 1)", SINK_NORMS, key="th_sink_norm", width=280, format_func="{:g}".format)
    d, norm = chosen["th_sink_d"], chosen["th_sink_norm"]
    found, at = readings(d), SINK_NORMS.index(norm)
    held = one_direction(pooled(made_texts(d), norm, "keep"))
    st.markdown(
        bold(
            f"With a first token of norm {norm:g}: {_said(found['keep'], at)} for a true {d}; one direction holds {held:.1%} of "
            f"the variance. Left out above {SINK_RATIO:g} medians: {_said(found['drop'], at)}."
        )
    )
    lines = [
        charts.Line(f"{estimator_words(name)}{words}", tuple(found[treatment][name]), *estimator_style(name)[1:], is_thin)
        for treatment, words, is_thin in (("keep", "", False), ("drop", ", left out", True))
        for name in ESTIMATED
    ]
    figures.show(
        charts.dimension_by_norm(SINK_NORMS, lines, norm, d, SINK_RATIO),
        "theory_sinks",
        says=f"What {measuring.labels(ESTIMATED)} read against the norm of the first token, with all tokens and with sinks left out.",
        how_to_read=f"thick: the mean of all tokens. Thin: tokens above {SINK_RATIO:g} times the median norm are left out, so the line is "
        f"the thick one up to there. {_N_TEXTS} texts of {_SHORTEST} to {_LONGEST} tokens. "
        f"With every token scaled to length 1 it is {_said(found['unit'], at)}.",
    )
    _of_the_model()


def _said(by_estimator: dict[str, list[float | None]], at: int) -> str:
    def words(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.1f}"

    return ", ".join(f"{estimator_words(name)} {words(values[at])}" for name, values in by_estimator.items())


def _of_the_model() -> None:
    """What sinks the chosen model has on the chosen texts, as measured."""
    profile, wanted = measuring.current_profile(), state.measurement()
    if profile is None or profile.sinks is None:
        st.caption("Measure the curve (the sidebar does) to see how long the tokens of the chosen model are.")
        return
    sentences = profile.sinks.sentences(profile.layer_names)
    longest = float(np.nanmax(profile.sinks.largest_norms, initial=0.0))
    none = f"no token is a sink at any layer; the longest is {longest:.1f} times its layer's median."
    st.caption(plain(f"Measured, {wanted.sentence()}: {' '.join(sentences) if profile.sinks.shares.any() else none}"))
