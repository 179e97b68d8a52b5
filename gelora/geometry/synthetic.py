"""Manifolds of known dimension, to hold estimators against.

Every one is drawn in as many coordinates as it needs, then embedded isometrically in `width` coordinates by a random
rotation, so that no axis is special. Knows nothing of estimators.
"""

from collections.abc import Callable

import numpy as np

from gelora.errors import InputError
from gelora.records import check_range

Seed = int | np.random.Generator
Manifold = Callable[..., np.ndarray]


def affine(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """Points uniform in a unit cube of `dimension` sides, in a random affine subspace.

    The arguments are those of every manifold here.

    Args:
        n_samples: number of points, at least 1.
        dimension: of the manifold, at least 1 (swiss roll: 2).
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
    angle = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4001)
    length = 0.5 * (angle * np.hypot(1, angle) + np.arcsinh(angle))  # arc length of the spiral radius = angle
    t = np.interp(rng.uniform(length[0], length[-1], n_samples), length, angle)
    flat = rng.uniform(0, 20, (n_samples, dimension - 1))
    return _embedded(np.column_stack([t * np.cos(t), t * np.sin(t), flat]), width, rng, noise)


def nonlinear(n_samples: int, dimension: int, width: int, seed: Seed = 0, noise: float = 0.0) -> np.ndarray:
    """A cube bent by sines and by products of neighboring coordinates, so that density and curvature vary.

    The graph (z, sin(2 pi z), z_i z_{i+1}) over z uniform in the cube; needs 3 x dimension coordinates; arguments as
    in `affine`.
    """
    rng = _checked(n_samples, dimension, seed)
    z = rng.random((n_samples, dimension))
    return _embedded(np.hstack([z, np.sin(2 * np.pi * z) / (2 * np.pi), z * np.roll(z, -1, axis=1)]), width, rng, noise)


MANIFOLDS: dict[str, Manifold] = {
    "affine": affine,
    "gaussian": gaussian,
    "sphere": sphere,
    "clifford torus": clifford_torus,
    "swiss roll": swiss_roll,
    "nonlinear": nonlinear,
}
"""Every manifold by name; all have the same arguments."""


def _checked(n_samples: int, dimension: int, seed: Seed, least: int = 1) -> np.random.Generator:
    check_range("n_samples", n_samples, 1)
    check_range("dimension", dimension, least)
    return np.random.default_rng(seed)


def _embedded(points: np.ndarray, width: int, rng: np.random.Generator, noise: float) -> np.ndarray:
    needed = points.shape[1]
    if width < needed:
        raise InputError(f"width is {width}; this manifold needs at least {needed} coordinates.")
    check_range("noise", noise, 0.0)
    axes, _ = np.linalg.qr(rng.standard_normal((width, needed)))
    embedded = points @ axes.T
    return embedded + noise * rng.standard_normal(embedded.shape) if noise else embedded
