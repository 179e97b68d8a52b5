"""The rank wall and the budget: a plan as bricks, one a unit of rank."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.look import BRICK_EDGE, GRID, OFFSET_COLOUR, REFERENCE_COLOUR, RISE_COLOUR, add_band, estimator_style, finish
from gelora.geometry import Rise
from gelora.ranks import budget_by_block, plan_budget
from gelora.records import Budget, IdProfile, RankPlan


def rank_wall(profile: IdProfile, plan: RankPlan, rises: Sequence[Rise], estimator: str, stale: bool = False) -> go.Figure:
    """Each unit of rank is one brick: grey courses are the offset, coloured bricks the rise above them.

    Over the wall stands the ID at the blocks' boundaries, so that the segment above a column is that block's rise.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.45, 0.55], vertical_spacing=0.05)
    name, colour, dash, symbol = estimator_style(estimator)
    curve = profile.dimensions(estimator)
    boundaries = [i + 0.5 for i in range(len(curve))]
    add_band(figure, profile.estimates[estimator], boundaries, colour)
    figure.add_trace(
        go.Scatter(
            x=boundaries,
            y=[None if math.isnan(v) else v for v in curve],
            mode="lines+markers",
            line={"color": colour, "width": 3, "dash": dash},
            marker={"size": 8, "symbol": symbol},
            hovertext=[
                f"{layer}: {'undefined' if math.isnan(v) else f'{v:.2f}'}" for layer, v in zip(profile.layer_names, curve, strict=True)
            ],
            hoverinfo="text",
            showlegend=False,
        ),
        row=1,
        col=1,
    )
    block_ranks = plan.block_ranks()
    per_rank = _params_per_rank(plan)
    by_block = {rise.block: rise for rise in rises}
    offset = plan.offset if plan.offset is not None else max(block_ranks.values())
    for level in range(1, max(block_ranks.values(), default=0) + 1):
        blocks = [block for block, rank in block_ranks.items() if rank >= level]
        from_offset = level <= offset
        figure.add_trace(
            go.Bar(
                x=blocks,
                y=[1] * len(blocks),
                width=0.82,
                marker={
                    "color": OFFSET_COLOUR if from_offset else RISE_COLOUR,
                    "line": {"width": 2, "color": BRICK_EDGE},
                    "pattern": {"shape": "" if from_offset else "/", "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.6)", "size": 8},
                },
                hovertext=[_brick_sentence(block, level, offset, per_rank[block], by_block.get(block)) for block in blocks],
                hoverinfo="text",
                showlegend=False,
            ),
            row=2,
            col=1,
        )
    for block in (b for b, rank in block_ranks.items() if rank == 0):
        figure.add_annotation(x=block, y=0, text="no adapter", textangle=-90, showarrow=False, yanchor="bottom", row=2, col=1)
    highest = max(block_ranks.values(), default=1)
    n_blocks = len(curve) - 1
    figure.update_layout(barmode="stack", bargap=0)
    step = max(1, math.ceil(n_blocks / 24))
    figure.update_xaxes(range=[0.3, n_blocks + 0.7], tickvals=list(range(1, n_blocks + 1, step)), gridcolor=GRID, showgrid=False)
    figure.update_xaxes(title_text="block", row=2, col=1)
    figure.update_yaxes(title_text=f"ID ({name})", gridcolor=GRID, nticks=5, row=1, col=1)
    figure.update_yaxes(
        title_text="LoRA rank r", gridcolor=GRID, dtick=max(1, math.ceil(highest / 10)), range=[0, max(6, highest) + 0.3], row=2, col=1
    )
    finish(figure, height=480, stale=stale)
    return figure


def _params_per_rank(plan: RankPlan) -> dict[int, int]:
    cost: dict[int, int] = {}
    for module in plan.modules:
        cost[module.block] = cost.get(module.block, 0) + module.n_params_per_rank
    return cost


def _brick_sentence(block: int, level: int, offset: int, n_params: int, rise: Rise | None) -> str:
    if level <= offset:
        why = "from the offset"
    elif rise is not None and rise.value is not None:
        why = f"from the rise of {rise.value:+.2f} [{rise.ci_low:+.2f}, {rise.ci_high:+.2f}]"
    else:
        why = "from the rise"
    return f"Block {block}, unit {level} of rank, {why}: {n_params:,} parameters."


def budget_gauge(plan: RankPlan, uniform: Sequence[tuple[int, Budget]]) -> go.Figure:
    """The plan's bricks laid in one row, width = parameters, with a tick where each uniform rank would end."""
    figure = go.Figure()
    for i, (block, n_params) in enumerate(budget_by_block(plan).items()):
        figure.add_trace(
            go.Bar(
                x=[n_params],
                y=["plan"],
                orientation="h",
                width=0.5,
                marker={"color": RISE_COLOUR if i % 2 else "#F0C35A", "line": {"width": 1.5, "color": BRICK_EDGE}},
                hovertext=f"Block {block}: {n_params:,} parameters.",
                hoverinfo="text",
                showlegend=False,
            )
        )
    for r, budget in uniform:
        figure.add_vline(x=budget.n_adapter_params, line={"color": REFERENCE_COLOUR, "dash": "dot", "width": 2})
        figure.add_annotation(x=budget.n_adapter_params, y=1, yref="paper", yanchor="bottom", text=f"r = {r}", showarrow=False)
    longest = max([plan_budget(plan).n_adapter_params, *(b.n_adapter_params for _, b in uniform)])
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title_text="adapter parameters", range=[0, longest * 1.04], gridcolor=GRID)
    figure.update_yaxes(visible=False)
    finish(figure, height=150)
    figure.update_layout(margin={"t": 26, "b": 44})
    return figure
