"""Forward passes: a model and a sample become pooled hidden states of every layer, pooled while the model runs.

Knows models and tokenizers; how a pooling works is in `pooling`, how results are kept in `state_cache`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gelora.errors import DataError, InputError, ModelError
from gelora.records import (
    POOLINGS,
    SINK_RATIO,
    HiddenStates,
    ModelStructure,
    Progress,
    Sample,
    SinkReport,
    check_choice,
    check_range,
    resolved_sinks,
)
from gelora.sources.sink_pooling import SinkPooling
from gelora.sources.state_cache import cache_key, keep_states, read_states
from gelora.sources.structure import base_model_of, find_blocks, find_final_norm, structure_of
from gelora.sources.tokenized import TokenizedSample, tokenize

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gelora.sources.pooling import Take

DTYPES = ("float32", "float16", "bfloat16")
DEVICES = ("cpu", "cuda", "auto")

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
        cache: look for these states under GELORA_HOME first, and keep them there. When they cannot be kept (a full
            disk) they are returned all the same, with a warning in the log.
        progress: called with ("Reading the model", 0, n) and ("Hidden states", texts done, n); may raise `Cancelled`.

    Returns:
        float32 [n_layers + 1, n_samples, hidden_size], in the order of the sample. The residual stream of pre-norm
        models (Llama, GPT-2) and the normed states of post-norm ones (BERT) are not comparable in absolute value.

    Raises:
        HubError, ChecksumError: the model cannot be had.
        InputError: an option is illegal, or "cuda" is asked for where there is none.
        ModelError: the model is no stack of transformer blocks, or too large for the GPU.
        DataError: a text has no token at all, or a layer's states are NaN or infinite.
    """
    check_choice("pooling", pooling, POOLINGS)
    check_choice("dtype", dtype, DTYPES)
    check_choice("device", device, DEVICES)
    check_range("max_length", max_length, 4)
    check_range("batch_size", batch_size, 1)
    treatment = resolved_sinks(sinks, sink_ratio, pooling)
    from gelora.sources.catalog import find_model
    from gelora.sources.loading import load_base_model, load_tokenizer

    report = progress or (lambda stage, done, total: None)
    entry = find_model(model)
    key = cache_key(
        entry.model_id,
        entry.revision,
        sample,
        pooling=pooling,
        max_length=max_length,
        dtype=dtype,
        final_norm=final_norm,
        sinks=treatment,
        sink_ratio=sink_ratio,
    )
    kept = read_states(key, sample) if cache else None
    if kept is not None:
        report("Hidden states", len(sample), len(sample))
        return kept
    report("Reading the model", 0, len(sample))
    place = _device(device)
    tokenizer = load_tokenizer(entry)
    with _out_of_memory_as_model_error(entry.model_id, place):
        network = load_base_model(entry, dtype=dtype, device=place)
    states = states_of(
        network,
        tokenizer,
        sample,
        structure_of(network, entry.model_id, entry.revision),
        pooling=pooling,
        max_length=max_length,
        batch_size=batch_size,
        dtype=dtype,
        final_norm=final_norm,
        sinks=treatment,
        sink_ratio=sink_ratio,
        progress=report,
    )
    del network
    if place == "cuda":
        _empty_gpu_cache()
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
        with _Tap(base, structure.hidden_size, final_norm) as tap:
            values, tokens, report = pooled_pass(tap, texts, batch_size, structure, dtype, progress, treatment, sink_ratio)
    finally:
        model.train(was_training)
    names = ("embeddings", *(f"block {number}" for number in range(1, structure.n_layers + 1)))
    return HiddenStates(values, names, pooling, max_length, dtype, final_norm, structure, sample.source, report, tokens)


class _Tap:
    """Hooks that pool every layer's states as they pass by, so that only [n_layers + 1, batch, width] is ever kept."""

    def __init__(self, base: "nn.Module", hidden_size: int, final_norm: bool) -> None:
        self._base = base
        self._blocks = find_blocks(base)[1]
        self._norm = find_final_norm(base) if final_norm else None
        self._hooks: list[Any] = []
        self._pooled: list[torch.Tensor | None] = []
        self._shape: tuple[int, ...] = ()
        self._hidden_size = hidden_size
        self._take: Take | None = None
        self.device = str(next(base.parameters()).device)

    def __enter__(self) -> "_Tap":
        last = len(self._blocks)
        for index, block in enumerate(self._blocks):
            self._hooks.append(block.register_forward_pre_hook(self._input_hook(index), with_kwargs=True))
        self._hooks.append(self._blocks[-1].register_forward_hook(self._output_hook(last)))
        if self._norm is not None:  # runs after the last block and takes its place
            self._hooks.append(self._norm.register_forward_hook(self._output_hook(last)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def __call__(self, inputs: "dict[str, torch.Tensor]", take: "Take") -> "torch.Tensor":
        """Run the model on one batch; returns float32 [n_layers + 1, rows, hidden_size] on the model's device."""
        import torch

        self._take, self._pooled = take, [None] * (len(self._blocks) + 1)
        self._shape = (*inputs["input_ids"].shape, self._hidden_size)
        with torch.inference_mode(), _without_key_value_cache(self._base):
            self._base(**inputs)
        pooled = [states for states in self._pooled if states is not None]
        if len(pooled) != len(self._pooled):
            raise ModelError(f"{type(self._base).__name__} does not run all of its blocks in a forward pass, so they cannot be measured.")
        return torch.stack(pooled)

    # What enters block i + 1 is what block i gives, and it includes what a few models add between the two
    # (DeBERTa-v2 xlarge's convolution), as Hugging Face's own hidden_states do.
    def _input_hook(self, index: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._keep(index, args[0] if args else kwargs.get("hidden_states"))

        return hook

    def _output_hook(self, index: int) -> Callable[..., None]:
        def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
            self._keep(index, output[0] if isinstance(output, tuple) else output)

        return hook

    def _keep(self, index: int, states: Any) -> None:
        shape = tuple(getattr(states, "shape", ()))
        if shape != self._shape:
            raise ModelError(
                f"Block {max(index, 1)} of {type(self._base).__name__} has states of shape {list(shape)}, expected "
                f"{list(self._shape)} (texts, tokens, hidden_size); this model cannot be measured."
            )
        if self._take is not None:
            self._pooled[index] = self._take(index, states)


def pooled_pass(
    tap: _Tap,
    texts: TokenizedSample,
    batch_size: int,
    structure: ModelStructure,
    dtype: str,
    progress: Progress,
    treatment: str,
    sink_ratio: float,
) -> tuple[np.ndarray, np.ndarray, SinkReport]:
    """All texts through the model, and those once more whose sinks were not yet known: values, tokens and report of the sinks."""
    pooling = SinkPooling(texts, treatment, sink_ratio, structure.n_layers, structure.hidden_size)
    batch_size = _pass(tap, texts, texts.order(), pooling, batch_size, structure, dtype, progress, "Hidden states")
    again = pooling.settle()
    if len(again):
        _pass(tap, texts, again, pooling, batch_size, structure, dtype, progress, "Hidden states, second pass")
    values, tokens, report = pooling.result()
    values.flags.writeable = False  # the record then keeps this array instead of a copy
    return values, tokens, report


def _pass(
    tap: _Tap,
    texts: TokenizedSample,
    order: np.ndarray,
    pooling: SinkPooling,
    batch_size: int,
    structure: ModelStructure,
    dtype: str,
    progress: Progress,
    stage: str,
) -> int:
    """Returns the batch size that the memory held."""
    import torch

    done = 0
    progress(stage, 0, len(order))
    while done < len(order):
        batch = order[done : done + batch_size]
        try:
            pooled = tap(texts.batch(batch, tap.device), pooling.take(batch, tap.device))
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise _too_large(structure.model_id) from error
            pooled = None
        if pooled is None:  # outside the handler, whose traceback would keep the failed pass's tensors alive
            batch_size = len(batch) // 2
            _empty_gpu_cache()
            continue
        finite = pooling.finite(batch, pooled)
        if not finite.all():
            layer = int(torch.nonzero(~finite)[0])
            where = f"block {layer}'s output" if layer else "the embeddings' output"
            advice = "use dtype float32" if dtype != "float32" else "the checkpoint's weights are damaged or it diverged; choose another"
            raise DataError(f"{structure.model_id} gives NaN or infinity from {where} on, in {dtype}; {advice}.")
        pooling.put(batch, pooled)
        done += len(batch)
        progress(stage, done, len(order))
    return batch_size


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


def _device(device: str) -> str:
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise InputError("Device 'cuda' was asked for, but PyTorch sees no GPU here; choose 'cpu' or 'auto'.")
    return "cuda"


@contextmanager
def _without_key_value_cache(base: "nn.Module") -> Iterator[None]:
    """Decoders keep keys and values of all layers for generation; nobody generates here."""
    config: Any = base.config
    text_config = config.get_text_config()
    before = getattr(text_config, "use_cache", None)
    if before is not None:
        text_config.use_cache = False
    try:
        yield
    finally:
        if before is not None:
            text_config.use_cache = before


@contextmanager
def _out_of_memory_as_model_error(model_id: str, device: str) -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _too_large(model_id) from error


def _too_large(model_id: str) -> ModelError:
    return ModelError(f"{model_id} does not fit into the GPU's free memory; choose dtype 'bfloat16', a shorter max_length or device 'cpu'.")


def _empty_gpu_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
