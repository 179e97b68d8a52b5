"""Costs by plain arithmetic; that they are PEFT's own counts is shown in test_lora.py."""

import pytest
from hypothesis import given, strategies as st

from gelora.errors import InputError
from gelora.ranks import allocate_ranks, budget_by_block, equivalent_uniform_rank, plan_budget, uniform_comparison, uniform_ranks
from gelora.records import RankPlan, TargetModule

ranks_lists = st.lists(st.integers(0, 8), min_size=1, max_size=8).filter(any)


def plan_of(ranks, n_model_params=1000) -> RankPlan:
    """One module of 8 x (8 + i) a rank, two to a block."""
    modules = tuple(TargetModule(f"m.{i}", 1 + i // 2, "q", 8, 8 + i) for i in range(len(ranks)))
    names = [m.name for m in modules]
    alphas = {name: 32.0 * r for name, r in zip(names, ranks, strict=True)}
    plan_ranks = dict(zip(names, ranks, strict=True))
    return RankPlan(modules, plan_ranks, alphas, "by hand", None, None, None, "attention", "m", "r", n_model_params, None)


def test_a_budget_worked_out_on_paper():
    plan = plan_of([3, 0, 1])  # 3 x 16, 0 x 17, 1 x 18
    assert budget_by_block(plan) == {1: 48, 2: 18}
    budget = plan_budget(plan, n_head_params=10)
    assert (budget.n_adapter_params, budget.n_head_params, budget.n_total_params) == (66, 10, 1000)
    assert budget.share == 0.066
    assert budget.adapter_bytes == 76 * 4 and budget.optimizer_bytes == 76 * 8
    assert plan_budget(plan, bytes_per_param=2).adapter_bytes == 66 * 2


def test_the_published_example_of_a_uniform_plan(make_structure):
    # q, k, v are 12 x 8, o is 8 x 12: 4 x 20 a rank and block
    assert plan_budget(uniform_ranks(make_structure(3), 2)).n_adapter_params == 3 * 4 * 20 * 2


def test_blocks_come_in_order_even_if_modules_do_not():
    plan = plan_of([1, 1, 1, 1])
    backwards = RankPlan(plan.modules[::-1], plan.ranks, plan.alphas, "by hand", None, None, None, "q", "m", "r", 1000, None)
    assert list(budget_by_block(backwards)) == [1, 2]


def test_uniform_comparison_has_the_same_modules_cut_at_their_smaller_side(make_profile, make_structure):
    plan = allocate_ranks(make_profile([10.0, 12.0, 11.0]), offset=0)  # block 2 has no adapter, but counts
    compared = uniform_comparison(plan, rs=(1, 4, 8, 100))
    assert [r for r, _ in compared] == [1, 4, 8, 100]
    for r, budget in compared:
        assert budget == plan_budget(uniform_ranks(make_structure(2), r))
    with pytest.raises(InputError, match="r is 0"):
        uniform_comparison(plan, rs=(0,))


def test_equivalent_uniform_rank_lies_between_whole_ranks_and_knows_about_cut_modules(make_structure):
    for r in (1, 3, 8, 10, 12):
        plan = uniform_ranks(make_structure(2), r, "all-linear")  # above 8, only the mlp maps (to 12) go on growing
        assert equivalent_uniform_rank(plan) == pytest.approx(r)
    assert equivalent_uniform_rank(plan_of([1, 3])) == pytest.approx((16 + 3 * 17) / 33)


@pytest.mark.parametrize(
    ("options", "sentence"), [({"n_head_params": -1}, "n_head_params is -1"), ({"bytes_per_param": 0}, "bytes_per_param is 0")]
)
def test_illegal_counts_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        plan_budget(plan_of([1]), **options)


def test_a_plan_for_a_model_without_parameters_is_refused():
    with pytest.raises(InputError, match="n_model_params is 0"):
        plan_budget(plan_of([1], n_model_params=0))


@given(ranks_lists)
def test_blocks_add_up_and_the_equivalent_rank_costs_the_same(ranks):
    plan = plan_of(ranks)
    total = plan_budget(plan).n_adapter_params
    assert sum(budget_by_block(plan).values()) == total
    assert total == sum(r * (16 + i) for i, r in enumerate(ranks))
    r = equivalent_uniform_rank(plan)
    assert min(ranks) - 1e-9 <= r <= max(ranks) + 1e-9
    assert sum(min(r, 8) * m.n_params_per_rank for m in plan.modules) == pytest.approx(total)


@given(ranks_lists, st.integers(0, 7))
def test_one_rank_more_costs_exactly_that_module_s_rows_and_columns(ranks, which):
    which %= len(ranks)
    ranks[which] = min(ranks[which], 7)
    more = [r + (i == which) for i, r in enumerate(ranks)]
    if any(ranks):
        assert plan_budget(plan_of(more)).n_adapter_params - plan_budget(plan_of(ranks)).n_adapter_params == 16 + which
