"""Predictors of what rank is worth: the table holds what was measured, correlations are Spearman's, chance is not taken for a finding."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gelora.block_predictors import block_predictors, rank_correlations
from gelora.errors import InputError
from gelora.records import ModuleScores

sys.path.insert(0, str(Path(__file__).parent / "app"))
from made_profiles import make_profile, make_similarity

N_TASKS, N_BLOCKS = 8, 12


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def smooth(rng, n_tasks=N_TASKS, n_blocks=N_BLOCKS):
    """Numbers by block that hang together along the depth, as those of real blocks do."""
    return np.cumsum(rng.standard_normal((n_tasks, n_blocks)), axis=1)


def scores_of(profile, strategy="gradient", **changes):
    modules = [module.name for module in profile.model.modules]
    weights = np.arange(1.0, len(modules) + 1)
    fields = {"strategy": strategy, "scores": dict(zip(modules, (weights / weights.sum()).tolist(), strict=True)), "components": {}}
    rest = {
        "model_id": "tiny",
        "revision": "rev",
        "n_rows": 8,
        "detail": "by hand",
        "seconds": 0.1,
        "definition": 2 if strategy == "gradient" else 1,
    }
    return ModuleScores(**(fields | rest | changes))


def test_the_table_holds_what_was_measured_of_every_block():
    profile = make_profile()
    similarity = replace(
        make_similarity(3),
        **{name: getattr(profile, name) for name in ("model", "sample_source", "pooling", "max_length")},
    )
    table = block_predictors(profile, similarity, [scores_of(profile), scores_of(profile, "fisher")])
    assert list(table) == [
        "depth", "rise:twonn", "level:twonn", "rise:mle", "level:mle", "overlap", "cka", "imbalance forward", "imbalance backward",
        "score:gradient", "score:fisher",
    ]  # fmt: skip
    assert {len(values) for values in table.values()} == {3}
    np.testing.assert_allclose(table["rise:twonn"], [np.nan, 2.4, -1.4])
    np.testing.assert_allclose(table["level:mle"], [np.nan, 14.2, 14.7])
    np.testing.assert_allclose(table["overlap"], [similarity.overlap[b - 1, b] for b in (1, 2, 3)])
    np.testing.assert_allclose(table["imbalance backward"], similarity.backward)
    np.testing.assert_allclose(table["score:gradient"], np.array([2.5, 6.5, 10.5]) / 78)


def test_what_does_not_belong_together_is_refused():
    profile = make_profile()
    with pytest.raises(InputError, match="different"):
        block_predictors(profile, make_similarity(3))
    with pytest.raises(InputError, match="two scores by gradient"):
        block_predictors(profile, None, [scores_of(profile)] * 2)
    with pytest.raises(InputError, match="are of another"):
        block_predictors(profile, None, [scores_of(profile, model_id="another")])


def test_rho_is_spearmans_with_ties_and_gaps(rng):
    worth, values = rng.integers(0, 5, (N_TASKS, N_BLOCKS)).astype(float), rng.integers(0, 5, (N_TASKS, N_BLOCKS)).astype(float)
    worth[0, 3] = values[1, :4] = np.nan
    (found,) = rank_correlations({"made": values}, worth)
    expected = [stats.spearmanr(a, b, nan_policy="omit").statistic for a, b in zip(values, worth, strict=True)]
    np.testing.assert_allclose(found.by_task, expected)
    assert found.rho == pytest.approx(np.mean(expected))
    assert found.ci_low < found.rho < found.ci_high


def test_a_monotone_predictor_is_found_and_its_opposite_and_what_is_equal_everywhere(rng):
    worth = rng.random((N_TASKS, N_BLOCKS))
    same, opposite, equal, all_tasks = rank_correlations(
        {"same": np.exp(worth), "opposite": -worth, "equal": np.ones(N_BLOCKS), "depth": np.arange(N_BLOCKS)}, worth
    )
    assert (same.rho, same.ci_low, same.ci_high) == (1.0, 1.0, 1.0) and same.beyond_depth == pytest.approx(1.0)
    assert opposite.rho == -1.0 and same.p == opposite.p == 2 / 2**N_TASKS
    assert same.p_corrected == pytest.approx(3 * 2 / 2**N_TASKS) and same.is_significant  # three are tested
    assert (equal.rho, equal.p, equal.p_corrected) == (None, None, None) and "all equal" in equal.note and np.isnan(equal.by_task).all()
    assert all_tasks.by_task.shape == (N_TASKS,) and all_tasks.beyond_depth is None


def test_what_only_follows_the_depth_has_nothing_beyond_it(rng):
    depth = np.arange(30.0)
    worth = depth + 6 * rng.standard_normal((40, 30))
    (found,) = rank_correlations({"made": depth + 6 * rng.standard_normal((40, 30))}, worth)
    assert found.rho > 0.4 and abs(found.beyond_depth) < 0.1


def test_few_tasks_find_nothing_and_one_has_no_interval(rng):
    worth = rng.random((5, N_BLOCKS))
    (five,) = rank_correlations({"made": worth}, worth)
    assert five.rho == 1.0 and five.p == 2 / 2**5 and not five.is_significant
    assert five.ci_low is None and five.note == "5 tasks are too few for an interval of 95%"
    (one,) = rank_correlations({"made": worth[:1]}, worth[:1])
    assert (one.rho, one.ci_low, one.p, one.note) == (1.0, None, 1.0, "1 task is too few for an interval of 95%")


def test_chance_is_no_finding_even_among_blocks_that_hang_together(rng):
    """400 draws in which nothing predicts: of such, 5% and no more may seem to; blocks taken for independent would find 30%."""
    found = [rank_correlations({"made": smooth(rng)}, smooth(rng), n_resamples=100)[0] for _ in range(400)]
    assert np.mean([one.p < 0.05 for one in found]) < 0.09
    naive = [stats.spearmanr(smooth(rng, 1)[0], smooth(rng, 1)[0]).pvalue < 0.05 for _ in range(200)]
    assert np.mean(naive) > 0.2


@pytest.mark.parametrize("n_tasks", [6, 12])
def test_the_interval_holds_the_mean_over_all_tasks(rng, n_tasks):
    def draw(n):
        worth = rng.standard_normal((n, N_BLOCKS))
        return worth + 1.5 * rng.standard_normal((n, N_BLOCKS)), worth

    values, worth = draw(3000)
    truth = rank_correlations({"made": values}, worth, n_resamples=100)[0].rho
    held = []
    for _ in range(200):
        values, worth = draw(n_tasks)
        (found,) = rank_correlations({"made": values}, worth, n_resamples=400)
        held.append(found.ci_low <= truth <= found.ci_high)
    assert 0.87 < np.mean(held) < 0.995


def test_signs_of_many_tasks_are_drawn(rng):
    worth = rng.random((20, N_BLOCKS))
    same, other = rank_correlations({"same": worth, "other": rng.random((20, N_BLOCKS))}, worth)
    assert same.p < 0.001 < other.p


@pytest.mark.parametrize(
    ("predictors", "marginal", "says"),
    [
        ({}, np.ones((2, 4)), "no predictors"),
        ({"a": np.ones((2, 5))}, np.ones((2, 4)), r"a has the shape \[2, 5\]; expected \[2, 4\] or \[4\]"),
        ({"a": np.ones(4)}, np.ones(4), r"marginal has the shape \[4\]"),
        ({"a": np.full(4, np.inf)}, np.ones((2, 4)), "infinite"),
        ({"a": ["x"] * 4}, np.ones((2, 4)), "no table of numbers"),
    ],
)
def test_tables_that_do_not_fit_are_one_sentence(predictors, marginal, says):
    with pytest.raises(InputError, match=says):
        rank_correlations(predictors, marginal)
