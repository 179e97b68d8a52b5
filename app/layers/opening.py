"""Layers opened in the background, once for all tabs; the last ones are kept in memory.

Draws nothing.
"""

import contextlib
from dataclasses import dataclass

from app.shared.background import Background
from app.shared.cache import pool
from gelora.measurements import Job, MeasurementSpec, warm_up
from gelora.opened_layer import OpenedLayer, open_layer
from gelora.records import HiddenStates, Sample
from gelora.sources import BUNDLED_DATASET, extract_hidden_states, load_sample, states_kept


@dataclass(frozen=True)
class Opening:
    """Which layer of which measurement; may_run_model: also where the hidden states are not kept on disk."""

    measurement: MeasurementSpec
    layer: int
    may_run_model: bool = False


def opened_states(wanted: Opening, job: Job) -> tuple[Sample, HiddenStates] | None:
    """Texts and states of the measurement; None where the states are not kept and the model may not run.

    Only a pass through the model waits for its turn.
    """
    spec = wanted.measurement
    job.progress("Reading the texts", 0, 0)
    sample = load_sample(spec.data, spec.n_samples, spec.seed, distinct=spec.distinct, progress=job.progress)
    kept = states_kept(spec.model, sample, **spec.extraction()) is not None
    if not kept and not wanted.may_run_model:
        return None
    if not kept or spec.pooling == "tokens":  # the one needs torch, the other a tokenizer
        warm_up().wait(job.progress, data_too=spec.data.dataset == BUNDLED_DATASET)
    with contextlib.nullcontext() if kept else pool().turn(job):
        device = "cpu" if kept else "auto"
        return sample, extract_hidden_states(spec.model, sample, **spec.extraction(), device=device, progress=job.progress)


def _open(wanted: Opening, job: Job) -> OpenedLayer | None:
    found = opened_states(wanted, job)
    return None if found is None else open_layer(found[1], found[0], wanted.layer, progress=job.progress)


OPENING = Background(
    "open-layer", _open, "Opening the layer", "fewer samples or a smaller model", key=lambda wanted: wanted.measurement.key(wanted.layer)
)
