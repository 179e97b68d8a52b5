"""The figures of teaching mode that show a plan or a run: ranks as stacked units, the loss as it falls, the score and its references.

Pure functions, no Streamlit; sizes are those of `app.charts.large`.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.charts.large import TYPE, enlarge
from app.charts.look import GRID, OFFSET_COLOUR, REFERENCE_COLOUR, RISE_COLOUR, RISE_EDGE, named
from app.charts.training import smoothed
from app.charts.words import as_typed
from gelora.records import RankPlan

Points = Sequence[tuple[int, float]]
_LOGGED, _METRIC = "#2E8FE8", "#D55E00"


def rank_units(plan: RankPlan) -> go.Figure:
    """The rank of every block as a stack of units: grey those of the offset, orange those of the rise, the sum on top."""
    ranks = plan.block_ranks()
    blocks, offset = sorted(ranks), plan.offset or 0
    figure = go.Figure()
    for level in range(1, max(ranks.values(), default=1) + 1):
        of_offset = level <= offset
        there = [block for block in blocks if ranks[block] >= level]
        words = "of the offset" if of_offset else "of the rise"
        figure.add_trace(
            go.Bar(
                x=there, y=[1] * len(there), name=words, width=0.82,
                marker={"color": OFFSET_COLOUR if of_offset else RISE_COLOUR,
                        "line": {"color": "#5b6470" if of_offset else RISE_EDGE, "width": 2}},
                hovertemplate=f"Block %{{x}}: unit {level} is {words}<extra></extra>",
            )
        )  # fmt: skip
    for block in blocks:
        figure.add_annotation(x=block, y=ranks[block], text=f"<b>{ranks[block]}</b>", showarrow=False, yanchor="bottom", font={"size": 26})
    legend = [named("offset", OFFSET_COLOUR, "■"), named("rise", RISE_COLOUR, "■")]
    figure.add_annotation(
        text="    ".join(legend), x=1, xref="x domain", xanchor="right", y=1, yref="y domain", yanchor="bottom", showarrow=False
    )
    highest = max(ranks.values(), default=1)
    figure.update_layout(barmode="stack", bargap=0.1)
    step = -(-len(blocks) // 12)
    figure.update_xaxes(title_text="block", tickvals=blocks[::step], tickangle=0, showgrid=False)
    figure.update_yaxes(title_text="LoRA rank", range=[0, max(4, highest * 1.25)], tickformat="d", nticks=6)
    return enlarge(figure).update_layout(margin={"t": 40})


def falling_loss(loss: Points, total_steps: int) -> go.Figure:
    """The loss so far over all steps of the run: each logged value, and smoothed; empty before the first."""
    steps, values = [step for step, _ in loss], [value for _, value in loss]
    figure = go.Figure(
        [
            go.Scatter(
                x=steps, y=values, mode="markers", name="loss as logged", marker={"color": _LOGGED, "size": 10, "opacity": 0.5},
                hovertemplate="Step %{x}: loss %{y:.3f}<extra></extra>",
            ),
            go.Scatter(x=steps, y=smoothed(values), mode="lines", name="smoothed", line={"color": _LOGGED, "width": 6}, hoverinfo="skip"),
        ]
    )  # fmt: skip
    last = max([total_steps, 1, *steps])
    figure.update_xaxes(title_text="optimizer step", range=[-0.01 * last, 1.02 * last], tickangle=0, nticks=6)
    figure.update_yaxes(title_text="loss", rangemode="tozero", nticks=6)
    if not loss:
        figure.add_annotation(
            text="the first loss comes when libraries, data and model are loaded", x=0.5, xref="x domain", y=0.5, yref="y domain",
            showarrow=False,
        )  # fmt: skip
        figure.update_xaxes(showticklabels=False)
        figure.update_yaxes(showticklabels=False, range=[0, 1])
    figure = enlarge(figure)
    return figure.update_layout(uirevision="tour" if loss else "before")


def score_over_steps(name: str, points: Points, references: Mapping[str, float], total_steps: int) -> go.Figure:
    """The task's metric on held-out rows over the steps, with what it is held against as lines across."""
    figure, name = go.Figure(), as_typed(name)
    last = max([total_steps, 1, *(step for step, _ in points)])
    for (words, value), dash in zip(references.items(), ("dash", "dot", "dashdot"), strict=False):
        figure.add_trace(
            go.Scatter(
                x=[0, last], y=[value, value], mode="lines", name=words, line={"color": REFERENCE_COLOUR, "width": 4, "dash": dash},
                hovertemplate=f"{words}: {value:.3f}<extra></extra>",
            )
        )  # fmt: skip
        figure.add_annotation(x=0, y=value, text=f"{words} {value:.2f}", showarrow=False, xanchor="left", yanchor="bottom")
    figure.add_trace(
        go.Scatter(
            x=[step for step, _ in points], y=[value for _, value in points], mode="lines+markers", name=name,
            line={"color": _METRIC, "width": 6}, marker={"size": 14}, hovertemplate=f"Step %{{x}}: {name} %{{y:.3f}}<extra></extra>",
        )
    )  # fmt: skip
    if points:
        step, value = points[-1]
        figure.add_annotation(
            x=step, y=value, text=f"<b>{value:.2f}</b>", showarrow=False, xanchor="right", yanchor="bottom", yshift=8, font={"size": 26}
        )
    values = [*(value for _, value in points), *references.values()]
    unit = all(0 <= value <= 1 for value in values)
    figure.update_xaxes(title_text="optimizer step", range=[-0.02 * last, 1.04 * last], gridcolor=GRID, tickangle=0, nticks=6)
    figure.update_yaxes(title_text=name, range=[0, min(1.0, max(values, default=1) * 1.2)] if unit else None, nticks=6)
    figure = enlarge(figure)
    return figure.update_layout(uirevision="tour", font={"size": TYPE})
