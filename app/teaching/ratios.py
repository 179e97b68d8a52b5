"""The distances behind step 1: the ratios that TwoNN reads on the first layer that has a dimension, made once and kept.

Work in the background, for all tabs; draws nothing.
"""

from dataclasses import dataclass

import numpy as np

from app.shared.background import Background
from app.shared.cache import pool, store
from gelora.errors import DataError
from gelora.geometry import TwoNN
from gelora.measurements import Job, MeasurementSpec, ResultStore, warm_up
from gelora.record_json import Record, read_only
from gelora.sources import BUNDLED_DATASET, extract_hidden_states, load_sample

_FORMAT = 2  # raise it when the same measurement would now give other numbers


@dataclass(frozen=True, slots=True, eq=False)
class Ratios(Record):
    """What TwoNN reads on one layer, and its answer.

    log_mu: float64 [n], ascending; heights: float64 [n - 1], -log(1 - F); kept: how many the line is fitted to;
    n_coordinates: the layer's width.
    """

    layer: str
    log_mu: np.ndarray
    heights: np.ndarray
    kept: int
    dimension: float
    n_coordinates: int

    def __post_init__(self) -> None:
        for name in ("log_mu", "heights"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.float64))


def _kept() -> ResultStore[Ratios]:
    return store("ratios", Ratios)


def ratios(wanted: MeasurementSpec) -> Ratios | None:
    """What is kept of the measurement, or None."""
    return _kept().find(_key(wanted))


def start(wanted: MeasurementSpec) -> Job | None:
    """Begin to make them, or join the job that is at it; None when they are there."""
    if ratios(wanted) is not None:
        return None
    return MAKING.start(wanted)


def _make(wanted: MeasurementSpec, job: Job) -> None:
    with pool().turn(job):
        warm_up().wait(job.progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
        _kept().add(_key(wanted), ratios_of(wanted, job))
    job.n_results += 1


def ratios_of(wanted: MeasurementSpec, job: Job) -> Ratios:
    """Hidden states of the measurement's sample, from the cache where they are kept, and TwoNN's reading of the first layer.

    Raises:
        GeloraError: data or model cannot be read, or no layer has a dimension.
    """
    sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=job.progress)
    states = extract_hidden_states(wanted.model, sample, **wanted.extraction(), progress=job.progress)
    reason = ""
    for layer, values in zip(states.layer_names, states.values, strict=True):
        job.progress("Distances of all pairs", 0, 0)
        try:
            read = TwoNN().fit(values)
        except DataError as error:
            reason = str(error)
            continue
        return Ratios(layer, read.log_mu_, read.minus_log_survival_, read.kept_, float(read.dimension_), int(values.shape[1]))
    raise DataError(f"No layer has a dimension by TwoNN: {reason} Take other data or another pooling.")


def _key(wanted: MeasurementSpec) -> str:
    return wanted.key(_FORMAT)


MAKING = Background("ratios", _make, "Step 1", "fewer samples or a smaller model", key=_key)
