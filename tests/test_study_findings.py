"""What a study's rows say together: comparisons counted at one budget, and differences pooled over tasks."""

import math

import pytest
from made_studies import block_study, row, study
from scipy import stats

from gelora.records import Study
from gelora.study_findings import (
    compared,
    is_at_the_budget,
    ordered_arms,
    percent,
    pooled,
    predictors_of_worth,
    verdict,
    worth_of_blocks,
)


def test_comparisons_are_those_at_the_best_rate_that_did_not_diverge():
    found = compared(study().rows)
    assert {r.arm for r in found} == {"gelora", "random", "fisher", "twice the rank"}
    assert len(found) == 3 + 3 + 2 + 3


def test_a_verdict_counts_what_is_at_the_budget_and_significant():
    said = verdict(study().rows, "uniform")
    assert (said.n_better, said.n_worse, said.n_compared, said.n_tasks) == (1, 1, 8, 3)
    assert said.sentence == (
        "Of 8 comparisons with uniform at the same number of parameters (3 tasks) 1 ended better, 1 worse, "
        "and 6 without a difference that shows."
    )


def test_an_arm_with_the_reference_s_ranks_compares_nothing():
    said = verdict([row("uniform"), row("gelora", ci_low=0.0, ci_high=0.0), row("random")], "uniform")
    assert (said.n_compared, said.n_same) == (1, 1) and said.sentence.endswith("1 more gave the ranks of uniform itself.")


@pytest.mark.parametrize(
    "rows, says",
    [
        ([], "No comparison at one budget has ended yet."),
        ([row("uniform")], "No comparison at one budget has ended yet."),
        (
            [row("uniform"), row("gelora")],
            "Of 1 comparison with uniform at the same number of parameters (1 task) none shows a difference.",
        ),
        ([row("twice", n_adapter_params=20_000, p=0.001)], "No comparison at one budget has ended yet."),
    ],
)
def test_a_verdict_of_little(rows, says):
    assert verdict(rows, "uniform").sentence == says


def test_a_difference_in_percent_is_of_the_reference_s_loss():
    better = row("gelora", difference=-0.05)
    assert percent(better, better.difference) == pytest.approx(-10)  # the reference's loss is 0.5
    assert percent(better, better.ci_high) == pytest.approx(-6)
    assert percent(row("uniform"), None) is None
    assert percent(row("gelora", difference=None), None) is None
    assert percent(row("gelora", difference=-0.05, eval_loss=-0.1), -0.05) is None  # of a reference at or below 0


def test_each_task_counts_once_and_the_interval_is_students_over_tasks():
    rows = [row("gelora", "a", difference=-0.05), row("gelora", "b", difference=0.05), row("gelora", "c", difference=0.01)]
    rows += [row("gelora", "a", "uniform:4", difference=-0.01)]
    found = pooled(rows)
    means = [-6.0, 10.0, 2.0]  # of task a the mean of -10 and -2
    assert found.value == pytest.approx(2.0) and found.n_tasks == 3
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=stats.sem(means))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    two = pooled(rows[:2])
    assert two.value == pytest.approx(0.0) and two.ci_low is None and two.n_tasks == 2
    assert pooled([]) is None and pooled([row("uniform")]) is None


def test_two_models_on_one_task_are_two():
    assert pooled([row("gelora", model="a"), row("gelora", model="b")]).n_tasks == 2


@pytest.mark.parametrize("n, same", [(10_000, True), (10_900, True), (9_100, True), (11_500, False), (5_000, False)])
def test_a_yardstick_has_another_number_of_parameters(n, same):
    assert is_at_the_budget(row("gelora", n_adapter_params=n)) is same


def test_arms_stand_from_the_best_yardsticks_below():
    assert ordered_arms(study()) == ["gelora", "fisher", "random", "twice the rank"]
    assert ordered_arms(Study("empty", "uniform", (), (), {})) == []


def test_numbers_are_finite_or_none():
    for each in study().rows:
        for value in (percent(each, each.difference), percent(each, each.ci_low)):
            assert value is None or math.isfinite(value)


def test_worth_is_what_a_block_saves_and_what_its_absence_costs():
    rows = [row("a", difference=-0.05, change="twice", blocks=(2,)), row("b", difference=0.01, change="twice", blocks=(1,))]
    rows += [row("a", budget="uniform:4", difference=-0.03, change="twice", blocks=(2,)), row("uniform", change="twice")]
    rows += [row("c", difference=None, change="twice", blocks=(3,)), row("d", difference=0.1, change="without", blocks=(1,))]
    (worth,) = worth_of_blocks(rows, "twice")
    assert worth.blocks == ((1,), (2,)) and worth.values == pytest.approx((-2.0, 8.0))  # in percent of 0.5; of block 2 over two budgets
    assert worth.ci_low == pytest.approx((-6.0, 4.0)) and worth.ci_high == pytest.approx((2.0, 12.0))
    (without,) = worth_of_blocks(rows, "without")
    assert without.values == pytest.approx((20.0,)) and without.ci_low == pytest.approx((16.0,))
    assert worth_of_blocks(rows, "alone") == [] and compared(rows) == []


def test_a_predictor_that_orders_the_blocks_is_found():
    found = predictors_of_worth(block_study(), "twice")
    by_name = {one.predictor: one for one in found["MiniLM"]}
    assert by_name["score:gradient"].rho == pytest.approx(1.0) and by_name["score:gradient"].p == pytest.approx(2 / 2**6)
    assert by_name["depth"].rho is not None and abs(by_name["depth"].rho) < 1
    assert by_name["rise:twonn"].rho is None  # undefined in every block
    assert predictors_of_worth(block_study(), "alone") == {} and predictors_of_worth(study(), "twice") == {}


def test_a_group_s_predictor_is_its_blocks_mean_and_undefined_with_any_of_them():
    from gelora.study_findings import _mean

    assert _mean((1.0, 3.0, None), (1, 2)) == 2.0
    assert math.isnan(_mean((1.0, 3.0, None), (2, 3))) and math.isnan(_mean((1.0,), (2,)))
