"""Budgets are met and never exceeded; who gets the next unit is who is said to get it."""

import dataclasses

import pytest
from hypothesis import given, strategies as st

from gelora.errors import InputError
from gelora.ranks import allocate_ranks, budget_params, match_budget, plan_budget, rise_units, uniform_ranks
from gelora.ranks.rule.matching import at_random, block_groups, largest_uniform, module_groups, proportional, total_cost
from gelora.records import TargetModule

BLOCK = 4 * 20  # q, k, v, o of 12 x 8: parameters that one unit of rank of a block costs
curves = st.lists(st.floats(0, 60, allow_nan=False), min_size=3, max_size=7)


def modules_of(sizes) -> list[TargetModule]:
    """One module a block, of (in, out)."""
    return [TargetModule(f"m.{i}", i, "q", n_in, n_out) for i, (n_in, n_out) in enumerate(sizes, start=1)]


def test_the_largest_offset_whose_whole_rule_fits_then_largest_differences_first(make_profile):
    profile = make_profile([10.0, 12.0, 11.0, 11.5])  # rises 2, 0 (-1.0), 1 (0.5)
    assert match_budget(profile, 9 * BLOCK).block_ranks() == {1: 4, 2: 2, 3: 3}  # offset 2 costs 9 units exactly
    plan = match_budget(profile, 10 * BLOCK)
    assert plan.offset == 2 and plan.block_ranks() == {1: 5, 2: 2, 3: 3}  # the unit left goes to the largest difference
    assert plan.block_notes == {1: "1 more than the rule gives at offset 2, to meet the budget"}
    assert match_budget(profile, 11 * BLOCK).block_ranks() == {1: 5, 2: 2, 3: 4}  # then to the next
    assert match_budget(profile, 12 * BLOCK).offset == 3
    assert plan.target_params == 10 * BLOCK and plan.shortfall == 0


def test_what_no_unit_fits_into_is_said(make_profile):
    plan = match_budget(make_profile([10.0, 12.0, 11.0, 11.5]), 10 * BLOCK + 79)
    assert plan.shortfall == 79 and plan.n_adapter_params == 10 * BLOCK


def test_a_rule_too_dear_at_offset_one_gives_the_largest_differences_first(make_profile):
    profile = make_profile([10.0, 13.0, 18.0, 18.2])  # rises 3, 5, 1: 12 units at offset 1
    for budget, ranks in ((3, (1, 1, 1)), (4, (1, 2, 1)), (6, (2, 3, 1)), (7, (2, 4, 1)), (11, (4, 6, 1))):
        plan = match_budget(profile, budget * BLOCK)
        assert tuple(plan.block_ranks().values()) == ranks and plan.offset == 1, budget
    assert "less than the rule gives at offset 1" in match_budget(profile, 4 * BLOCK).block_notes[1]


def test_below_one_rank_everywhere_only_the_blocks_that_rise_are_kept(make_profile):
    profile = make_profile([10.0, 12.0, 11.0, 11.5])
    plan = match_budget(profile, 2 * BLOCK)
    assert plan.offset == 0 and plan.block_ranks() == {1: 1, 2: 0, 3: 1}
    with pytest.raises(InputError, match="A budget of 159 parameters is below one rank for each of the 2 kept blocks; the least is 160"):
        match_budget(profile, 2 * BLOCK - 1)
    with pytest.raises(InputError, match="each of the 3 kept blocks; the least is 240"):
        match_budget(make_profile([12.0, 11.0, 10.0, 9.0]), 2 * BLOCK)  # no block rises


def test_undefined_rises_come_last_and_say_why(make_profile):
    plan = match_budget(make_profile([None, 12.0, 11.0]), 3 * BLOCK)
    assert plan.block_ranks() == {1: 1, 2: 2}
    assert "offset alone" in plan.block_notes[1]


@given(curves, st.integers(1, 60), st.sampled_from(["attention", "all-linear"]), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_a_budget_is_never_exceeded_and_what_is_left_is_less_than_a_block(make_profile, curve, units, targets, scale):
    profile = make_profile(curve)
    budget = units * 37
    try:
        plan = match_budget(profile, budget, targets, scale=scale)
    except InputError as error:
        assert "below one rank" in str(error)
        return
    assert plan_budget(plan).n_adapter_params <= budget and plan.shortfall == budget - plan.n_adapter_params
    groups = block_groups(plan.modules)
    ranks = plan.block_ranks()
    steps = [g.step(ranks[g.key]) for g in groups if 0 < ranks[g.key] < g.limit]
    if plan.offset and plan.offset > 0 and steps and all(r > 0 for r in ranks.values()):
        truncated = any("less than" in note for note in plan.block_notes.values())
        assert truncated or plan.shortfall < max(steps)


@given(st.lists(st.floats(0, 60, allow_nan=False), min_size=3, max_size=7, unique=True), st.integers(1, 3), st.randoms())
def test_permuting_blocks_permutes_ranks(make_profile, rises, offset, rng):
    """A curve is put together from given rises; the same rises in another order give the same ranks in that order."""
    order = list(range(len(rises)))
    rng.shuffle(order)

    def ranks(of):
        curve = [0.0]
        for rise in of:
            curve.append(curve[-1] + rise)
        return list(allocate_ranks(make_profile(curve), offset=offset, rounding="round").block_ranks().values())

    halves = [round(rise) + 0.25 for rise in rises]  # sums of these are exact, so that no rounding hangs on the order
    assert ranks([halves[i] for i in order]) == [ranks(halves)[i] for i in order]


@given(curves, st.integers(0, 12), st.sampled_from(["attention", "mlp", "all-linear"]))
def test_one_more_offset_is_one_more_rank_for_every_kept_module_below_its_side(make_profile, curve, offset, targets):
    profile = make_profile(curve)
    more = allocate_ranks(profile, targets, offset + 1)
    if offset == 0 and not any(rise_units(profile).values()):
        return  # nothing is kept at offset 0
    before = allocate_ranks(profile, targets, offset)
    for module in before.modules:
        rank = before.ranks[module.name]
        grown = more.ranks[module.name] - rank
        assert grown == (1 if rank < module.smaller_side else 0)


def test_proportional_ranks_are_in_proportion():
    groups = block_groups(modules_of([(500, 500)] * 3))
    ranks = proportional(groups, {1: 1.0, 2: 2.0, 3: 3.0}, 60 * 1000)
    assert ranks == {1: 10, 2: 20, 3: 30}
    assert proportional(groups, {1: 0.0, 2: 1.0, 3: 0.0}, 5 * 1000) == {1: 1, 2: 3, 3: 1}  # one each, whatever the weight


def test_a_module_that_is_full_or_too_dear_leaves_the_rest_to_others():
    groups = module_groups(modules_of([(2, 100), (10, 10), (10, 10)]))
    ranks = proportional(groups, {"m.1": 100.0, "m.2": 1.0, "m.3": 1.0}, 102 * 2 + 20 * 7)
    assert ranks == {"m.1": 2, "m.2": 4, "m.3": 3}  # m.1 is full at 2; between equals the first is served first
    assert proportional(groups, {"m.1": 100.0, "m.2": 1.0, "m.3": 1.0}, 102 + 20 * 3) == {"m.1": 1, "m.2": 2, "m.3": 1}


def test_largest_uniform_knows_about_small_sides():
    groups = module_groups(modules_of([(2, 100), (10, 10)]))
    assert largest_uniform(groups, 122) == 1
    assert largest_uniform(groups, 2 * 102 + 7 * 20) == 7
    assert largest_uniform(groups, 10**9) == 10


@given(st.integers(0, 1000), st.integers(3, 90))
def test_random_ranks_meet_the_budget_and_hang_on_the_seed_alone(seed, units):
    groups = block_groups(modules_of([(40, 40)] * 3))
    ranks = at_random(groups, units * 80, seed)
    assert total_cost(groups, ranks) == units * 80 and min(ranks.values()) >= 1
    assert ranks == at_random(groups, units * 80, seed)


def test_random_ranks_differ_between_seeds_and_are_even_on_average():
    groups = block_groups(modules_of([(500, 500)] * 3))
    draws = [at_random(groups, 60 * 1000, seed) for seed in range(50)]
    assert len({tuple(draw.values()) for draw in draws}) > 20
    for block in (1, 2, 3):  # 57 units for 3 blocks: a standard deviation of 3.6 a draw, 0.5 for the mean of 50
        assert sum(draw[block] for draw in draws) / 50 == pytest.approx(20, abs=2.0)
    with pytest.raises(InputError, match="seed is -1"):
        at_random(groups, 60_000, -1)


def test_budgets_in_words(make_structure):
    modules = uniform_ranks(make_structure(3), 1).modules
    assert budget_params("uniform:2", modules) == 3 * BLOCK * 2
    assert budget_params("uniform:100", modules) == 3 * BLOCK * 8  # no matrix has more than 8
    assert budget_params("params:36,864", modules) == 36864
    assert budget_params("mb:0.5", modules) == 125_000
    for wrong in ("uniform", "uniform:0", "uniform:1.5", "mb:-1", "mb:nan", "gb:2", "params:", "12", "mb:inf"):
        with pytest.raises(InputError, match="give uniform:R"):
            budget_params(wrong, modules)


def test_a_profile_with_layers_missing_is_refused(make_profile):
    profile = make_profile([10.0, 11.0, 12.0])
    short = dataclasses.replace(profile, model=dataclasses.replace(profile.model, n_layers=5))
    with pytest.raises(InputError, match="Measure it again"):
        match_budget(short, 1000)
