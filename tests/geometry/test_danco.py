"""DANCo against independent references of its two laws, scikit-dimension, and manifolds of known dimension."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from gelora.errors import DataError, InputError, StoreError
from gelora.geometry import DANCo, PointCloud, danco_calibration, neighbor_graph, synthetic
from gelora.geometry.danco import norms_and_angles
from gelora.geometry.danco_calibration import calibrate
from gelora.geometry.danco_statistics import angle_divergence, concentration, fit_von_mises, norm_divergence, norm_exponent


def dimension(X, **options):
    return DANCo(n_subsamples=0, **options).fit(X).dimension_


@pytest.fixture
def fresh(gelora_home, monkeypatch):
    """An empty cache on disk and in memory; the folder of the one on disk."""
    monkeypatch.setattr(danco_calibration, "_memory", type(danco_calibration._memory)())
    return gelora_home / "cache" / "danco"


@pytest.fixture
def quick(fresh, monkeypatch):
    """The same, with balls read at so few points that a calibration takes no time."""
    monkeypatch.setattr(danco_calibration, "_MEASURED_POINTS", 100)
    return fresh


def forget():
    danco_calibration._memory.clear()


# The laws


@pytest.mark.parametrize(("d", "k"), [(0.5, 4), (7.0, 10), (150.0, 60)])
def test_norm_exponent_is_the_maximum_of_the_likelihood(d, k, rng):
    r = rng.beta(1, k, 3000) ** (1 / d)
    found = norm_exponent(-np.log(r), k)
    assert found == pytest.approx(d, rel=4 / np.sqrt(3000))

    def minus_likelihood(log_d):
        e = np.exp(log_d)
        return -np.sum(np.log(k * e) + (e - 1) * np.log(r) + (k - 1) * np.log1p(-(r**e)))

    reference = optimize.minimize_scalar(minus_likelihood, bounds=(np.log(d) - 1, np.log(d) + 1), options={"xatol": 1e-10})
    assert found == pytest.approx(np.exp(reference.x), rel=1e-6)


@pytest.mark.parametrize("k", [4, 10, 60])
@pytest.mark.parametrize("ratio", [0.02, 0.7, 1.0, 1.6, 40.0])
def test_norm_divergence_is_the_integral_that_defines_it(k, ratio):
    """In u = r^d alone, whatever d: log(g / g') = -log q + (1 - q) log u + (k - 1) log((1 - u) / (1 - u^q))."""

    def integrand(p):  # p is the survival function of u, so 1 - u = p^(1/k)
        log_v = np.log(p) / k
        log_u = np.log(-np.expm1(log_v))
        return -np.log(ratio) + (1 - ratio) * log_u + (k - 1) * (log_v - np.log(-np.expm1(ratio * log_u)))

    expected, _ = integrate.quad(integrand, 0, 1, epsabs=1e-10, limit=500)
    assert norm_divergence(np.array([3.0]), np.array([3.0 * ratio]), k)[0] == pytest.approx(expected, abs=1e-7 * k)


def test_norm_divergence_is_the_papers_alternating_sum_where_that_has_digits():
    k, q = 10, np.array([0.3, 1.0, 2.5])
    i = np.arange(k + 1)
    harmonic = np.sum(1 / i[1:])
    sums = ((-1.0) ** i * special.binom(k, i) * special.digamma(1 + i / q[:, None])).sum(axis=1)
    expected = harmonic * q - 1 - (harmonic - 1 / k) - np.log(q) - (k - 1) * sums
    np.testing.assert_allclose(norm_divergence(np.ones(3), q, k), expected, atol=1e-11)


@pytest.mark.parametrize(("nu", "tau", "other_nu", "other_tau"), [(1.5, 2.0, 1.3, 5.0), (1.2, 900.0, 1.25, 1200.0), (1.2, 1e5, 1.2, 9e4)])
def test_angle_divergence_is_the_integral_that_defines_it_beyond_overflow(nu, tau, other_nu, other_tau):
    one, other = stats.vonmises(tau, loc=nu), stats.vonmises(other_tau, loc=other_nu)
    reach = min(np.pi, 12 / np.sqrt(tau))
    expected, _ = integrate.quad(lambda t: one.pdf(t) * (one.logpdf(t) - other.logpdf(t)), nu - reach, nu + reach, limit=500)
    assert angle_divergence(nu, tau, other_nu, other_tau) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_concentration_inverts_the_bessel_ratio():
    tau = np.r_[0, np.geomspace(1e-6, 1e6, 60)]
    resultant = special.i1e(tau) / special.i0e(tau)
    np.testing.assert_allclose(concentration(resultant), tau, rtol=1e-6, atol=1e-12)
    assert concentration(np.array([1.0]))[0] == 1e8


def test_von_mises_fit_equals_scipys(rng):
    angles = np.arccos(rng.uniform(-0.6, 0.9, (5, 45)))
    for nu, tau, row in zip(*fit_von_mises(np.cos(angles)), angles, strict=True):
        expected_tau, expected_nu, _ = stats.vonmises.fit(row, fscale=1)
        assert (nu, tau) == pytest.approx((expected_nu, expected_tau), rel=1e-6)


def test_statistics_equal_plain_loops(rng, reference):
    X = synthetic.gaussian(60, 6, 9, rng)
    distances, indices = reference.neighbors(X, 6)
    expected = []
    for point, near in zip(X, indices, strict=True):
        vectors = [X[j] - point for j in near[:5]]
        expected.append(
            [
                np.arccos(np.dot(vectors[a], vectors[b]) / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b]))
                for a in range(5)
                for b in range(a + 1, 5)
            ]
        )
    norms, angles = norms_and_angles(X, n_neighbors=5)
    np.testing.assert_allclose(norms, distances[:, 0] / distances[:, 5], rtol=1e-9)
    np.testing.assert_allclose(angles, expected, rtol=1e-9)
    estimate = DANCo(n_neighbors=5, n_subsamples=0).fit(X)
    assert estimate.nu_ == pytest.approx(np.mean(fit_von_mises(np.cos(expected))[0]), rel=1e-9)


def test_blocks_do_not_change_the_angles(rng, monkeypatch):
    X = rng.standard_normal((50, 8))
    whole = norms_and_angles(X)[1]
    monkeypatch.setattr("gelora.geometry.danco_statistics._BLOCK_BYTES", 10 * 8 * 8 * 7)
    np.testing.assert_allclose(norms_and_angles(X)[1], whole, rtol=1e-12)


# Known answers


@pytest.mark.parametrize("true", [5, 12, 20])
@pytest.mark.parametrize("manifold", ["affine", "gaussian", "sphere"])
def test_known_dimension_is_found_at_transformer_width(manifold, true):
    """Standard error 1.5 to 2%, bias up to 10% for a Gaussian, whose density is no ball's."""
    X = synthetic.MANIFOLDS[manifold](1000, true, 768, seed=2)
    assert dimension(X) == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("manifold", ["affine", "sphere", "nonlinear"])
@pytest.mark.parametrize(("true", "within"), [(1, 0.05), (2, 0.1), (3, 0.1), (50, 0.15)])
def test_low_and_high_dimension(manifold, true, within):
    assert dimension(synthetic.MANIFOLDS[manifold](1000, true, 200, seed=1)) == pytest.approx(true, rel=within)


def test_dimension_400_where_plain_bessel_functions_overflow():
    estimate = DANCo(max_dimension=700, n_subsamples=0).fit(synthetic.gaussian(700, 400, 420, seed=0))
    assert estimate.tau_ > 713
    assert estimate.dimension_ == pytest.approx(400, rel=0.15)


@pytest.mark.parametrize("k", [4, 40])
def test_other_numbers_of_neighbors(k):
    X = synthetic.affine(300, 5, 40, seed=4)
    assert dimension(X, n_neighbors=k) == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize(("n", "within"), [(13, 0.5), (100, 0.2)])
def test_few_points(n, within):
    assert dimension(synthetic.affine(n, 3, 50, seed=0)) == pytest.approx(3, rel=within)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_fewer_coordinates_than_neighbors(width):
    assert dimension(np.random.default_rng(0).random((500, width))) == pytest.approx(width, rel=0.1)


def test_the_divergences_are_least_at_the_answer():
    estimate = DANCo(n_subsamples=0).fit(synthetic.gaussian(500, 8, 100, seed=0))
    np.testing.assert_allclose(estimate.kl_, estimate.kl_norms_ + estimate.kl_angles_)
    best = int(np.argmin(estimate.kl_))
    assert estimate.dimensions_[best - 1] < estimate.dimension_ < estimate.dimensions_[best + 1]
    assert estimate.dimensions_[[0, -1]] == pytest.approx([1, 100])
    assert estimate.calibrated_.d_ml[best] == pytest.approx(estimate.d_ml_, rel=0.1)
    assert (np.diff(estimate.calibrated_.d_ml) > 0).all() and (np.diff(estimate.calibrated_.tau) > 0).all()


def test_interval_holds_the_estimate_and_has_the_spread_of_other_draws():
    """The halves' deviation against that of 15 draws, known to a factor of 1.5; halves are cautious by 1.2 to 1.4."""
    estimates = [DANCo(max_dimension=20, n_subsamples=8).fit(synthetic.gaussian(300, 5, 30, seed=s)) for s in range(15)]
    claimed = np.mean([e.ci_high_ - e.ci_low_ for e in estimates]) / 3.92
    assert all(e.ci_low_ < e.dimension_ < e.ci_high_ for e in estimates)
    assert 0.8 < claimed / np.std([e.dimension_ for e in estimates]) < 2.5


# Agreement


def test_statistics_agree_with_scikit_dimension():
    """Not the mean direction: theirs is an arc tangent of a quotient, half a turn off for angles beyond 90 degrees."""
    skdim = pytest.importorskip("skdim")
    X = synthetic.gaussian(400, 6, 20, seed=0)
    theirs = skdim.id.DANCo(D=20)
    theirs._k = 10
    if not hasattr(theirs, "_dancoDimEstNoCalibration"):
        pytest.skip("this scikit-dimension keeps its statistics elsewhere")
    expected = theirs._dancoDimEstNoCalibration(X, 20)
    ours = DANCo(n_subsamples=0).fit(X)
    assert ours.d_ml_ == pytest.approx(expected["dhat"], rel=1e-4)  # they stop their search early
    assert ours.tau_ == pytest.approx(expected["mu_tau"], rel=0.01)  # they invert the Bessel ratio approximately


@pytest.mark.parametrize(("manifold", "true"), [("affine", 2), ("affine", 5)])
def test_agrees_with_scikit_dimension_in_few_coordinates(manifold, true):
    """Their calibration is one draw a dimension: their own answers for other draws differ by 3 to 8%."""
    skdim = pytest.importorskip("skdim")
    X = synthetic.MANIFOLDS[manifold](200, true, 8, seed=1)
    assert dimension(X) == pytest.approx(float(skdim.id.DANCo(random_state=0).fit(X).dimension_), rel=0.12)


def test_what_differs_from_scikit_dimension_is_its_direction(fresh, monkeypatch):
    """With directions beyond 90 degrees half a turn off, as theirs are, ours says what they say: 5 for a sphere of 4."""
    skdim = pytest.importorskip("skdim")
    X = synthetic.sphere(300, 4, 8, seed=1)
    assert dimension(X) == pytest.approx(4, rel=0.1)

    def half_a_turn_off(cosines):
        nu, tau = fit_von_mises(cosines)
        return np.where(nu > np.pi / 2, nu - np.pi, nu), tau

    theirs = float(skdim.id.DANCo(random_state=0).fit(X).dimension_)
    if theirs == pytest.approx(4, rel=0.1):
        pytest.skip("this scikit-dimension has the direction right")
    monkeypatch.setenv("GELORA_HOME", str(fresh / "other"))
    forget()
    monkeypatch.setattr("gelora.geometry.danco_statistics.fit_von_mises", half_a_turn_off)
    assert dimension(X) == pytest.approx(theirs, rel=0.1)


# Properties


@pytest.mark.parametrize("true", [1, 3, 9])
def test_rotation_scale_permutation_and_zero_padding(true, rng):
    X = rng.standard_normal((150, true))
    found = dimension(X)
    rotation, _ = np.linalg.qr(rng.standard_normal((true, true)))
    for same in (X @ rotation, 1e-6 * X, 1e200 * X, X + 5, rng.permutation(X), np.hstack([X, np.zeros((150, 700))])):
        assert dimension(same) == pytest.approx(found, rel=1e-4)  # the minimum is sought to 1e-6; KL is flat around it


def test_copies_change_nothing():
    X = synthetic.gaussian(2000, 8, 64, seed=0)
    X[1600:] = X[:400]
    estimate = DANCo(n_subsamples=0).fit(X)
    assert estimate.n_distinct_ == 1600
    assert estimate.dimension_ == dimension(X[:1600])
    assert estimate.dimension_ == pytest.approx(dimension(synthetic.gaussian(2000, 8, 64, seed=0)), rel=0.05)


def test_a_few_points_less_share_the_calibration_and_barely_change_the_answer():
    X = synthetic.gaussian(1000, 12, 100, seed=0)
    some, all_ = DANCo(n_subsamples=0).fit(X[:998]), DANCo(n_subsamples=0).fit(X)
    assert some.calibration_.n_points == all_.calibration_.n_points
    assert some.dimension_ == pytest.approx(all_.dimension_, rel=0.01)


def test_near_duplicates_give_a_number():
    X = synthetic.gaussian(500, 8, 96, seed=0)
    X[400:] = X[0] + 1e-4 * np.random.default_rng(0).standard_normal((100, 96))
    assert np.isfinite(dimension(X))


def test_a_constant_outlier_dimension_changes_nothing():
    X = synthetic.gaussian(500, 8, 96, seed=0)
    assert dimension(np.hstack([X, np.full((500, 1), 1e4)])) == pytest.approx(dimension(X), rel=1e-4)


def test_an_outlier_dimension_beside_a_cloud_gives_a_sane_number():
    """Stretched 10,000 times, one of 8 coordinates leaves next to a line at this scale."""
    X = np.random.default_rng(0).standard_normal((1000, 8)) * np.r_[1e4, np.ones(7)]
    assert 1 <= dimension(X @ np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]) < 3


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_reduced_precision(dtype):
    X = synthetic.gaussian(500, 8, 96, seed=0)
    assert dimension(X.astype(dtype)) == pytest.approx(dimension(X), rel=0.01)


def test_cosine_reads_the_dimension_of_the_directions(rng):
    X = synthetic.sphere(500, 4, 20, rng)
    scaled = X * rng.uniform(0.1, 10, (500, 1))
    assert dimension(PointCloud(scaled, "cosine")) == pytest.approx(dimension(X), rel=1e-4)


# No answer


def test_the_cap_is_never_an_answer():
    X = synthetic.gaussian(300, 12, 40, seed=0)
    with pytest.raises(DataError, match=r"no dimension up to 8.*Raise max_dimension"):
        dimension(X, max_dimension=8)


def test_points_that_are_all_equally_far_have_no_dimension():
    with pytest.raises(DataError, match="All 30 points have their nearest and their 11th"):
        dimension(np.eye(30))


def test_nearly_equal_distances_reach_the_cap():
    with pytest.raises(DataError, match="nearly all equally far"):
        dimension(np.eye(30) + 1e-9 * np.random.default_rng(0).standard_normal((30, 30)))


def test_too_few_points():
    with pytest.raises(DataError, match="11 rows, but 11 neighbors"):
        dimension(np.eye(11))
    with pytest.raises(DataError, match="Only 1 of 100 rows are distinct"):
        dimension(np.ones((100, 8)))


def test_a_graph_has_no_angles(rng):
    with pytest.raises(InputError, match="reads coordinates"):
        DANCo().fit(neighbor_graph(rng.random((200, 5)), 60))


@pytest.mark.parametrize("options", [{"n_neighbors": 3}, {"n_neighbors": 5.0}, {"max_dimension": 1}, {"seed": -1}])
def test_illegal_parameters_are_named(options, rng):
    with pytest.raises(InputError, match=next(iter(options))):
        DANCo(**options).fit(rng.random((30, 3)))


# The calibration


def test_calibration_is_smooth_and_unbiased(fresh):
    """Measured values scatter around the curves by the noise of 1000 points: 1% to 3%."""
    calibration = calibrate(300)
    curves = calibration.at(calibration.dimensions)
    for name, within in (("d_ml", 0.1), ("nu", 0.02), ("tau", 0.06)):
        np.testing.assert_allclose(getattr(curves, name), getattr(calibration.measured, name), rtol=within)
    between = calibration.at(np.array([1.5, 1.999999, 2.000001]))
    assert between.tau[1] == pytest.approx(between.tau[2], rel=1e-4)
    assert between.d_ml[0] == pytest.approx(1.5, rel=0.05)


def test_a_part_of_a_large_balls_points_stands_for_all(fresh, monkeypatch):
    many = calibrate(600, max_dimension=20)
    forget()
    (fresh / "1-609-10-0.json").unlink()
    monkeypatch.setattr(danco_calibration, "_MEASURED_POINTS", 200)
    few = calibrate(600, max_dimension=20)
    d = np.array([3.0, 8.0, 15.0])
    np.testing.assert_allclose(few.at(d).d_ml, many.at(d).d_ml, rtol=0.06)
    np.testing.assert_allclose(few.at(d).tau, many.at(d).tau, rtol=0.05)


def test_calibration_is_kept_and_read_again(quick, monkeypatch):
    first = calibrate(40, max_dimension=20)
    forget()
    monkeypatch.setattr(danco_calibration, "_ball_statistics", None)  # nothing can be measured any more
    again = calibrate(39, max_dimension=20)  # 39 and 40 share one
    np.testing.assert_array_equal(again.measured.d_ml, first.measured.d_ml)
    np.testing.assert_array_equal(again.measured.tau, first.measured.tau)


def test_a_larger_dimension_only_adds_to_what_was_measured(quick):
    small = calibrate(40, max_dimension=20)
    large = calibrate(40, max_dimension=60)
    shared = len(small.dimensions)
    np.testing.assert_array_equal(large.measured.tau[:shared], small.measured.tau)
    forget()
    (quick / "1-40-10-0.json").unlink()
    at_once = calibrate(40, max_dimension=60)
    np.testing.assert_array_equal(at_once.measured.tau, large.measured.tau)
    np.testing.assert_array_equal(calibrate(40, max_dimension=20).measured.tau, small.measured.tau)


def test_seeds_give_other_balls_and_a_like_answer(fresh):
    X = synthetic.gaussian(500, 12, 60, seed=0)
    answers = [dimension(X, seed=s) for s in range(3)]
    assert len(set(answers)) == 3
    assert np.std(answers) < 0.03 * 12


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"",
        lambda whole: b"\x00\xff" * 50,
        lambda whole: b"[1, 2]",
        lambda whole: whole.replace(b"[1, 40, 10, 0]", b"[1, 41, 10, 0]"),
        lambda whole: json.dumps({**json.loads(whole), "measured": {"1": [1.0, float("nan"), 1.0]}}).encode(),
        lambda whole: json.dumps({**json.loads(whole), "measured": {"1": [1.0, 2.0]}}).encode(),
    ],
)
def test_a_damaged_file_is_measured_again(damage, quick, caplog):
    whole = calibrate(40, max_dimension=20).measured.tau
    path = quick / "1-40-10-0.json"
    content = path.read_bytes()
    path.write_bytes(damage(content))
    forget()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(calibrate(40, max_dimension=20).measured.tau, whole)
    assert "measured again" in caplog.text
    assert path.read_bytes() == content


def test_an_unwritable_folder_only_costs_time(fresh, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GELORA_HOME", str(tmp_path / "file" / "home"))
    assert dimension(np.random.default_rng(0).random((40, 2)), max_dimension=20) == pytest.approx(2, rel=0.3)
    assert "cannot be kept" in caplog.text


def test_a_full_disk_only_costs_time(quick, monkeypatch, caplog):
    def full(path, content):
        raise StoreError("No space left.")

    monkeypatch.setattr(danco_calibration, "write_atomically", full)
    assert len(calibrate(40, max_dimension=20).dimensions) > 5
    assert "No space left" in caplog.text


def test_memory_is_bounded(fresh, monkeypatch):
    monkeypatch.setattr(danco_calibration, "_KEPT_IN_MEMORY", 2)
    monkeypatch.setattr(danco_calibration, "_ball_statistics", lambda *key: (1.0, 1.0, 1.0))
    for seed in range(5):
        calibrate(40, seed=seed)
    assert [key[2] for key in danco_calibration._memory] == [3, 4]


def test_two_processes_at_once_leave_a_whole_file(fresh):
    code = "from gelora.geometry.danco_calibration import calibrate; print(calibrate(40, max_dimension={}).measured.tau.tolist())"
    processes = [subprocess.Popen([sys.executable, "-c", code.format(20 + 10 * i)], stdout=subprocess.PIPE, text=True) for i in range(2)]
    answers = [json.loads(process.communicate(timeout=500)[0]) for process in processes]
    shared = min(map(len, answers))
    assert answers[0][:shared] == answers[1][:shared]
    assert not [path for path in fresh.iterdir() if path.suffix != ".json"]
    assert calibrate(40, max_dimension=20).measured.tau.tolist() == answers[0]
