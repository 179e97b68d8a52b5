"""The geometry wing: what shape the vectors have.

Exact neighbors, estimators of the intrinsic dimension, the profile of all layers, manifolds of known dimension.
Does not depend on models, texts or ranks.
"""

from gelora.geometry import synthetic
from gelora.geometry.abide import ABIDE
from gelora.geometry.baselines import BASELINES, add_baselines
from gelora.geometry.calibration import FIXED_DIMENSIONS, INTERVALS, Case, Trial, calibrate
from gelora.geometry.calibration_summary import Summary, closest, summarize
from gelora.geometry.charted import CHARTED, charted_points, needed_width
from gelora.geometry.cka import linear_cka
from gelora.geometry.cloud import PointCloud
from gelora.geometry.comparison import (
    DifferenceSummary,
    LayerDifference,
    comparability_notes,
    compare_profiles,
    layer_difference,
    share_rows,
    summarize_differences,
    what_differs,
)
from gelora.geometry.correlation import CorrelationDimension
from gelora.geometry.curve import (
    Resolution,
    Rise,
    SignAgreement,
    halves_of,
    is_scale_dependent,
    no_rise_sentence,
    resolution,
    resolution_sentence,
    rises,
    sign_agreement,
    sign_sentence,
)
from gelora.geometry.danco import DANCo, norms_and_angles
from gelora.geometry.decimation import add_scale_curves
from gelora.geometry.estimator import Estimator, Spread, half_sample_spread
from gelora.geometry.gride import GRIDE, Plateau
from gelora.geometry.imbalance import information_imbalance
from gelora.geometry.map_measurement import Bound, MapMeasurement, Measured, measure_map
from gelora.geometry.maps import MAP_KINDS, RANK_TOLERANCE, MapSpec, SmoothMap, numerical_rank
from gelora.geometry.mind import MiND
from gelora.geometry.mle import MLE
from gelora.geometry.neighbors import METRICS, neighbor_graph
from gelora.geometry.overlap import LabelOverlap, label_overlap, neighbor_overlap
from gelora.geometry.pca import PCADimension
from gelora.geometry.persistence import PersistentHomologyDimension
from gelora.geometry.profile import check_profile_options, estimate_profile, merge_profiles, unlike_layers
from gelora.geometry.projection import Projection, principal_plane
from gelora.geometry.registry import ESTIMATORS, EstimatorKind
from gelora.geometry.similarity import layer_similarity
from gelora.geometry.skdim_backend import SkdimEstimator
from gelora.geometry.spectrum import UNFIT, PowerLaw, Spectrum, covariance_spectrum, fit_power_law, weight_spectrum
from gelora.geometry.synthetic import MANIFOLDS
from gelora.geometry.twonn import TwoNN

__all__ = [
    "ABIDE",
    "BASELINES",
    "CHARTED",
    "ESTIMATORS",
    "FIXED_DIMENSIONS",
    "GRIDE",
    "INTERVALS",
    "MANIFOLDS",
    "MAP_KINDS",
    "METRICS",
    "MLE",
    "RANK_TOLERANCE",
    "UNFIT",
    "Bound",
    "Case",
    "CorrelationDimension",
    "DANCo",
    "DifferenceSummary",
    "Estimator",
    "EstimatorKind",
    "LabelOverlap",
    "LayerDifference",
    "MapMeasurement",
    "MapSpec",
    "Measured",
    "MiND",
    "PCADimension",
    "PersistentHomologyDimension",
    "Plateau",
    "PointCloud",
    "PowerLaw",
    "Projection",
    "Resolution",
    "Rise",
    "SignAgreement",
    "SkdimEstimator",
    "SmoothMap",
    "Spectrum",
    "Spread",
    "Summary",
    "Trial",
    "TwoNN",
    "add_baselines",
    "add_scale_curves",
    "calibrate",
    "charted_points",
    "check_profile_options",
    "closest",
    "comparability_notes",
    "compare_profiles",
    "covariance_spectrum",
    "estimate_profile",
    "fit_power_law",
    "half_sample_spread",
    "halves_of",
    "information_imbalance",
    "is_scale_dependent",
    "label_overlap",
    "layer_difference",
    "layer_similarity",
    "linear_cka",
    "measure_map",
    "merge_profiles",
    "needed_width",
    "neighbor_graph",
    "neighbor_overlap",
    "no_rise_sentence",
    "norms_and_angles",
    "numerical_rank",
    "principal_plane",
    "resolution",
    "resolution_sentence",
    "rises",
    "share_rows",
    "sign_agreement",
    "sign_sentence",
    "summarize",
    "summarize_differences",
    "synthetic",
    "unlike_layers",
    "weight_spectrum",
    "what_differs",
]
