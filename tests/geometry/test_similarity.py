"""Overlap, imbalance and CKA say what their definitions do, on clouds whose answer is known; layers are compared row by row."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import DataError, InputError
from gelora.geometry import (
    PointCloud,
    information_imbalance,
    label_overlap,
    layer_similarity,
    linear_cka,
    neighbor_graph,
    neighbor_overlap,
)
from gelora.geometry.pairwise import NumpyPairwise, TorchPairwise
from gelora.records import LayerSimilarity

K, N = 10, 160


def overlap_by_hand(reference, X, Y, k=K):
    one, other = reference.neighbors(X, k)[1], reference.neighbors(Y, k)[1]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(one, other, strict=True)])


def imbalance_by_hand(reference, X, Y):
    nearest, order = reference.neighbors(X, 1)[1][:, 0], reference.neighbors(Y, len(Y) - 1)[1]
    return 2 / len(X) * np.mean([1 + list(row).index(j) for row, j in zip(order, nearest, strict=True)])


def cka_by_hand(X, Y, debiased):
    K, L = (cloud @ cloud.T for cloud in (X, Y))
    n = len(X)
    if not debiased:
        H = np.eye(n) - 1 / n
        return np.trace(K @ H @ L @ H) / np.sqrt(np.trace(K @ H @ K @ H) * np.trace(L @ H @ L @ H))
    K, L, ones = K - np.diag(np.diag(K)), L - np.diag(np.diag(L)), np.ones(n)

    def hsic(A, B):
        return (np.trace(A @ B) + (ones @ A @ ones) * (ones @ B @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ A @ B @ ones) / (
            n * (n - 3)
        )

    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def related(rng, n=N):
    """A cloud, and one that keeps some of its neighbors, in more coordinates."""
    X = rng.standard_normal((n, 4)) * [1, 2, 3, 4]
    return X, np.column_stack([X[:, :3], 2 * rng.standard_normal((n, 4))])


def test_they_are_what_their_definitions_say(rng, reference):
    X, Y = related(rng)
    assert 0.1 < neighbor_overlap(X, Y, K) < 0.9
    assert neighbor_overlap(X, Y, K) == pytest.approx(overlap_by_hand(reference, X, Y))
    assert information_imbalance(X, Y) == pytest.approx(imbalance_by_hand(reference, X, Y))
    assert information_imbalance(Y, X) == pytest.approx(imbalance_by_hand(reference, Y, X))
    for debiased in (True, False):
        assert linear_cka(X, Y, debiased=debiased) == pytest.approx(cka_by_hand(X, Y, debiased), rel=1e-10)


def test_a_cloud_and_itself(rng):
    X = rng.standard_normal((300, 5))
    turned = X @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert neighbor_overlap(X, X, K) == 1.0
    assert information_imbalance(X, X) == 2 / 300
    assert linear_cka(X, turned) == pytest.approx(1.0, abs=1e-12)
    assert linear_cka(X, turned, debiased=False) == pytest.approx(1.0, abs=1e-12)


def test_clouds_that_know_nothing_of_each_other(rng):
    """Means of 60 draws against their expectation, k / (N - 1), 1 and 0; the plain CKA has its bias."""
    draws = [(rng.standard_normal((120, 6)), rng.standard_normal((120, 6))) for _ in range(60)]
    for measure, expected in (
        (lambda X, Y: neighbor_overlap(X, Y, K), K / 119),
        (information_imbalance, 1.0),
        (linear_cka, 0.0),
    ):
        answers = np.array([measure(X, Y) for X, Y in draws])
        assert abs(answers.mean() - expected) < 4 * answers.std() / np.sqrt(len(draws))
    assert np.mean([linear_cka(X, Y, debiased=False) for X, Y in draws]) > 0.03


def test_of_x_and_y_the_whole_predicts_its_part_and_not_the_other_way(rng):
    A = rng.random((800, 2))
    assert information_imbalance(A, A[:, :1]) < 0.07 < 0.4 < information_imbalance(A[:, :1], A)


@settings(max_examples=15, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6), pad=st.integers(1, 20), shift=st.floats(-1e3, 1e3))
def test_rotation_scale_shift_zero_padding_and_order_change_nothing(seed, scale, pad, shift):
    rng = np.random.default_rng(seed)
    X, Y = related(rng)
    turned = X @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    order = rng.permutation(N)
    pairs = [(turned, Y), (scale * X, Y), (X + shift, Y), (np.hstack([X, np.zeros((N, pad))]), Y), (X[order], Y[order])]
    for measure in (lambda a, b: neighbor_overlap(a, b, K), information_imbalance, lambda a, b: information_imbalance(b, a), linear_cka):
        expected = measure(X, Y)
        assert [measure(*pair) for pair in pairs] == pytest.approx([expected] * len(pairs), rel=1e-6)


def test_copies_are_left_out_of_both(rng):
    X, Y = related(rng)
    double_x, double_y = np.vstack([X, X[:30]]), np.vstack([Y, rng.standard_normal((30, 7))])
    assert neighbor_overlap(double_x, double_y, K) == pytest.approx(neighbor_overlap(X, Y, K))
    assert information_imbalance(double_x, double_y) == pytest.approx(information_imbalance(X, Y))
    assert information_imbalance(double_y, double_x) == pytest.approx(information_imbalance(Y, X))


def test_equal_distances_share_the_lower_rank():
    grid = np.arange(30.0)[:, None]  # every inner point has two nearest neighbors
    assert information_imbalance(grid, grid) == 2 / 30
    assert information_imbalance(grid, grid[::-1].copy()) == 2 / 30  # the same distances from the other end


def test_a_graph_that_is_wide_enough_is_not_searched_again(rng, monkeypatch):
    X, Y = related(rng)
    clouds = [PointCloud(X), PointCloud(Y)]
    for cloud in clouds:
        cloud.graph(N - 1)
    monkeypatch.setattr("gelora.geometry.cloud.search", None)
    monkeypatch.setattr(PointCloud, "count_nearer", None)  # the graph holds every rank
    assert neighbor_overlap(*clouds, K) == pytest.approx(0.5, abs=0.4)
    assert information_imbalance(*clouds) == information_imbalance(*clouds)


def test_ranks_beyond_the_graph_are_those_within_a_wide_one(rng):
    X, Y = related(rng)
    wide = PointCloud(Y)
    wide.graph(N - 1)
    assert information_imbalance(X, Y) == information_imbalance(X, wide)


@pytest.mark.parametrize("block_bytes", [5 * 8 * N, 2**20])
def test_both_engines_count_what_is_nearer(rng, block_bytes):
    """Members of a set alone, whatever the size of a tile; PyTorch's engine runs on the CPU here."""
    X = rng.standard_normal((N, 6))
    members = rng.random((3, N)) < [[1.0], [0.5], [0.2]]
    targets = rng.integers(0, N, (3, N))
    targets[targets == np.arange(N)] = -1
    squared = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    expected = [
        [((squared[i] < squared[i, t]) & of).sum() if t >= 0 else 0 for i, t in enumerate(row)]
        for row, of in zip(targets, members, strict=True)
    ]
    for engine in (NumpyPairwise(X, block_bytes), TorchPairwise(X, block_bytes, "cpu")):
        assert engine.count_nearer(targets, members).tolist() == expected


def test_labels_of_neighbors(rng):
    X = np.concatenate([rng.standard_normal((60, 3)), 100 + rng.standard_normal((40, 3))])
    labels = [0] * 60 + [1] * 40
    assert label_overlap(neighbor_graph(X, K), labels) == ("classification", 1.0, pytest.approx((60 * 59 + 40 * 39) / 9900))
    near = label_overlap(neighbor_graph(X, K), [5.0] * 60 + [7.0] * 40, "regression")
    assert near == ("regression", 0.0, pytest.approx(2 * 2 * 60 * 40 / 9900))
    assert label_overlap(neighbor_graph(X, 80), labels, n_neighbors=5).near == 1.0 > label_overlap(neighbor_graph(X, 80), labels).near


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda X: neighbor_overlap(X, X[:-1]), InputError, "159 and 160 rows"),
        (lambda X: neighbor_overlap(X, X, 0), InputError, "n_neighbors"),
        (lambda X: neighbor_overlap(X, X, N), DataError, "neighbors need at least"),
        (lambda X: information_imbalance(X, np.ones((N, 2))), DataError, "1 of 160 rows are distinct in every cloud"),
        (lambda X: information_imbalance(X, X * np.nan), DataError, "NaN"),
        (lambda X: information_imbalance(neighbor_graph(X), X), InputError, "NeighborGraph does not hold"),
        (lambda X: linear_cka(X, X[:-1]), InputError, "same rows"),
        (lambda X: linear_cka(X, np.ones((N, 2))), DataError, "no spread"),
        (lambda X: linear_cka(X, X * np.inf), DataError, "NaN or infinity"),
        (lambda X: label_overlap(neighbor_graph(X, K), np.zeros(N), "colours"), InputError, "colours"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(rng, make, kind, says):
    with pytest.raises(kind, match=says):
        make(related(rng)[0])


# layers


def walk(rng, n_layers=4, n=N, width=6, step=0.5):
    """Layers that drift away from the first."""
    layers = [rng.standard_normal((n, width))]
    for _ in range(n_layers):
        layers.append(layers[-1] + step * rng.standard_normal((n, width)))
    return np.stack(layers).astype(np.float32)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_layers_are_compared_as_their_clouds_are(rng, make, metric):
    values, labels = walk(rng), rng.integers(0, 3, N)
    found = layer_similarity(make.states(values), labels, n_neighbors=K, metric=metric, n_subsamples=4)
    clouds = [PointCloud(layer, metric) for layer in values]
    for i, one in enumerate(clouds):
        assert found.label_overlap[i] == pytest.approx(label_overlap(neighbor_graph(values[i], K, metric), labels).near)
        for j, other in enumerate(clouds):
            assert found.overlap[i, j] == pytest.approx(neighbor_overlap(one, other, K))
            assert found.cka[i, j] == pytest.approx(linear_cka(values[i], values[j]), rel=1e-6)
    for block in range(1, len(values)):
        assert found.forward[block - 1] == pytest.approx(information_imbalance(clouds[block - 1], clouds[block]))
        assert found.backward[block - 1] == pytest.approx(information_imbalance(clouds[block], clouds[block - 1]))
    assert found.n_rows == N and found.chance_overlap == K / (N - 1) and not found.notes
    assert LayerSimilarity.from_json(found.to_json()) == found


def test_halves_are_answered_as_clouds_of_half_the_rows(rng, make):
    """With one pair of halves the interval is Student's, 12.7 deviations wide: those of the two halves by themselves."""
    values = walk(rng, n_layers=1)
    found = layer_similarity(make.states(values), n_neighbors=K, n_subsamples=2, seed=3)
    parts = np.split(np.random.default_rng(3).permutation(N), 2)
    for whole, half_width, measure in (
        (found.overlap[0, 1], found.overlap_half_width[0, 1], lambda X, Y: neighbor_overlap(X, Y, K)),
        (found.forward[0], found.forward_half_width[0], information_imbalance),
        (found.backward[0], found.backward_half_width[0], lambda X, Y: information_imbalance(Y, X)),
    ):
        one, other = (measure(values[0][np.sort(part)], values[1][np.sort(part)]) for part in parts)
        expected = 12.7062 * abs(one - other) / (one + other) * whole
        assert half_width == pytest.approx(expected, rel=1e-4)


def test_intervals_are_as_wide_as_independent_samples_scatter(rng, make):
    samples = [layer_similarity(make.states(walk(rng, 1, 200)), rng.integers(0, 2, 200), n_neighbors=K) for _ in range(30)]
    for name in ("forward", "backward", "overlap", "cka", "label_overlap"):
        answers = np.array([np.ravel(getattr(s, name))[-2 if name in ("overlap", "cka") else 0] for s in samples])
        widths = np.array([np.ravel(getattr(s, f"{name}_half_width"))[-2 if name in ("overlap", "cka") else 0] for s in samples])
        deviation = np.sqrt(np.mean((widths / 2.228) ** 2))
        assert 0.6 < deviation / answers.std(ddof=1) < 1.7, name


def test_rows_that_are_copies_in_one_layer_are_left_out_of_all(rng, make):
    values = walk(rng)
    values[2, :10] = values[2, 100:110]
    kept = np.setdiff1d(np.arange(N), np.arange(100, 110))
    found = layer_similarity(make.states(values), n_neighbors=K, n_subsamples=0)
    alone = layer_similarity(make.states(values[:, kept]), n_neighbors=K, n_subsamples=0)
    assert found.n_rows == N - 10
    for name in ("overlap", "cka", "forward", "backward"):
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-12)
    assert np.isnan(found.overlap_half_width).all()


def test_a_layer_of_equal_vectors_is_a_gap_with_its_reason(rng, make):
    values = walk(rng)
    values[0] = 1.0
    found = layer_similarity(make.states(values), rng.integers(0, 2, N), n_neighbors=K)
    assert found.notes == {"embeddings": "1 distinct vector of 160: too few for a dimension"}
    assert np.isnan(found.overlap[0]).all() and np.isnan(found.cka[:, 0]).all() and np.isnan(found.label_overlap[0])
    assert np.isnan(found.forward[0]) and np.isnan(found.backward[0])
    assert np.isfinite(found.overlap[1:, 1:]).all() and np.isfinite(found.forward[1:]).all()
    with pytest.raises(DataError, match="No two layers can be compared"):
        layer_similarity(make.states(np.stack([np.ones((N, 3)), values[1, :, :3]])))
    with pytest.raises(InputError, match="3 labels for 160 rows"):
        layer_similarity(make.states(values), [0, 1, 0])
