"""What a map does to a manifold, measured: the dimension before and after, the rank of the Jacobian, and which bounds hold.

For maps of charted manifolds; the dimension is TwoNN's.
"""

from dataclasses import dataclass

import numpy as np

from gelora.geometry.charted import charted_points
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import half_sample_interval, half_sample_spread, halves_at_whole
from gelora.geometry.half_samples import draw_halves
from gelora.geometry.maps import MapSpec, SmoothMap, numerical_rank
from gelora.geometry.twonn import TwoNN
from gelora.records import check_whole

N_JACOBIANS = 8
N_HALVES = 20
VERDICTS = ("holds", "holds within the interval", "does not hold", "is undecided without an interval")


@dataclass(frozen=True)
class Measured:
    """A dimension, or a difference of two, with its 95% interval from half-samples (paired for a difference); None where they give none."""

    value: float
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True)
class Bound:
    """An inequality left <= right as computed: words of both sides, their values, and a verdict out of VERDICTS."""

    left_words: str
    right_words: str
    left: float
    right: float
    verdict: str


@dataclass(frozen=True)
class MapMeasurement:
    """What was measured of a map on a manifold.

    dimension: true one of the manifold, n_context of what the map reads beside it; before, after: the measured ones of
    x and of f(x); rise: their paired difference; tangent_values: float64 [n_points, min(n_out, dimension + n_context)],
    the singular values of the Jacobian on the tangent space; ambient_values: [n_points, min(n_out, n_in + n_context)]
    those of the whole Jacobian; tangent_rank, ambient_rank: the largest numerical rank over the points; bounds: what
    must follow, and what the paper's argument says.
    """

    dimension: int
    n_context: int
    before: Measured
    after: Measured
    rise: Measured
    tangent_values: np.ndarray
    ambient_values: np.ndarray
    tangent_rank: int
    ambient_rank: int
    bounds: tuple[Bound, ...]


def measure_map(manifold: str, n_samples: int, dimension: int, spec: MapSpec, noise: float = 0.0, seed: int = 0) -> MapMeasurement:
    """Draw a manifold, map it, and measure the dimension before and after beside the rank of the Jacobian.

    For a smooth f on M, dim f(M) <= max rank of Df restricted to TM <= min(dim M, max rank of Df) (constant rank
    theorem and Sard; the image of a smooth map has no more dimensions than its derivative has rank). With a context c in
    an open set of n_context numbers the manifold is M x that set. An update that stays in r directions, x + Q a, adds at
    most r dimensions whatever a depends on: the output lies in the image of M x R^r under (x, a) -> x + Q a.

    Args:
        manifold: out of `gelora.geometry.CHARTED`, in spec.n_in coordinates.
        n_samples: points, at least 40, so that halves have a dimension.
        dimension: of the manifold.
        spec: the map; its context is drawn uniformly from [-1, 1].
        noise: standard deviation of Gaussian noise on the input; the noisy points fill all coordinates, so that bounds
            from the manifold's dimension need not hold for them.
        seed: of manifold, context and halves.

    Raises:
        InputError: an argument out of its range.
        DataError: the points have no dimension.
    """
    check_whole("n_samples", n_samples, 40)
    drawn = charted_points(manifold, n_samples, dimension, spec.n_in, seed, noise, N_JACOBIANS)
    mapped = SmoothMap(spec)
    context = np.random.default_rng([11, seed]).uniform(-1, 1, (n_samples, spec.n_context)) if spec.n_context else None
    images = mapped(drawn.points, context)
    n_points = len(drawn.tangents)
    jacobians = mapped.jacobian(drawn.points[:n_points], None if context is None else context[:n_points])
    tangent_values = np.linalg.svd(jacobians @ _with_context(drawn.tangents, spec.n_context), compute_uv=False)
    ambient_values = np.linalg.svd(jacobians, compute_uv=False)
    tangent_rank = max(numerical_rank(values) for values in tangent_values)
    ambient_rank = max(numerical_rank(values) for values in ambient_values)
    before, after, rise = _dimensions(drawn.points, images, seed)
    return MapMeasurement(
        dimension,
        spec.n_context,
        before,
        after,
        rise,
        tangent_values,
        ambient_values,
        tangent_rank,
        ambient_rank,
        _bounds(after, rise, dimension + spec.n_context, tangent_rank, ambient_rank, spec),
    )


def _with_context(tangents: np.ndarray, n_context: int) -> np.ndarray:
    """Bases of the tangent spaces of M x R^n_context: [n, width + n_context, dimension + n_context]."""
    n, width, dimension = tangents.shape
    bases = np.zeros((n, width + n_context, dimension + n_context))
    bases[:, :width, :dimension] = tangents
    bases[:, width:, dimension:] = np.eye(n_context)
    return bases


def _dimensions(points: np.ndarray, images: np.ndarray, seed: int) -> tuple[Measured, Measured, Measured]:
    clouds, estimator = [PointCloud(points), PointCloud(images)], TwoNN()
    for cloud in clouds:
        cloud.reserve(estimator.n_neighbors_read)
    whole = [TwoNN().estimate(cloud).dimension_ for cloud in clouds]
    halves = draw_halves(len(points), N_HALVES, seed)
    answers = np.array([[estimator.answer_or_nan(cloud.subset(half)) for half in halves] for cloud in clouds])
    ends = [half_sample_interval(value, each, 0.95) for value, each in zip(whole, answers, strict=True)]
    before, after = (Measured(value, low, high) for value, (low, high, _) in zip(whole, ends, strict=True))
    difference = whole[1] - whole[0]
    spread = half_sample_spread(np.subtract(*halves_at_whole(answers.T, np.array(whole), "pairs").T), "pairs")
    if spread is None:
        return before, after, Measured(difference, None, None)
    return before, after, Measured(difference, difference - spread.half_width(), difference + spread.half_width())


def _bounds(after: Measured, rise: Measured, free: int, tangent_rank: int, ambient_rank: int, spec: MapSpec) -> tuple[Bound, ...]:
    on = "on the manifold and the context" if spec.n_context else "on the tangent space"
    of = "dim M + context" if spec.n_context else "dim M"
    what = "update" if spec.kind == "residual" else "map"
    return (
        _bound("measured ID of the output", f"rank of J {on}", after, tangent_rank),
        _exact(f"rank of J {on}", of, tangent_rank, free),
        _exact(f"rank of J {on}", "rank of the whole J", tangent_rank, ambient_rank),
        _bound("measured rise, ID out − ID in", f"rank r of the {what}", rise, spec.rank),
    )


def _bound(left_words: str, right_words: str, left: Measured, right: int) -> Bound:
    if left.value <= right:
        verdict = VERDICTS[0]
    elif left.ci_low is None:
        verdict = VERDICTS[3]
    else:
        verdict = VERDICTS[1] if left.ci_low <= right else VERDICTS[2]
    return Bound(left_words, right_words, left.value, float(right), verdict)


def _exact(left_words: str, right_words: str, left: int, right: int) -> Bound:
    return Bound(left_words, right_words, float(left), float(right), VERDICTS[0] if left <= right else VERDICTS[2])
