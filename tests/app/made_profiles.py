"""A small profile and a similarity of layers made by hand, for tests of charts and parts."""

import numpy as np

from gelora.ranks import allocate_ranks
from gelora.records import DataChoice, IdEstimate, IdProfile, LayerSimilarity, ModelStructure, SampleSource, TargetModule

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


def make_similarity(n_layers: int = 4, label_kind: str = "classification", gap: bool = False) -> LayerSimilarity:
    """Layers that share less the farther they are apart; gap: the embeddings have no distinct vectors."""
    apart = np.abs(np.subtract.outer(np.arange(n_layers + 1.0), np.arange(n_layers + 1.0)))
    overlap, depth = np.exp(-apart / 4), np.arange(n_layers + 1.0) / n_layers
    labels = 0.4 + 0.2 * depth if label_kind else np.empty(0)
    forward, backward = 0.02 + 0.05 * depth[1:], 0.03 + 0.01 * depth[1:]
    if gap:
        overlap[0] = overlap[:, 0] = forward[0] = backward[0] = labels[:1] = np.nan
    tables = {"overlap": overlap, "cka": overlap**2, "forward": forward, "backward": backward, "label_overlap": labels}
    return LayerSimilarity(
        ("embeddings", *(f"block {i}" for i in range(1, n_layers + 1))), 101, 20, "euclidean",
        *[array for table in tables.values() for array in (table, table / 10)][:8],
        label_kind, labels, labels / 10, 0.25 if label_kind else None,
        {"embeddings": "1 distinct vector of 101: too few for a dimension"} if gap else {},
        ModelStructure("tiny", "rev", "bert", n_layers, 8, 10_000, False, False, ()),
        SampleSource(DataChoice("texts"), "rev", 0, 101, True, "digest"), "mean", 32,
    )  # fmt: skip
