"""Where plans of the same model give a block the same rank, and where not.

Pure; does not depend on how the plans came about.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gelora.records import RankPlan


def same_ranks(plans: Mapping[str, RankPlan]) -> list[tuple[str, ...]]:
    """The names of plans that give every module the same rank and alpha, two and more together, in the order given."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, plan in plans.items():
        kept = tuple(sorted((module, rank, plan.alphas[module]) for module, rank in plan.ranks.items() if rank))
        groups.setdefault((plan.model_id, kept), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


@dataclass(frozen=True)
class RankAgreement:
    """One block: the rank that most plans give it (the smallest of ties), how many of how many do, and the extremes."""

    block: int
    rank: int
    n_agree: int
    n_plans: int
    lowest: int
    highest: int


def rank_agreement(plans: Mapping[str, RankPlan]) -> dict[int, RankAgreement]:
    """For every block that a plan adapts, how far the plans (by estimator, or by anything) agree on its rank.

    A block's rank is the largest among its modules, as in `RankPlan.block_ranks`. No plans give an empty answer.
    """
    by_block: dict[int, list[int]] = {}
    for plan in plans.values():
        for block, rank in plan.block_ranks().items():
            by_block.setdefault(block, []).append(rank)
    result = {}
    for block, ranks in sorted(by_block.items()):
        counts = Counter(ranks)
        rank = min(counts, key=lambda r: (-counts[r], r))
        result[block] = RankAgreement(block, rank, counts[rank], len(ranks), min(ranks), max(ranks))
    return result
