"""The layers of a measurement compared: measured on its texts and hidden states, and kept by its key.

Does not depend on threads or on who waits.
"""

from gelora.geometry import layer_similarity, unlike_layers
from gelora.measurements.measuring import texts_and_states
from gelora.measurements.spec import MeasurementSpec
from gelora.measurements.store import ResultStore
from gelora.records import LayerSimilarity, Progress, Sample


def similarity_store() -> ResultStore[LayerSimilarity]:
    """The similarities kept on this machine, by `MeasurementSpec.key`; a newer one takes the place of an older."""
    return ResultStore("similarity", LayerSimilarity, lambda old, new: new)


def measured_similarity(
    wanted: MeasurementSpec,
    store: ResultStore[LayerSimilarity] | None = None,
    *,
    sample: Sample | None = None,
    again: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[LayerSimilarity, bool]:
    """How alike the layers of a measurement are, and whether it was kept from an earlier measurement of these very states.

    Labels are those of the texts, one a row, where the data have any.

    Args:
        wanted: model, data, draw, pooling, metric, number of neighbors and of half-samples.
        store: where it is kept, this machine's unless given.
        sample: the texts of `wanted` where they are drawn already.
        again: measure whatever is there.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        progress: told how far the work is; may raise `Cancelled`.

    Raises:
        GeloraError: data or model cannot be had, a choice is not legal, or the layers cannot be compared.
    """
    store, key = store or similarity_store(), wanted.key()
    sample, states = texts_and_states(wanted, sample, device, progress)
    held = store.find(key)
    if held is not None and not again and unlike_layers(held, states) is None:
        return held, True
    labels = None if sample.labels is None else [sample.labels[text] for text in states.row_texts()]
    found = layer_similarity(
        states,
        labels,
        "regression" if sample.task == "regression" else "classification",
        n_neighbors=wanted.n_neighbors,
        metric=wanted.metric,
        n_subsamples=wanted.n_subsamples,
        device=device,
        progress=progress,
    )
    store.add(key, found)
    return found, False
