"""A figure as a paper prints it: at a column's width, dark on white; and the sentence that says how its numbers were made.

Pure functions, no Streamlit.
"""

import copy
import re
from importlib.metadata import version

import plotly.graph_objects as go

from gelora.geometry import ESTIMATORS
from gelora.records import WITHOUT_PADDING, IdProfile

WIDTHS_MM = {"one column": 84, "two columns": 174}
_PIXELS_PER_MM = 96 / 25.4  # an SVG's pixel is 1/96 inch
_INK, _PAPER, _GRID = "#1a1a1a", "#ffffff", "#dddddd"
_FONT, _SHRINK = 9, 0.72  # pixels; of heights, marks and lines, beside those on the screen
_POOLINGS = {
    "mean": "each text as the mean over all its tokens",
    "cls": "each text as its first token",
    "last": "each text as its last token",
    "tokens": "each vector a single token, special tokens excluded",
}
_HALVES = {"pairs": "complementary random half-samples", "independent": "random half-samples drawn without replacement"}


def for_paper(figure: go.Figure, width_mm: float) -> go.Figure:
    """The figure at a width in millimetres (at 96 pixels an inch): white paper, dark words, type of 9 pixels (6.75 pt), titles kept.

    Heights, lines and marks shrink by one factor, so that nothing that was pushed apart meets again; the given figure stays as it is.
    """
    printed = copy.deepcopy(figure)
    names = [len(_plain(a.text)) for a in printed.layout.annotations if a.showarrow and a.xanchor == "left"]
    rows = [len(str(row)) for trace in printed.data if trace.type == "heatmap" for row in (trace.y if trace.y is not None else ())]
    rows += [len(str(text)) for axis in printed.select_yaxes() for text in (axis.ticktext or ())]
    margin = printed.layout.margin
    printed.update_layout(
        width=round(width_mm * _PIXELS_PER_MM),
        height=round(printed.layout.height * _SHRINK),
        autosize=False,
        template="none",
        paper_bgcolor=_PAPER,
        plot_bgcolor=_PAPER,
        font={"color": _INK, "size": _FONT, "family": "Helvetica, Arial, sans-serif"},
        margin={
            "l": max(42, 16 + round(0.5 * _FONT * max(rows, default=0))), "r": 10 if not names else 28 + round(0.58 * _FONT * max(names)),
            "t": round((margin.t or 28) * _SHRINK), "b": round((margin.b or 48) * _SHRINK) + 2,
        },
    )  # fmt: skip
    for axes in (printed.for_each_xaxis, printed.for_each_yaxis):
        axes(_print_axis)
    for annotation in printed.layout.annotations:
        annotation.font.size = _FONT
        if annotation.showarrow:
            annotation.update(ax=(annotation.ax or 0) * 0.6, ay=(annotation.ay or 0) * _SHRINK, arrowwidth=0.75, standoff=4)
        else:
            annotation.yshift = (annotation.yshift or 0) * _SHRINK
    for trace in printed.data:
        _print_trace(trace)
    return printed


def _print_axis(axis: go.layout.XAxis | go.layout.YAxis) -> None:
    axis.update(
        title_font_size=_FONT, title_standoff=4, tickfont_size=_FONT, color=_INK, gridcolor=_GRID, linecolor=_INK, zerolinecolor=_GRID,
        automargin=False,
    )  # fmt: skip


def _print_trace(trace: go.Scatter | go.Bar | go.Heatmap) -> None:
    if trace.type == "scatter":
        if trace.line.width:
            trace.line.width = trace.line.width * 0.6
        if trace.marker.size:
            trace.marker.size = trace.marker.size * 0.6
    if trace.type in ("scatter", "heatmap"):
        trace.textfont.size = _FONT - 1


def methods_sentence(profile: IdProfile, estimators: list[str] | tuple[str, ...]) -> str:
    """How the curves of these estimators were made, as a paper's methods section says it: model and its revision, N, pooling, k, variants.

    Raises:
        InputError: the profile does not hold an estimator.
    """
    for name in estimators:
        profile.dimensions(name)  # checks the name
    model, source = profile.model, profile.sample_source
    rows = max(e.n_samples for name in estimators for e in profile.estimates[name])
    drawn = f"{source.choice.dataset}{f' ({source.choice.config})' if source.choice.config else ''}"
    split = f", split {source.choice.split}" if source.choice.split else ""
    variants = "; ".join(_variant(name, profile.n_neighbors) for name in estimators)
    halves = {len(profile.subsamples[name]) for name in estimators if name in profile.subsamples}
    own = [ESTIMATORS[name].label for name in estimators if ESTIMATORS[name].keeps_own_interval or name not in profile.subsamples]
    intervals = f" Intervals are 95%, from {max(halves)} {_HALVES[profile.halves]}." if halves else ""
    if own:
        intervals += f" The interval of {' and '.join(own)}, where there is one, is the estimator's own."
    texts = "token vectors from " if profile.pooling == "tokens" else f"{'distinct ' if source.distinct else ''}texts of "
    return (
        f"The intrinsic dimension of the hidden states of {model.model_id} (revision {model.revision[:10]}, {model.n_layers} blocks, width "
        f"{model.hidden_size}) was estimated on N = {rows:,} {texts}{drawn}{split} (revision {source.revision[:10]}, seed {source.seed}), "
        f"cut at {profile.max_length} tokens, {_POOLINGS[profile.pooling]}, with {profile.metric} distance, by {variants}. "
        f"{f'{WITHOUT_PADDING} ' if profile.without_padding else ''}{_sinks(profile)}"
        f"Layer 0 is the embeddings' output, layer i the output of block i, before any final norm.{intervals} "
        f"Computed with GeLoRA Lab {version('gelora-lab')}."
    )


def _sinks(profile: IdProfile) -> str:
    """What was done about attention sinks, and what is to be said of layers of one direction; empty where neither matters."""
    sinks = profile.sinks
    if sinks is None or not (sinks.shares.any() or sinks.one_direction_layers()):
        return ""
    done = {
        "drop": "left out" if not sinks.chosen_shares.size else "replaced by other tokens",
        "keep": "kept",
        "unit": "scaled to length 1, as all tokens",
    }
    said = (
        f"Tokens of more than {sinks.ratio:g} times a layer's median norm (at most {sinks.shares.max():.1%} of a layer's) "
        f"were {done[sinks.treatment]}. "
    )
    if sinks.left_out:
        said += f"{len(sinks.left_out):,} texts of such tokens alone were left out. "
    if sinks.one_direction_layers():
        said += f"More than 90% of the variance lies in one direction at layers {', '.join(map(str, sinks.one_direction_layers()))}. "
    return said


def _variant(name: str, n_neighbors: int) -> str:
    """An estimator with its parameters and its source."""
    kind = ESTIMATORS[name]
    estimator = kind.make(n_neighbors, 0)
    left_out = {"n_subsamples", "seed", "confidence"}
    parameters = ", ".join(f"{_parameter(key)} = {value}" for key, value in estimator.get_params().items() if key not in left_out)
    return f"{kind.label} ({f'{parameters}; ' if parameters else ''}{kind.source})"


def _parameter(name: str) -> str:
    return {"n_neighbors": "k"}.get(name, name.replace("_", " "))


def _plain(text: str | None) -> str:
    return re.sub(r"<[^>]+>", "", text or "")
