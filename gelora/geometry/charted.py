"""Manifolds of `synthetic` together with their exact tangent spaces, from the parametrisation that they are drawn by.

The points are those of `synthetic` for the same arguments, to the last digit (a test holds both against each other). Does
not depend on maps or estimators.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gelora.errors import InputError
from gelora.records import check_choice, check_range, check_whole


@dataclass(frozen=True)
class ChartedPoints:
    """Points of a manifold whose tangent spaces are known.

    points: float64 [n_samples, width], noise included; dimension: of the manifold; tangents: float64 [n_charted, width,
    dimension], an orthonormal basis of the tangent space at the first n_charted points as they were before the noise.
    """

    points: np.ndarray
    dimension: int
    tangents: np.ndarray


Chart = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Drawn numbers [n, k] -> points [n, needed] and the derivative of the parametrisation [n, needed, dimension]."""


def charted_points(
    manifold: str, n_samples: int, dimension: int, width: int, seed: int = 0, noise: float = 0.0, n_charted: int = 8
) -> ChartedPoints:
    """Draw points of a manifold as `synthetic` does, with the tangent space at the first of them.

    Args:
        manifold: out of CHARTED.
        n_samples: at least 1.
        dimension: of the manifold, at least 1.
        width: number of coordinates, at least `needed_width(manifold, dimension)`.
        seed: whole number.
        noise: standard deviation of Gaussian noise in every coordinate, at least 0; the tangent spaces are those without it.
        n_charted: at how many of the points the tangent space is wanted, at least 1; all when there are fewer.

    Raises:
        InputError: an argument out of its range.
    """
    check_choice("manifold", manifold, tuple(CHARTED))
    check_whole("n_samples", n_samples, 1)
    check_whole("dimension", dimension, 1)
    check_range("noise", noise, 0.0)
    check_whole("n_charted", n_charted, 1)
    needed = needed_width(manifold, dimension)
    if width < needed:
        raise InputError(f"width is {width}; this manifold needs at least {needed} coordinates.")
    rng = np.random.default_rng(seed)
    draw, chart = CHARTED[manifold]
    flat, derivative = chart(draw(rng, n_samples, dimension))
    axes, _ = np.linalg.qr(rng.standard_normal((width, needed)))
    points = flat @ axes.T
    if noise:
        points = points + noise * rng.standard_normal(points.shape)
    bases, _ = np.linalg.qr(axes @ derivative[:n_charted])
    return ChartedPoints(points, dimension, bases)


def needed_width(manifold: str, dimension: int) -> int:
    """The least number of coordinates in which the manifold has room."""
    check_choice("manifold", manifold, tuple(CHARTED))
    return {"sphere": dimension + 1, "clifford torus": 2 * dimension, "nonlinear": 3 * dimension}.get(manifold, dimension)


def _flat(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return z, np.broadcast_to(np.eye(z.shape[1]), (*z.shape, z.shape[1]))


def _sphere(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tangent space is what is orthogonal to the point: all columns but the first of an orthonormal basis that begins with it."""
    points = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    n, width = points.shape
    begun = np.concatenate([points[:, :, None], np.broadcast_to(np.eye(width), (n, width, width))], axis=2)
    bases, _ = np.linalg.qr(begun)  # [n, width, width]: the columns after the first span the complement of the point
    return points, bases[:, :, 1:]


def _torus(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    eye = np.eye(angles.shape[1])
    derivative = np.concatenate([-np.sin(angles)[:, :, None] * eye, np.cos(angles)[:, :, None] * eye], axis=1)
    return np.hstack([np.cos(angles), np.sin(angles)]), derivative


def _nonlinear(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, d = z.shape
    eye, following = np.eye(d), np.roll(z, -1, axis=1)
    shift = np.roll(eye, 1, axis=1)  # row i has its 1 at i + 1
    products = following[:, :, None] * eye + z[:, :, None] * shift
    derivative = np.concatenate([np.broadcast_to(eye, (n, d, d)), np.cos(2 * np.pi * z)[:, :, None] * eye, products], axis=1)
    return np.hstack([z, np.sin(2 * np.pi * z) / (2 * np.pi), z * following]), derivative


CHARTED: dict[str, tuple[Callable[[np.random.Generator, int, int], np.ndarray], Chart]] = {
    "affine": (lambda rng, n, d: rng.random((n, d)), _flat),
    "gaussian": (lambda rng, n, d: rng.standard_normal((n, d)), _flat),
    "sphere": (lambda rng, n, d: rng.standard_normal((n, d + 1)), _sphere),
    "clifford torus": (lambda rng, n, d: rng.uniform(0, 2 * np.pi, (n, d)), _torus),
    "nonlinear": (lambda rng, n, d: rng.random((n, d)), _nonlinear),
}
"""Every manifold here by its name in `synthetic`: what it draws, and its parametrisation with derivative."""
