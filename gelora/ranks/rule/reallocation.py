"""Re-allocation of ranks while a model is trained: the rule on the present curve, for the modules of a plan in use.

Pure arithmetic on records; does not depend on adapters or on how the curve was measured.
"""

import dataclasses
from collections.abc import Mapping

from gelora.errors import InputError
from gelora.ranks.rule.allocation import rise_units, undefined_notes
from gelora.ranks.rule.stability import supported_units
from gelora.records import IdProfile, RankPlan


def rule_ranks(plan: RankPlan, profile: IdProfile, estimator: str = "twonn", supported_only: bool = False) -> dict[str, int]:
    """The rank that the GeLoRA rule gives each of the plan's modules on a curve, by name.

    Offset, rounding and rise multiplier are the plan's; a plan that has none (uniform ranks, a budget met by scores) is taken to
    have offset 1, `ceil` and multiplier 1. A block with an undefined end gets the offset alone, a module at most the smaller
    side of its matrix.

    Args:
        plan: the plan in use.
        profile: a curve of the same model, as it is now.
        estimator: one of the profile's estimators.
        supported_only: count only the units that the rises' intervals support (`supported_units`).

    Raises:
        InputError: the profile lacks the estimator, or has not one layer more than its model has blocks.
    """
    offset = _offset(plan)
    units_of = supported_units if supported_only else rise_units
    units: Mapping[int, int | None] = units_of(profile, estimator, plan.rounding or "ceil", 1.0 if plan.scale is None else plan.scale)
    return {module.name: min(offset + (units[module.block] or 0), module.smaller_side) for module in plan.modules}


def reallocated_plan(plan: RankPlan, profile: IdProfile, estimator: str = "twonn") -> RankPlan:
    """The plan with the ranks of `rule_ranks`, alpha / r of each module as it is.

    It is a plan of the rule on this profile, whatever gave the ranks before: edits by hand, a budget and a seed belong
    to those and are gone.

    Args: as in `rule_ranks`.

    Raises:
        InputError: as in `rule_ranks`; or a module has no adapter (rank 0), or the rule would take it away (offset 0).
    """
    check_reallocatable(plan)
    return plan_with_ranks(
        plan,
        rule_ranks(plan, profile, estimator),
        strategy="gelora",
        offset=_offset(plan),
        rounding=plan.rounding or "ceil",
        estimator=estimator,
        scale=1.0 if plan.scale is None else plan.scale,
        profile_digest=profile.digest(),
        block_notes=undefined_notes(profile, estimator),
        seed=None,
        target_params=None,
        edits={},
    )


def plan_with_ranks(plan: RankPlan, ranks: Mapping[str, int], **identity: object) -> RankPlan:
    """The plan with other ranks for all of its modules, alpha / r of each as it is; `identity` replaces further fields.

    Raises:
        InputError: a rank is illegal, or a module had no adapter, so that its alpha / r is not known.
    """
    check_reallocatable(plan)
    alphas = {name: plan.alphas[name] / plan.ranks[name] * rank for name, rank in ranks.items()}
    fields: dict[str, object] = {"ranks": dict(ranks), "alphas": alphas, **identity}
    return dataclasses.replace(plan, **fields)  # type: ignore[arg-type]


def check_reallocatable(plan: RankPlan) -> None:
    """Raise InputError unless every module of the plan has an adapter, and keeps one when ranks are re-allocated."""
    zero = [name for name, rank in plan.ranks.items() if rank == 0]
    if zero or _offset(plan) < 1:
        what = f"{len(zero)} of {len(plan.ranks)} modules have rank 0" if zero else f"offset {plan.offset} may give rank 0"
        raise InputError(f"{what[0].upper()}{what[1:]}: no adapter that could be resized. Make a plan with an offset of at least 1.")


def _offset(plan: RankPlan) -> int:
    return 1 if plan.offset is None else plan.offset
