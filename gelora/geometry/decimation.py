"""How the answers change with scale: fewer rows (decimation), farther neighbors (GRIDE).

Thins out rows and puts a curve at a number of rows; does not depend on any estimator's formula.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.cloud import PointCloud
from gelora.geometry.curve import halves_of
from gelora.geometry.estimator import Estimator, half_sample_spread, z_value
from gelora.geometry.gride import GrideCurve, scale_curve
from gelora.geometry.profile import maker, measurable_cloud, same_layers
from gelora.records import HiddenStates, IdProfile, Progress, ScaleCurve

_MOST_PARTS = 8
_LEAST_ROWS = 50
_STAGE = "Measuring at other scales"


def sizes_of(n_samples: int, n_neighbors: int) -> list[int]:
    """Numbers of rows N, N / 2, N / 4, ... down to N / 8, as long as estimators that read n_neighbors have enough."""
    sizes = [n_samples]
    while len(sizes) <= np.log2(_MOST_PARTS) and sizes[-1] // 2 >= max(_LEAST_ROWS, 3 * n_neighbors):
        sizes.append(n_samples // 2 ** len(sizes))
    return sizes


def add_scale_curves(
    states: HiddenStates, profile: IdProfile, *, seed: int = 0, device: str = "cpu", progress: Progress | None = None
) -> IdProfile:
    """The profile with `scale_curves`: "decimation:NAME" for each of its estimators, and "neighbors:gride".

    Decimation splits the rows at random into 2, 4 and 8 disjoint parts; its value at N / 2^j is the mean over the
    parts, its spread their standard deviation (at N: of the profile's interval). A curve that still falls or rises at N
    says that N is too small for the number to be the layer's own. Which of the two scales moves is not the same: fewer
    rows also move neighbors apart, and remove near copies; farther neighbors keep all rows.

    Args:
        states: those that the profile was measured on.
        profile: its estimators, metric and number of neighbors are used.
        seed: of the parts.
        device: "cpu", "cuda", "cuda:N", or "auto" for the GPU where there is one.
        progress: called as progress(stage, layers done, layers in all); may raise `Cancelled`.

    Raises:
        InputError: states of other layers than the profile's.

    Sources: Facco et al., Scientific Reports 7, 12140 (2017), on blocks of decreasing size; Denti et al., Scientific
    Reports 12, 20005 (2022), on growing n2.
    """
    same_layers(states, profile)
    n_layers, n_samples, _ = states.values.shape
    names, sizes = tuple(profile.estimates), sizes_of(n_samples, profile.n_neighbors)
    makers = {name: maker(name, profile.n_neighbors, seed) for name in names}
    order = np.random.default_rng(seed).permutation(n_samples)
    means, spreads = ({name: np.full((n_layers, len(sizes)), np.nan) for name in names} for _ in range(2))
    nearest = np.full((n_layers, len(sizes)), np.nan)
    gride: list[GrideCurve | None] = []
    for layer, values in enumerate(states.values):
        if progress:
            progress(_STAGE, layer, n_layers)
        try:
            cloud = measurable_cloud(values, profile.n_neighbors, profile.metric, device)
        except DataError:  # the profile says so already, with the reason
            gride.append(None)
            continue
        gride.append(scale_curve(cloud))
        nearest[layer, 0] = cloud.lengths(1).mean()
        for name in names:
            means[name][layer, 0], spreads[name][layer, 0] = _at_all_rows(profile, name, layer)
        for j, size in enumerate(sizes[1:], start=1):
            parts = [values[np.sort(rows[:size])] for rows in np.array_split(order, 2**j)]
            answers, lengths = _of_parts(parts, makers, profile, device)
            nearest[layer, j] = _mean(lengths)
            for name in names:
                means[name][layer, j], spreads[name][layer, j] = _mean(answers[name]), _deviation(answers[name])
    if progress:
        progress(_STAGE, n_layers, n_layers)
    rows_left = np.array(sizes, dtype=np.float64)
    curves = {f"decimation:{name}": ScaleCurve(name, "decimation", rows_left, means[name], spreads[name], nearest.copy()) for name in names}
    neighbors = _one_table(gride)
    if neighbors is not None:
        curves["neighbors:gride"] = neighbors
    return replace(profile, scale_curves={**profile.scale_curves, **curves})


def _at_all_rows(profile: IdProfile, estimator: str, layer: int) -> tuple[float, float]:
    """The profile's own value and its standard deviation, NaN where there is none."""
    estimate, halves = profile.estimates[estimator][layer], halves_of(profile, estimator)
    value = np.nan if estimate.dimension is None else estimate.dimension
    spread = None if halves is None else half_sample_spread(halves[:, layer], profile.halves)
    if spread is not None or estimate.ci_low is None or estimate.ci_high is None:
        return value, np.nan if spread is None else spread.deviation
    return value, (estimate.ci_high - estimate.ci_low) / (2 * z_value(0.95))


def _of_parts(
    parts: list[np.ndarray], makers: dict[str, Callable[[], Estimator]], profile: IdProfile, device: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each estimator's answers on the parts, and the parts' mean nearest lengths; NaN where a part has none."""
    answers = {name: np.full(len(parts), np.nan) for name in makers}
    lengths = np.full(len(parts), np.nan)
    for i, part in enumerate(parts):
        try:
            cloud = PointCloud(part, profile.metric, device)
            cloud.graph(min(profile.n_neighbors + 1, cloud.n_points - 1))
        except (DataError, InputError):  # all its rows are equal
            continue
        lengths[i] = cloud.lengths(1).mean()
        for name, make in makers.items():
            answers[name][i] = make().answer_or_nan(cloud)
    return answers, lengths


def _mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _deviation(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else np.nan


def _one_table(curves: list[GrideCurve | None]) -> ScaleCurve | None:
    """The layers' GRIDE curves on the longest one's orders; a layer with fewer distinct points ends earlier."""
    longest = max((curve for curve in curves if curve is not None), key=lambda curve: len(curve.n2), default=None)
    if longest is None:
        return None
    tables = [np.full((len(curves), len(longest.n2)), np.nan) for _ in range(3)]
    for layer, curve in enumerate(curves):
        if curve is not None:
            for table, column in zip(tables, (curve.dimensions, curve.deviations, curve.mean_lengths), strict=True):
                table[layer, : len(column)] = column
    return ScaleCurve("gride", "neighbors", longest.n2.astype(np.float64), *tables)
