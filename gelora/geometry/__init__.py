"""The geometry wing: what shape the vectors have.

Exact neighbors, estimators of the intrinsic dimension, the profile of all layers, manifolds of known dimension.
Knows nothing of models, texts or ranks.
"""

from gelora.geometry import synthetic
from gelora.geometry.curve import Rise, is_scale_dependent, rises
from gelora.geometry.estimator import Estimator
from gelora.geometry.mle import MLE
from gelora.geometry.neighbors import METRICS, neighbor_graph
from gelora.geometry.profile import ESTIMATORS, estimate_profile
from gelora.geometry.synthetic import MANIFOLDS
from gelora.geometry.twonn import TwoNN

__all__ = [
    "ESTIMATORS",
    "MANIFOLDS",
    "METRICS",
    "MLE",
    "Estimator",
    "Rise",
    "TwoNN",
    "estimate_profile",
    "is_scale_dependent",
    "neighbor_graph",
    "rises",
    "synthetic",
]
