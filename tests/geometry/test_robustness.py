"""Awkward input, every own estimator: a finite number with an interval, or an error of one sentence; never a warning."""

import numpy as np
import pytest

from gelora.errors import DataError, InputError
from gelora.geometry import ESTIMATORS, TwoNN, synthetic
from gelora.geometry.skdim_backend import SkdimEstimator

OWN = tuple(name for name, kind in ESTIMATORS.items() if not isinstance(kind.make(10, 0), SkdimEstimator))
K = 10
pytestmark = pytest.mark.filterwarnings("error")


def answer(name, X, n_subsamples=0):
    """The fitted estimator, after the checks that hold for every answer."""
    estimator = ESTIMATORS[name].make(K, n_subsamples).fit(X)
    assert np.isfinite(estimator.dimension_) and estimator.dimension_ >= 0
    if estimator.ci_low_ is None:
        assert estimator.ci_high_ is None and "no interval" in estimator.note_
    else:
        assert 0 <= estimator.ci_low_ <= estimator.dimension_ <= estimator.ci_high_ < np.inf
    return estimator


def answer_or_reason(name, X, n_subsamples=0):
    """The dimension, or the sentence that says why there is none."""
    try:
        return answer(name, X, n_subsamples).dimension_
    except (DataError, InputError) as error:
        reason = str(error)
        assert len(reason) > 20 and reason.endswith(".") and "\n" not in reason
        return reason


@pytest.fixture(scope="module")
def X():
    return synthetic.gaussian(300, 5, 24, seed=8)


@pytest.mark.parametrize("name", OWN)
def test_exact_copies_change_nothing(name, X):
    with_copies = answer(name, np.vstack([X, X[:75], X[:75]]))
    assert with_copies.dimension_ == pytest.approx(answer(name, X).dimension_, rel=1e-9)
    assert with_copies.n_distinct_ == 300


def test_400_copies_in_2000_rows_move_twonn_by_less_than_one_percent():
    """scikit-dimension reads 0.11 here: in its distances a copy is a neighbor at 1e-8, not at 0."""
    X = synthetic.gaussian(2000, 12, 768, seed=1)
    X[1600:] = X[:400]
    alone = answer("twonn", X[:1600]).dimension_
    assert answer("twonn", X).dimension_ == pytest.approx(alone, rel=0.01)
    assert alone == pytest.approx(11, abs=1)
    assert TwoNN(method="mle").fit(X).dimension_ == pytest.approx(alone, rel=0.1)


NEAR_DUPLICATES = {  # lowest and highest reading over a few draws, widened by a tenth; without near duplicates all read 4.1 to 5.8
    "twonn": (0.15, 0.22),
    "twonn-mle": (0.25, 0.33),
    "twonn-loglog": (2.5, 4.2),
    "mind": (1.0, 1.3),
    "danco": (1.3, 1.8),
    "mle": (1.5, 1.9),
    "ph0": (3.1, 4.3),
    "gride": (3.5, 5.0),
    "correlation": (3.3, 4.5),
    "plateau": (3.7, 5.4),
    "abide": (3.7, 4.9),
    "pca-pr": (4.4, 5.4),
    "pca-ev": (5, 5),
}


@pytest.mark.parametrize("name", OWN)
def test_near_duplicates_are_real_neighbors(name, X):
    """60 of 300 rows are another row moved by 1e-4 of its length.

    For these 120 points the second neighbor is thousands of times as far as the first. An estimator that reads the
    nearest distance must say so with a low number: the ratios are right, and there is no 5-dimensional law at that scale.
    One that starts at a later neighbor, or at all pairs, does not see them. PH0 does a little: the twins of a point
    come into a growing sample late and add no length.
    """
    rng = np.random.default_rng(2)
    near = X.copy()
    length = np.linalg.norm(X[:60], axis=1, keepdims=True)
    near[240:] = X[:60] + 1e-4 * length * rng.standard_normal((60, 24)) / np.sqrt(24)
    low, high = NEAR_DUPLICATES[name]
    assert low <= answer(name, near).dimension_ <= high


@pytest.mark.parametrize("name", OWN)
def test_outlier_dimension_costs_no_digits(name, X):
    """One coordinate at 10,000 times the others, as transformers have: 300 points are then a line, and all read one.

    A coordinate that is as large but the same in every row up to 1e-4 of itself hides nothing, and neither may depend on
    whether it is an axis or lies across all of them, where a product of float32 rows loses the small ones.
    """
    rng = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(rng.standard_normal((24, 24)))
    long = X * np.r_[1e4, np.ones(23)]
    reading = answer(name, long, 4).dimension_
    assert reading == pytest.approx(1, abs=0.25)
    assert answer(name, long @ rotation).dimension_ == pytest.approx(reading, rel=1e-6)
    hot = X + np.r_[1e4, np.zeros(23)]
    assert answer(name, hot @ rotation).dimension_ == pytest.approx(answer(name, X).dimension_, rel=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_constant_columns_and_a_huge_offset_change_nothing(name, X):
    expected = answer(name, X).dimension_
    assert answer(name, np.hstack([X, np.full((300, 3), 1e4)])).dimension_ == pytest.approx(expected, rel=1e-6)
    assert answer(name, X + 1e6).dimension_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_float16_and_bfloat16_are_read_as_the_numbers_they_hold(name, X):
    half = X.astype(np.float16)
    assert answer(name, half).dimension_ == answer(name, half.astype(np.float64)).dimension_
    torch = pytest.importorskip("torch")
    brain = torch.tensor(X).to(torch.bfloat16)
    assert answer(name, brain).dimension_ == answer(name, brain.double().numpy()).dimension_
    assert answer(name, brain).dimension_ == pytest.approx(answer(name, X).dimension_, rel=0.1)  # 8 bits, width 24


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(name, bad, X):
    broken = X.copy()
    broken[[3, 7, 200], [0, 5, 23]] = bad
    with pytest.raises(DataError, match="3 of 300 rows"):
        ESTIMATORS[name].make(K, 0).fit(broken)


@pytest.mark.parametrize("name", OWN)
def test_fewer_columns_than_neighbors(name):
    assert answer(name, np.random.default_rng(5).random((300, 3)), 4).dimension_ == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize("name", OWN)
def test_one_column_is_a_line(name):
    assert answer(name, np.random.default_rng(6).random((300, 1)), 4).dimension_ == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("name", OWN)
def test_whole_numbers(name):
    counts = np.random.default_rng(7).integers(0, 10_000, (300, 3))
    assert answer(name, counts, 4).dimension_ == pytest.approx(3, rel=0.2)
    answer_or_reason(name, np.random.default_rng(7).integers(0, 4, (300, 3)))  # a grid of 64: ties everywhere


@pytest.mark.parametrize("name", OWN)
def test_all_points_equal(name):
    assert isinstance(answer_or_reason(name, np.ones((100, 8))), str)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 10, 11, 12, 21, 40])
def test_few_points(name, n):
    """Below k, at k, just above it: with half-samples too, whose halves can be too small."""
    reading = answer_or_reason(name, np.random.default_rng(n).random((n, 4)), 4)
    assert isinstance(reading, str) if n < 2 else True


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("points", ["simplex", "grid", "two clusters", "line", "tiny", "huge", "copies of two"])
def test_odd_shapes(name, points):
    rng = np.random.default_rng(9)
    X = {
        "simplex": np.eye(60),
        "grid": np.argwhere(np.ones((6, 6, 6))),
        "two clusters": np.vstack([rng.random((60, 3)), 1e9 + rng.random((60, 3))]),
        "line": np.outer(np.arange(100.0), np.ones(4)),
        "tiny": 1e-300 * rng.random((100, 3)),
        "huge": 1e299 * rng.random((100, 3)),
        "copies of two": np.repeat([[0.0, 1.0], [1.0, 0.0]], 50, axis=0),
    }[points]
    answer_or_reason(name, X, 4)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("X", [np.arange(10.0), np.zeros((10, 0)), np.zeros((4, 4, 4)), np.full((10, 2), 1j), np.full((10, 2), "text")])
def test_what_is_no_table_of_numbers_is_refused(name, X):
    with pytest.raises(InputError, match="X"):
        ESTIMATORS[name].make(K, 0).fit(X)
