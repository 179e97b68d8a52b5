"""The geometry wing: what shape the vectors have.

Exact neighbors, estimators of the intrinsic dimension, the profile of all layers, manifolds of known dimension.
Knows nothing of models, texts or ranks.
"""

from gelora.geometry import synthetic
from gelora.geometry.baselines import BASELINES, add_baselines
from gelora.geometry.calibration import FIXED_DIMENSIONS, INTERVALS, Case, Trial, calibrate
from gelora.geometry.calibration_summary import Summary, summarize
from gelora.geometry.cloud import PointCloud
from gelora.geometry.correlation import CorrelationDimension
from gelora.geometry.curve import Rise, SignAgreement, is_scale_dependent, rises, sign_agreement
from gelora.geometry.danco import DANCo, norms_and_angles
from gelora.geometry.decimation import add_scale_curves
from gelora.geometry.estimator import Estimator
from gelora.geometry.gride import GRIDE, Plateau
from gelora.geometry.mind import MiND
from gelora.geometry.mle import MLE
from gelora.geometry.neighbors import METRICS, neighbor_graph
from gelora.geometry.pca import PCADimension
from gelora.geometry.persistence import PersistentHomologyDimension
from gelora.geometry.profile import estimate_profile, merge_profiles
from gelora.geometry.registry import ESTIMATORS, EstimatorKind
from gelora.geometry.skdim_backend import SkdimEstimator
from gelora.geometry.synthetic import MANIFOLDS
from gelora.geometry.twonn import TwoNN

__all__ = [
    "BASELINES",
    "ESTIMATORS",
    "FIXED_DIMENSIONS",
    "GRIDE",
    "INTERVALS",
    "MANIFOLDS",
    "METRICS",
    "MLE",
    "Case",
    "CorrelationDimension",
    "DANCo",
    "Estimator",
    "EstimatorKind",
    "MiND",
    "PCADimension",
    "PersistentHomologyDimension",
    "Plateau",
    "PointCloud",
    "Rise",
    "SignAgreement",
    "SkdimEstimator",
    "Summary",
    "Trial",
    "TwoNN",
    "add_baselines",
    "add_scale_curves",
    "calibrate",
    "estimate_profile",
    "is_scale_dependent",
    "merge_profiles",
    "neighbor_graph",
    "norms_and_angles",
    "rises",
    "sign_agreement",
    "summarize",
    "synthetic",
]
