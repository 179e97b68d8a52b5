"""How far plans agree on each block's rank."""

from dataclasses import replace

import pytest

from gelora.ranks import rank_agreement, same_ranks
from gelora.records import RankPlan, TargetModule

MODULES = tuple(TargetModule(f"layer.{block}.{kind}", block, kind, 8, 8) for block in (1, 2, 3) for kind in ("q", "v"))


def plan_of(*ranks):
    by_name = {module.name: ranks[module.block - 1] for module in MODULES}
    return RankPlan(
        MODULES, by_name, {n: 32.0 * r for n, r in by_name.items()}, "gelora", 1, "ceil", "twonn", "attention", "m", "r", 10, None
    )


def test_the_most_common_rank_of_each_block_and_how_many_give_it():
    answer = rank_agreement({"twonn": plan_of(1, 2, 4), "mle": plan_of(1, 3, 1), "danco": plan_of(1, 3, 2)})
    assert [(a.rank, a.n_agree, a.n_plans, a.lowest, a.highest) for a in answer.values()] == [
        (1, 3, 3, 1, 1),
        (3, 2, 3, 2, 3),
        (1, 1, 3, 1, 4),
    ]
    assert list(answer) == [1, 2, 3]


def test_plans_of_the_same_ranks_and_alphas_are_found_whatever_they_are_called():
    rule, uniform = plan_of(1, 1, 1), replace(plan_of(1, 1, 1), strategy="uniform", offset=None, rounding=None, estimator=None)
    other = plan_of(1, 2, 1)
    halved = replace(rule, alphas={name: alpha / 2 for name, alpha in rule.alphas.items()})
    assert same_ranks({"rule": rule, "other": other, "uniform": uniform, "halved": halved}) == [("rule", "uniform")]
    assert same_ranks({"rule": rule, "another model": replace(rule, model_id="m2")}) == []


def test_a_module_of_rank_0_and_one_that_is_not_there_are_the_same():
    fewer = plan_of(1, 0, 1)
    kept = tuple(module for module in MODULES if module.block != 2)
    names = {module.name for module in kept}
    without = replace(
        fewer,
        modules=kept,
        ranks={n: r for n, r in fewer.ranks.items() if n in names},
        alphas={n: a for n, a in fewer.alphas.items() if n in names},
    )
    assert same_ranks({"a": fewer, "b": without}) == [("a", "b")]


def test_a_block_counts_with_its_largest_module():
    plan = plan_of(1, 2, 4)
    name = MODULES[0].name
    edited = replace(plan, ranks={**plan.ranks, name: 6}, alphas={**plan.alphas, name: 192.0})
    assert rank_agreement({"a": edited})[1].rank == 6


@pytest.mark.parametrize("plans", [{}])
def test_no_plans_no_answer(plans):
    assert rank_agreement(plans) == {}
