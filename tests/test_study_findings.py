"""What a study's rows say together: comparisons counted at one budget, and differences pooled over tasks."""

import math

import pytest
from made_studies import row, study
from scipy import stats

from gelora.records import Study
from gelora.study_findings import compared, is_at_the_budget, ordered_arms, percent, pooled, verdict


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
