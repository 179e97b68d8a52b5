"""Ranks that fit a budget of parameters: rank units are added one at a time, each where it is worth most.

Pure arithmetic on records; does not depend on how a module's worth was found.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from gelora.errors import InputError
from gelora.ranks.rule.allocation import SCALING, as_text, check_rule, gelora_plan, rise_units, undefined_notes
from gelora.records import IdProfile, RankPlan, TargetModule, check_whole
from gelora.sources import select_modules

Key = TypeVar("Key", int, str)


@dataclass(frozen=True)
class Group(Generic[Key]):
    """Modules that have the same rank: those of a block (`key` its number), or one module (`key` its name)."""

    key: Key
    modules: tuple[TargetModule, ...]

    @cached_property
    def limit(self) -> int:
        """The highest rank that any of the modules can have."""
        return max(module.smaller_side for module in self.modules)

    @cached_property
    def _least_limit(self) -> int:
        return min(module.smaller_side for module in self.modules)

    @cached_property
    def _full_step(self) -> int:
        return sum(module.n_params_per_rank for module in self.modules)

    def cost(self, rank: int) -> int:
        """Parameters at this rank; a module that is too small for it has its smaller side."""
        if rank <= self._least_limit:
            return rank * self._full_step
        return sum(min(rank, module.smaller_side) * module.n_params_per_rank for module in self.modules)

    def step(self, rank: int) -> int:
        """Parameters that one unit more than `rank` costs."""
        if rank < self._least_limit:
            return self._full_step
        return sum(module.n_params_per_rank for module in self.modules if module.smaller_side > rank)


def block_groups(modules: Sequence[TargetModule]) -> list[Group[int]]:
    """The modules of each block as one group, by block."""
    by_block: dict[int, list[TargetModule]] = {}
    for module in sorted(modules, key=lambda module: module.block):
        by_block.setdefault(module.block, []).append(module)
    return [Group(block, tuple(found)) for block, found in by_block.items()]


def module_groups(modules: Sequence[TargetModule]) -> list[Group[str]]:
    """Every module as a group of its own."""
    return [Group(module.name, (module,)) for module in modules]


def total_cost(groups: Iterable[Group[Key]], ranks: Mapping[Key, int]) -> int:
    """Parameters of all groups at their ranks."""
    return sum(group.cost(ranks[group.key]) for group in groups)


@dataclass(frozen=True)
class Bounds:
    """The least and the highest rank of every group, both as far as its matrices hold them; cap None: as high as the budget goes.

    Raises:
        InputError: a bound is no whole number of at least 0, or the cap is below the floor or 1.
    """

    floor: int = 1
    cap: int | None = None

    def __post_init__(self) -> None:
        check_whole("floor", self.floor, 0)
        if self.cap is not None:
            check_whole("cap", self.cap, max(1, self.floor))

    def begin(self, groups: Sequence[Group[Key]]) -> dict[Key, int]:
        """Every group at the floor."""
        return {group.key: min(self.floor, group.limit) for group in groups}

    def highest(self, group: Group[Key]) -> int:
        """The highest rank of a group."""
        return group.limit if self.cap is None else min(self.cap, group.limit)


FREE = Bounds()
"""One rank at least, as high as the budget goes."""


def check_budget(budget: int, groups: Sequence[Group[Key]], floor: int = 1) -> int:
    """`budget` as an int, if it is enough for the floor in every group, and for one unit anywhere.

    Raises:
        InputError: it is no whole number, or too small; the sentence says what the least is.
    """
    budget = check_whole("The budget", budget, 1, None)
    least = sum(group.cost(floor) for group in groups) or min(group.cost(1) for group in groups)
    if budget < least:
        n_blocks = len({module.block for group in groups for module in group.modules})
        each = f"{'one rank' if floor == 1 else f'rank {floor}'} for each of the {n_blocks} kept blocks"
        raise InputError(
            f"A budget of {budget:,} parameters is below {each if floor else 'one rank of any matrix'}; the least is {least:,}. "
            f"Raise it, {'lower the floor, ' if floor > 1 else ''}or choose fewer target modules."
        )
    return budget


def spend(
    groups: Sequence[Group[Key]],
    ranks: dict[Key, int],
    budget: int,
    worth: Callable[[Key, int], float],
    most: int | None = None,
    bounds: Bounds = FREE,
) -> dict[Key, int]:
    """Add rank units until no further one fits the budget, each to the group for which it is worth most.

    Args:
        groups: what ranks are given to.
        ranks: where to begin, by group; not changed.
        budget: parameters in all, those of `ranks` included.
        worth: (key, present rank) -> what the next unit is worth; -inf where none is wanted. It must not rise with the rank.
        most: units that one group can get beyond `ranks`; None for as many as its matrices hold.
        bounds: whose cap none exceeds; `ranks` has the floor already.

    Returns:
        The ranks. Ties go to the first group.
    """
    result = dict(ranks)
    left = budget - total_cost(groups, result)
    heap = [(-worth(group.key, result[group.key]), place) for place, group in enumerate(groups)]
    heapq.heapify(heap)
    while heap:
        negative, place = heapq.heappop(heap)
        group = groups[place]
        rank = result[group.key]
        if negative == math.inf or rank >= bounds.highest(group) or (most is not None and rank >= ranks[group.key] + most):
            continue
        if group.step(rank) > left:
            continue  # what is left only shrinks, and a step never does before it is taken: this group is done
        left -= group.step(rank)
        result[group.key] = rank + 1
        heapq.heappush(heap, (-worth(group.key, rank + 1), place))
    return result


def proportional(groups: Sequence[Group[Key]], weights: Mapping[Key, float], budget: int, bounds: Bounds = FREE) -> dict[Key, int]:
    """Ranks in proportion to `weights` within the bounds, as far as the budget goes.

    The next unit goes where weight / (2 r + 1) is greatest: Webster's (Sainte-Lague's) divisor method, the apportionment
    whose shares are nearest to the weights' shares.

    Raises:
        InputError: the budget is below the floor of every group.
    """
    budget = check_budget(budget, groups, bounds.floor)
    return spend(groups, bounds.begin(groups), budget, lambda key, rank: weights[key] / (2 * rank + 1), bounds=bounds)


def at_random(groups: Sequence[Group[Key]], budget: int, seed: int, bounds: Bounds = FREE) -> dict[Key, int]:
    """The floor for each, then every further unit to a group drawn uniformly among those that can still take it.

    Raises:
        InputError: the budget is below one rank a group, or the seed is no whole number of at least 0.
    """
    budget = check_budget(budget, groups, bounds.floor)
    rng = np.random.default_rng(check_whole("seed", seed, 0))
    ranks = bounds.begin(groups)
    left = budget - total_cost(groups, ranks)
    open_groups = list(groups)
    while open_groups:
        place = int(rng.integers(len(open_groups)))
        group = open_groups[place]
        step = group.step(ranks[group.key])
        if ranks[group.key] >= bounds.highest(group) or step > left:
            del open_groups[place]
            continue
        ranks[group.key] += 1
        left -= step
    return ranks


def largest_uniform(groups: Sequence[Group[Key]], budget: int) -> int:
    """The largest rank that fits the budget when every group has it.

    Raises:
        InputError: the budget is below one rank a group.
    """
    budget = check_budget(budget, groups)
    return _largest(lambda r: sum(group.cost(r) for group in groups), budget, max(group.limit for group in groups))


def match_budget(
    profile: IdProfile,
    budget: int,
    target_modules: str | Sequence[str] = "attention",
    rounding: str = "ceil",
    estimator: str = "twonn",
    scaling: float = SCALING,
    scale: float = 1.0,
) -> RankPlan:
    """The GeLoRA rule fitted to a budget: the largest offset whose whole plan fits, then largest differences first.

    What the largest offset leaves goes, one unit a block, to the blocks with the largest differences of dimension (the
    unrounded ones, negative ones last, undefined ones after those), as far as it goes. Where the whole rule costs too much
    even at offset 1, every block gets 1 and the units of the rises follow, largest remaining difference first; below one
    rank for every block the offset is 0 and the same is done for the blocks that rise, the others getting no adapter.
    `target_params` of the plan is the budget; `shortfall` says how much of it no unit fits into.

    Args:
        profile: as in `allocate_ranks`, and so are the others.
        budget: parameters, a whole number.

    Raises:
        InputError: an argument is illegal, or the budget is below one rank for each block that is kept.
    """
    check_rule(rounding, scale)
    units = {block: n or 0 for block, n in rise_units(profile, estimator, rounding, scale).items()}
    modules = select_modules(profile.model, target_modules)
    curve = profile.dimensions(estimator) * scale
    difference = {block: -math.inf if math.isnan(d) else float(d) for block, d in enumerate(np.diff(curve), start=1)}
    groups = block_groups(modules)
    kept = groups
    if check_whole("The budget", budget, 1, None) < sum(group.cost(1) for group in groups) and any(units[g.key] for g in groups):
        kept = [group for group in groups if units[group.key]]
    budget = check_budget(budget, kept)
    offset = 0  # where blocks without a rise get no adapter, no offset is given to the others either
    if kept is groups:
        highest = max(group.limit for group in groups)
        offset = _largest(lambda o: sum(group.cost(o + units[group.key]) for group in groups), budget, highest)
    if sum(group.cost(offset + units[group.key]) for group in kept) <= budget:
        begin = {group.key: min(offset + units[group.key], group.limit) for group in kept}
        order = sorted((group.key for group in kept), key=lambda key: -difference[key])
        places = {key: -float(place) for place, key in enumerate(order)}
        ranks = spend(kept, begin, budget, lambda key, rank: places[key], most=1)
    else:
        begin = {group.key: 1 for group in kept}

        def remaining(block: int, rank: int) -> float:
            given = rank - offset
            return difference[block] - given if given < units[block] else -math.inf

        ranks = spend(kept, begin, budget, remaining)
    notes = undefined_notes(profile, estimator)
    for group in kept:
        ruled = min(offset + units[group.key], group.limit)
        if ranks[group.key] != ruled:
            more = "1 more than" if ranks[group.key] > ruled else f"{ruled - ranks[group.key]} less than"
            note = f"{more} the rule gives at offset {offset}, to meet the budget"
            notes[group.key] = f"{notes[group.key]}; {note}" if group.key in notes else note
    return gelora_plan(
        profile,
        modules,
        {group.key: ranks.get(group.key, 0) for group in groups},
        notes=notes,
        scaling=scaling,
        offset=offset,
        rounding=rounding,
        estimator=estimator,
        scale=float(scale),
        target_modules=as_text(target_modules),
        target_params=budget,
    )


def _largest(cost: Callable[[int], int], budget: int, high: int) -> int:
    """The largest number from 1 to high whose cost fits; 1 where none does. `cost` must not fall."""
    best, low = 1, 1
    while low <= high:
        middle = (low + high) // 2
        if cost(middle) <= budget:
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best
