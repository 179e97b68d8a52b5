"""Strategies side by side: the ranks that each gives the blocks, at one budget. The rule's own figure is `app.charts.allocation`."""

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from app.charts.lines import BLOCK_AXIS
from app.charts.look import GRID, REFERENCE_COLOUR, STRATEGY_COLOURS, base_layout, named
from gelora.ranks import STRATEGIES
from gelora.records import RankPlan

ROW, GAP, BOTTOM = 70, 24, 44  # pixels: of a strategy's row, of them over its bars, where its name stands; under the last row


def ranks_by_strategy(plans: Mapping[str, RankPlan], stale: bool = False) -> go.Figure:
    """One row of bars a strategy, all over the same blocks and to the same height: a block's mean rank over its matrices.

    Where a strategy ranks every matrix by itself, a line reaches from a block's lowest rank to its highest.
    """
    blocks = sorted({module.block for plan in plans.values() for module in plan.modules})
    highest = max(max(plan.ranks.values()) for plan in plans.values())
    step = max(1, math.ceil(len(blocks) / 24))
    height, n = ROW * len(plans) + BOTTOM, len(plans)
    bars, names = [], []
    layout: dict[str, Any] = {
        **base_layout(height), "bargap": 0, "margin": {"l": 48, "r": 8, "t": 4, "b": BOTTOM},
        "xaxis": {"showgrid": False, "tickvals": blocks[::step], "fixedrange": True, "title": {"text": BLOCK_AXIS}},
    }  # fmt: skip
    layout["xaxis"]["anchor"] = "y" if n == 1 else f"y{n}"
    for row, (name, plan) in enumerate(plans.items(), start=1):
        axis = "y" if row == 1 else f"y{row}"
        ranks = {block: [plan.ranks[m.name] for m in plan.modules if m.block == block] for block in blocks}
        means = [sum(found) / len(found) for found in ranks.values()]
        label = STRATEGIES[name].label
        bars.append(
            {
                "type": "bar",
                "name": label,
                "x": blocks,
                "y": means,
                "yaxis": axis,
                "width": 0.8,
                "marker": {"color": STRATEGY_COLOURS[name]},
                "opacity": 0.35 if stale else 1.0,
                "error_y": _reach(list(ranks.values()), means),
                "hovertext": [_sentence(label, block, found) for block, found in ranks.items()],
                "hoverinfo": "text",
                "showlegend": False,
            }
        )
        # Rows from the top; in each the name above the bars.
        top = 1 - (row - 1) / n
        layout[axis.replace("y", "yaxis")] = {
            "domain": [max(top - 1 / n, 0.0), top - GAP / ROW / n], "range": [0, highest * 1.12],
            "nticks": 3, "gridcolor": GRID, "fixedrange": True, "title": {"text": "rank r", "standoff": 4, "font": {"size": 12}},
        }  # fmt: skip
        names.append(
            {"text": named(label, STRATEGY_COLOURS[name], "■"), "x": 0, "xref": "paper", "xanchor": "left",
             "y": top - GAP / ROW / n, "yref": "paper",
             "yanchor": "bottom", "showarrow": False, "font": {"size": 12}}
        )  # fmt: skip
    # One construction: the page draws all of this at every offset, and a figure changed piece by piece takes ten times as long.
    return go.Figure({"data": bars, "layout": layout | {"annotations": names}})


def _reach(ranks: list[list[int]], means: list[float]) -> dict[str, Any]:
    """From a block's lowest rank to its highest; nothing where all are the same everywhere."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(found) - mean for found, mean in zip(ranks, means, strict=True)],
        "arrayminus": [mean - min(found) for found, mean in zip(ranks, means, strict=True)],
        "color": REFERENCE_COLOUR,
        "thickness": 1.5,
        "width": 3,
        "visible": any(min(found) != max(found) for found in ranks),
    }


def _sentence(label: str, block: int, ranks: list[int]) -> str:
    same = min(ranks) == max(ranks)
    which = f"rank {ranks[0]} in each of {len(ranks)} matrices" if same else f"ranks {', '.join(map(str, ranks))}"
    return f"{label} gives block {block} {which}."
