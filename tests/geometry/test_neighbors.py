"""The graph is exact: against brute force, whatever the offset, scale, dtype, duplicates and outlier dimensions."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import DataError, InputError
from gelora.geometry import neighbor_graph, neighbors, pairwise, synthetic, threads

torch = pytest.importorskip("torch")


def point_sets():
    rng = np.random.default_rng(7)
    plain = rng.standard_normal((400, 48))
    thin = synthetic.gaussian(400, 6, 48, 1)
    near = np.vstack([plain[:300], plain[0] + 1e-4 * rng.standard_normal((100, 48))])
    outlier_row = plain.copy()
    outlier_row[5] *= 1e6
    return {
        "plain": plain,
        "low dimension": thin,
        "one outlier dimension x 10,000": thin * np.r_[1e4, np.ones(47)],
        "three outlier dimensions x 1e6": thin * np.r_[np.full(3, 1e6), np.ones(45)],
        "outlier row": outlier_row,
        "near duplicates 1e-4": near,
        "near duplicates 1e-9": np.vstack([plain[:300], plain[0] + 1e-9 * rng.standard_normal((100, 48))]),
        "far from the origin": 1e6 + thin,
        "tiny": thin * 1e-200,
        "huge": thin * 1e200,
        "grid with many ties": rng.integers(0, 3, (400, 8)).astype(float) + 10,
        "one column": rng.standard_normal((400, 1)),
    }


@pytest.mark.parametrize("name", point_sets())
@pytest.mark.parametrize("n_neighbors", [2, 20])
def test_graph_equals_brute_force(name, n_neighbors, reference):
    X = point_sets()[name]
    scale = 2.0 ** np.round(np.log2(np.abs(X).max()))  # brute force itself would overflow at 1e200; powers of two are exact
    graph = neighbor_graph(X, n_neighbors)
    distances, indices = reference.neighbors(X[graph.rows] / scale, n_neighbors)
    np.testing.assert_allclose(graph.distances / scale, distances, rtol=1e-12)
    apart = np.diff(distances, axis=1) > 1e-9 * distances[:, 1:]  # where order is not a matter of rounding
    if apart.all():
        np.testing.assert_array_equal(graph.indices, indices)


def test_float32_candidates_alone_would_fail_where_the_bound_sends_rows_on(monkeypatch, reference):
    rng = np.random.default_rng(2)
    X = np.vstack([rng.standard_normal((300, 48)), 5 + 1e-6 * rng.standard_normal((100, 48))])
    distances, _ = reference.neighbors(X, 5)
    monkeypatch.setattr(neighbors, "_certified", lambda radius, edge, *rest: np.ones_like(edge, dtype=bool))
    careless = neighbor_graph(X, 5).distances
    monkeypatch.undo()
    assert np.abs(careless / distances - 1).max() > 1e-3
    np.testing.assert_allclose(neighbor_graph(X, 5).distances, distances, rtol=1e-12)


def test_last_resort_by_differences_is_exact(monkeypatch, rng, reference):
    X = rng.standard_normal((150, 10))
    monkeypatch.setattr(neighbors, "_certified", lambda radius, edge, *rest: np.zeros_like(edge, dtype=bool))
    graph = neighbor_graph(X, 7, block_bytes=5000)
    distances, indices = reference.neighbors(X, 7)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-13)
    np.testing.assert_array_equal(graph.indices, indices)


def test_rows_closer_than_float64_products_resolve_are_still_exact(rng, reference):
    """In one far cluster the float64 product cannot tell the neighbors apart either."""
    X = np.vstack([rng.standard_normal((40, 6)), 1e3 + 1e-7 * rng.standard_normal((120, 6))])
    graph = neighbor_graph(X, 3)
    np.testing.assert_allclose(graph.distances, reference.neighbors(X, 3)[0], rtol=1e-12)


@pytest.mark.parametrize("block_bytes", [1, 3000, 10**6])
def test_chunked_equals_unchunked(block_bytes, rng):
    X = np.vstack([rng.standard_normal((150, 20)), 1 + 1e-7 * rng.standard_normal((50, 20))])
    for metric in ("euclidean", "cosine"):
        assert neighbor_graph(X, 5, metric, block_bytes=block_bytes) == neighbor_graph(X, 5, metric)


def test_memory_is_a_block_beside_what_grows_with_the_points(rng):
    X = rng.standard_normal((3000, 8))  # all pairs would take 36 MB
    tracemalloc.start()
    neighbor_graph(X, 5, block_bytes=200_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize(("n_columns", "n_smallest"), [(29, 28), (100, 28), (1000, 10), (3000, 60)])
def test_smallest_equals_a_full_sort(n_columns, n_smallest, rng):
    for block in (rng.standard_normal((40, n_columns)), rng.integers(0, 3, (40, n_columns)).astype(np.float32), np.ones((3, n_columns))):
        block[:, rng.integers(n_columns)] = np.inf
        columns, values = pairwise.smallest(block, n_smallest)
        np.testing.assert_array_equal(values, np.sort(block, axis=1)[:, :n_smallest])
        np.testing.assert_array_equal(np.take_along_axis(block, columns, axis=1), values)
        assert (np.diff(np.sort(columns, axis=1), axis=1) > 0).all()


def test_ties_are_ordered_by_index():
    X = np.array([[0.0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    graph = neighbor_graph(X, 4)
    np.testing.assert_array_equal(graph.indices[0], [1, 2, 3, 4])
    np.testing.assert_array_equal(graph.indices[1], [0, 2, 4, 3])


def test_many_ties_are_ordered_by_index(rng, reference):
    """Whole numbers: equal distances are exactly equal, also across the edge of the candidates."""
    X = rng.integers(0, 3, (600, 7))
    graph = neighbor_graph(X, 9)
    distances, indices = reference.neighbors(X[graph.rows], 9)
    np.testing.assert_array_equal(graph.distances, distances)
    np.testing.assert_array_equal(graph.indices, indices)


def test_outlier_dimensions_do_not_need_the_slow_search(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("rows were searched by differences to all rows")

    monkeypatch.setattr(neighbors, "exact_rows", refuse)
    for name in ("plain", "one outlier dimension x 10,000", "three outlier dimensions x 1e6", "near duplicates 1e-4"):
        assert neighbor_graph(point_sets()[name], 20).n_points == 400


def test_chains_of_copies_become_one_point():
    points = neighbors.distinct_points(np.eye(5)).merged(np.array([0, 4, 2]), np.array([2, 2, 0]))
    np.testing.assert_array_equal(points.rows, [0, 1, 3])
    np.testing.assert_array_equal(points.labels, [0, 1, 0, 2, 0])
    np.testing.assert_array_equal(points.values, np.eye(5)[[0, 1, 3]] / 2)


def test_minus_zero_is_zero():
    assert len(neighbors.distinct_points([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]])) == 2


@pytest.mark.parametrize("collide", [False, True])
def test_distinct_rows_are_found_also_where_keys_collide(collide, monkeypatch, rng):
    X = rng.integers(0, 3, (3000, 7)).astype(np.float64)
    if collide:
        monkeypatch.setattr(neighbors, "_row_keys", lambda values: (values[:, 0] * 2).astype(np.uint64))
    points = neighbors.distinct_points(X)
    _, first, labels = np.unique(X, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(points.rows, np.sort(first))
    np.testing.assert_array_equal(points.rows[points.labels], first[labels])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_keys_of_rows_with_few_digits_differ(dtype):
    """Else every look-up would fall back to comparing bytes."""
    X = (np.arange(20000)[:, None] // np.array([1, 150]) % 150).astype(dtype).astype(np.float64)
    assert len(np.unique(neighbors._row_keys(X))) == len(np.unique(X, axis=0))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_change_nothing(n_threads, monkeypatch, rng):
    X = rng.standard_normal((700, 60))
    X[300:350] = X[:50]
    monkeypatch.setattr(threads, "n_threads", lambda: n_threads)
    with_threads = neighbor_graph(X, 8)
    monkeypatch.setattr(threads, "_WORTH_A_THREAD", np.inf)
    assert with_threads == neighbor_graph(X, 8)


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: 2)
    with pytest.raises(ZeroDivisionError):
        threads.in_threads(lambda part: [1 // (part.stop - 100)], 100, 10**9)


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.n_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert threads.n_threads() >= 1


def test_exact_copies_are_dropped_and_counted(rng):
    X = rng.standard_normal((2000, 30))
    copies = rng.choice(2000, 400, replace=False)
    X[copies[200:]] = X[copies[:200]]
    X[0] = 0.0
    X[1] = -0.0
    graph = neighbor_graph(X, 5)
    expected = np.unique(X, axis=0, return_index=True)[1]
    assert graph.n_duplicates == 2000 - len(expected)
    np.testing.assert_array_equal(np.sort(graph.rows), np.sort(expected))
    assert (np.diff(graph.rows) > 0).all()
    assert graph.distances.min() > 0
    direct = neighbor_graph(X[graph.rows], 5)
    np.testing.assert_array_equal(graph.distances, direct.distances)
    np.testing.assert_array_equal(graph.indices, direct.indices)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint8, bool])
def test_numpy_dtypes_are_read_exactly(dtype, rng):
    X = (rng.integers(0, 2 if dtype is bool else 120, (120, 12)) if np.dtype(dtype).kind in "iub" else rng.random((120, 12))).astype(dtype)
    graph = neighbor_graph(X, 3)
    assert graph == neighbor_graph(X.astype(np.float64), 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int32])
def test_torch_tensors_are_read_exactly(dtype):
    X = (torch.randn(120, 12, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    assert neighbor_graph(X, 3) == neighbor_graph(X.double().numpy(), 3)


def test_tensor_with_gradient_is_read():
    X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert neighbor_graph(X, 3).n_points == 50


def test_input_is_left_as_it_was(rng):
    X = rng.standard_normal((60, 5))
    X[0, 0] = -0.0
    before = X.copy()
    neighbor_graph(X, 3, "cosine")
    neighbor_graph(X, 3)
    assert before.tobytes() == X.tobytes()


def test_cosine_equals_brute_force_and_keeps_its_digits(rng, reference):
    X = rng.standard_normal((200, 16)) * rng.uniform(0.01, 100, (200, 1))
    X[100:] = X[0] * rng.uniform(0.5, 2, (100, 1)) + 1e-7 * rng.standard_normal((100, 16))  # directions 1e-8 apart
    graph = neighbor_graph(X, 5, "cosine")
    distances, _ = reference.neighbors(X, 5, "cosine")
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6)
    assert 0 < graph.distances.min() < 1e-14  # 1 - cos itself would be rounded to multiples of 1e-16
    plain = 1 - (X[0] @ X[graph.indices[0, -1]]) / np.linalg.norm(X[0]) / np.linalg.norm(X[graph.indices[0, -1]])
    assert graph.distances[0, -1] == pytest.approx(plain, abs=1e-15)


def test_cosine_is_exact_for_ordinary_points(rng, reference):
    X = rng.standard_normal((200, 16)) * 10.0 ** rng.integers(-200, 100, (200, 1))
    unit = X / np.abs(X).max(axis=1, keepdims=True)
    np.testing.assert_allclose(neighbor_graph(X, 5, "cosine").distances, reference.neighbors(unit, 5, "cosine")[0], rtol=1e-12)


def test_cosine_counts_parallel_rows_as_copies(rng):
    directions = rng.standard_normal((40, 7))
    X = np.vstack([directions * factor for factor in (1, 2, 3.3, 1e-3, 7e5)])
    graph = neighbor_graph(X, 2, "cosine")
    assert (graph.n_points, graph.n_duplicates) == (40, 160)
    np.testing.assert_array_equal(graph.rows, np.arange(40))


def test_rows_whose_distance_vanishes_in_float64_are_copies():
    X = np.vstack([np.eye(6), np.zeros((2, 6))])
    X[7, 0] = 1e-200
    graph = neighbor_graph(X, 3)
    assert graph.n_points == 7 and graph.distances.min() > 0


def test_candidates_beyond_the_kept_are_settled_where_rounding_may_have_misplaced_them(reference):
    """Neighbors so alike that a float32 product orders them at random: the extra candidates decide."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((25, 32))
    X = np.vstack([X / np.linalg.norm(X, axis=1, keepdims=True) * (1 + 1e-8 * rng.random((25, 1))), np.zeros((1, 32))]) + 3
    np.testing.assert_array_equal(neighbor_graph(X, 20).indices[-1], reference.neighbors(X, 20)[1][-1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-40, 40), pad=st.integers(1, 30))
def test_scale_permutation_and_zero_padding(seed, exponent, pad):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 5))
    graph = neighbor_graph(X, 4)
    scaled = neighbor_graph(X * 2.0**exponent, 4)
    np.testing.assert_array_equal(scaled.distances, graph.distances * 2.0**exponent)
    np.testing.assert_array_equal(scaled.indices, graph.indices)
    order = rng.permutation(60)
    permuted = neighbor_graph(X[order], 4)
    np.testing.assert_array_equal(permuted.distances, graph.distances[order])
    np.testing.assert_array_equal(order[permuted.indices], graph.indices[order])
    padded = neighbor_graph(np.hstack([X, np.zeros((60, pad))]), 4)
    np.testing.assert_allclose(padded.distances, graph.distances, rtol=1e-14)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-1e3, 1e3))
def test_rotation_and_shift(seed, shift):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 5))
    rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    np.testing.assert_allclose(neighbor_graph(X @ rotation + shift, 4).distances, neighbor_graph(X, 4).distances, rtol=1e-10)


def test_not_finite_rows_are_counted(rng):
    X = rng.standard_normal((50, 4))
    X[3, 1] = np.nan
    X[3, 2] = np.nan
    X[7, 0] = np.inf
    with pytest.raises(DataError, match="2 of 50 rows hold NaN"):
        neighbor_graph(X, 3)


@pytest.mark.parametrize(
    ("X", "n_neighbors", "message"),
    [
        (np.ones((5, 3)), 20, "5 rows, but 20 neighbors need at least 21"),
        (np.ones((50, 3)), 3, "Only 1 of 50 rows are distinct; 3 neighbors need at least 4"),
        (np.eye(4), 4, "4 rows, but 4 neighbors need at least 5"),
        (np.empty((0, 3)), 3, "0 rows"),
    ],
)
def test_too_few_rows(X, n_neighbors, message):
    with pytest.raises(DataError, match=message):
        neighbor_graph(X, n_neighbors)


def test_one_row_more_than_neighbors_is_enough():
    assert neighbor_graph(np.eye(5), 4).distances.shape == (5, 4)


def test_zero_rows_have_no_direction():
    with pytest.raises(DataError, match="1 of 4 rows are all zero"):
        neighbor_graph(np.vstack([np.eye(3), np.zeros(3)]), 2, "cosine")


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.ones(5), {}, r"shape \(5,\)"),
        (np.ones((5, 0)), {}, "at least one column"),
        (np.ones((2, 5, 5)), {}, "two-dimensional"),
        (np.ones((5, 5), complex), {}, "complex"),
        ([["a", "b"], ["c", "d"]], {}, "not a table of numbers"),
        (np.eye(5), {"n_neighbors": 0}, "n_neighbors is 0"),
        (np.eye(5), {"n_neighbors": 2.5}, "n_neighbors is 2.5"),
        (np.eye(5), {"n_neighbors": True}, "n_neighbors is True"),
        (np.eye(5), {"metric": "manhattan"}, "manhattan.*euclidean, cosine"),
        (np.eye(5), {"device": "tpu"}, "tpu"),
        (np.eye(5), {"block_bytes": 0}, "block_bytes is 0"),
    ],
)
def test_illegal_input_is_named(X, options, message):
    with pytest.raises(InputError, match=message):
        neighbor_graph(X, **{"n_neighbors": 2, **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_is_said():
    with pytest.raises(InputError, match="sees no GPU"):
        neighbor_graph(np.eye(5), 2, device="cuda")


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@needs_cuda
@pytest.mark.parametrize("name", point_sets())
def test_cuda_equals_cpu(name):
    X = point_sets()[name]
    for block_bytes in (20_000, neighbors.BLOCK_BYTES):
        on_gpu, on_cpu = neighbor_graph(X, 20, device="cuda", block_bytes=block_bytes), neighbor_graph(X, 20)
        np.testing.assert_allclose(on_gpu.distances, on_cpu.distances, rtol=1e-12)
        assert on_gpu.n_duplicates == on_cpu.n_duplicates


@needs_cuda
def test_missing_cuda_number_is_said():
    with pytest.raises(InputError, match="counted from 0"):
        neighbor_graph(np.eye(5), 2, device="cuda:99")


def test_tf32_is_off_during_the_product_and_restored_after():
    settings_ = torch.backends.cuda.matmul
    name = "fp32_precision" if hasattr(settings_, "fp32_precision") else "allow_tf32"
    before = getattr(settings_, name)
    try:
        for value in ("tf32", "ieee") if name == "fp32_precision" else (True, False):
            setattr(settings_, name, value)
            with pytest.raises(ZeroDivisionError), pairwise._full_float32():
                assert getattr(settings_, name) in ("ieee", False)
                _ = 1 / 0
            assert getattr(settings_, name) == value
    finally:
        setattr(settings_, name, before)
