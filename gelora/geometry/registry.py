"""Which estimators there are, by the short name that profiles, the command line and the dashboard use.

Makes each for a neighborhood size; computes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gelora.geometry.abide import ABIDE
from gelora.geometry.correlation import CorrelationDimension
from gelora.geometry.danco import DANCo
from gelora.geometry.estimator import Estimator
from gelora.geometry.gride import GRIDE, Plateau
from gelora.geometry.mind import MiND
from gelora.geometry.mle import MLE
from gelora.geometry.pca import PCADimension
from gelora.geometry.persistence import PersistentHomologyDimension
from gelora.geometry.skdim_backend import SkdimEstimator
from gelora.geometry.twonn import TwoNN


@dataclass(frozen=True)
class EstimatorKind:
    """One estimator as a person chooses it.

    name: in profiles, options and URLs; label: on charts; make: from n_neighbors k and n_subsamples to the estimator
    (0 half-samples: a profile draws its own); idea: what it counts, one sentence; source: the paper;
    keeps_own_interval: whether a profile shows the estimator's analytic interval rather than that of its half-samples;
    is_quick: it reads a neighbor graph of few neighbors, so that it costs next to nothing beside the graph.
    """

    name: str
    label: str
    make: Callable[[int, int], Estimator]
    idea: str
    source: str
    keeps_own_interval: bool = False
    is_quick: bool = False


_KINDS = (
    EstimatorKind(
        "twonn", "TwoNN", lambda k, m: TwoNN(),
        "How much farther the second nearest neighbor is than the first; slope over the smallest 90% of ratios.",
        "Facco et al. 2017", is_quick=True,
    ),
    EstimatorKind(
        "twonn-mle", "TwoNN mle", lambda k, m: TwoNN(method="mle"),
        "The same ratios, all of them, by maximum likelihood.",
        "Denti et al. 2022", keeps_own_interval=True, is_quick=True,
    ),
    EstimatorKind(
        "twonn-loglog", "TwoNN loglog", lambda k, m: TwoNN(method="loglog"),
        "The same ratios, all of them, by the mean of log log r2 / r1: near copies count little.",
        "after Facco et al. 2017", is_quick=True,
    ),
    EstimatorKind(
        "mle", "MLE", lambda k, m: MLE(n_neighbors=k),
        "How distances to the k nearest neighbors grow, point by point.",
        "Levina & Bickel 2004; MacKay & Ghahramani 2005", is_quick=True,
    ),
    EstimatorKind(
        "gride", "GRIDE", lambda k, m: GRIDE(),
        "TwoNN's ratio between farther neighbors, so at a larger scale: the fourth to the second.",
        "Denti et al. 2022", is_quick=True,
    ),
    EstimatorKind(
        "plateau", "Plateau", lambda k, m: Plateau(n_subsamples=m),
        "GRIDE at the scale where its answer changes least with the scale.",
        "after Denti et al. 2022",
    ),
    EstimatorKind(
        "abide", "ABIDE", lambda k, m: ABIDE(n_subsamples=m),
        "What share of a point's neighbors lies nearby, out to where its density is no longer even (100 neighbors at most).",
        "Di Noia et al. 2024",
    ),
    EstimatorKind(
        "mind", "MiND", lambda k, m: MiND(n_neighbors=k),
        "The nearest distance as a share of the k-th, point by point.",
        "Rozza et al. 2012", is_quick=True,
    ),
    EstimatorKind(
        "danco", "DANCo", lambda k, m: DANCo(n_subsamples=m),
        "Nearest distances and angles between neighbors, compared with those in balls of known dimension.",
        "Ceruti et al. 2014",
    ),
    EstimatorKind(
        "correlation", "Correlation", lambda k, m: CorrelationDimension(n_subsamples=m),
        "How the number of close pairs grows with the radius.",
        "Grassberger & Procaccia 1983",
    ),
    EstimatorKind(
        "ph0", "PH0", lambda k, m: PersistentHomologyDimension(n_subsamples=m),
        "How the length of the minimum spanning tree grows with the number of points.",
        "Schweinhart 2021; Birdal et al. 2021",
    ),
    EstimatorKind(
        "pca-pr", "PCA ratio", lambda k, m: PCADimension(method="participation-ratio", n_subsamples=m),
        "How evenly the variance is spread over all directions: global and linear.",
        "Gao et al. 2017",
    ),
    EstimatorKind(
        "pca-ev", "PCA 95%", lambda k, m: PCADimension(method="explained-variance", n_subsamples=m),
        "How many directions hold 95% of the variance: global and linear.",
        "Jolliffe 2002",
    ),
    EstimatorKind(
        "lpca", "Local PCA", lambda k, m: SkdimEstimator("lpca", n_neighbors=k, n_subsamples=m),
        "How many directions each neighborhood needs; by scikit-dimension.",
        "Fukunaga & Olsen 1971",
    ),
    EstimatorKind(
        "tle", "TLE", lambda k, m: SkdimEstimator("tle", n_neighbors=k, n_subsamples=m),
        "MLE that also reads the distances among the neighbors themselves; by scikit-dimension.",
        "Amsaleg et al. 2019",
    ),
    EstimatorKind(
        "mom", "MOM", lambda k, m: SkdimEstimator("mom", n_neighbors=k, n_subsamples=m),
        "The mean neighbor distance as a share of the k-th; by scikit-dimension.",
        "Amsaleg et al. 2018", is_quick=True,
    ),
    EstimatorKind(
        "fishers", "FisherS", lambda k, m: SkdimEstimator("fishers", n_neighbors=k, n_subsamples=m),
        "How easily a point is separated from all others by a plane: global; by scikit-dimension.",
        "Albergante et al. 2019",
    ),
)  # fmt: skip

ESTIMATORS: dict[str, EstimatorKind] = {kind.name: kind for kind in _KINDS}
"""Every estimator by name."""
