"""Scores by their textbook definitions."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from gelora.tasks.metrics import classification_scores, regression_scores


def test_classification_scores_are_the_textbook_ones():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    logits = np.eye(2)[[0, 0, 1, 1, 1, 1, 0, 0]]
    tp, tn, fp, fn = 3, 2, 1, 2
    matthews = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert classification_scores(logits, labels) == pytest.approx({"accuracy": 5 / 8, "f1": 2 / 3, "matthews": matthews})


def test_f1_of_three_classes_is_the_mean_over_classes():
    labels, logits = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 1, 2]]
    assert classification_scores(logits, labels)["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_regression_scores_are_the_textbook_ones():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    answers = (2 * truth + rng.normal(size=50)).reshape(-1, 1)
    found = regression_scores(answers, truth)
    assert found["pearson"] == pytest.approx(np.corrcoef(answers[:, 0], truth)[0, 1])
    assert found["spearman"] == pytest.approx(spearmanr(answers[:, 0], truth).statistic)
    assert found["mse"] == pytest.approx(np.mean((answers[:, 0] - truth) ** 2))


def test_correlation_with_a_constant_is_undefined_not_a_warning():
    found = regression_scores(np.ones((5, 1)), np.arange(5.0))
    assert math.isnan(found["pearson"])
    assert found["mse"] == 3.0
