"""Seeded smooth maps of a chosen rank, with their exact Jacobians, and the numerical rank of a matrix.

Does not depend on manifolds or estimators; what a map does to a manifold is measured in `map_measurement`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from gelora.errors import InputError
from gelora.records import check_choice, check_range, check_whole

MAP_KINDS = ("linear", "hidden", "residual")
RANK_TOLERANCE = 1e-10
"""A singular value counts towards the rank when it is above this share of the matrix's largest one (float64)."""


@dataclass(frozen=True)
class MapSpec:
    """What decides a map; two equal ones give the same.

    kind: "linear" x -> W x, W a product of two random matrices with `rank` columns and rows between;
        "hidden" x -> V gelu(U x + b), one hidden layer of width `rank`;
        "residual" (x, c) -> x + gain Q tanh(U x + C c), Q with `rank` orthonormal columns, so that the update stays in
        `rank` directions whatever it reads. c are `n_context` numbers that do not come from x, as the other tokens of a
        text are for one token; without them (0) the map is a function of x.
    n_in, n_out: coordinates before and after, at least 1; equal for "residual".
    rank: at least 1, and at most n_in (but for "hidden") and n_out.
    gain: factor of a residual's update, above 0; ignored by the others.
    n_context: at least 0; 0 unless "residual".
    """

    kind: str
    n_in: int
    n_out: int
    rank: int
    gain: float = 1.0
    n_context: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, MAP_KINDS)
        for name in ("n_in", "n_out", "rank"):
            check_whole(name, getattr(self, name), 1)
        check_whole("n_context", self.n_context, 0)
        check_range("gain", self.gain, 0.0)
        most = self.n_out if self.kind == "hidden" else min(self.n_in, self.n_out)
        if self.rank > most:
            raise InputError(f"rank is {self.rank}; a {self.kind} map from {self.n_in} to {self.n_out} coordinates has at most {most}.")
        if self.kind == "residual" and self.n_in != self.n_out:
            raise InputError(f"A residual map goes from {self.n_in} to {self.n_out} coordinates; both must be the same number.")
        if self.kind != "residual" and self.n_context:
            raise InputError(f"n_context is {self.n_context}; only a residual map reads a context.")


class SmoothMap:
    """The map that a spec means.

    >>> twice = SmoothMap(MapSpec("linear", n_in=6, n_out=4, rank=2))
    >>> numerical_rank(np.linalg.svd(twice.jacobian(np.ones((1, 6)))[0], compute_uv=False))
    2
    """

    def __init__(self, spec: MapSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng([7, spec.seed])
        n, m, r, k = spec.n_in, spec.n_out, spec.rank, spec.n_context
        if spec.kind == "residual":
            self._out = np.linalg.qr(rng.standard_normal((n, r)))[0]
            self._in = np.linalg.qr(rng.standard_normal((n, r)))[0].T
            self._context = rng.standard_normal((r, k)) / np.sqrt(max(k, 1))
            self._shift = np.zeros(r)
        else:
            self._out = rng.standard_normal((m, r)) / np.sqrt(r)
            self._in = rng.standard_normal((r, n)) / (1.0 if spec.kind == "hidden" else np.sqrt(n))
            self._context = np.zeros((r, 0))
            self._shift = 0.5 * rng.standard_normal(r) if spec.kind == "hidden" else np.zeros(r)

    def __call__(self, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
        """The images.

        Args:
            x: [n, n_in]. context: [n, n_context]; not needed where that is 0.

        Returns:
            float64 [n, n_out].
        """
        inner = self._inner(x, context)
        if self.spec.kind == "residual":
            return x + self.spec.gain * np.tanh(inner) @ self._out.T
        return (_gelu(inner) if self.spec.kind == "hidden" else inner) @ self._out.T

    def jacobian(self, x: np.ndarray, context: np.ndarray | None = None) -> np.ndarray:
        """The derivative by (x, context) at every point, from the formula: float64 [n, n_out, n_in + n_context]."""
        inner = self._inner(x, context)
        read = np.hstack([self._in, self._context])
        if self.spec.kind == "residual":
            slope = self.spec.gain * (1 - np.tanh(inner) ** 2)
            straight = np.hstack([np.eye(self.spec.n_in), np.zeros((self.spec.n_in, self.spec.n_context))])
            return straight + (self._out * slope[:, None, :]) @ read
        slope = _gelu_slope(inner) if self.spec.kind == "hidden" else np.ones_like(inner)
        return (self._out * slope[:, None, :]) @ read

    def _inner(self, x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        given = 0 if context is None else context.shape[1]
        if x.ndim != 2 or x.shape[1] != self.spec.n_in or given != self.spec.n_context:
            raise InputError(
                f"The map takes points of {self.spec.n_in} coordinates and {self.spec.n_context} of context; "
                f"given are points of shape {list(x.shape)} and {given} of context."
            )
        inner = x @ self._in.T + self._shift
        return inner if context is None else inner + context @ self._context.T


def numerical_rank(singular_values: np.ndarray, tolerance: float = RANK_TOLERANCE) -> int:
    """How many of a matrix's singular values [k] are above `tolerance` times the largest; 0 for a matrix of zeros."""
    largest = float(np.max(singular_values, initial=0.0))
    return int(np.sum(singular_values > tolerance * largest)) if largest > 0 else 0


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * special.ndtr(x)


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    return special.ndtr(x) + x * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
