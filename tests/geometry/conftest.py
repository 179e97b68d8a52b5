"""Reference answers that are written without the library, and small records to measure."""

import numpy as np
import pytest

from gelora.records import DataChoice, HiddenStates, ModelStructure, NeighborGraph, SampleSource


def brute_force(X, n_neighbors, metric="euclidean"):
    """Distances and indices of the nearest rows by plain float64 differences, one row at a time."""
    X = np.asarray(X, dtype=np.float64)
    if metric == "cosine":
        X = X / np.sqrt((X**2).sum(axis=1))[:, None]
    distances, indices = [], []
    for i, row in enumerate(X):
        squared = ((X - row) ** 2).sum(axis=1)
        d = squared / 2 if metric == "cosine" else np.sqrt(squared)
        d[i] = np.inf
        order = np.argsort(d, kind="stable")[:n_neighbors]
        distances.append(d[order])
        indices.append(order)
    return np.array(distances), np.array(indices)


def reference_twonn(X, discard=0.1):
    """Facco et al. 2017 in plain Python on brute-force distances: slope through the origin."""
    distances, _ = brute_force(X, 2)
    mu = sorted(float(r2 / r1) for r1, r2 in distances)
    n = len(mu)
    xy = [(np.log(mu[i - 1]), -np.log(1 - i / n)) for i in range(1, int(n * (1 - discard)) + 1)]
    return sum(x * y for x, y in xy) / sum(x * x for x, _ in xy)


def graph_of(distances, metric="euclidean"):
    distances = np.asarray(distances, dtype=np.float64)
    n, k = distances.shape
    return NeighborGraph(distances, np.zeros((n, k), dtype=np.int64), np.arange(n), 0, metric)


def pareto_graph(n, dimension, rng, n_neighbors=2):
    """A graph whose radii follow the Poisson model of a uniform density in `dimension`, independently at every point."""
    volumes = np.cumsum(rng.exponential(size=(n, n_neighbors)), axis=1)
    return graph_of(volumes ** (1 / dimension))


def hidden_states(values):
    values = np.asarray(values, dtype=np.float32)
    n_layers = len(values) - 1
    model = ModelStructure("tiny", "r0", "bert", max(1, n_layers), values.shape[2], 10, False, False, ())
    source = SampleSource(DataChoice("made up"), "r0", 0, values.shape[1], True, "digest")
    names = ("embeddings", *(f"block {i}" for i in range(1, n_layers + 1)))
    return HiddenStates(values, names, "mean", 128, "float32", False, model, source)


@pytest.fixture
def reference():
    """The reference functions, since test folders are no packages."""

    class Reference:
        neighbors = staticmethod(brute_force)
        twonn = staticmethod(reference_twonn)

    return Reference


@pytest.fixture
def make():
    """Makers of graphs and hidden states."""

    class Make:
        graph = staticmethod(graph_of)
        pareto = staticmethod(pareto_graph)
        states = staticmethod(hidden_states)

    return Make


@pytest.fixture
def rng():
    return np.random.default_rng(20250101)
