"""Pooled hidden states of every layer of a model on a sample: from the cache, or tokenised, passed through the model and cached.

Joins models and tokenizers; the pass itself is in `forward_pass`, how results are kept in `state_cache`.
"""

import logging
from typing import TYPE_CHECKING, Any

from gelora.records import (
    DEVICES,
    POINTS,
    POOLINGS,
    SINK_RATIO,
    HiddenStates,
    ModelStructure,
    Progress,
    Sample,
    check_choice,
    check_whole,
    resolve_device,
    resolved_sinks,
)
from gelora.sources.forward_pass import empty_gpu_cache, out_of_memory_as_model_error, pooled_states
from gelora.sources.padding import suited_to
from gelora.sources.state_cache import cache_key, keep_states, read_states
from gelora.sources.structure import base_model_of, structure_of
from gelora.sources.tokenized import tokenize

if TYPE_CHECKING:
    from torch import nn


DTYPES = ("float32", "float16", "bfloat16")

_log = logging.getLogger(__name__)


def extract_hidden_states(
    model: str,
    sample: Sample,
    *,
    pooling: str = "mean",
    max_length: int = 128,
    batch_size: int = 64,
    device: str = "cpu",
    dtype: str = "float32",
    final_norm: bool = False,
    sinks: str | None = None,
    sink_ratio: float = SINK_RATIO,
    points: str = "blocks",
    cache: bool = True,
    progress: Progress | None = None,
) -> HiddenStates:
    """The pooled hidden states of a sample in every layer of a model: index 0 what enters block 1, index i what block i gives.

    Args:
        model: a bundled name, a local folder or a hub id; see `find_model`.
        sample: texts or pairs of texts; a pair is one input, framed by the model's own tokenizer.
        pooling: "mean" over all tokens but padding (special tokens such as [CLS] count, as in sentence-transformers);
            "cls" the first token; "last" the last token before padding; "tokens" draws `sample.source.n_samples`
            single tokens, seeded, special tokens excluded, the same tokens in every layer (all when there are fewer).
        max_length: tokens at which a text is cut, at least 4; lowered to what the model's positions allow.
        batch_size: texts a forward pass, at least 1; halved while the GPU's memory does not hold it.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        dtype: "float32", "float16" or "bfloat16", that of weights and states; pooling sums and the result are float32.
        final_norm: take the last states after the model's final norm, where it has one, as Hugging Face's own last
            hidden state is; otherwise they are block L's output before it.
        sinks: what is done about attention sinks, tokens whose norm in a layer exceeds `sink_ratio` times the median norm of
            all of the sample's tokens there. "drop" leaves them out of the mean; "tokens" and "last" take another token
            in their place that is a sink in no layer (a further draw; the nearest one before). "keep" takes them as they
            are; "unit" scales every token to length 1 first. None is "drop" for mean and tokens, "keep" for cls and last.
            A text all of whose tokens are sinks in a layer is left out, see `SinkReport.left_out`.
        sink_ratio: above 1. Without any sink, "drop" and "keep" give the same bits.
        points: "halves" takes the residual stream between attention and MLP too, so that there are 2 n_layers + 1 points:
            the state that enters the norm of the MLP, or leaves that of attention where norms come after. Blocks have to be
            sequential.
        cache: look for these states under GELORA_HOME first, and keep them there. When they cannot be kept (a full
            disk) they are returned all the same, with a warning in the log.
        progress: called with ("Reading the model", 0, n) and ("Hidden states", texts done, n); may raise `Cancelled`.

    Returns:
        float32 [n_layers + 1, n_samples, hidden_size], in the order of the sample. The residual stream of pre-norm
        models (Llama, GPT-2) and the normed states of post-norm ones (BERT) are not comparable in absolute value.

    Raises:
        HubError, ChecksumError: the model cannot be had.
        InputError: an option is illegal, or "cuda" is asked for where there is none.
        ModelError: the model is no stack of transformer blocks, or too large for the GPU, or its blocks have no halves.
        DataError: a text has no token at all, or a layer's states are NaN or infinite.
    """
    check_choice("pooling", pooling, POOLINGS)
    check_choice("points", points, POINTS)
    check_choice("dtype", dtype, DTYPES)
    check_choice("device", device, DEVICES)
    check_whole("max_length", max_length, 4)
    check_whole("batch_size", batch_size, 1)
    treatment = resolved_sinks(sinks, sink_ratio, pooling)
    from gelora.sources.catalog import find_model
    from gelora.sources.loading import load_base_model, load_tokenizer

    report = progress or (lambda stage, done, total: None)
    entry = find_model(model)
    chosen: dict[str, Any] = {"pooling": pooling, "max_length": max_length, "dtype": dtype, "final_norm": final_norm}
    chosen |= {"sinks": treatment, "sink_ratio": sink_ratio}
    key = cache_key(entry.model_id, entry.revision, sample, **chosen, points=points)
    kept = read_states(key, sample) if cache else None
    if kept is not None:
        report("Hidden states", len(sample), len(sample))
        return kept
    report("Reading the model", 0, len(sample))
    place = resolve_device(device)
    tokenizer = load_tokenizer(entry)
    with out_of_memory_as_model_error(entry.model_id, place):
        network = load_base_model(entry, dtype=dtype, device=place)
    structure = structure_of(network, entry.model_id, entry.revision)
    states = states_of(
        network,
        tokenizer,
        sample,
        structure.halved if points == "halves" else structure,
        batch_size=batch_size,
        progress=report,
        **chosen,
    )
    del network
    if place == "cuda":
        empty_gpu_cache()
    problem = keep_states(key, states) if cache else None
    if problem:
        _log.warning("The hidden states were not kept for the next time: %s", problem)
    return states


def states_of(
    model: "nn.Module",
    tokenizer: Any,
    sample: Sample,
    structure: ModelStructure,
    *,
    pooling: str,
    max_length: int,
    batch_size: int,
    dtype: str,
    final_norm: bool,
    progress: Progress,
    sinks: str | None = None,
    sink_ratio: float = SINK_RATIO,
) -> HiddenStates:
    """The same as `extract_hidden_states` for a model that is already in memory, with or without a head or adapters."""
    treatment = resolved_sinks(sinks, sink_ratio, pooling)
    base = base_model_of(model)
    was_training = model.training
    model.eval()
    try:
        max_length = min(max_length, _n_positions(base), int(tokenizer.model_max_length))
        texts = tokenize(tokenizer, sample, max_length, pooling)
        with out_of_memory_as_model_error(structure.model_id, str(next(base.parameters()).device)):
            texts = suited_to(base, texts, structure.hidden_size)
        return pooled_states(
            base,
            texts,
            structure,
            sample.source,
            max_length=max_length,
            batch_size=batch_size,
            dtype=dtype,
            final_norm=final_norm,
            treatment=treatment,
            sink_ratio=sink_ratio,
            progress=progress,
        )
    finally:
        model.train(was_training)


def _n_positions(base: "nn.Module") -> int:
    """Tokens that the model's positions allow."""
    from torch import nn

    config: Any = base.config
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    limit = limit if isinstance(limit, int) and limit > 0 else 1_000_000_000
    for module in base.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding) and table.padding_idx is not None:  # RoBERTa counts from the padding's place on
            limit = min(limit, table.num_embeddings - table.padding_idx - 1)
    return limit
