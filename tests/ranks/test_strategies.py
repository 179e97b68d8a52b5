"""Every strategy at one budget: same size, the shape that its idea asks for, one sentence for what cannot be."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gelora.errors import InputError
from gelora.ranks import STRATEGIES, UNBOUNDED, plan_at_budget, uniform_ranks
from gelora.records import SCORE_DEFINITIONS, SCORE_STRATEGIES, ModuleScores, RankPlan

UNIT = 20  # parameters of one unit of rank of a 12 x 8 matrix; four of them make a block
BLOCK = 4 * UNIT


def scores_of(structure, strategy, weights=None, components=None) -> ModuleScores:
    names = [module.name for module in structure.modules]
    weights = weights or {name: 1.0 + i for i, name in enumerate(names)}
    total = sum(weights.values())
    if strategy in ("eva", "look-back") and components is None:
        components = {name: np.array([0.5, 0.3, 0.1, 0.05, 0.02]) * (1 + i / 100) for i, name in enumerate(names)}
    return ModuleScores(
        strategy,
        {n: w / total for n, w in weights.items()},
        components or {},
        structure.model_id,
        "rev",
        8,
        "made by hand",
        0.0,
        SCORE_DEFINITIONS[strategy],
    )


def plan_of(strategy, budget, structure, profile=None, **options) -> RankPlan:
    scores = scores_of(structure, strategy) if strategy in SCORE_DEFINITIONS else None
    return plan_at_budget(strategy, budget, structure, profile=profile, **({"scores": scores} | options))


def test_there_are_ten_and_those_that_need_scores_are_those_that_can_be_scored():
    assert len(STRATEGIES) == 10
    assert {name for name, strategy in STRATEGIES.items() if strategy.needs == "scores"} == set(SCORE_STRATEGIES)


@given(st.integers(4, 26), st.sampled_from(sorted(STRATEGIES)))
def test_no_strategy_exceeds_the_budget_and_all_but_uniform_leave_less_than_a_step(make_profile, make_structure, units, strategy):
    structure, profile = make_structure(4), make_profile([10.0, 12.0, 11.0, 11.5, 13.0])
    budget = units * BLOCK
    plan = plan_of(strategy, budget, structure, profile)
    assert plan.n_adapter_params <= budget and plan.shortfall == budget - plan.n_adapter_params
    assert plan.strategy == strategy and plan.target_params == budget
    assert min(plan.ranks.values()) >= 1 and set(a / plan.ranks[n] for n, a in plan.alphas.items()) == {32.0}
    if strategy == "uniform":
        assert len(set(plan.ranks.values())) == 1 and plan.shortfall < 4 * BLOCK
    elif strategy not in ("eva", "look-back") or units <= 20:  # the components made here end after five
        assert plan.shortfall == 0
    assert RankPlan.from_json(plan.to_json()) == plan


def test_by_depth_ranks_rise_or_fall_with_the_block(make_structure):
    more = list(plan_of("depth-increasing", 20 * BLOCK, make_structure(4)).block_ranks().values())
    less = list(plan_of("depth-decreasing", 20 * BLOCK, make_structure(4)).block_ranks().values())
    assert more == [2, 4, 6, 8] and less == more[::-1]


def test_random_hangs_on_its_seed(make_structure):
    plans = [plan_of("random", 16 * BLOCK, make_structure(4), seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert plans[0] == plans[1] and plans[0].seed == 0
    assert len({tuple(plan.ranks.values()) for plan in plans}) > 2


@pytest.mark.parametrize("strategy", ["gradient", "fisher", "weight-spectrum"])
def test_scored_matrices_are_ranked_one_by_one_in_proportion(make_structure, strategy):
    structure = make_structure(1)
    weights = {"layers.0.q": 4.0, "layers.0.k": 2.0, "layers.0.v": 1.0, "layers.0.o": 1.0, "layers.0.mlp": 50.0}
    plan = plan_of(strategy, 16 * UNIT, structure, scores=scores_of(structure, strategy, weights))
    assert plan.ranks == {"layers.0.q": 8, "layers.0.k": 4, "layers.0.v": 2, "layers.0.o": 2}  # mlp is not targeted


def test_eva_takes_the_components_that_explain_most(make_structure):
    structure = make_structure(1)
    components = {module.name: np.array([0.2, 0.1]) for module in structure.modules}
    components["layers.0.k"] = np.array([0.5, 0.4, 0.3, 0.01])
    scores = scores_of(structure, "eva", components=components)
    ranks = plan_of("eva", 6 * UNIT, structure, scores=scores).ranks
    assert ranks == {"layers.0.q": 1, "layers.0.k": 3, "layers.0.v": 1, "layers.0.o": 1}
    everything = plan_of("eva", 100 * UNIT, structure, scores=scores)
    assert everything.n_adapter_params == (3 * 2 + 4) * UNIT and everything.shortfall == 90 * UNIT  # no component is left


def test_what_a_strategy_lacks_is_one_sentence(make_profile, make_structure):
    structure = make_structure(3)
    with pytest.raises(InputError, match="'banana'; choose one of: gelora, uniform"):
        plan_at_budget("banana", 1000, structure)
    with pytest.raises(InputError, match="gelora needs a measured profile"):
        plan_at_budget("gelora", 1000, structure)
    with pytest.raises(InputError, match="fisher needs the scores"):
        plan_at_budget("fisher", 1000, structure)
    with pytest.raises(InputError, match="scores are of gradient; the strategy is fisher"):
        plan_at_budget("fisher", 1000, structure, scores=scores_of(structure, "gradient"))
    for strategy in STRATEGIES:
        with pytest.raises(InputError, match="below one rank for each of the 3 kept blocks; the least is 240"):
            plan_of(strategy, 239, structure, make_profile([12.0, 11.0, 10.0, 9.0]))
        with pytest.raises(InputError, match="The budget is"):
            plan_of(strategy, 10.5, structure, make_profile([12.0, 11.0, 10.0, 9.0]))


def test_a_profile_or_scores_of_another_model_are_refused(make_profile, make_structure):
    other = dataclasses.replace(make_structure(3), model_id="another", modules=make_structure(3).modules[1:])
    with pytest.raises(InputError, match="The profile is of a-model, which has other matrices than another"):
        plan_at_budget("gelora", 1000, other, profile=make_profile([12.0, 11.0, 10.0, 9.0]))
    with pytest.raises(InputError, match="The scores are of a-model"):
        plan_at_budget("fisher", 1000, make_structure(3), scores=scores_of(make_structure(2), "fisher"))


def test_uniform_at_its_own_cost_is_uniform_lora(make_structure):
    plan = plan_of("uniform", 3 * 5 * BLOCK, make_structure(3))
    assert plan.ranks == uniform_ranks(make_structure(3), 5).ranks and plan.shortfall == 0


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - set(UNBOUNDED)))
@given(floor=st.integers(0, 3), more=st.integers(1, 5), units=st.integers(12, 40))
def test_floor_and_cap_hold_and_the_budget_is_met_as_nearly_as_they_allow(make_structure, strategy, floor, more, units):
    structure, cap, budget = make_structure(4), floor + more, units * BLOCK
    steep = {module.name: 10.0**i for i, module in enumerate(structure.modules)}
    scores = scores_of(structure, strategy, steep) if strategy in SCORE_DEFINITIONS else None
    plan = plan_at_budget(strategy, budget, structure, scores=scores, floor=floor, cap=cap)
    assert floor <= min(plan.ranks.values()) and max(plan.ranks.values()) <= cap and plan.n_adapter_params <= budget
    per_unit = UNIT if strategy in SCORE_DEFINITIONS else BLOCK
    most = min(cap, 5) if strategy in ("eva", "look-back") else min(cap, 8)  # five components, matrices of side 8
    if any(rank < most for rank in plan.ranks.values()):
        assert plan.shortfall < per_unit


def test_a_cap_sends_what_exceeds_it_to_the_others(make_structure):
    structure = make_structure(1)
    weights = {"layers.0.q": 96.0, "layers.0.k": 2.0, "layers.0.v": 1.0, "layers.0.o": 1.0, "layers.0.mlp": 0.0}
    scores = scores_of(structure, "fisher", weights)
    free = plan_at_budget("fisher", 12 * UNIT, structure, scores=scores)
    capped = plan_at_budget("fisher", 12 * UNIT, structure, scores=scores, cap=4)
    assert list(free.ranks.values()) == [8, 2, 1, 1] and list(capped.ranks.values()) == [4, 4, 2, 2]
    assert free.n_adapter_params == capped.n_adapter_params == 12 * UNIT
    low = plan_at_budget("fisher", 3 * UNIT, structure, scores=scores, floor=0)
    assert list(low.ranks.values()) == [3, 0, 0, 0]


def test_illegal_bounds_are_one_sentence(make_structure):
    with pytest.raises(InputError, match="cap is 1"):
        plan_at_budget("random", 20 * BLOCK, make_structure(2), floor=2, cap=1)
    with pytest.raises(InputError, match=r"below rank 3 for each of the 2 kept blocks; the least is 480\. Raise it, lower the floor"):
        plan_at_budget("random", 5 * BLOCK, make_structure(2), floor=3)
    with pytest.raises(InputError, match="floor is -1"):
        plan_at_budget("random", 5 * BLOCK, make_structure(2), floor=-1)
