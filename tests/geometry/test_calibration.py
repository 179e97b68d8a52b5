"""Manifolds of known dimension, drawn and measured: the answers are those of `fit`, the summary is plain arithmetic."""

import dataclasses

import numpy as np
import pytest

from gelora.errors import Cancelled, InputError
from gelora.geometry import ESTIMATORS, FIXED_DIMENSIONS, Case, Trial, calibrate, closest, cloud as cloud_module, summarize
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import half_sample_interval
from gelora.geometry.half_samples import draw_halves

SPHERE = Case("sphere", 200, dimension=3, width=10)


def trial(dimension, low=None, high=None, seed=0, note=None):
    return Trial("affine", 10, 500, 20, 0.0, seed, "twonn", dimension, low, high, 0.5, 0.25, 2.0, note)


@pytest.mark.parametrize("name", ["twonn", "twonn-mle", "mle", "correlation", "pca-pr"])
def test_an_answer_and_its_interval_are_those_of_fit(name):
    fitted = ESTIMATORS[name].make(20, 20).fit(SPHERE.points(4))
    [answer] = calibrate([SPHERE], [name], [4])
    assert (answer.dimension, answer.ci_low, answer.ci_high) == pytest.approx(
        (fitted.dimension_, fitted.ci_low_, fitted.ci_high_), rel=1e-12
    )
    assert (answer.truth, answer.width, answer.seed, answer.note) == (3, 10, 4, None)


def test_half_samples_for_all_replace_an_analytic_interval():
    points = SPHERE.points(1)
    whole = PointCloud(points)
    halves = [ESTIMATORS["mle"].make(20, 0).answer_or_nan(whole.subset(half)) for half in draw_halves(200, 12, 0)]
    [answer] = calibrate([SPHERE], ["mle"], [1], interval="half-samples", n_subsamples=12)
    assert (answer.ci_low, answer.ci_high) == pytest.approx(half_sample_interval(answer.dimension, np.array(halves), 0.95)[:2])


def test_without_intervals_only_the_analytic_ones_are_there():
    analytic, none = calibrate([SPHERE], ["twonn", "pca-pr"], [0], interval="none")
    assert analytic.ci_low is not None and none.ci_low is None
    assert none.interval_seconds == 0


def test_one_search_serves_all_estimators_of_a_draw(monkeypatch):
    searched = []
    search = cloud_module.search
    monkeypatch.setattr(cloud_module, "search", lambda points, k, device: searched.append(k) or search(points, k, device))
    calibrate([SPHERE], ["twonn", "gride", "mle", "correlation"], [0, 1], interval="none")  # warm
    searched.clear()
    calibrate([SPHERE], ["twonn", "gride", "mle", "correlation"], [0, 1], interval="none")
    assert searched == [20, 20]


def test_a_draw_that_an_estimator_cannot_read_is_a_row_with_the_reason():
    small, small_pca = calibrate([Case("affine", 15, dimension=2, width=4)], ["mle", "pca-pr"], [0])
    assert small.dimension is None and small.ci_low is None
    assert "15" in small.note
    assert small_pca.dimension == pytest.approx(2, abs=0.3)
    missing, _ = summarize([small, small_pca])
    assert (missing.n_trials, missing.n_defined, missing.mean, missing.coverage) == (1, 0, None, None)
    assert missing.notes == (small.note,)


def test_the_summary_is_plain_arithmetic():
    [summary] = summarize([trial(8, 7, 9), trial(9, 7, 11, seed=1), trial(10, 9.5, 10.5, seed=2), trial(None, note="why", seed=3)])
    assert (summary.n_trials, summary.n_defined) == (4, 3)
    assert summary.mean == pytest.approx(9)
    assert (summary.bias, summary.relative_bias) == pytest.approx((-1, -0.1))
    assert summary.sd == pytest.approx(1)
    assert summary.coverage == pytest.approx(2 / 3)  # 7..11 and 9.5..10.5 hold 10
    assert summary.coverage_of_mean == pytest.approx(2 / 3)  # 7..9 and 7..11 hold 9
    assert summary.interval_width == pytest.approx((2 + 4 + 1) / 3)
    assert summary.width_ratio == pytest.approx((2 + 4 + 1) / 3 / (2 * 1.959964))
    assert (summary.seconds, summary.interval_seconds, summary.shared_seconds) == pytest.approx((0.5, 0.25, 2.0))
    assert summary.notes == ("why",)


def answers_by(estimator, *dimensions):
    return [dataclasses.replace(trial(d, seed=i), estimator=estimator) for i, d in enumerate(dimensions)]


def test_the_closest_are_all_that_the_draws_cannot_tell_from_the_nearest():
    """Truth 10. Means 10.1, 9.8 and 8; standard errors 0.058, 0.058 and 0.058, t = 4.30: differences of 0.35 are noise."""
    near, level, far = answers_by("twonn", 10.0, 10.1, 10.2), answers_by("mle", 9.7, 9.8, 9.9), answers_by("danco", 7.9, 8.0, 8.1)
    assert [s.estimator for s in closest(summarize([*far, *level, *near]))] == ["twonn", "mle"]
    assert [s.estimator for s in closest(summarize([*far, *near]))] == ["twonn"]
    assert [s.estimator for s in closest(summarize([*far[:1], *near]))] == ["twonn", "danco"]  # one draw has no spread
    assert closest(summarize(answers_by("mle", None))) == ()


def test_one_draw_has_no_spread():
    [summary] = summarize([trial(8, 7, 9)])
    assert summary.sd is None and summary.width_ratio is None and summary.coverage_of_mean == 1


def test_cases_and_estimators_are_summed_up_apart_in_order():
    cases = [Case("sphere", 60, 2, 5), Case("sphere", 60, 3, 5)]
    trials = calibrate(cases, ["mle", "twonn"], range(2), interval="none")
    assert len(trials) == 8
    assert [(s.truth, s.estimator, s.n_trials) for s in summarize(trials)] == [
        (2, "mle", 2),
        (2, "twonn", 2),
        (3, "mle", 2),
        (3, "twonn", 2),
    ]
    assert [t.dimension for t in calibrate(cases, ["mle", "twonn"], range(2), interval="none")] == [t.dimension for t in trials]


def test_progress_counts_answers_to_the_end_and_can_cancel():
    seen = []
    calibrate([SPHERE], ["twonn", "mle"], range(2), interval="none", progress=lambda stage, done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]

    def cancel(stage, done, total):
        if done == 1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        calibrate([SPHERE], ["twonn", "mle"], range(2), progress=cancel)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cases": []}, "0 cases"),
        ({"seeds": []}, "0 seeds"),
        ({"seeds": [-1]}, "seed is -1"),
        ({"estimators": ["best"]}, "Unknown estimator 'best'"),
        ({"interval": "wide"}, "Unknown interval 'wide'"),
        ({"n_subsamples": 1}, "n_subsamples is 1"),
        ({"cases": [Case("torus", 100, 2, 5)]}, "Unknown manifold 'torus'"),
        ({"cases": [Case("sphere", 100, 5, 5)]}, "needs at least 6"),
        ({"cases": [Case("sphere", 100)]}, "dimension is None"),
    ],
)
def test_what_is_not_legal_is_said(change, says):
    given = {"cases": [SPHERE], "estimators": ["twonn"], "seeds": [0]} | change
    with pytest.raises(InputError, match=says):
        calibrate(**given)


def test_every_manifold_can_be_drawn_and_knows_its_dimension():
    pytest.importorskip("skdim")  # draws the benchmark set
    for name, fixed in FIXED_DIMENSIONS.items():
        case = Case(name, 30, dimension=None if fixed else 3, width=30)
        assert len(case.points(0)) == 30, name
        assert case.truth == (fixed or 3)
    assert FIXED_DIMENSIONS["moebius"] == 2 and FIXED_DIMENSIONS["M9_Affine"] == 20
