"""The spectrum of a matrix or of a cloud's covariance: stable rank, what reaches beyond noise, and the exponent of its tail.

Does not depend on models or layers.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gelora.errors import DataError, InputError
from gelora.records import check_whole

_LEAST_TAIL = 10  # eigenvalues that a power law is fitted to
_LARGEST = 1e140
_CANDIDATES = 100  # places at which the tail may begin
UNFIT = 0.1
"""A power law whose p is below this is no description of the tail (Clauset, Shalizi & Newman)."""


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """A tail that falls as eigenvalue^-alpha from `start` on.

    alpha: exponent of the density, by maximum likelihood; error: its standard error, of independent values; n_tail: how many
    are in the tail; distance: Kolmogorov and Smirnov's; p: share of data sets drawn from the fitted law that lie further from
    their own fit, None where none were drawn.
    """

    alpha: float
    error: float
    start: float
    n_tail: int
    distance: float
    p: float | None

    @property
    def is_unfit(self) -> bool:
        """Whether the tail is no power law by its p value."""
        return self.p is not None and self.p < UNFIT


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of X' X / n of n rows and p columns.

    eigenvalues: float64, descending, those that are 0 to rounding left out; n_rows, n_columns: n and p; of weights the longer
    and the shorter side, of a cloud its rows less 1 and its width.
    """

    eigenvalues: np.ndarray
    n_rows: int
    n_columns: int

    @property
    def stable_rank(self) -> float:
        """Their sum over the largest: 1 where one direction holds all, p where all are equal (Rudelson & Vershynin 2007)."""
        return float(self.eigenvalues.sum() / self.eigenvalues[0])

    @cached_property
    def edge(self) -> float:
        """The upper edge of Marchenko and Pastur's law, s^2 (1 + sqrt(p / n))^2, of independent entries of the bulk's variance.

        s^2 is the mean of the eigenvalues that are not beyond the edge, found by turns from the mean of all. A matrix of
        independent entries has none to two beyond it. Where the spectrum has a long tail, the bulk that is left is small and
        so is its edge: then the number beyond it says that there is no bulk, not that so many directions were learned.
        """
        ratio = (1 + np.sqrt(self.n_columns / self.n_rows)) ** 2
        n_beyond = 0
        while True:
            edge = float(ratio * self.eigenvalues[n_beyond:].sum() / (self.n_columns - n_beyond))
            more = int((self.eigenvalues > edge).sum())
            if more <= n_beyond or more >= min(self.n_columns, len(self.eigenvalues)):
                return edge
            n_beyond = more

    @property
    def n_beyond(self) -> int:
        """How many eigenvalues lie beyond the edge."""
        return int((self.eigenvalues > self.edge).sum())

    def power_law(self, n_draws: int = 200, seed: int = 0) -> PowerLaw | None:
        """The power law of the tail, or None where there are too few eigenvalues, or all are equal; see `fit_power_law`."""
        has_tail = len(self.eigenvalues) >= 2 * _LEAST_TAIL and self.eigenvalues[0] > self.eigenvalues[-1]
        return fit_power_law(self.eigenvalues, n_draws, seed) if has_tail else None


def covariance_spectrum(X: Any) -> Spectrum:
    """The spectrum of the covariance of the rows of X, [n_samples, width]; copies count as often as they occur.

    Raises:
        InputError: X is no table of numbers.
        DataError: fewer than two rows, values that are not finite, or all rows equal.
    """
    values = _finite(X)
    if len(values) < 2:
        raise DataError(f"There are {len(values)} rows; a covariance needs at least 2.")
    values = values - values[0]  # equal rows then leave exactly nothing
    return _spectrum(values - values.mean(axis=0), len(values) - 1, values.shape[1], "All rows are equal")


def weight_spectrum(W: Any) -> Spectrum:
    """The spectrum of W' W / n of a weight matrix, n its longer side; which side is which changes nothing.

    Raises:
        InputError: W is no matrix of numbers.
        DataError: W holds NaN or infinity, or is 0 everywhere.
    """
    values = _finite(W)
    return _spectrum(values, max(values.shape), min(values.shape), "All weights are 0")


def fit_power_law(values: Any, n_draws: int = 200, seed: int = 0) -> PowerLaw:
    """The power law that describes the upper tail of positive numbers best, and whether it does so well enough.

    alpha = 1 + m / sum(log(x / start)) over the m values from `start` on. The start is that at which the tail lies nearest to
    its fit by Kolmogorov and Smirnov's distance, out of at most 100 places, evenly spread over the order. For p, as many
    numbers are drawn as there are: from the law with the tail's share, else from the values under the start; each draw is
    fitted again, start and all. Eigenvalues of one matrix repel each other and are no independent draws, so p leans to a fit.

    Args:
        values: at least 20 positive numbers.
        n_draws: data sets behind p, 0 for none; 200 settle it to 0.035.
        seed: of the draws.

    Raises:
        InputError: fewer than 20 numbers, or one that is not positive and finite.
        DataError: all are equal.

    Source: Clauset, Shalizi & Newman, "Power-law distributions in empirical data", SIAM Review 51 (2009), eq. 3.1, sections
    3.3 and 4.1. Of weights: Martin & Mahoney, JMLR 22 (2021), where alpha is the exponent that WeightWatcher reports.

    >>> import numpy as np
    >>> found = fit_power_law((1 - np.random.default_rng(0).random(2000)) ** (-1 / 2.0), n_draws=0)
    >>> round(found.alpha, 1)
    3.0
    """
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(x) < 2 * _LEAST_TAIL or not (x > 0).all() or not np.isfinite(x).all():
        raise InputError(f"A power law needs at least {2 * _LEAST_TAIL} positive, finite numbers; {len(x)} were given.")
    check_whole("n_draws", n_draws, 0)
    if x[0] == x[-1]:
        raise DataError("All numbers are equal: they have no tail.")
    alpha, first, distance = _best_tail(x)
    n, m = len(x), len(x) - first
    rng = np.random.default_rng(seed)
    further = 0
    for _ in range(n_draws):
        is_tail = rng.random(n) < m / n if first else np.ones(n, dtype=bool)
        drawn = x[first] * (1 - rng.random(n)) ** (-1 / (alpha - 1))
        if first:
            drawn[~is_tail] = rng.choice(x[:first], int((~is_tail).sum()))
        further += _best_tail(np.sort(drawn))[2] >= distance
    p = further / n_draws if n_draws else None
    return PowerLaw(alpha, (alpha - 1) / float(np.sqrt(m)), float(x[first]), m, distance, p)


def _best_tail(x: np.ndarray) -> tuple[float, int, float]:
    """Exponent, first place and distance of the tail of ascending x that lies nearest to its fit."""
    n, logs = len(x), np.log(x)
    starts = np.unique(np.linspace(0, n - _LEAST_TAIL, _CANDIDATES).astype(int))
    starts = starts[logs[starts] < logs[-1]]
    sums = np.cumsum(logs[::-1])[::-1][starts] - (n - starts) * logs[starts]
    alphas = 1 + (n - starts) / sums
    place = np.arange(n) - starts[:, None]
    fitted = -np.expm1((1 - alphas)[:, None] * np.maximum(logs - logs[starts, None], 0.0))
    sizes = (n - starts)[:, None]
    apart = np.maximum(np.abs(fitted - place / sizes), np.abs(fitted - (place + 1) / sizes))
    distances = np.where(place >= 0, apart, 0.0).max(axis=1)
    best = int(distances.argmin())
    return float(alphas[best]), int(starts[best]), float(distances[best])


def _finite(X: Any) -> np.ndarray:
    values = np.asarray(X)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(f"X has shape {values.shape} and type {values.dtype}; it must be a matrix of real numbers.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("X holds NaN or infinity; drop or repair such rows first.")
    return values


def _spectrum(values: np.ndarray, n_rows: int, n_columns: int, nothing: str) -> Spectrum:
    largest = float(np.abs(values).max(initial=0.0))
    if not largest:
        raise DataError(f"{nothing}: there is no spectrum.")
    if largest > _LARGEST:
        raise DataError(f"A number of {largest:.0e} has no square that can be written; divide all by a power of ten first.")
    values = values / largest  # so that no square overflows
    product = values @ values.T if values.shape[0] < values.shape[1] else values.T @ values
    found = np.linalg.eigvalsh(product)[::-1]
    found = found[found > found[0] * len(found) * np.finfo(np.float64).eps]
    return Spectrum(np.maximum(found / n_rows, 0.0) * largest**2, n_rows, n_columns)
