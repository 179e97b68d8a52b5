"""What estimators say of manifolds whose dimension is known, as Plotly figures. Pure functions, no Streamlit."""

import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.lines import BOTTOM, TOP, End, label_ends, label_margin
from app.charts.look import GRID, REFERENCE_COLOUR, estimator_glyph, estimator_style, finish
from gelora.geometry import Summary, Trial


def estimates_of_one_case(trials: Sequence[Trial], summaries: Sequence[Summary], stale: bool = False) -> go.Figure:
    """One row an estimator: each draw's answer with its interval, the mean over draws, and a line at the truth."""
    figure = go.Figure()
    names = [summary.estimator for summary in summaries]
    truth = summaries[0].truth
    for place, summary in enumerate(summaries):
        _, colour, _, symbol = estimator_style(summary.estimator)
        draws = [t for t in trials if t.estimator == summary.estimator and t.dimension is not None]
        heights = [place + 0.44 * ((i + 0.5) / len(draws) - 0.5) for i in range(len(draws))]
        for draw, height in zip(draws, heights, strict=True):
            if draw.ci_low is not None:
                figure.add_trace(_segment([draw.ci_low, draw.ci_high], [height, height], colour))
        figure.add_trace(
            go.Scatter(
                x=[draw.dimension for draw in draws],
                y=heights,
                mode="markers",
                marker={"color": colour, "size": 7, "symbol": symbol},
                hovertext=[_draw_sentence(draw) for draw in draws],
                hoverinfo="text",
                showlegend=False,
            )
        )
        if summary.mean is not None:
            figure.add_trace(
                go.Scatter(
                    x=[summary.mean, summary.mean],
                    y=[place - 0.34, place + 0.34],
                    mode="lines",
                    line={"color": colour, "width": 3},
                    hovertext=_summary_sentence(summary),
                    hoverinfo="text",
                    showlegend=False,
                )
            )
        else:
            note = summary.notes[0] if summary.notes else ""
            figure.add_annotation(x=truth, y=place, text="⊘ no answer", hovertext=note, showarrow=False, xanchor="left", xshift=8)
    figure.add_vline(x=truth, line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 2})
    figure.add_annotation(x=truth, y=1, yref="paper", yanchor="bottom", text=f"truth {truth}", showarrow=False)
    figure.update_xaxes(title_text="estimated dimension", gridcolor=GRID, range=_around(trials, truth))
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[estimator_style(name)[0] for name in names],
        range=[len(names) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    finish(figure, height=120 + 34 * len(names), stale=stale)
    figure.update_layout(margin={"l": 92})
    return figure


def estimate_against_truth(summaries: Sequence[Summary], stale: bool = False) -> go.Figure:
    """The mean estimate of every estimator against the true dimension, with the spread over draws; right is the diagonal."""
    truths = sorted({summary.truth for summary in summaries})
    end = truths[-1] * 1.04
    figure = make_subplots()
    figure.add_trace(_reference([0, end], [0, end], "On this line an estimate is right."))
    _add_lines(figure, summaries, lambda summary: summary.truth)
    _finish_lines(figure, summaries, float(truths[-1]), stale)
    figure.update_xaxes(title_text="true dimension d", range=[0, end], tickvals=truths)
    return figure


def estimate_by_sample_size(summaries: Sequence[Summary], stale: bool = False) -> go.Figure:
    """The mean estimate of every estimator against the number of points, with the spread over draws and the truth."""
    sizes = sorted({summary.case.n_samples for summary in summaries})
    truth = summaries[0].truth
    figure = make_subplots()
    figure.add_trace(_reference([sizes[0] / 1.1, sizes[-1] * 1.1], [truth, truth], f"The truth is {truth}."))
    _add_lines(figure, summaries, lambda summary: summary.case.n_samples)
    _finish_lines(figure, summaries, math.log10(sizes[-1]), stale)
    ends = [math.log10(sizes[0] / 1.1), math.log10(sizes[-1] * 1.1)]
    words = [f"{n:,}" for n in sizes]
    figure.update_xaxes(title_text="number of points N (log scale)", type="log", tickvals=sizes, ticktext=words, range=ends)
    return figure


def _add_lines(figure: go.Figure, summaries: Sequence[Summary], place_of: Callable[[Summary], float]) -> None:
    for name in dict.fromkeys(summary.estimator for summary in summaries):
        label, colour, dash, symbol = estimator_style(name)
        curve = sorted((s for s in summaries if s.estimator == name), key=place_of)
        figure.add_trace(
            go.Scatter(
                x=[place_of(s) for s in curve],
                y=[s.mean for s in curve],
                error_y={"array": [s.sd or 0.0 for s in curve], "thickness": 1.2, "width": 3, "color": colour},
                name=label,
                mode="lines+markers",
                line={"color": colour, "width": 1.8, "dash": dash},
                marker={"color": colour, "size": 7, "symbol": symbol},
                hovertext=[_summary_sentence(s) for s in curve],
                hoverinfo="text",
                connectgaps=False,
                showlegend=False,
            )
        )


def _finish_lines(figure: go.Figure, summaries: Sequence[Summary], right: float, stale: bool) -> None:
    """Names at the lines' ends, and an axis cut at twice the truth, so that one wild answer does not flatten all others."""
    most = 2 * max(s.truth for s in summaries)
    highest = max([0.6 * most, *(_top(s) for s in summaries if _top(s) <= most)]) * 1.03
    last = {summary.estimator: summary for summary in summaries if summary.mean is not None}
    looks = {name: estimator_style(name) for name in last}
    ends = [End(min(s.mean or 0.0, highest), looks[name][0], looks[name][1], estimator_glyph(name)) for name, s in last.items()]
    height = 400
    label_ends(figure, ends, right, (0.0, highest), height, log=False)
    finish(figure, height=TOP + height + BOTTOM, stale=stale)
    figure.update_layout(margin={"r": label_margin(ends), "t": TOP, "b": BOTTOM})
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(title_text="estimated dimension", gridcolor=GRID, range=[0, highest])


def _top(summary: Summary) -> float:
    return (summary.mean or 0.0) + (summary.sd or 0.0)


def _around(trials: Sequence[Trial], truth: float) -> list[float]:
    """From 0 (or just under all answers) to what lies within reach of the truth, so that one wild answer hides nobody."""
    seen = [end for t in trials for end in (t.dimension, t.ci_low, t.ci_high) if end is not None and end <= 3 * truth + 3]
    high = max([truth * 1.15, *seen])
    low = min([truth * 0.85, *seen])
    margin = 0.06 * (high - low)
    return [max(0.0, low - margin), high + margin]


def _segment(x: Sequence[float | None], y: Sequence[float], colour: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, mode="lines", line={"color": colour, "width": 1.5}, opacity=0.55, hoverinfo="skip", showlegend=False)


def _reference(x: Sequence[float], y: Sequence[float], sentence: str) -> go.Scatter:
    return go.Scatter(
        x=x, y=y, mode="lines", line={"color": REFERENCE_COLOUR, "dash": "dash", "width": 2},
        hovertext=sentence, hoverinfo="text", showlegend=False,
    )  # fmt: skip


def _draw_sentence(trial: Trial) -> str:
    label = estimator_style(trial.estimator)[0]
    interval = f", 95% interval {trial.ci_low:.2f} to {trial.ci_high:.2f}" if trial.ci_low is not None else ", no interval"
    return f"Of draw {trial.seed} {label} says {trial.dimension:.2f}{interval}; the truth is {trial.truth}."


def _summary_sentence(summary: Summary) -> str:
    label = estimator_style(summary.estimator)[0]
    where = f"At d = {summary.truth} and N = {summary.case.n_samples:,} {label}"
    if summary.mean is None or summary.relative_bias is None:
        return f"{where} has no answer. {summary.notes[0] if summary.notes else ''}"
    spread = f" ± {summary.sd:.2f}" if summary.sd is not None else ""
    return f"{where} says {summary.mean:.2f}{spread} over {summary.n_defined} draws, {summary.relative_bias:+.0%} off the truth."
