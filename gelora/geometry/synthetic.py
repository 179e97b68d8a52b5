"""Manifolds of known dimension, to test estimators on.

Those of MANIFOLDS are drawn in as many coordinates as they need, then embedded isometrically in `width` coordinates by a
random rotation, so that no axis is special; the benchmark set of scikit-dimension comes as that library draws it.
Does not depend on estimators.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gelora.errors import InputError
from gelora.records import check_choice, check_range, check_whole

Seed = int | np.random.Generator
Manifold = Callable[..., np.ndarray]


def affine(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform in a unit cube of `dimension` sides, in a random affine subspace.

    The arguments are those of every manifold here.

    Args:
        n_samples: number of points, at least 1.
        dimension: of the manifold, at least 1; DIMENSIONS says where a manifold has fewer choices.
        width: number of coordinates, at least those that the manifold needs (an error says how many).
        seed: whole number or numpy Generator.
        noise: standard deviation of Gaussian noise added to every one of the `width` coordinates, at least 0.

    Returns:
        float64 [n_samples, width].

    Raises:
        InputError: an argument out of its range.
    """
    rng = _checked(n_samples, dimension, seed)
    return _embedded(rng.random((n_samples, dimension)), width, rng, noise)


def gaussian(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points of a standard normal law of `dimension` coordinates; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    return _embedded(rng.standard_normal((n_samples, dimension)), width, rng, noise)


def sphere(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform on the unit sphere of `dimension` (in dimension + 1 coordinates); arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    points = rng.standard_normal((n_samples, dimension + 1))
    return _embedded(points / np.linalg.norm(points, axis=1, keepdims=True), width, rng, noise)


def clifford_torus(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform on the product of `dimension` unit circles, which is flat and has no edge; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    angles = rng.uniform(0, 2 * np.pi, (n_samples, dimension))
    return _embedded(np.hstack([np.cos(angles), np.sin(angles)]), width, rng, noise)


def swiss_roll(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """A plane rolled up, times a cube for each further dimension; needs dimension + 1 coordinates; arguments as in `affine`.

    The points are uniform by area: the roll is drawn by arc length, not by angle.
    """
    rng = _checked(n_samples, dimension, seed, least=2)
    rolled = _on_spiral(n_samples, rng)
    return _embedded(np.hstack([rolled, rng.uniform(0, 20, (n_samples, dimension - 1))]), width, rng, noise)


def nonlinear(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """A cube bent by sines and by products of neighboring coordinates, so that density and curvature vary.

    The graph (z, sin(2 pi z), z_i z_{i+1}) over z uniform in the cube; needs 3 x dimension coordinates; arguments as
    in `affine`.
    """
    rng = _checked(n_samples, dimension, seed)
    z = rng.random((n_samples, dimension))
    return _embedded(np.hstack([z, np.sin(2 * np.pi * z) / (2 * np.pi), z * np.roll(z, -1, axis=1)]), width, rng, noise)


def ball(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform in the unit ball; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    return _embedded(_in_ball(n_samples, dimension, rng), width, rng, noise)


def simplex(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform among the dimension + 1 shares that add up to 1, all corners and edges; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    shares = rng.exponential(size=(n_samples, dimension + 1))
    return _embedded(shares / shares.sum(axis=1, keepdims=True), width, rng, noise)


def paraboloid(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """The graph (z, |z|^2) over z uniform in the unit ball; needs dimension + 1 coordinates; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed)
    z = _in_ball(n_samples, dimension, rng)
    return _embedded(np.column_stack([z, (z**2).sum(axis=1)]), width, rng, noise)


def s_curve(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Two half circles of radius 1 that make an S, times a cube of side 2 for each further dimension, uniform by area.

    Needs dimension + 1 coordinates; arguments as in `affine`.
    """
    rng = _checked(n_samples, dimension, seed, least=2)
    t = rng.uniform(-1.5 * np.pi, 1.5 * np.pi, n_samples)
    flat = rng.uniform(0, 2, (n_samples, dimension - 1))
    return _embedded(np.column_stack([np.sin(t), np.sign(t) * (np.cos(t) - 1), flat]), width, rng, noise)


def spiral(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """The flat spiral that the Swiss roll rolls up on, uniform by length; dimension 1, 2 coordinates; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed, most=1)
    return _embedded(_on_spiral(n_samples, rng), width, rng, noise)


def helix(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Six turns of radius 1 and rise 1 around a cylinder, uniform by length; dimension 1, 3 coordinates; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed, most=1)
    t = rng.uniform(0, 12 * np.pi, n_samples)
    return _embedded(np.column_stack([np.cos(t), np.sin(t), t / (2 * np.pi)]), width, rng, noise)


def moebius(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """A band of width 1 around the unit circle, twisted once by half a turn, uniform in angle and height.

    Dimension 2, 3 coordinates; arguments as in `affine`.
    """
    rng = _checked(n_samples, dimension, seed, least=2, most=2)
    angle = rng.uniform(0, 2 * np.pi, n_samples)
    height = rng.uniform(-0.5, 0.5, n_samples)
    radius = 1 + height * np.cos(angle / 2)
    return _embedded(np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height * np.sin(angle / 2)]), width, rng, noise)


def rotations(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """All rotations of space as the 9 numbers of their matrices, uniform; dimension 3, no edge; arguments as in `affine`."""
    rng = _checked(n_samples, dimension, seed, least=3, most=3)
    quaternions = rng.standard_normal((n_samples, 4))
    a, b, c, d = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    matrices = [
        *(1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)),
        *(2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)),
        *(2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)),
    ]
    return _embedded(np.column_stack(matrices), width, rng, noise)


MANIFOLDS: dict[str, Manifold] = {
    "affine": affine,
    "gaussian": gaussian,
    "sphere": sphere,
    "clifford torus": clifford_torus,
    "swiss roll": swiss_roll,
    "nonlinear": nonlinear,
    "ball": ball,
    "simplex": simplex,
    "paraboloid": paraboloid,
    "s curve": s_curve,
    "spiral": spiral,
    "helix": helix,
    "moebius": moebius,
    "rotations": rotations,
}
"""Every manifold by name; all have the same arguments."""

DIMENSIONS: dict[str, tuple[int, int | None]] = {
    **dict.fromkeys(MANIFOLDS, (1, None)),
    "swiss roll": (2, None),
    "s curve": (2, None),
    "spiral": (1, 1),
    "helix": (1, 1),
    "moebius": (2, 2),
    "rotations": (3, 3),
}
"""The least and the largest legal dimension of every manifold in MANIFOLDS; None: no largest."""


def fixed_dimension(name: str) -> int | None:
    """The one dimension that the manifold of that name in MANIFOLDS can have; None where there is a choice."""
    low, high = DIMENSIONS[name]
    return low if low == high else None


class BenchmarkManifold(NamedTuple):
    """dimension: of the manifold; width: number of coordinates."""

    dimension: int
    width: int


BENCHMARK_MANIFOLDS: dict[str, BenchmarkManifold] = {
    "M1_Sphere": BenchmarkManifold(10, 11),
    "M2_Affine_3to5": BenchmarkManifold(3, 5),
    "M3_Nonlinear_4to6": BenchmarkManifold(4, 6),
    "M4_Nonlinear": BenchmarkManifold(4, 8),
    "M5a_Helix1d": BenchmarkManifold(1, 3),
    "M5b_Helix2d": BenchmarkManifold(2, 3),
    "M6_Nonlinear": BenchmarkManifold(6, 36),
    "M7_Roll": BenchmarkManifold(2, 3),
    "M8_Nonlinear": BenchmarkManifold(12, 72),
    "M9_Affine": BenchmarkManifold(20, 20),
    "M10a_Cubic": BenchmarkManifold(10, 11),
    "M10b_Cubic": BenchmarkManifold(17, 18),
    "M10c_Cubic": BenchmarkManifold(24, 25),
    "M10d_Cubic": BenchmarkManifold(70, 71),
    "M11_Moebius": BenchmarkManifold(2, 3),
    "M12_Norm": BenchmarkManifold(20, 20),
    "M13a_Scurve": BenchmarkManifold(2, 3),
    "M13b_Spiral": BenchmarkManifold(1, 13),
    "Mbeta": BenchmarkManifold(10, 40),
    "Mn1_Nonlinear": BenchmarkManifold(18, 72),
    "Mn2_Nonlinear": BenchmarkManifold(24, 96),
    "Mp1_Paraboloid": BenchmarkManifold(3, 12),
    "Mp2_Paraboloid": BenchmarkManifold(6, 21),
    "Mp3_Paraboloid": BenchmarkManifold(9, 30),
}
"""The benchmark set of scikit-dimension: every name with its dimension and width."""


def benchmark_manifold(name: str, n_samples: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points of one of scikit-dimension's benchmark manifolds, drawn by that library, in its coordinates (not rotated).

    Args:
        name: out of BENCHMARK_MANIFOLDS.
        n_samples: number of points, at least 1.
        seed: whole number or numpy Generator.
        noise: standard deviation of Gaussian noise added to every coordinate, at least 0.

    Returns:
        float64 [n_samples, width].

    Raises:
        InputError: an argument out of its range, or scikit-dimension (or pandas, which its set needs) is not installed.

    Sources: Campadelli, Casiraghi, Ceruti & Rozza, Mathematical Problems in Engineering 2015, 759567; Hein & Audibert,
    ICML (2005).
    """
    check_choice("name", name, tuple(BENCHMARK_MANIFOLDS))
    rng = _checked(n_samples, 1, seed)
    check_range("noise", noise, 0.0)
    try:
        from skdim.datasets import BenchmarkManifolds

        source = BenchmarkManifolds(random_state=int(rng.integers(2**32)))
    except ImportError as error:
        raise InputError(
            "The benchmark manifolds are scikit-dimension's, which is not installed; run: pip install scikit-dimension pandas."
        ) from error
    dimension, width = BENCHMARK_MANIFOLDS[name]
    points = np.asarray(source.generate(name, n=n_samples, dim=width, d=dimension), dtype=np.float64)
    return points + noise * rng.standard_normal(points.shape) if noise else points


def _checked(n_samples: int, dimension: int, seed: Seed, least: int = 1, most: int | None = None) -> np.random.Generator:
    check_whole("n_samples", n_samples, 1)
    check_whole("dimension", dimension, least, most)
    return np.random.default_rng(seed)


def _in_ball(n_samples: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    directions = rng.standard_normal((n_samples, dimension))
    radii = rng.random((n_samples, 1)) ** (1 / dimension)
    return radii * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _on_spiral(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Points of the spiral radius = angle from 1.5 pi to 4.5 pi, uniform by its length."""
    angle = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4001)
    length = 0.5 * (angle * np.hypot(1, angle) + np.arcsinh(angle))
    t = np.interp(rng.uniform(length[0], length[-1], n_samples), length, angle)
    return np.column_stack([t * np.cos(t), t * np.sin(t)])


def _embedded(points: np.ndarray, width: int, rng: np.random.Generator, noise: float) -> np.ndarray:
    needed = points.shape[1]
    if width < needed:
        raise InputError(f"width is {width}; this manifold needs at least {needed} coordinates.")
    check_range("noise", noise, 0.0)
    axes, _ = np.linalg.qr(rng.standard_normal((width, needed)))
    embedded = points @ axes.T
    return embedded + noise * rng.standard_normal(embedded.shape) if noise else embedded
