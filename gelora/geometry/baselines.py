"""What a layer's dimension would be if only its marginals, or only its covariance, were there.

Makes and measures such data; draws no conclusion.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gelora.errors import DataError
from gelora.geometry.profile import dimensions_of, maker, same_layers
from gelora.records import HiddenStates, IdProfile, Progress, check_choice

BASELINES = ("shuffled", "gaussian")


def baseline(values: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Points that keep only part of what `values` [n_samples, width] is; float64 of the same shape.

    "shuffled": every feature's values in a random order of their own, so that each marginal stays and all dependence
    goes. "gaussian": a normal law with the mean and covariance of `values`, so that all linear dependence stays and
    every other goes. A dimension well under both says that the points lie on something curved or otherwise not linear.

    Raises:
        InputError: another kind.
    """
    check_choice("baseline", kind, BASELINES)
    values = np.asarray(values, dtype=np.float64)
    if kind == "shuffled":
        return rng.permuted(values, axis=0)
    mean = values.mean(axis=0)
    centred = (values - mean) / np.sqrt(len(values) - 1)
    n_samples, width = values.shape
    if n_samples <= width:
        return rng.standard_normal((n_samples, n_samples)) @ centred + mean
    variances, axes = np.linalg.eigh(centred.T @ centred)
    return (rng.standard_normal((n_samples, width)) * np.sqrt(np.maximum(variances, 0.0))) @ axes.T + mean


def add_baselines(
    states: HiddenStates,
    profile: IdProfile,
    kinds: Sequence[str] = BASELINES,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> IdProfile:
    """The profile with the same estimators' answers on each layer's baselines (`profile.baselines`), one draw a layer.

    A layer that has no dimension has no baseline either (NaN).

    Args:
        states: those that the profile was measured on.
        profile: its estimators, metric and number of neighbors are used.
        kinds: names out of BASELINES.
        seed: of the draws.
        device: "cpu", "cuda", "cuda:N", or "auto" for the GPU where there is one.
        progress: called as progress(stage, layers done, layers in all); may raise `Cancelled`.

    Raises:
        InputError: an unknown kind, or states of other layers than the profile's.
    """
    same_layers(states, profile)
    for kind in kinds:
        check_choice("baseline", kind, BASELINES)
    names, n_layers = tuple(profile.estimates), len(states.values)
    makers = {name: maker(name, profile.n_neighbors, seed) for name in names}
    curves = {kind: {name: np.full(n_layers, np.nan) for name in names} for kind in kinds}
    for layer, values in enumerate(states.values):
        if progress:
            progress("Measuring the baselines", layer, n_layers)
        if all(profile.estimates[name][layer].dimension is None for name in names):
            continue
        for kind in kinds:
            points = baseline(values, kind, np.random.default_rng([seed, layer, BASELINES.index(kind)]))
            try:
                answers = dimensions_of(points, makers, profile.n_neighbors, profile.metric, device)
            except DataError:  # nothing is left to measure, as for a layer of one constant vector
                continue
            for name, dimension in answers.items():
                curves[kind][name][layer] = dimension
    if progress:
        progress("Measuring the baselines", n_layers, n_layers)
    merged = {kind: {**profile.baselines.get(kind, {}), **curves.get(kind, {})} for kind in {**profile.baselines, **curves}}
    return replace(profile, baselines=merged)
