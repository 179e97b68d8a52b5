"""Scores of classification and regression, from scikit-learn and SciPy.

Takes arrays of answers and of truth; does not depend on models, rows or presets.
"""

import math

import numpy as np


def classification_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, F1 (of class 1 where there are two classes, as GLUE has it, else the mean over classes), Matthews.

    Args:
        logits: [n_rows, n_classes].
        labels: [n_rows], class indices.
    """
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    chosen = logits.argmax(axis=-1)
    average = "binary" if logits.shape[-1] == 2 else "macro"
    return {
        "accuracy": float(accuracy_score(labels, chosen)),
        "f1": float(f1_score(labels, chosen, average=average, zero_division=0)),
        "matthews": float(matthews_corrcoef(labels, chosen)),
    }


def regression_scores(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Pearson and Spearman correlation (NaN where either side is constant) and mean squared error; both [n_rows] or [n_rows, 1]."""
    from scipy.stats import pearsonr, spearmanr

    given, truth = answers.reshape(-1).astype(np.float64), labels.reshape(-1).astype(np.float64)
    defined = len(truth) > 1 and np.ptp(given) > 0 and np.ptp(truth) > 0 and bool(np.isfinite(given).all())
    return {
        "pearson": float(pearsonr(given, truth).statistic) if defined else math.nan,
        "spearman": float(spearmanr(given, truth).statistic) if defined else math.nan,
        "mse": float(np.mean((given - truth) ** 2)),
    }
