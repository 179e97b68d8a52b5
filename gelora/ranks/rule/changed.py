"""Plans that differ from one in a block or a few: raced against it, they say what rank is worth there.

Pure arithmetic on records.
"""

from dataclasses import dataclass

import numpy as np

from gelora.ranks.rule.edits import edit_ranks
from gelora.records import RankPlan, check_choice, check_whole

CHANGES = ("alone", "twice", "without")
_GROUPS = 6  # of blocks, each alone


@dataclass(frozen=True)
class ChangedPlan:
    """A plan whose ranks were changed in some blocks (ascending); `name` says how, as an arm of a race."""

    name: str
    blocks: tuple[int, ...]
    plan: RankPlan


def changed_plans(plan: RankPlan, change: str, n_groups: int | None = None) -> list[ChangedPlan]:
    """One plan for every group of consecutive blocks, from the first to the last.

    - "alone": only these blocks keep adapters, all with one rank, the highest at the parameters of the whole plan.
    - "twice": these blocks have twice their ranks, which costs their parameters once more.
    - "without": these blocks have no adapters.

    A rank stays at the smaller side of its matrix at most; alpha / r is the plan's.

    Args:
        plan: what they differ from; with at least two blocks that have a rank.
        change: one of CHANGES.
        n_groups: how many groups, of nearly equal size; 6 unless given for "alone", else every block by itself. Never more
            than there are blocks.

    Raises:
        InputError: there is no such change, n_groups is no whole number from 1, or only one block has a rank.
    """
    check_choice("change", change, CHANGES)
    blocks = [block for block, rank in plan.block_ranks().items() if rank]
    n = _GROUPS if n_groups is None and change == "alone" else len(blocks) if n_groups is None else check_whole("n_groups", n_groups, 1)
    check_whole("The number of blocks with a rank", len(blocks), 2)
    found = []
    for group in np.array_split(sorted(blocks), min(n, len(blocks))):
        members = tuple(int(block) for block in group)
        found.append(ChangedPlan(_name(change, members), members, edit_ranks(plan, _ranks(plan, change, members))))
    return found


def _ranks(plan: RankPlan, change: str, blocks: tuple[int, ...]) -> dict[str, int]:
    inside = [module for module in plan.modules if module.block in blocks and plan.ranks[module.name]]
    if change == "without":
        return {module.name: 0 for module in inside}
    if change == "twice":
        return {module.name: min(2 * plan.ranks[module.name], module.smaller_side) for module in inside}
    rank = plan.n_adapter_params // sum(module.n_params_per_rank for module in inside)
    names = {module.name for module in inside}
    return {m.name: min(rank, m.smaller_side) if m.name in names else 0 for m in plan.modules}


def _name(change: str, blocks: tuple[int, ...]) -> str:
    words = f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {blocks[0]}-{blocks[-1]}"
    return f"without {words}" if change == "without" else f"{words} {change}"
