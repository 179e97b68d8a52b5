"""Profiles and structures made by hand, so that ranks can be worked out on paper."""

import numpy as np
import pytest

from gelora.records import DataChoice, IdEstimate, IdProfile, ModelStructure, SampleSource, TargetModule

KINDS = (("q", 12, 8), ("k", 12, 8), ("v", 12, 8), ("o", 8, 12), ("mlp", 12, 48))


def _structure(n_layers: int, kinds=KINDS) -> ModelStructure:
    modules = tuple(
        TargetModule(f"layers.{block - 1}.{kind}", block, kind, n_in, n_out)
        for block in range(1, n_layers + 1)
        for kind, n_in, n_out in kinds
    )
    return ModelStructure("a-model", "rev", "bert", n_layers, 12, 5000, False, False, modules)


def _profile(dimensions, structure=None, **more_curves) -> IdProfile:
    """A profile whose twonn curve is `dimensions`, None where undefined; further estimators by keyword."""
    curves = {"twonn": dimensions, **more_curves}
    return IdProfile(
        layer_names=("embeddings", *(f"block {i}" for i in range(1, len(dimensions)))),
        estimates={
            name: tuple(
                IdEstimate(name, None, None, None, 2000, 28, 0.0, "28 distinct vectors of 2000: too few for a dimension")
                if d is None
                else IdEstimate(name, d, max(0.0, d - 0.1), d + 0.1, 2000, 2000, 0.0)
                for d in curve
            )
            for name, curve in curves.items()
        },
        subsamples={name: np.array([[np.nan if d is None else d for d in curve]] * 2) for name, curve in curves.items()},
        model=structure or _structure(len(dimensions) - 1),
        sample_source=SampleSource(DataChoice("docstrings"), "rev", 0, 2000, True, "digest"),
        pooling="mean",
        max_length=128,
        n_neighbors=20,
        metric="euclidean",
    )


@pytest.fixture(scope="session")
def make_structure():
    return _structure


@pytest.fixture(scope="session")
def make_profile():
    return _profile
