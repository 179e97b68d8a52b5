"""The rank allocation as plain values: what its component in the browser needs to draw every offset by itself.

Pure: records in, JSON-able values out. The drawing is in `app/frontend/rank_allocation.js`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app.charts.lines import with_gaps
from app.charts.look import estimator_style
from gelora.geometry import Rise, rises
from gelora.ranks import BYTES_PER_PARAM, OPTIMIZER_BYTES_PER_PARAM, SUPPORTED, uniform_comparison
from gelora.records import IdProfile, RankPlan

UNIFORM = (1, 2, 4, 8, 16)
SOLID_FROM = {"half-samples": SUPPORTED, "estimators": 0.8}
"""From which share a unit of the rise is drawn as solid: where the 95% interval of its rise excludes what is below it (so no unit
is solid where no rise exceeds its interval), or where four estimators of five agree."""


def allocation_data(
    plan: RankPlan,
    *,
    profile: IdProfile | None = None,
    units: Mapping[int, int | None] | None = None,
    shares: Mapping[int, Sequence[float]] | None = None,
    shares_of: str = "half-samples",
    n_shares: int = 0,
    max_offset: int = 8,
    least_offset: int = 0,
    compare: tuple[str, str, RankPlan] | None = None,
    overlay: tuple[str, RankPlan] | None = None,
    fits: str | None = None,
    editable: bool = True,
    stale: bool = False,
) -> dict[str, Any]:
    """What the component draws, and from which it works out every other offset.

    plan: of the rule (edits by hand included) at the present offset, or uniform where there is no profile; units: what
    the rule adds above the offset; shares: the support of each such unit; compare, overlay: a label (and a colour)
    with the plan whose ranks are drawn over it.
    """
    units = units or {}
    by_block = {rise.block: rise for rise in rises(profile, plan.estimator)} if profile is not None and plan.estimator else {}
    offset = plan.offset if plan.offset is not None else max(plan.ranks[m.name] for m in plan.modules)
    return {
        "blocks": [
            _block(plan, block, offset, units.get(block) or 0, by_block.get(block), (shares or {}).get(block, ()))
            for block in plan.block_ranks()
        ],
        "curve": _curve(profile, plan.estimator) if profile is not None and plan.estimator else None,
        "offset": offset,
        "max_offset": max(max_offset, offset),
        "least_offset": least_offset,
        "shares_of": shares_of,
        "n_shares": n_shares,
        "solid_from": SOLID_FROM[shares_of],
        "uniform": [{"r": r, "params": budget.n_adapter_params} for r, budget in uniform_comparison(plan, UNIFORM)],
        "n_model_params": plan.n_model_params,
        "bytes_per_param": BYTES_PER_PARAM,
        "optimizer_bytes_per_param": OPTIMIZER_BYTES_PER_PARAM,
        "compare": None if compare is None else {"label": compare[0], "colour": compare[1], **_outline(compare[2])},
        "overlay": None if overlay is None else {"label": overlay[0], **_outline(overlay[1])},
        "editable": editable,
        "stale": stale,
        "fits": fits,
    }


def _block(plan: RankPlan, block: int, offset: int, rise: int, found: Rise | None, shares: Sequence[float]) -> dict[str, Any]:
    modules = [module for module in plan.modules if module.block == block]
    before = {module.name: plan.edits.get(module.name, plan.ranks[module.name]) for module in modules}
    # What a budget gave the block beside the rule: told by a module that its smaller side does not cut.
    tallest = max(modules, key=lambda module: module.smaller_side)
    ruled = min(offset + rise, tallest.smaller_side)
    groups = Counter(
        (module.n_params_per_rank, module.smaller_side, plan.ranks[module.name] if module.name in plan.edits else None)
        for module in modules
    )
    return {
        "block": block,
        "rise": rise,
        "extra": before[tallest.name] - ruled,
        "value": None if found is None else found.value,
        "low": None if found is None else found.ci_low,
        "high": None if found is None else found.ci_high,
        "shares": list(shares),
        "modules": [{"n": n, "per_rank": cost, "limit": limit, "fixed": fixed} for (cost, limit, fixed), n in groups.items()],
        "note": plan.block_notes.get(block),
    }


def _curve(profile: IdProfile, estimator: str) -> dict[str, Any]:
    name, colour, dash, symbol = estimator_style(estimator)
    estimates = profile.estimates[estimator]
    return {
        "name": name,
        "colour": colour,
        "dash": dash,
        "symbol": symbol,
        "values": with_gaps(profile.dimensions(estimator)),
        "low": [estimate.ci_low for estimate in estimates],
        "high": [estimate.ci_high for estimate in estimates],
        "layer_names": list(profile.layer_names),
    }


def _outline(plan: RankPlan) -> dict[str, Any]:
    return {"ranks": {str(block): rank for block, rank in plan.block_ranks().items()}, "params": plan.n_adapter_params}
