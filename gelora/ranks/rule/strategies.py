"""The strategies of rank allocation, by name, and the plan of each at a budget: the rule and its rivals.

The rule is a heuristic, so it stands beside allocations of the same size that know less (even, by depth, at random) or
other things (gradients, variance, spectrum). Pure arithmetic on records; how a module is scored is in `scores/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gelora.errors import InputError
from gelora.ranks.rule.allocation import SCALING, as_text, build_plan
from gelora.ranks.rule.matching import (
    Bounds,
    at_random,
    block_groups,
    check_budget,
    largest_uniform,
    match_budget,
    module_groups,
    proportional,
    spend,
)
from gelora.records import IdProfile, ModelStructure, ModuleScores, RankPlan, TargetModule, check_choice
from gelora.sources import select_modules


@dataclass(frozen=True)
class Strategy:
    """A strategy of rank allocation. needs: "profile" (measured), "structure" (the config alone), "scores" or "adapter" (a trained one)."""

    name: str
    label: str
    needs: str
    idea: str
    source: str


_ALL = (
    Strategy("gelora", "GeLoRA", "profile", "Rank where the intrinsic dimension rises, above an offset.", "arXiv 2412.09250"),
    Strategy(
        "uniform",
        "Uniform",
        "structure",
        "The same rank for every module, the largest that fits.",
        "Hu et al. 2022, LoRA, arXiv 2106.09685",
    ),
    Strategy("depth-increasing", "Increasing with depth", "structure", "Rank in proportion to the block's number.", "an ablation"),
    Strategy("depth-decreasing", "Decreasing with depth", "structure", "The same the other way round.", "an ablation"),
    Strategy("random", "Random", "structure", "One rank each, every further unit to a block drawn at random.", "an ablation"),
    Strategy(
        "gradient",
        "Gradient",
        "scores",
        "Rank in proportion to mean |W * G| of each matrix, G its mean gradient.",
        "GoRA, arXiv 2502.12171",
    ),
    Strategy("fisher", "Fisher", "scores", "Rank in proportion to each matrix's mean Fisher information.", "EWC, arXiv 1612.00796"),
    Strategy("eva", "EVA", "scores", "Rank to the input directions that explain most variance.", "EVA, arXiv 2410.07170"),
    Strategy("weight-spectrum", "Spectrum", "scores", "Rank in proportion to each matrix's stable rank.", "Rudelson & Vershynin 2007"),
    Strategy("look-back", "Look-back", "adapter", "Rank to the directions that an adapter trained at a high rank used.", "SVD of its B·A"),
)
STRATEGIES = {strategy.name: strategy for strategy in _ALL}

UNBOUNDED = ("gelora", "uniform")
"""Strategies without floor and cap: the rule has its offset, uniform one rank for all."""
_FROM_STRUCTURE: dict[str, Callable[[list, int, int, Bounds], Mapping[int, int]]] = {
    "uniform": lambda groups, budget, seed, bounds: dict.fromkeys((g.key for g in groups), largest_uniform(groups, budget)),
    "depth-increasing": lambda groups, budget, seed, bounds: proportional(
        groups, {g.key: i for i, g in enumerate(groups, start=1)}, budget, bounds
    ),
    "depth-decreasing": lambda groups, budget, seed, bounds: proportional(
        groups, {g.key: len(groups) - i for i, g in enumerate(groups)}, budget, bounds
    ),
    "random": at_random,
}


def plan_at_budget(
    strategy: str,
    budget: int,
    structure: ModelStructure,
    target_modules: str | Sequence[str] = "attention",
    *,
    profile: IdProfile | None = None,
    scores: ModuleScores | None = None,
    estimator: str = "twonn",
    rounding: str = "ceil",
    scale: float = 1.0,
    scaling: float = SCALING,
    seed: int = 0,
    floor: int = 1,
    cap: int | None = None,
) -> RankPlan:
    """The plan of any strategy that comes as near to `budget` as whole units of rank do, and never over it.

    gelora, depth-increasing, depth-decreasing and random give a block's matrices one rank; uniform gives one rank to all
    (the largest that fits); gradient, fisher, weight-spectrum, eva and look-back rank every matrix by itself. All give at least
    1 unless the floor is another, but gelora under a budget too small for that (see `match_budget`). The plan's `shortfall` is what
    stays unspent.

    Args:
        strategy: one of STRATEGIES.
        budget: parameters, a whole number; `gelora.ranks.budget_params` reads "uniform:2" and the like.
        structure: the model.
        target_modules: as in `allocate_ranks`.
        profile: for gelora, of the same model.
        scores: for gradient, fisher, eva and weight-spectrum: what `module_scores` measured of this model; for look-back: what
            `look_back_scores` read of an adapter.
        estimator, rounding, scale: for gelora, as in `allocate_ranks`.
        scaling: alpha / r, positive.
        seed: for random.
        floor, cap: the least and the highest rank of a block (of a matrix, where matrices are ranked by themselves), whole
            numbers, for all but gelora and uniform. With floor 0 a module can be left out. No cap by default, since none of the
            published rules has one; in proportion to scores that differ by orders of magnitude one matrix can take a fifth
            of the budget, which a cap of two to four times the equivalent uniform rank prevents. What it takes away
            goes to the others; where all are at the cap, it is `shortfall`.

    Raises:
        InputError: an argument is illegal, profile or scores are missing or of another model, or the budget is below the
            floor of each kept block.
    """
    check_choice("strategy", strategy, tuple(STRATEGIES))
    bounds = Bounds(floor, cap)
    if strategy == "gelora":
        if profile is None:
            others = ", ".join(name for name, other in STRATEGIES.items() if other.needs == "structure")
            raise InputError(f"The strategy gelora needs a measured profile; measure one, or choose one of: {others}.")
        check_same_model("The profile", profile.model.model_id, profile.model.whole.modules == structure.whole.modules, structure)
        return match_budget(profile, budget, target_modules, rounding, estimator, scaling, scale)
    modules = select_modules(structure, target_modules)
    identity: dict[str, Any] = {"strategy": strategy, "target_modules": as_text(target_modules), "target_params": budget}
    if STRATEGIES[strategy].needs == "structure":
        ranks = _FROM_STRUCTURE[strategy](block_groups(modules), budget, seed, bounds)
        return build_plan(structure, modules, ranks, scaling, **identity, seed=seed if strategy == "random" else None)
    if scores is None:
        is_read = STRATEGIES[strategy].needs == "adapter"
        what = (
            "a trained adapter of this model; give one"
            if is_read
            else "the scores of this model's matrices; measure them with module_scores"
        )
        raise InputError(f"The strategy {strategy} needs {what}.")
    if scores.strategy != strategy:
        raise InputError(f"These scores are of {scores.strategy}; the strategy is {strategy}.")
    missing = [module.name for module in modules if module.name not in scores.scores]
    if strategy == "look-back" and missing:
        raise InputError(
            f"The adapter does not adapt {missing[0]}, so what it would use there is not known; choose the adapter's own target modules."
        )
    check_same_model("The scores", scores.model_id, not missing, structure)
    return build_plan(structure, modules, _by_score(modules, scores, budget, bounds), scaling, **identity)


def check_same_model(what: str, model_id: str, fits: bool, structure: ModelStructure) -> None:
    """Raise InputError unless `fits`, saying which model `what` is of and which one is meant."""
    if not fits:
        raise InputError(
            f"{what} {'are' if what.endswith('s') else 'is'} of {model_id}, which has other matrices than {structure.model_id}; "
            "choose the same model for both."
        )


def _by_score(modules: tuple[TargetModule, ...], scores: ModuleScores, budget: int, bounds: Bounds) -> Mapping[str, int]:
    groups = module_groups(modules)
    if not scores.components:
        return proportional(groups, scores.scores, budget, bounds)
    check_budget(budget, groups, bounds.floor)

    costs = {
        module.name: module.n_params_per_rank if scores.strategy == "look-back" else 1 for module in modules
    }  # EVA's own rule has no cost

    def next_component(name: str, rank: int) -> float:
        ratios = scores.components[name]
        return float(ratios[rank]) / costs[name] if rank < len(ratios) else float("-inf")

    return spend(groups, bounds.begin(groups), budget, next_component, bounds=bounds)
