"""Hidden states of rows that are tokenised already, from a model that is in memory and may be in training.

Takes tokenised rows and runs the model by `forward_pass`; does not depend on texts or datasets.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gelora.records import SINK_RATIO, HiddenStates, ModelStructure, SampleSource, resolved_sinks
from gelora.sources.forward_pass import pooled_states
from gelora.sources.padding import depends_on_padding
from gelora.sources.structure import base_model_of
from gelora.sources.tokenized import TokenizedSample

if TYPE_CHECKING:
    from torch import nn

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def states_of_rows(
    model: "nn.Module",
    rows: Sequence[Mapping[str, Any]],
    structure: ModelStructure,
    source: SampleSource,
    *,
    pad_token_id: int = 0,
    pad_token_type_id: int = 0,
    without_padding: bool = False,
    pooling: str = "mean",
    batch_size: int = 32,
    max_length: int,
    dtype: str = "float32",
    sinks: str | None = None,
    sink_ratio: float = SINK_RATIO,
) -> HiddenStates:
    """The pooled hidden states of tokenised rows in every layer of a model, as `extract_hidden_states` gives those of texts.

    The model runs as it is, with its adapters, in evaluation mode and without gradients; afterwards every module is in
    the mode in which it was. Call it inside `torch.autocast` for the states of mixed precision.

    Args:
        model: a transformers model, with or without a head or adapters, on any device.
        rows: `input_ids` and, where the model wants it, `token_type_ids`, as lists that are not padded.
        structure: of the base model, without adapters.
        source: recorded as given, as is max_length.
        pad_token_id, pad_token_type_id: what fills a batch on the right; masked.
        without_padding: run rows of one length together, for a model whose states depend on padding.
        pooling: "mean", "cls" or "last", as in `extract_hidden_states`.
        batch_size: rows a forward pass; halved while the GPU's memory does not hold it.
        sinks, sink_ratio: as in `extract_hidden_states`.
        dtype: recorded, and named in the error of states that are not finite.

    Returns:
        float32 [n_layers + 1, n_rows, hidden_size], in the order of the rows.

    Raises:
        ModelError: the model is no stack of transformer blocks, or one row is too much for the GPU.
        DataError: a layer's states are NaN or infinite.
    """
    treatment = resolved_sinks(sinks, sink_ratio, pooling)
    texts = replace(_tokenized(rows, pad_token_id, pad_token_type_id, pooling), is_padded=not without_padding)
    with _evaluating(model):
        return pooled_states(
            base_model_of(model),
            texts,
            structure,
            source,
            max_length=max_length,
            batch_size=batch_size,
            dtype=dtype,
            final_norm=False,
            treatment=treatment,
            sink_ratio=sink_ratio,
            progress=_silent,
        )


def rows_depend_on_padding(
    model: "nn.Module", rows: Sequence[Mapping[str, Any]], hidden_size: int, *, pad_token_id: int, pad_token_type_id: int
) -> bool:
    """Whether a model's states of such rows depend on the padding beside them; arguments as in `states_of_rows`.

    Raises:
        ModelError: the model is no stack of transformer blocks.
    """
    with _evaluating(model):
        return depends_on_padding(base_model_of(model), _tokenized(rows, pad_token_id, pad_token_type_id, "mean"), hidden_size)


def _tokenized(rows: Sequence[Mapping[str, Any]], pad_token_id: int, pad_token_type_id: int, pooling: str) -> TokenizedSample:
    lengths = np.array([len(row["input_ids"]) for row in rows])
    padding = dict(zip(_INPUTS, (pad_token_id, 0, pad_token_type_id), strict=True))
    columns = {name: ([list(row[name]) for row in rows], padding[name]) for name in _INPUTS if name in rows[0]}
    columns["attention_mask"] = ([[1] * int(length) for length in lengths], 0)
    return TokenizedSample(columns, lengths, pooling)


@contextmanager
def _evaluating(model: "nn.Module") -> Iterator[None]:
    """The model in evaluation mode, and every module in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody waits for a pass of some hundred rows."""
