"""A small profile made by hand, for tests of charts and parts."""

import numpy as np

from gelora.ranks import allocate_ranks
from gelora.records import DataChoice, IdEstimate, IdProfile, ModelStructure, SampleSource, TargetModule

CURVE = [None, 10.0, 12.4, 11.0]


def make_profile(curve=CURVE) -> IdProfile:
    modules = tuple(TargetModule(f"layer.{b - 1}.attention.{k}", b, k, 8, 8) for b in (1, 2, 3) for k in "qkvo")
    model = ModelStructure("tiny", "rev", "bert", 3, 8, 10_000, False, False, modules)
    source = SampleSource(DataChoice("texts"), "rev", 0, 100, True, "digest")

    def estimate(name: str, value: float | None) -> IdEstimate:
        if value is None:
            return IdEstimate(name, None, None, None, 100, 3, 0.1, "3 distinct vectors of 100")
        return IdEstimate(name, value, value - 0.5, value + 0.5, 100, 100, 0.1)

    estimates = {name: tuple(estimate(name, None if v is None else v + shift) for v in curve) for name, shift in (("twonn", 0), ("mle", 3))}
    halves = np.array([[np.nan if v is None else v + e for v in curve] for e in (-0.1, 0.1)])
    halves[:, 3] += 5.0  # the last layer moves by far more than its interval at half the sample
    return IdProfile(
        layer_names=("embeddings", "block 1", "block 2", "block 3"),
        estimates=estimates,
        subsamples={"twonn": halves, "mle": halves + 3},
        model=model,
        sample_source=source,
        pooling="cls",
        max_length=32,
        n_neighbors=20,
        metric="euclidean",
    )


def plans_of(profile: IdProfile, offset: int = 1) -> dict:
    return {name: allocate_ranks(profile, "attention", offset, "ceil", name) for name in profile.estimates}
