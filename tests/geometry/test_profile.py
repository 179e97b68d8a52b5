"""The profile: values equal to a plain reference, half-samples exact and paired, gaps with a reason, rises and scale."""

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from gelora.errors import Cancelled, DataError, InputError
from gelora.geometry import MLE, TwoNN, estimate_profile, is_scale_dependent, neighbor_graph, rises, synthetic
from gelora.geometry.half_samples import draw_halves, half_graph, wide_enough
from gelora.geometry.neighbors import distinct_points, search
from gelora.geometry.pairwise import NumpyPairwise
from gelora.records import IdProfile

T4, T5, T10 = 2.776445, 2.570582, 2.228139  # 97.5% of Student's law, by pairs of halves


def layers(n=150, dimensions=(3, 5, 4), width=24):
    return np.stack([synthetic.gaussian(n, d, width, seed=i) for i, d in enumerate(dimensions)]).astype(np.float32)


def test_every_value_equals_the_reference(make, reference):
    values = layers()
    profile = estimate_profile(make.states(values), ("twonn", "twonn-mle", "mle"), n_neighbors=10, n_subsamples=4)
    np.testing.assert_allclose(profile.dimensions("twonn"), [reference.twonn(v) for v in values], rtol=1e-9)
    for i, layer in enumerate(values):
        mu = np.divide(*reference.neighbors(layer, 2)[0].T[::-1])
        assert profile.dimensions("twonn-mle")[i] == pytest.approx((len(mu) - 1) / np.log(mu).sum(), rel=1e-9)
        radii = reference.neighbors(layer, 10)[0]
        assert profile.dimensions("mle")[i] == pytest.approx(9 / np.log(radii[:, -1:] / radii[:, :-1]).sum(axis=1).mean(), rel=1e-9)


def test_profile_carries_where_it_comes_from(make):
    states = make.states(layers())
    profile = estimate_profile(states, ["mle"], n_neighbors=7, metric="cosine", n_subsamples=2)
    assert (profile.n_neighbors, profile.metric, profile.pooling, profile.max_length) == (7, "cosine", "mean", 128)
    assert profile.layer_names == states.layer_names and profile.model == states.model
    assert profile.sample_source == states.sample_source
    assert list(profile.estimates) == ["mle"]
    estimate = profile.estimates["mle"][0]
    assert (estimate.estimator, estimate.n_samples, estimate.n_distinct) == ("mle", 150, 150)
    assert estimate.seconds > 0
    assert IdProfile.from_json(profile.to_json()) == profile


def some_point_set(name, rng):
    X = rng.standard_normal((120, 6))
    if name == "with copies":
        X[60:90] = X[:30]
    if name == "clusters that empty a half":
        X = np.repeat(rng.standard_normal((4, 6)), 30, axis=0) + 1e-3 * X
    if name == "tiny":
        X = X[:13]
    return X


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", ["plain", "with copies", "clusters that empty a half", "tiny"])
@pytest.mark.parametrize("n_wide", [6, 34])
def test_graph_of_a_half_equals_its_own_graph(name, metric, n_wide, rng):
    """n_wide = 6 leaves most rows short of neighbors in the half, so that the fallback is at work too."""
    X = some_point_set(name, rng)
    points = distinct_points(X, metric)
    graph, points = search(points, min(n_wide, len(points) - 1))
    for half in draw_halves(len(X), 6, seed=1):
        derived = half_graph(graph, points, NumpyPairwise(points.values, 10**6), half, 5)
        direct = neighbor_graph(X[half], 5, metric)
        np.testing.assert_array_equal(derived.distances, direct.distances)
        np.testing.assert_array_equal(derived.indices, direct.indices)
        np.testing.assert_array_equal(derived.rows, direct.rows)
        assert derived.n_duplicates == direct.n_duplicates


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(20, 90), side=st.integers(3, 6), width=st.integers(2, 4), wide=st.integers(3, 20))
def test_ties_in_a_half_are_ordered_as_in_its_own_graph(metric, seed, n, side, width, wide):
    """Points of a small grid, most at equal distances and many given twice, whose first copy a half often lacks."""
    X = np.random.default_rng(seed).integers(1, side, (n, width)).astype(float)
    points = distinct_points(X, metric)
    assume(len(points) > 4)
    graph, points = search(points, min(wide, len(points) - 1))
    for half in draw_halves(n, 4, seed % 1000):
        k = min(3, len(np.unique(points.labels[half])) - 1)
        assume(k > 0)
        derived = half_graph(graph, points, NumpyPairwise(points.values, 10**6), half, k)
        direct = neighbor_graph(X[half], k, metric)
        np.testing.assert_array_equal(derived.distances, direct.distances)
        np.testing.assert_array_equal(derived.indices, direct.indices)


def test_few_rows_of_a_half_need_the_fallback(rng):
    X = rng.standard_normal((1000, 10))
    points = distinct_points(X)
    graph, _ = search(points, wide_enough(20, 1000))
    short = [np.isin(graph.indices[half], half).sum(axis=1) < 20 for half in draw_halves(1000, 10, seed=0)]
    assert np.mean(short) < 0.005


def test_subsamples_are_the_estimates_of_the_same_halves_in_every_layer(make):
    values = layers()
    profile = estimate_profile(make.states(values), ("twonn", "mle"), n_neighbors=6, n_subsamples=4, seed=9)
    halves = draw_halves(150, 4, 9)
    assert all(len(np.unique(half)) == 75 for half in halves) and profile.halves == "pairs"
    assert all(not set(one) & set(other) for one, other in zip(halves[0::2], halves[1::2], strict=True))
    for s, half in enumerate(halves):
        for layer, rows in enumerate(values):
            assert profile.subsamples["twonn"][s, layer] == pytest.approx(TwoNN().fit(rows[half]).dimension_, rel=1e-12)
            assert profile.subsamples["mle"][s, layer] == pytest.approx(MLE(6).fit(rows[half]).dimension_, rel=1e-12)


def test_intervals_are_those_of_the_half_samples(make):
    profile = estimate_profile(make.states(layers()), ("twonn", "twonn-mle", "mle"), n_subsamples=8)
    for name in ("twonn", "mle"):
        for estimate, spread in zip(profile.estimates[name], profile.subsamples[name].T, strict=True):
            half_width = T4 * estimate.dimension / spread.mean() * np.sqrt(np.mean((spread[0::2] - spread[1::2]) ** 2) / 4)
            assert (estimate.ci_low, estimate.ci_high) == pytest.approx((estimate.dimension - half_width, estimate.dimension + half_width))
    own = TwoNN("mle").fit(layers()[1])
    assert (profile.estimates["twonn-mle"][1].ci_low, profile.estimates["twonn-mle"][1].ci_high) == (own.ci_low_, own.ci_high_)


def test_half_sample_intervals_cover_what_other_samples_give(make):
    """60 samples of one manifold: intervals hold the long-run mean about 95% of the time, and are not much too wide."""
    values = np.stack([synthetic.clifford_torus(300, 3, 6, seed=i) for i in range(60)])
    profile = estimate_profile(make.states(values), ("twonn", "mle"), n_neighbors=10)
    for name in ("twonn", "mle"):
        dimensions = profile.dimensions(name)
        covered = [e.ci_low <= dimensions.mean() <= e.ci_high for e in profile.estimates[name]]
        assert np.mean(covered) >= 0.88  # 95% less two and a half standard errors
        behind = np.array([e.ci_high - e.ci_low for e in profile.estimates[name]]) / (2 * T10)
        ratio = np.sqrt(np.mean(behind**2)) / dimensions.std(ddof=1)
        assert 0.8 < ratio < 1.25  # 60 samples know their own deviation to 9%
        independent = profile.subsamples[name][0::2].std(axis=0, ddof=1)
        assert np.sqrt(np.mean(independent**2)) > np.sqrt(np.mean(behind**2))  # why halves come in pairs


def test_without_half_samples_intervals_are_analytic(make):
    values = layers()
    profile = estimate_profile(make.states(values), ("twonn", "twonn-mle", "mle"), n_subsamples=0)
    assert profile.subsamples == {}
    for name, estimator in (("twonn", TwoNN()), ("mle", MLE(20))):
        own = estimator.fit(values[0])
        assert (profile.estimates[name][0].ci_low, profile.estimates[name][0].ci_high) == pytest.approx((own.ci_low_, own.ci_high_))
    assert not is_scale_dependent(profile, "mle").any()
    first = rises(profile, "twonn")[0]
    assert first.ci_low < first.value < first.ci_high
    assert IdProfile.from_json(profile.to_json()) == profile


def test_seed_decides(make):
    states = make.states(layers())

    def subsamples(seed):
        return estimate_profile(states, ["twonn"], n_subsamples=4, seed=seed).subsamples["twonn"]

    np.testing.assert_array_equal(subsamples(1), subsamples(1))
    assert not np.array_equal(subsamples(1), subsamples(2))


def with_broken_layers():
    values = layers(dimensions=(3, 5, 4, 4, 4))
    values[0] = 1.0  # a CLS token before block 1
    values[2] = values[2][np.arange(150) % 28]
    values[3, :3, 0] = np.nan
    return values


def test_layers_without_a_dimension_say_why(make):
    profile = estimate_profile(make.states(with_broken_layers()), ("twonn", "mle"), n_subsamples=4)
    for name in ("twonn", "mle"):
        notes = [e.note for e in profile.estimates[name]]
        assert notes[0] == "1 distinct vector of 150: too few for a dimension"
        assert notes[2] == "28 distinct vectors of 150: too few for a dimension"
        assert "3 of 150 rows hold NaN" in notes[3]
        assert notes[1] is notes[4] is None
        np.testing.assert_array_equal(np.isnan(profile.dimensions(name)), [True, False, True, True, False])
        np.testing.assert_array_equal(np.isnan(profile.subsamples[name]).all(axis=0), [True, False, True, True, False])
        assert [e.n_distinct for e in profile.estimates[name]] == [1, 150, 28, 0, 150]
        assert all((e.ci_low is None) == (e.dimension is None) for e in profile.estimates[name])
    assert IdProfile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(("n_copies", "defined"), [(30, True), (31, False)])
def test_four_fifths_of_the_vectors_must_be_distinct(make, n_copies, defined):
    values = layers(dimensions=(4,))
    values[0, :n_copies] = values[0, -n_copies:]
    profile = estimate_profile(make.states(values), ["twonn"], n_neighbors=5, n_subsamples=2)
    assert (profile.estimates["twonn"][0].dimension is not None) == defined


def test_parallel_rows_count_as_copies_under_cosine(make):
    values = np.round(layers(dimensions=(4, 4)) * 100)  # whole numbers, so that 3 times a row is parallel to it exactly
    values[0, :100] = values[0, :1] * np.arange(1, 101)[:, None]
    values[1, :60] = values[1, 60:120] * 3
    values[1, :, 0] = 0
    values[1, :60, 0] = 1e-20  # no direction that float64 could tell apart
    profile = estimate_profile(make.states(values), ["twonn"], n_neighbors=5, n_subsamples=2, metric="cosine")
    assert profile.estimates["twonn"][0].note == "51 distinct vectors of 150: too few for a dimension"
    assert profile.estimates["twonn"][1].note == "90 distinct vectors of 150: too few for a dimension"


def test_layer_on_a_grid_is_undefined_for_the_estimator_that_cannot_answer(make):
    values = np.stack([np.eye(30), np.random.default_rng(0).random((30, 30))])
    profile = estimate_profile(make.states(values), ("twonn", "mle"), n_neighbors=5, n_subsamples=2)
    assert "ratios r2 / r1 are 1" in profile.estimates["twonn"][0].note
    assert "same distance" in profile.estimates["mle"][0].note
    assert profile.estimates["mle"][1].dimension > 1


def test_halves_too_small_for_the_neighbors_fall_back_to_the_formula(make):
    profile = estimate_profile(make.states(layers(n=30)), ("twonn", "mle"), n_neighbors=20, n_subsamples=6)
    assert np.isnan(profile.subsamples["mle"]).all()
    assert np.isfinite(profile.subsamples["twonn"]).all()
    estimate = profile.estimates["mle"][0]
    assert "0 of 6 half-samples" in estimate.note
    assert estimate.ci_low < estimate.dimension < estimate.ci_high
    assert rises(profile, "mle")[0].ci_low < rises(profile, "mle")[0].value
    assert not is_scale_dependent(profile, "mle").any()


@pytest.mark.parametrize("n", [10, 21])
def test_fewer_samples_than_neighbors_is_an_error_at_once(make, n):
    with pytest.raises(DataError, match=f"{n} rows, but 20 neighbors need at least 22"):
        estimate_profile(make.states(layers(n=n)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimators": ["twonn", "pca"]}, "pca.*twonn, .*mle"),
        ({"estimators": []}, "No estimator"),
        ({"n_neighbors": 1}, "n_neighbors is 1"),
        ({"n_subsamples": 1}, "n_subsamples is 1"),
        ({"n_subsamples": 5}, "n_subsamples is 5; halves come in pairs, so it must be 0 .* or an even number"),
        ({"n_subsamples": -1}, "n_subsamples is -1"),
        ({"metric": "dot"}, "dot"),
        ({"device": "gpu"}, "gpu"),
    ],
)
def test_illegal_arguments_are_named(make, options, message):
    with pytest.raises(InputError, match=message):
        estimate_profile(make.states(layers()), **options)


def test_progress_counts_layers_and_can_stop(make):
    calls = []
    estimate_profile(make.states(layers()), ["twonn"], n_subsamples=2, progress=lambda *call: calls.append(call))
    assert [call[1:] for call in calls] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert len({call[0] for call in calls}) == 1

    def stop(stage, done, total):
        if done == 1:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        estimate_profile(make.states(layers()), ["twonn"], progress=stop)


def test_rises_are_paired_differences(make):
    profile = estimate_profile(make.states(layers()), ["twonn"], n_subsamples=10)
    dimensions, halves = profile.dimensions("twonn"), profile.subsamples["twonn"]
    result = rises(profile, "twonn")
    assert [r.block for r in result] == [1, 2]
    for rise in result:
        scaled = halves * dimensions / halves.mean(axis=0)
        of_halves = scaled[:, rise.block] - scaled[:, rise.block - 1]
        half_width = T5 * np.sqrt(np.mean((of_halves[0::2] - of_halves[1::2]) ** 2) / 4)
        assert rise.value == pytest.approx(dimensions[rise.block] - dimensions[rise.block - 1])
        assert (rise.ci_low, rise.ci_high) == pytest.approx((rise.value - half_width, rise.value + half_width), abs=1e-6)


def test_what_moves_both_layers_alike_cancels_in_a_rise(make):
    layer = layers(dimensions=(5,))[0]
    turned = layer @ np.linalg.qr(np.random.default_rng(0).standard_normal((24, 24)))[0].astype(np.float32)
    profile = estimate_profile(make.states(np.stack([layer, turned])), ["mle"], n_neighbors=10)
    (rise,) = rises(profile, "mle")
    own = profile.estimates["mle"][0]
    assert abs(rise.value) < 1e-4 and rise.ci_high - rise.ci_low < 1e-3 * (own.ci_high - own.ci_low)


def test_rise_without_an_end_says_which_and_why(make):
    profile = estimate_profile(make.states(with_broken_layers()), ["twonn"], n_subsamples=4)
    result = rises(profile, "twonn")
    assert [r.value for r in result] == [None] * 4
    assert result[0].note == "no dimension at embeddings (1 distinct vector of 150: too few for a dimension)"
    assert "block 2 and block 3" in result[2].note and "28 distinct" in result[2].note and "NaN" in result[2].note
    assert result[0].ci_low is result[0].ci_high is None


def test_near_duplicates_make_a_layer_scale_dependent(make):
    """Tight pairs: the whole sees the tight scale, half of the rows have lost their partner. The other layer has one scale."""
    rng = np.random.default_rng(1)
    base = synthetic.clifford_torus(200, 2, 12, rng)
    paired = np.vstack([base, base + 1e-3 * rng.standard_normal((200, 12))])
    profile = estimate_profile(make.states(np.stack([synthetic.clifford_torus(400, 2, 12, 7), paired])), ["twonn"])
    np.testing.assert_array_equal(is_scale_dependent(profile, "twonn"), [False, True])


def test_unknown_estimator_in_a_question_is_named(make):
    profile = estimate_profile(make.states(layers()), ["twonn"], n_subsamples=2)
    for question in (rises, is_scale_dependent):
        with pytest.raises(InputError, match=r"mle.*twonn"):
            question(profile, "mle")
