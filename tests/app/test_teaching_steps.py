"""The questions of teaching mode: the answers that numbers give, and the sentences made of them."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_profiles import make_profile

from app.teaching.recorded_run import Harvest
from app.teaching.steps import (
    GAINS,
    N_STEPS,
    agreement_answer,
    agreement_finding,
    disputed_blocks,
    gain_answer,
    gain_margin,
    move_answer,
    question,
    run_finding,
    shape_finding,
    shape_of,
    share_answer,
    share_finding,
    sink_finding,
    size_answer,
    size_answers,
    size_range,
    verdict,
)
from gelora.ranks import allocate_ranks
from gelora.records import SinkReport
from gelora.runs import GeometryMeasurement


def profile_of(curve, spread=0.1, other=None):
    """A profile whose halves scatter by `spread` around the curve; `other`: another curve for MLE."""
    made = make_profile(curve)
    other = curve if other is None else other
    rng = np.random.default_rng(0)

    def halves(values):
        return np.array([[v + e for v, e in zip(values, rng.normal(0, spread, len(values)), strict=True)] for _ in range(20)])

    estimates = dict(made.estimates)
    estimates["mle"] = tuple(
        dataclasses.replace(e, dimension=v, ci_low=v - 0.5, ci_high=v + 0.5) for e, v in zip(made.estimates["mle"], other, strict=True)
    )
    return dataclasses.replace(made, estimates=estimates, subsamples={"twonn": halves(curve), "mle": halves(other)})


def test_every_step_asks_something_with_answers_that_differ():
    for step in range(1, N_STEPS + 1):
        for shape in (None, make_profile().model):
            asked = question(step, shape, 4, 1000)
            assert len(set(asked.answers)) == len(asked.answers) >= 2
            assert asked.title.endswith("?")


@pytest.mark.parametrize("n_coordinates", [8, 32, 384, 4096])
def test_the_answers_to_step_1_tile_all_dimensions(n_coordinates):
    answers = size_answers(n_coordinates)
    ranges = [size_range(i, n_coordinates) for i in range(len(answers))]
    assert ranges[0][0] == 1.0
    assert all(one[1] == other[0] for one, other in itertools.pairwise(ranges))
    for i, (low, high) in enumerate(ranges):
        assert size_answer((low + high) / 2, n_coordinates) == i
    assert 0 <= size_answer(float(n_coordinates), n_coordinates) < len(answers)


@pytest.mark.parametrize(
    "curve, shape",
    [
        ([10.0, 12.0, 14.0, 16.0], "up"),
        ([16.0, 14.0, 12.0, 10.0], "down"),
        ([10.0, 10.05, 9.95, 10.0], "flat"),
        ([10.0, 14.0, 15.0, 11.0], "hump"),
        ([14.0, 10.0, 9.0, 13.0], "dip"),
    ],
)
def test_the_shape_is_that_of_the_curve(curve, shape):
    assert shape_of(profile_of(curve), "twonn") == shape


def test_a_change_within_its_interval_is_level():
    assert shape_of(profile_of([10.0, 12.0, 14.0, 16.0], spread=8.0), "twonn") == "flat"


def test_a_layer_without_dimension_is_left_out_of_the_shape():
    profile = make_profile([None, 10.0, 12.4, 11.0])
    assert "From 10.0 to 11.0" in shape_finding(profile, "twonn")


def test_estimators_that_contradict_each_other_are_said_to():
    profile = profile_of([10.0, 12.0, 14.0, 16.0], other=[10.0, 12.0, 14.0, 9.0])
    assert disputed_blocks(profile, ["twonn", "mle"]) == [3]
    assert agreement_answer(profile, ["twonn", "mle"]) == 2
    assert "Block 3 rises by TwoNN and falls by MLE." in agreement_finding(profile, ["twonn", "mle"])


def test_step_4_says_whether_tokens_are_sinks():
    profile = make_profile()
    assert sink_finding(profile) == ""
    norms, half = np.array([2.0, 3.0, 148.0, np.nan]), np.full(4, 0.5)
    report = SinkReport("keep", 5.0, 100, np.array([0, 0, 0.06, 0]), norms, half, half, np.empty(0))
    assert "up to 148 times as long as the rest: attention sinks, kept here" in sink_finding(dataclasses.replace(profile, sinks=report))
    none = dataclasses.replace(report, shares=np.zeros(4), largest_norms=norms.clip(max=4.0))
    assert "the longest is 4.0 times its layer's median" in sink_finding(dataclasses.replace(profile, sinks=none))


def test_other_levels_of_one_shape_and_the_same_numbers():
    shifted = profile_of([10.0, 12.0, 14.0, 16.0], other=[20.0, 22.0, 24.0, 26.0])
    assert agreement_answer(shifted, ["twonn", "mle"]) == 1
    assert agreement_answer(profile_of([10.0, 12.0, 14.0, 16.0]), ["twonn", "mle"]) == 0


@pytest.mark.parametrize("curve, answer", [([9.0, 8.0, 7.0, 6.0], 0), ([5.0, 6.0, 5.0, 4.0], 1), ([5.0, 8.0, 7.0, 6.0], 2)])
def test_the_share_of_rise_counts_units_over_the_offset(curve, answer):
    plan = allocate_ranks(make_profile(curve), "attention", 1, "ceil", "twonn")
    assert share_answer(plan) == answer
    assert f"{plan.n_adapter_params:,} parameters" in share_finding(plan)


@pytest.mark.parametrize("score, answer", [(0.59, 0), (0.6, 1), (0.62, 1), (0.63, 2), (0.7, 2), (0.71, 3)])
def test_the_gain_is_counted_in_points(score, answer):
    assert gain_answer(score, 0.6) == answer < len(GAINS)


def test_two_accuracies_differ_within_what_their_rows_can_show():
    rng = np.random.default_rng(0)
    draws = rng.binomial(500, 0.67, 20_000) / 500 - rng.binomial(500, 0.65, 20_000) / 500
    assert gain_margin(0.67, 0.65, 500) == pytest.approx(100 * 1.96 * draws.std(), rel=0.03)
    assert gain_margin(0.67, 0.65, 2000) == pytest.approx(gain_margin(0.67, 0.65, 500) / 2)


def harvest_of(before, after, references=None):
    lines = [GeometryMeasurement(step, "twonn", ("block 1", "block 2"), (5.0, value)) for step, value in ((0, before), (9, after))]
    return Harvest("eval_accuracy", {"eval_accuracy": [(9, 0.7)]}, references or {}, lines, 10, 9, 500)


@pytest.mark.parametrize("before, after, answer", [(5.0, 6.5, 0), (5.0, 5.4, 1), (5.0, 3.5, 2), (None, 5.0, None)])
def test_the_move_of_the_last_layer(before, after, answer):
    assert move_answer(harvest_of(before, after).geometry) == answer


def test_what_became_of_a_run_is_said_with_its_reference():
    said = run_finding(harvest_of(5.0, 3.5, {"head only": 0.6}))
    assert "Accuracy 0.70" in said and "0.60 for the head only" in said and "moved by −1.5" in said
    assert "no" not in run_finding(harvest_of(None, 3.5)).split()
    empty = dataclasses.replace(harvest_of(5.0, 3.5), series={})
    assert run_finding(empty) == "The run has not been evaluated."


def test_the_verdict_names_both_answers_where_they_differ():
    answers = ("one", "two")
    assert verdict(0, 0, answers) == "The class said: one. So it is."
    assert verdict(0, 1, answers) == "The class said: one. Measured: two."
    assert verdict(0, None, answers) == "The class said: one."
