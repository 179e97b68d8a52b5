"""What all estimators share: parameters in the scikit-learn way, and points or a graph as input.

Knows no formula of any estimator.
"""

import inspect
from typing import Any, Self

import numpy as np

from gelora.errors import DataError, InputError
from gelora.geometry.neighbors import neighbor_graph
from gelora.records import NeighborGraph


class Estimator:
    """Base of the estimators. A subclass stores its parameters unchanged in `__init__` and checks them in `fit`."""

    dimension_: float
    ci_low_: float
    ci_high_: float
    n_distinct_: int

    def fit(self, X: Any, y: object = None) -> Self:
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name.

        Raises:
            InputError: a name that the constructor does not have.
        """
        legal = self.get_params()
        for name, value in params.items():
            if name not in legal:
                raise InputError(f"{type(self).__name__} has no parameter {name!r}; it has: {', '.join(legal)}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"


def neighbor_lengths(X: Any, n_neighbors: int) -> np.ndarray:
    """Distances to the `n_neighbors` nearest neighbors as lengths, float64 [n_distinct, n_neighbors], all positive.

    The cosine distance 1 - cos is half the *square* of the chord between unit rows. A dimension counts how volume
    grows with length, so the chord is used; 1 - cos itself would halve every estimate.

    Args:
        X: [n_samples, width] points, or a NeighborGraph with at least `n_neighbors` neighbors.

    Raises:
        InputError: a graph with fewer neighbors, or points that `neighbor_graph` rejects.
        DataError: too few points, or a graph that holds zero or infinite distances.
    """
    graph = X if isinstance(X, NeighborGraph) else neighbor_graph(X, n_neighbors)
    if graph.n_neighbors < n_neighbors:
        raise InputError(f"The graph holds {graph.n_neighbors} neighbors a point; this estimator needs {n_neighbors}.")
    lengths = graph.distances[:, :n_neighbors]
    lengths = np.sqrt(2 * lengths) if graph.metric == "cosine" else lengths
    n_bad = int((~((lengths > 0) & np.isfinite(lengths)).all(axis=1)).sum())
    if n_bad:
        raise DataError(f"{n_bad} of {len(lengths)} points have a zero or infinite distance to a neighbor; drop duplicate points first.")
    return lengths
