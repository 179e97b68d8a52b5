"""DANCo's statistics on balls of known dimension: measured once, kept in memory and on disk, smooth in the dimension.

Does not depend on the points whose dimension is asked.
"""

import json
import logging
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.polynomial import Polynomial

from gelora.errors import StoreError
from gelora.geometry.danco_statistics import Statistics, measure
from gelora.geometry.neighbors import BLOCK_BYTES
from gelora.geometry.pairwise import NumpyPairwise
from gelora.home import cache_dir, made, write_atomically
from gelora.records import check_whole

LEAST_NEIGHBORS = 4
"""With fewer, a point has at most 3 angles, and the concentration that fits them best has no mean."""

_FORMAT = 1  # raise it when the same key would now give other numbers
_MEASURED_POINTS = 1000
_MOST_BALLS = 16
_STEPS_AN_OCTAVE = 16
_RATIO = 1.2
_LEAST_DIMENSIONS = 20
_DEGREE = 4
_KEPT_IN_MEMORY = 64

_log = logging.getLogger(__name__)
_lock = threading.Lock()  # layers measured in two threads make a calibration once
_Measured = dict[int, tuple[float, float, float]]
_memory: OrderedDict[tuple[int, int, int], _Measured] = OrderedDict()


@dataclass(frozen=True)
class Calibration:
    """The statistics of points uniform in a ball, against its dimension.

    n_points: in each ball; n_neighbors: k; seed; dimensions: int64 [m], ascending from 1; measured: Statistics, [m] each.
    """

    n_points: int
    n_neighbors: int
    seed: int
    dimensions: np.ndarray
    measured: Statistics

    def at(self, dimensions: np.ndarray) -> Statistics:
        """The smooth statistics at real dimensions from 1 to the largest of `dimensions`.

        One draw at each dimension is noisy: on its own, it moves an answer by 3%. From 2 on log(d_ML / d), nu and
        log(tau) are polynomials of degree 4 in log d, by least squares over all measured dimensions, which leaves 0.5
        to 1%. Below 2 the statistics go in a straight line to those measured at 1: angles on a line are 0 or pi.
        """
        d = np.asarray(dimensions, dtype=np.float64)
        log_d = np.log(np.maximum(d, 2.0))
        shrunk, nu, log_tau = (curve(log_d) for curve in self._curves)
        one = np.clip(2 - d, 0, 1)
        first = self.measured
        return Statistics(
            d_ml=(1 - one) * np.exp(shrunk) * np.maximum(d, 2.0) + one * first.d_ml[0],
            nu=(1 - one) * nu + one * first.nu[0],
            tau=(1 - one) * np.exp(log_tau) + one * first.tau[0],
        )

    @cached_property
    def _curves(self) -> tuple[Polynomial, Polynomial, Polynomial]:
        d = self.dimensions[1:].astype(np.float64)
        shrunk, nu, log_tau = np.log(self.measured.d_ml[1:] / d), self.measured.nu[1:], np.log(self.measured.tau[1:])
        return (
            Polynomial.fit(np.log(d), shrunk, _DEGREE),
            Polynomial.fit(np.log(d), nu, _DEGREE),
            Polynomial.fit(np.log(d), log_tau, _DEGREE),
        )


def calibrate(n_points: int, n_neighbors: int = 10, max_dimension: int = 100, seed: int = 0) -> Calibration:
    """The calibration for about `n_points` points, from memory, from disk, or measured now.

    Balls are drawn at dimensions 1 to 7 and then every 20% up to at least `max_dimension`. At each one 1000 points are
    read: of several balls (at most 16) when n_points is smaller, a part of one ball's points (against all of them)
    when it is larger. The number of points in a ball is n_points rounded to the nearest 1/16 of an octave, so layers that differ
    by a few copies share a calibration. That moves n_points by at most 2.2% and an answer by less than 0.5%.

    What was measured lies in `cache/danco` under GELORA_HOME, one small file for each (points, k, seed). A damaged file
    is measured again; where nothing can be written the calibration is used all the same, and the log says so.

    Args:
        n_points: number of distinct points, at least n_neighbors + 2.
        n_neighbors: k, at least 4.
        max_dimension: the largest dimension asked for, at least 2.
        seed: of the balls.

    Raises:
        InputError: an illegal argument.
    """
    check_whole("n_neighbors", n_neighbors, LEAST_NEIGHBORS)
    check_whole("n_points", n_points, n_neighbors + 2)
    check_whole("max_dimension", max_dimension, 2)
    check_whole("seed", seed, 0)
    size = max(n_neighbors + 2, round(2 ** (round(_STEPS_AN_OCTAVE * math.log2(n_points)) / _STEPS_AN_OCTAVE)))
    dimensions = _dimensions(max_dimension)
    key = (size, int(n_neighbors), int(seed))
    with _lock:
        measured = _measured(key, dimensions)
    table = np.array([measured[d] for d in dimensions])
    return Calibration(*key, np.array(dimensions), Statistics(table[:, 0], table[:, 1], table[:, 2]))


def _dimensions(max_dimension: int) -> list[int]:
    dimensions = [1]
    while dimensions[-1] < max(max_dimension, _LEAST_DIMENSIONS):
        dimensions.append(max(dimensions[-1] + 1, round(dimensions[-1] * _RATIO)))
    return dimensions


def _measured(key: tuple[int, int, int], dimensions: list[int]) -> _Measured:
    known = _memory.get(key, {})
    if not known.keys() >= set(dimensions):
        known = known | _read(key)
        missing = [d for d in dimensions if d not in known]
        known |= {d: _ball_statistics(*key, d) for d in missing}
        if missing:
            _keep(key, known)
    _memory[key] = known
    _memory.move_to_end(key)
    while len(_memory) > _KEPT_IN_MEMORY:
        _memory.popitem(last=False)
    return known


def _ball_statistics(n_points: int, n_neighbors: int, seed: int, dimension: int) -> tuple[float, float, float]:
    rng = np.random.default_rng([seed, n_points, n_neighbors, dimension])
    n_balls = min(_MOST_BALLS, math.ceil(_MEASURED_POINTS / n_points))
    found = []
    for _ in range(n_balls):
        ball = rng.standard_normal((n_points, dimension))
        ball *= rng.random((n_points, 1)) ** (1 / dimension) / np.linalg.norm(ball, axis=1, keepdims=True)
        rows = np.arange(min(n_points, _MEASURED_POINTS))  # the points come in random order
        engine = NumpyPairwise(ball, BLOCK_BYTES)
        nearest, _, _ = engine.candidates(rows, np.float64, n_neighbors + 1)
        squared = engine.squared_distances(rows, nearest)
        order = np.argsort(squared, axis=1)
        lengths = np.sqrt(np.take_along_axis(squared, order, axis=1))
        found.append(measure(ball, rows, lengths, np.take_along_axis(nearest, order, axis=1)[:, :-1]))
    d_ml, nu, tau = (float(np.mean([getattr(one, name) for one in found])) for name in ("d_ml", "nu", "tau"))
    return d_ml, nu, tau


def _path(key: tuple[int, int, int]) -> Path:
    n_points, n_neighbors, seed = key
    return cache_dir("danco") / f"{_FORMAT}-{n_points}-{n_neighbors}-{seed}.json"


def _read(key: tuple[int, int, int]) -> _Measured:
    """What the disk holds; a missing, damaged or unreadable file holds nothing."""
    try:
        path = _path(key)
        content = json.loads(path.read_bytes())
        if content["about"] != [_FORMAT, *key]:
            raise ValueError("it is about other balls")
        measured = {int(d): (float(d_ml), float(nu), float(tau)) for d, (d_ml, nu, tau) in content["measured"].items()}
        if not all(math.isfinite(x) and x > 0 for values in measured.values() for x in values):
            raise ValueError("it holds numbers that no ball has")
    except FileNotFoundError:
        return {}
    except (OSError, StoreError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("The DANCo calibration kept as %s cannot be read (%s); it is measured again.", key, error)
        return {}
    return measured


def _keep(key: tuple[int, int, int], measured: _Measured) -> None:
    content = {"about": [_FORMAT, *key], "measured": {str(d): values for d, values in sorted(measured.items())}}
    try:
        path = _path(key)
        made(path.parent)
        write_atomically(path, json.dumps(content).encode())
    except StoreError as error:
        _log.warning("The DANCo calibration cannot be kept and will be measured again by the next process: %s", error)
