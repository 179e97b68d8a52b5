"""Ranks edited by hand: other ranks for some modules of a plan, with what they were before.

Pure arithmetic on records.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from gelora.errors import InputError
from gelora.ranks.rule.allocation import SCALING
from gelora.records import RankPlan, check_whole


def edit_ranks(plan: RankPlan, ranks: Mapping[str, int]) -> RankPlan:
    """`plan` with other ranks for some modules, alpha / r as it was; `edits` of the result holds what they were before.

    A module that gets back the rank that it had before its first edit is no longer marked.

    Args:
        plan: any plan; also one that has edits.
        ranks: {module name: rank from 0 to the smaller side of its matrix, or to the rank that an imported plan has}; 0 means
            no adapter.

    Raises:
        InputError: a name is none of the plan's modules, a rank is illegal, or every rank comes out as 0.
    """
    modules = {module.name: module for module in plan.modules}
    new_ranks, alphas, edits = dict(plan.ranks), dict(plan.alphas), dict(plan.edits)
    scaling = _scaling(plan)
    for name, rank in ranks.items():
        if name not in modules:
            raise InputError(f"The plan has no module {name!r}; its modules are {', '.join(list(modules)[:4])} and so on.")
        rank = check_whole(f"The rank of {name}", rank, 0)
        limit = max(modules[name].smaller_side, plan.ranks[name], plan.edits.get(name, 0))  # an imported rank may be above that side
        if rank > limit:
            raise InputError(f"The rank of {name} is {rank}; its matrix has {limit} as the smaller side, so it must be from 0 to {limit}.")
        before = edits.pop(name, plan.ranks[name])
        if rank != before:
            edits[name] = before
        own = alphas[name] / new_ranks[name] if new_ranks[name] else scaling
        new_ranks[name], alphas[name] = rank, own * rank
    return dataclasses.replace(plan, ranks=new_ranks, alphas=alphas, edits=edits)


def _scaling(plan: RankPlan) -> float:
    """alpha / r of most modules; the paper's where no module has a rank."""
    found = Counter(plan.alphas[name] / rank for name, rank in plan.ranks.items() if rank)
    return found.most_common(1)[0][0] if found else SCALING
