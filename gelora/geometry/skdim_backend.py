"""Estimators of scikit-dimension by name, on our neighbors, guarded against their known defects.

Does not depend on layers. The only file that runs scikit-dimension's estimators; it is imported when one is asked for.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.estimator import Estimator
from gelora.records import check_choice, check_whole

_SAME_LENGTH = 1e-12
_BLOCK_BYTES = 8 * 2**20
_quiet = threading.Lock()  # redirecting stdout is for the whole process: one at a time, or the last one out keeps it


class SkdimEstimator(Estimator):
    """scikit-dimension's lPCA, TLE, MOM or FisherS, given the distinct points and our exact neighbors.

    - "lpca" (local): eigenvalues of each point's neighborhood, itself and its k neighbors, that exceed 5% of the largest,
      counted by scikit-dimension's lPCA(ver="FO"). Its own `fit` is one PCA of all the points; here each neighborhood
      is one. It cannot count past k, and has no answer where half of the points reach it: at k = 20 and N = 1000 a
      Gaussian of 5, 12, 20 dimensions reads 5.0, 11.1, 14.8.
    - "tle" (local): also reads the distances among the k neighbors. Its cut-off for tiny distances is absolute, so the
      points are given in units of the median distance to the k-th neighbor; in the data's own it would depend on their
      scale. Reads 5.3, 10.5, 14.6 there.
    - "mom" (local): the mean distance to the k neighbors as a share of the k-th; reads the graph alone. Reads 5.5,
      11.3, 16.2.
    - "fishers" (global): how easily a plane cuts a point off from all others, after PCA, whitening and projection on a
      sphere. It keeps only components with more than a tenth of the largest variance, so one outlier dimension leaves
      it nothing else, and it reads the flat space that a curved manifold fills (9.1 for an 8-sphere). Above some 50
      dimensions all of 1000 points are separable and it has no answer. Reads 5.0, 12.1, 20.7.

    The local ones answer with the mean over the points. Points without a finite positive answer are left out, and
    `note_` counts them; where they are half or more there is no dimension.

    scikit-dimension's MiND and DANCo cannot be reached here: MiND's default maximum caps the answer at 10, and DANCo
    overflows at the width of a transformer (763 for 12 dimensions in 768). The library's own MiND and DANCo take their
    place. Its GRIDE and PH (since 0.5.0) agree with `GRIDE` and `PersistentHomologyDimension` here, which profiles use;
    tests hold one against the other.

    Args:
        name: "lpca", "tle", "mom" or "fishers".
        n_neighbors: k, at least 3; not read by "fishers".
        n_subsamples: half-samples for the interval, 0 or at least 2.
        seed: of the halves, and of the points drawn for "fishers".
        confidence: of the interval, above 0 and below 1.
        max_points: at least 10. "fishers", whose time is quadratic, reads so many points at most, and `note_` says so.

    Attributes:
        dimension_: the estimate.
        dimension_pw_: float64 [n_distinct], the estimate at each point as scikit-dimension gives it, NaN where it has
            none; not there for "fishers".
        ci_low_, ci_high_: from half-samples. They do not see the bias.
        n_distinct_: the number of distinct points.

    Time at N = 1000, width 768 on one CPU core, without half-samples: 0.3 s (lpca), 0.5 s (tle), 0.001 s (mom), 0.4 s
    (fishers; 5 s more for the first one in a process, which is compiled). 20 halves take about ten times as long. lpca
    and tle grow in proportion to N: 13 s and 25 s with halves at N = 5000.

    Raises (from `fit`):
        InputError: an illegal parameter or input, or scikit-dimension is not installed.
        DataError: too few points, or no answer, and why.

    Sources: Bac, Mirkes, Gorban, Tyukin & Zinovyev, "Scikit-dimension", Entropy 23, 1368 (2021); lPCA: Fukunaga & Olsen,
    IEEE Trans. Computers C-20, 176 (1971); TLE: Amsaleg et al., SIAM SDM (2019); MOM: Amsaleg et al., Data Mining and
    Knowledge Discovery 32, 1768 (2018); FisherS: Albergante, Bac & Zinovyev, IJCNN (2019).
    """

    dimension_pw_: np.ndarray

    def __init__(
        self,
        name: str,
        n_neighbors: int = 20,
        n_subsamples: int = 20,
        seed: int = 0,
        confidence: float = 0.95,
        max_points: int = 1000,
    ) -> None:
        self.name = name
        self.n_neighbors = n_neighbors
        self.n_subsamples = n_subsamples
        self.seed = seed
        self.confidence = confidence
        self.max_points = max_points

    @property
    def n_neighbors_read(self) -> int:
        """k; 0 for "fishers"."""
        return 0 if self.name == "fishers" else self.n_neighbors

    def _check(self) -> None:
        check_choice("name", self.name, (*_LOCAL, "fishers"))
        check_whole("n_neighbors", self.n_neighbors, 3)
        check_whole("max_points", self.max_points, 10)
        _estimators()

    def _dimension(self, cloud: PointCloud) -> float:
        return self._fishers(cloud) if self.name == "fishers" else self._local(cloud)

    def _local(self, cloud: PointCloud) -> float:
        lengths = cloud.lengths(self.n_neighbors)
        answers = np.asarray(_LOCAL[self.name](cloud, lengths), dtype=np.float64)
        has_none = ~(np.isfinite(answers) & (answers > 0))
        if self.name != "lpca":
            has_none |= lengths[:, 0] >= lengths[:, -1] * (1 - _SAME_LENGTH)
        n_without = int(has_none.sum())
        if 2 * n_without >= len(answers):
            raise DataError(
                f"scikit-dimension's {self.name} has no answer at {n_without} of {len(answers)} points, "
                f"such as where all {self.n_neighbors} neighbors are equally far away."
            )
        if n_without:
            self.note_ = f"{n_without} of {len(answers)} points have no answer and are left out"
        self.dimension_pw_ = np.where(has_none, np.nan, answers)
        return float(answers[~has_none].mean())

    def _fishers(self, cloud: PointCloud) -> float:
        values = cloud.values
        if len(values) < 10:
            raise DataError(f"FisherS needs at least 10 distinct points; there are {len(values)}.")
        if len(values) > self.max_points:
            self.note_ = f"read on {self.max_points} of {len(values)} points"
            values = values[np.random.default_rng(self.seed).choice(len(values), self.max_points, replace=False)]
        centred = values - values[0]
        centred /= np.abs(centred).max()
        wide = np.column_stack([centred, np.zeros(len(centred))])  # it refuses a single column
        with _quiet, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                answer = float(_estimators().FisherS().fit(wide).dimension_)
            except (ValueError, IndexError):  # it takes the maximum of no dimensions at all when its reference level is skipped
                answer = np.nan
        if not (np.isfinite(answer) and answer > 0):
            raise DataError(
                f"FisherS has no answer for these {len(values)} points: every one is separable from all others, as where the "
                "dimension is high for their number."
            )
        return answer


def _estimators() -> Any:
    try:
        from skdim import id as estimators
    except ImportError as error:
        raise InputError("This estimator is scikit-dimension's, which is not installed; run: pip install scikit-dimension.") from error
    return estimators


def _lpca(cloud: PointCloud, lengths: np.ndarray) -> np.ndarray:
    """Counts by scikit-dimension on eigenvalues that are made here, of many neighborhoods at once: its own PCA takes ten times as long.

    The eigenvalues are those of the Gram matrix of a point and its neighbors, which is zero in the point's own row
    when the point is the origin, and is centred as a matrix.
    """
    values, (n, n_neighbors) = cloud.values, lengths.shape
    indices = cloud.graph(n_neighbors).indices[:, :n_neighbors]
    counter = _estimators().lPCA(ver="FO", fit_explained_variance=True)
    step = max(1, _BLOCK_BYTES // (8 * n_neighbors * values.shape[1]))
    answers = np.empty(n)
    with np.errstate(all="ignore"):  # it divides neighboring eigenvalues, also those that are zero
        for start in range(0, n, step):
            rays = values[indices[start : start + step]]
            rays -= values[start : start + step, None]
            products = np.zeros((len(rays), n_neighbors + 1, n_neighbors + 1))
            products[:, 1:, 1:] = rays @ rays.transpose(0, 2, 1)
            products -= products.mean(axis=1, keepdims=True)
            products -= products.mean(axis=2, keepdims=True)
            spectra = np.maximum(np.linalg.eigvalsh(products)[:, :0:-1], 0.0)
            answers[start : start + step] = [counter.fit(spectrum).dimension_ for spectrum in spectra]
    n_full = int((answers >= n_neighbors).sum())
    if values.shape[1] > n_neighbors and 2 * n_full >= n:
        raise DataError(
            f"At {n_full} of {n} points all {n_neighbors} directions that {n_neighbors} neighbors can show are in use: "
            "the dimension is higher than local PCA can count; use more neighbors."
        )
    return answers


def _tle(cloud: PointCloud, lengths: np.ndarray) -> np.ndarray:
    n_neighbors = lengths.shape[1]
    indices = cloud.graph(n_neighbors).indices[:, :n_neighbors]
    lengths = lengths / cloud.unit
    typical = float(np.median(lengths[:, -1]))
    values = (cloud.values - cloud.values[0]) / typical
    wide = values if values.shape[1] > 1 else np.column_stack([values, np.zeros(len(values))])
    with np.errstate(all="ignore"):  # it divides zero by zero at the k-th neighbor and then replaces the result
        fitted = _estimators().TLE().fit(wide, precomputed_knn_arrays=(lengths / typical, indices), n_neighbors=n_neighbors)
    return np.asarray(fitted.dimension_pw_)


def _mom(cloud: PointCloud, lengths: np.ndarray) -> np.ndarray:
    shares = lengths / lengths[:, -1:]
    with np.errstate(all="ignore"):
        fitted = _estimators().MOM().fit(shares, precomputed_knn_arrays=(shares, None), n_neighbors=1)
    return np.asarray(fitted.dimension_pw_)


_LOCAL: dict[str, Callable[[PointCloud, np.ndarray], Any]] = {"lpca": _lpca, "tle": _tle, "mom": _mom}
