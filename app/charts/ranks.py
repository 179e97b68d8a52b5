"""Strategies side by side: the ranks that each gives the blocks, at one budget. The rank wall itself is `app.charts.wall`."""

import math
from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.look import GRID, STRATEGY_COLOURS, finish
from gelora.ranks import STRATEGIES
from gelora.records import RankPlan

ROW, GAP = 66, 26  # pixels of a strategy's row, and of them those over its bars, where its name stands


def ranks_by_strategy(plans: Mapping[str, RankPlan], stale: bool = False) -> go.Figure:
    """One row of bars a strategy, all over the same blocks and to the same height: a block's mean rank over its matrices.

    Where a strategy ranks every matrix by itself, a line reaches from a block's lowest rank to its highest.
    """
    figure = make_subplots(rows=len(plans), cols=1, shared_xaxes=True, vertical_spacing=min(GAP / (ROW * len(plans)), 1 / len(plans)))
    blocks = sorted({module.block for plan in plans.values() for module in plan.modules})
    highest = max(max(plan.ranks.values()) for plan in plans.values())
    for row, (name, plan) in enumerate(plans.items(), start=1):
        ranks = {block: [plan.ranks[m.name] for m in plan.modules if m.block == block] for block in blocks}
        means = [sum(found) / len(found) for found in ranks.values()]
        spread = any(min(found) != max(found) for found in ranks.values())
        figure.add_trace(
            go.Bar(
                x=blocks,
                y=means,
                width=0.8,
                marker={"color": STRATEGY_COLOURS[name]},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [max(found) - mean for found, mean in zip(ranks.values(), means, strict=True)],
                    "arrayminus": [mean - min(found) for found, mean in zip(ranks.values(), means, strict=True)],
                    "color": "#7f7f7f",
                    "thickness": 1.5,
                    "width": 3,
                    "visible": spread,
                },
                hovertext=[_sentence(STRATEGIES[name].label, block, found) for block, found in ranks.items()],
                hoverinfo="text",
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        figure.update_yaxes(range=[0, highest * 1.12], nticks=3, gridcolor=GRID, fixedrange=True, row=row, col=1)
        figure.add_annotation(
            text=f"<b>{STRATEGIES[name].label}</b>", x=0, xref="paper", xanchor="left", y=1, yanchor="bottom", yref=_domain(row), yshift=1,
            showarrow=False, font={"size": 12},
        )  # fmt: skip
    step = max(1, math.ceil(len(blocks) / 24))
    figure.update_xaxes(showgrid=False, tickvals=blocks[::step], fixedrange=True)
    figure.update_xaxes(title_text="block", row=len(plans), col=1)
    finish(figure, height=ROW * len(plans) + 80, stale=stale)
    figure.update_layout(bargap=0)
    return figure


def _domain(row: int) -> str:
    return f"y{'' if row == 1 else row} domain"


def _sentence(label: str, block: int, ranks: list[int]) -> str:
    same = min(ranks) == max(ranks)
    which = f"rank {ranks[0]} for each of {len(ranks)} matrices" if same else f"ranks {', '.join(map(str, ranks))}"
    return f"{label}, block {block}: {which}."
