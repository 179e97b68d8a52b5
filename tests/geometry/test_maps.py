"""Maps of chosen rank on manifolds whose tangent spaces are known: exact derivatives, ranks, and what the measurement says of both."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import InputError
from gelora.geometry import (
    CHARTED,
    MANIFOLDS,
    MAP_KINDS,
    MapSpec,
    SmoothMap,
    TwoNN,
    charted_points,
    measure_map,
    needed_width,
    numerical_rank,
)


@st.composite
def specs(draw):
    kind = draw(st.sampled_from(MAP_KINDS))
    n_in = draw(st.integers(1, 12))
    n_out = n_in if kind == "residual" else draw(st.integers(1, 12))
    rank = draw(st.integers(1, n_out if kind == "hidden" else min(n_in, n_out)))
    context = draw(st.integers(0, 4)) if kind == "residual" else 0
    return MapSpec(kind, n_in, n_out, rank, gain=draw(st.floats(0.1, 5)), n_context=context, seed=draw(st.integers(0, 99)))


def points_for(spec, n=3):
    rng = np.random.default_rng(spec.seed)
    return rng.standard_normal((n, spec.n_in)), rng.uniform(-1, 1, (n, spec.n_context)) if spec.n_context else None


@given(specs())
@settings(max_examples=60, deadline=None)
def test_the_jacobian_is_the_derivative(spec):
    f, (x, c) = SmoothMap(spec), points_for(spec)
    jacobian, step = f.jacobian(x, c), 1e-6
    for j in range(spec.n_in + spec.n_context):
        moved = [x.copy(), None if c is None else c.copy()], [x.copy(), None if c is None else c.copy()]
        for (mx, mc), sign in zip(moved, (1, -1), strict=True):
            (mx if j < spec.n_in else mc)[:, j if j < spec.n_in else j - spec.n_in] += sign * step
        slope = (f(*moved[0]) - f(*moved[1])) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, j], slope, atol=1e-6 * (1 + np.abs(jacobian).max()))


@given(specs())
@settings(max_examples=60, deadline=None)
def test_the_rank_is_never_exceeded(spec):
    f, (x, c) = SmoothMap(spec), points_for(spec)
    for jacobian in f.jacobian(x, c):
        update = jacobian - np.eye(spec.n_in, spec.n_in + spec.n_context) if spec.kind == "residual" else jacobian
        assert numerical_rank(np.linalg.svd(update, compute_uv=False)) <= spec.rank


@given(st.sampled_from(sorted(CHARTED)), st.integers(1, 6), st.integers(0, 50), st.sampled_from([0.0, 0.1]))
@settings(max_examples=40, deadline=None)
def test_charted_points_are_those_of_synthetic(manifold, dimension, seed, noise):
    width = needed_width(manifold, dimension) + 2
    drawn = charted_points(manifold, 30, dimension, width, seed, noise)
    np.testing.assert_allclose(drawn.points, MANIFOLDS[manifold](30, dimension, width, seed, noise), atol=1e-12)
    np.testing.assert_allclose(drawn.tangents.transpose(0, 2, 1) @ drawn.tangents, np.broadcast_to(np.eye(dimension), (8, dimension, dimension)), atol=1e-10)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("manifold", sorted(CHARTED))
def test_the_tangent_space_holds_the_nearest_neighbors(manifold):
    # in 2 dimensions 20,000 points are so near each other that a manifold is flat between neighbors
    drawn = charted_points(manifold, 20_000, 2, 9, seed=1)
    for point, basis in zip(drawn.points, drawn.tangents, strict=False):
        away = drawn.points - point
        distance = np.linalg.norm(away, axis=1)
        near = away[np.argsort(distance)[1:6]]
        normal = near - near @ basis @ basis.T
        assert np.linalg.norm(normal) < 0.1 * np.linalg.norm(near)


@pytest.mark.parametrize(("d", "rank"), [(4, 2), (4, 4), (4, 9), (2, 6)])
def test_a_linear_map_leaves_the_smaller_of_dimension_and_rank(d, rank):
    found = measure_map("clifford torus", 1500, d, MapSpec("linear", 20, 20, rank, seed=2))
    assert found.tangent_rank == min(d, rank) and found.ambient_rank == rank
    assert found.after.value == pytest.approx(min(d, rank), rel=0.15)
    assert found.after.ci_low < min(d, rank) * 1.1


def test_a_function_of_the_input_raises_nothing_and_a_context_does():
    alone = measure_map("affine", 1500, 3, MapSpec("residual", 20, 20, 4, gain=2.0))
    with_context = measure_map("affine", 1500, 3, MapSpec("residual", 20, 20, 4, gain=2.0, n_context=4))
    assert (alone.tangent_rank, with_context.tangent_rank) == (3, 7)
    assert abs(alone.rise.value) < 0.3
    assert with_context.rise.ci_low > 1 and with_context.rise.value <= 4
    assert [bound.verdict for bound in with_context.bounds] == ["holds"] * 4


def test_what_is_exact_always_holds_and_noise_may_break_what_is_measured():
    quiet = measure_map("clifford torus", 800, 2, MapSpec("linear", 20, 20, 20))
    noisy = measure_map("clifford torus", 800, 2, MapSpec("linear", 20, 20, 20), noise=0.3)
    assert noisy.tangent_rank == quiet.tangent_rank == 2
    assert quiet.bounds[0].verdict != "does not hold" and noisy.bounds[0].verdict == "does not hold"
    assert {bound.verdict for bound in noisy.bounds[1:3]} == {"holds"}


def test_the_measured_dimension_is_twonns_and_the_same_seed_gives_the_same():
    spec = MapSpec("hidden", 12, 8, 8)
    found, again = (measure_map("sphere", 300, 3, spec, seed=5) for _ in range(2))
    assert found.before.value == TwoNN().fit(charted_points("sphere", 300, 3, 12, 5).points).dimension_
    assert (found.before, found.after, found.rise) == (again.before, again.after, again.rise)
    assert found.rise.value == pytest.approx(found.after.value - found.before.value)


def test_numerical_rank_counts_above_the_tolerance():
    assert numerical_rank(np.array([5.0, 1e-3, 1e-11])) == 2
    assert numerical_rank(np.array([5.0, 1e-3, 1e-11]), tolerance=1e-2) == 1
    assert numerical_rank(np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: MapSpec("linear", 4, 6, 5), "at most 4"),
        (lambda: MapSpec("curved", 4, 4, 1), "kind"),
        (lambda: MapSpec("residual", 4, 6, 2), "same number"),
        (lambda: MapSpec("linear", 4, 4, 2, n_context=1), "only a residual map"),
        (lambda: SmoothMap(MapSpec("linear", 4, 4, 2))(np.ones((2, 3))), "4 coordinates"),
        (lambda: charted_points("sphere", 10, 4, 4), "at least 5"),
        (lambda: charted_points("helix", 10, 1, 4), "manifold"),
        (lambda: measure_map("affine", 20, 2, MapSpec("linear", 4, 4, 2)), "n_samples is 20"),
    ],
)
def test_what_is_not_legal_is_said(wrong, words):
    with pytest.raises(InputError, match=words):
        wrong()


def test_halves_without_an_answer_give_no_interval_and_no_verdict_of_width_zero(monkeypatch):
    monkeypatch.setattr("gelora.geometry.map_measurement.half_sample_interval", lambda *_: (None, None, "no interval"))
    monkeypatch.setattr("gelora.geometry.map_measurement.half_sample_spread", lambda *_: None)
    found = measure_map("affine", 200, 3, MapSpec("linear", 8, 8, 2))
    assert (found.before.ci_low, found.after.ci_high, found.rise.ci_low) == (None, None, None)
    for bound in found.bounds:
        assert bound.verdict in (
            "holds",
            "is undecided without an interval" if bound.left_words.startswith("measured") else "does not hold",
        )
