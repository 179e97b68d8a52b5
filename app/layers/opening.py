"""Layers opened in the background, once for all tabs; the last ones are kept in memory.

Draws nothing.
"""

import contextlib
from dataclasses import dataclass

from app.shared.background import Background
from app.shared.cache import pool
from gelora.measurements import Job, MeasurementSpec, warm_up
from gelora.opened_layer import OpenedLayer, open_layer
from gelora.sources import BUNDLED_DATASET, extract_hidden_states, load_sample, states_kept


@dataclass(frozen=True)
class Opening:
    """Which layer of which measurement; may_run_model: also where the hidden states are not kept on disk."""

    measurement: MeasurementSpec
    layer: int
    may_run_model: bool = False


def _open(wanted: Opening, job: Job) -> OpenedLayer | None:
    """The opened layer; None where the states are not kept and the model may not run. Only a pass through it waits for its turn."""
    spec = wanted.measurement
    job.progress("Reading the texts", 0, 0)
    sample = load_sample(spec.data, spec.n_samples, spec.seed, distinct=spec.distinct, progress=job.progress)
    kept = states_kept(spec.model, sample, **spec.extraction()) is not None
    if not kept and not wanted.may_run_model:
        return None
    if not kept or spec.pooling == "tokens":  # the one needs torch, the other a tokenizer
        warm_up().wait(job.progress, data_too=spec.data.dataset == BUNDLED_DATASET)
    with contextlib.nullcontext() if kept else pool().turn(job):
        states = extract_hidden_states(spec.model, sample, **spec.extraction(), device="cpu" if kept else "auto", progress=job.progress)
    return open_layer(states, sample, wanted.layer, progress=job.progress)


OPENING = Background(
    "open-layer", _open, "Opening the layer", "fewer samples or a smaller model", key=lambda wanted: wanted.measurement.key(wanted.layer)
)
