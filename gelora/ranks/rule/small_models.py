"""Two models small enough to be solved exactly: the Fisher information of a softmax layer, and the best update of each rank.

Uses numpy alone; what they show of the theory is said where they are drawn.
"""

from dataclasses import dataclass

import numpy as np

from gelora.errors import InputError
from gelora.records import check_range, check_whole

RANK_TOLERANCE = 1e-12
"""An eigenvalue counts towards the rank when it is above this share of the largest (float64, sums over the sample)."""


@dataclass(frozen=True)
class FisherSpectrum:
    """eigenvalues: float64 [n_classes * width], descending, not negative; rank: how many are above `tolerance` times the
    largest; most: (n_classes - 1) * width, the largest rank that a softmax allows; spanned: the rank of the points."""

    eigenvalues: np.ndarray
    rank: int
    most: int
    spanned: int
    tolerance: float = RANK_TOLERANCE


def softmax_fisher(points: np.ndarray, n_classes: int, seed: int = 0) -> FisherSpectrum:
    """The exact Fisher information of the weights of a linear layer with softmax, averaged over points.

    For y ~ softmax(W x) the Fisher information of W [n_classes, width] is E_x[(diag p - p p^T) (x) x x^T]: the mean over
    x of a Kronecker product, taken over y exactly. Its rank is (n_classes - 1) times the rank of the points for almost
    every W, whatever the dimension of the manifold that they lie on.

    Args:
        points: [n, width], n at least 1.
        n_classes: at least 2; n_classes * width at most 400.
        seed: of W, standard normal over sqrt(width).

    Raises:
        InputError: an argument out of its range.

    Source: Amari, Natural gradient works efficiently in learning, Neural Computation 10 (1998).
    """
    check_whole("n_classes", n_classes, 2)
    n, width = points.shape
    if n_classes * width > 400:
        raise InputError(f"{n_classes} classes times {width} coordinates are {n_classes * width} weights; at most 400 are solved exactly.")
    weights = np.random.default_rng([17, seed]).standard_normal((n_classes, width)) / np.sqrt(width)
    scores = points @ weights.T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    # a square root of diag p - p p^T: columns sqrt(p_y) (e_y - p); of x x^T: x
    root = np.sqrt(p)[:, :, None] * (np.eye(n_classes)[None] - p[:, None, :])
    rows = (root[:, :, :, None] * points[:, None, None, :]).reshape(n * n_classes, n_classes * width)
    eigenvalues = np.maximum(np.linalg.eigvalsh(rows.T @ rows / n)[::-1], 0.0)
    spanned = int(np.linalg.matrix_rank(points))
    return FisherSpectrum(eigenvalues, int(np.sum(eigenvalues > RANK_TOLERANCE * eigenvalues[0])), (n_classes - 1) * width, spanned)


@dataclass(frozen=True)
class RankNeed:
    """errors: float64 [width + 1], the least mean squared error that an update of rank 0, 1, ... width leaves, as a share of
    that of no update; needed: the least rank that leaves less than 1e-12 of it; before, after: the points, and where the
    wanted map takes them, [n, width]."""

    errors: np.ndarray
    needed: int
    before: np.ndarray
    after: np.ndarray


def update_of_each_rank(points: np.ndarray, n_planes: int, angle: float, seed: int = 0) -> RankNeed:
    """How well an update of each rank turns the identity into a rotation of some planes, on given points.

    The frozen layer is x -> x; wanted is x -> R x, R turning `n_planes` random planes by `angle`. R - 1 has rank
    2 n_planes, and R changes no distance, so that every dimension stays what it is. The best update of rank r on the
    points is exact (reduced-rank regression): the error it leaves is the sum of the squared singular values of
    (R - 1) X beyond the r-th.

    Args:
        points: [n, width].
        n_planes: from 1 to width / 2.
        angle: in radians, above 0 and at most pi.

    Raises:
        InputError: an argument out of its range.

    Source: Izenman, Reduced-rank regression for the multivariate linear model, J. Multivariate Analysis 5 (1975).
    """
    width = points.shape[1]
    check_whole("n_planes", n_planes, 1, width // 2)
    check_range("angle", angle, float(np.nextafter(0, 1)), float(np.pi))
    axes = np.linalg.qr(np.random.default_rng([19, seed]).standard_normal((width, width)))[0]
    turned = np.eye(width)
    for plane in range(n_planes):
        here = slice(2 * plane, 2 * plane + 2)
        turned[here, here] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    after = points @ (axes @ turned @ axes.T).T
    squares = np.linalg.svd(after - points, compute_uv=False) ** 2
    squares = np.concatenate([squares, np.zeros(width - len(squares))])
    left = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
    errors = left / left[0]
    return RankNeed(errors, int(np.argmax(errors < 1e-12)), points, after)
