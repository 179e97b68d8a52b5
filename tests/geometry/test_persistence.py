"""PH0 against another spanning tree, its own law, scikit-dimension, and manifolds of known dimension."""

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from gelora.errors import DataError, InputError
from gelora.geometry import PersistentHomologyDimension, PointCloud, neighbor_graph, synthetic
from gelora.geometry.persistence import tree_lengths


def ph0(**options):
    return PersistentHomologyDimension(**{"n_subsamples": 0, **options})


def oracle_length(X):
    """Of the whole tree, by scipy on direct differences."""
    return minimum_spanning_tree(cdist(X, X)).sum()


def near_duplicates(rng):
    X = synthetic.gaussian(300, 8, 96, rng)
    X[200:] = X[0] + 1e-4 * rng.standard_normal((100, 96))
    return X


CLOUDS = {
    "plain": lambda rng: synthetic.sphere(300, 5, 64, rng),
    "near duplicates": near_duplicates,
    "outlier dimension": lambda rng: synthetic.gaussian(300, 8, 96, rng) * np.r_[1e4, np.ones(95)],
    "near duplicates beside an outlier dimension": lambda rng: (
        near_duplicates(rng) + np.r_[1e4, np.zeros(95)] * rng.random((300, 1)).round(1)
    ),
    "offset": lambda rng: synthetic.gaussian(300, 8, 96, rng) + 1e6,
    "tiny beside a constant": lambda rng: np.hstack([1e-180 * rng.random((300, 3)), np.full((300, 1), 0.1)]),
    "two far clusters": lambda rng: np.vstack([rng.random((150, 4)), 1e7 + rng.random((150, 4))]),
    "one coordinate": lambda rng: rng.random((300, 1)),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_the_tree_is_as_long_as_scipys_on_direct_differences(name, rng):
    X = CLOUDS[name](rng)
    scale = 1e180 if name.startswith("tiny") else 1.0  # scipy takes squares that underflow
    estimate = ph0().fit(X)
    expected = oracle_length((X - X[0]) * scale) / scale
    assert estimate.lengths_[-1] == pytest.approx(expected, rel=1e-9)


def test_tree_of_tied_distances_equals_scipys(rng):
    X = rng.integers(0, 6, (120, 3)).astype(float)
    X = np.unique(X, axis=0)
    distances = cdist(X, X)
    assert sorted(tree_lengths(distances)) == pytest.approx(sorted(minimum_spanning_tree(distances).data))


def test_slope_is_that_of_the_picture(rng):
    estimate = ph0().fit(rng.random((400, 2)))
    np.testing.assert_array_equal(estimate.sizes_, [50, 100, 200, 400])
    assert (np.diff(estimate.lengths_) > 0).all()
    assert estimate.slope_ == pytest.approx(np.polyfit(np.log(estimate.sizes_), np.log(estimate.lengths_), 1)[0])
    assert estimate.dimension_ == pytest.approx(1 / (1 - estimate.slope_))


@pytest.mark.parametrize(
    ("manifold", "dimension", "low", "high"),
    [
        ("spiral", 1, 0.95, 1.05),
        ("affine", 2, 1.85, 2.1),
        ("swiss roll", 2, 1.85, 2.1),
        ("sphere", 3, 2.85, 3.15),
        ("sphere", 8, 7.1, 8.1),  # known bias: 7.6 at N = 1000
        ("sphere", 12, 10.2, 11.6),  # 10.9
        ("gaussian", 20, 15.3, 17.4),  # 16.3
    ],
)
def test_known_dimension_is_found_up_to_the_known_bias(manifold, dimension, low, high):
    """Around the mean that the docstring states, four of its deviations over draws (1.5% of the dimension)."""
    X = synthetic.MANIFOLDS[manifold](1000, dimension, 64, seed=11)
    assert low <= ph0().fit(X).dimension_ <= high


def test_agrees_with_scikit_dimension(rng):
    """Theirs has other sizes (from half of the points on) and other subsets; deviation of both together 4%."""
    skdim = pytest.importorskip("skdim")
    X = synthetic.sphere(600, 5, 20, rng)
    theirs = skdim.id.PH(nsteps=5, subsamples=4, random_state=0).fit(X).dimension_
    assert ph0().fit(X).dimension_ == pytest.approx(float(np.ravel(theirs)[0]), rel=0.12)


def test_interval_covers_other_draws():
    """Of 20 fresh draws at least 15 lie within it; 17 are expected of a right 95% interval, whose centre is a draw too."""
    estimate = PersistentHomologyDimension().fit(synthetic.sphere(400, 5, 10, seed=0))
    others = [ph0().fit(synthetic.sphere(400, 5, 10, seed=seed)).dimension_ for seed in range(1, 21)]
    assert sum(estimate.ci_low_ <= other <= estimate.ci_high_ for other in others) >= 15
    assert estimate.ci_high_ - estimate.ci_low_ < 1.5


def test_more_points_than_asked_for_are_drawn_and_said(rng):
    X = rng.random((500, 2))
    estimate = ph0(max_points=200).fit(X)
    assert "read on 200 of 500 points" in estimate.note_
    assert estimate.sizes_[-1] == 200
    assert estimate.dimension_ == pytest.approx(2, rel=0.2)
    assert ph0(max_points=200, seed=1).fit(X).dimension_ != estimate.dimension_


@pytest.mark.parametrize(("n", "sizes"), [(40, [20, 40]), (79, [39, 79]), (159, [39, 79, 159]), (163, [20, 40, 81, 163])])
def test_parts_have_at_least_20_points(n, sizes, rng):
    estimate = ph0().fit(rng.random((n, 2)))
    assert estimate.sizes_.tolist() == sizes
    assert estimate.dimension_ == pytest.approx(2, rel=0.25)


def test_cosine_cloud_is_read_as_directions(rng):
    X = synthetic.sphere(500, 4, 20, rng)
    scaled = X * rng.uniform(0.1, 10, (500, 1))
    assert ph0().fit(PointCloud(scaled, "cosine")).dimension_ == pytest.approx(ph0().fit(X).dimension_, rel=1e-9)


def test_equally_far_points_have_no_dimension():
    with pytest.raises(DataError, match=r"grows as n\^1.0.*exponent of 1 or more"):
        ph0().fit(np.eye(64))


def test_too_few_points(rng):
    with pytest.raises(DataError, match=r"at least 40 distinct points.*there are 39"):
        ph0().fit(rng.random((39, 3)))
    assert np.isfinite(ph0().fit(rng.random((40, 3))).dimension_)


def test_a_graph_holds_no_coordinates(rng):
    with pytest.raises(InputError, match="reads coordinates"):
        ph0().fit(neighbor_graph(rng.random((100, 3)), 5))


@pytest.mark.parametrize(("options", "message"), [({"max_points": 39}, "max_points is 39"), ({"seed": -1}, "seed is -1")])
def test_illegal_parameters_are_named(options, message, rng):
    with pytest.raises(InputError, match=message):
        ph0(**options).fit(rng.random((50, 2)))
