"""Model, matrices and rows made ready for scores: loaded once, on the device, frozen but for the matrices.

Knows which strategy needs rows or a loss; knows nothing of how a score is computed from them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gelora.errors import DataError, InputError, ModelError
from gelora.records import DataChoice, Progress, Sample, TargetModule
from gelora.sources import (
    ModelEntry,
    base_model_of,
    find_model,
    load_base_model,
    load_causal_lm,
    load_classifier,
    load_sample,
    load_tokenizer,
    longest_input,
    model_structure,
    suited_to,
    tokenize,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gelora.ranks.scores.importance_loss import Objective
    from gelora.sources import TokenizedSample

WITH_LOSS = ("gradient", "fisher")
WITH_DATA = (*WITH_LOSS, "eva")


@dataclass(frozen=True)
class Ready:
    """Model, matrices and rows on the device; `objective` where a strategy needs a loss, `texts` where one needs rows."""

    entry: ModelEntry
    base: "nn.Module"
    weights: "dict[str, torch.Tensor]"
    texts: "TokenizedSample | None"
    objective: "Objective | None"


def prepare(
    strategies: tuple[str, ...],
    model_id: str,
    data: DataChoice | None,
    modules: Sequence[TargetModule],
    n_rows: int,
    max_length: int,
    seed: int,
    device: str,
    report: Progress,
) -> Ready:
    """Load the model once for all `strategies`, draw the rows, and check that both can give what was asked for.

    Args: as in `all_module_scores`. The head is drawn from torch's CPU generator, which the caller forks.

    Raises: as `all_module_scores`, but for what concerns the scores themselves.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("Device 'cuda' was asked for, but PyTorch sees no GPU here; choose 'cpu'.")
    with_loss = any(strategy in WITH_LOSS for strategy in strategies)
    with_data = any(strategy in WITH_DATA for strategy in strategies)
    entry = find_model(model_id)
    sample = load_sample(data, n_rows, seed, progress=report) if with_data and data is not None else None
    if sample is not None and with_loss:
        _check_loss(sample, model_id)
    report("Reading the model", 0, 1)
    tokenizer = load_tokenizer(entry) if sample is not None else None
    random_keys: tuple[str, ...] = ()
    if sample is None or not with_loss:
        model = load_base_model(entry)
    else:
        is_causal = sample.task == "unlabeled"
        headed = load_causal_lm(entry, seed) if is_causal else load_classifier(entry, tokenizer, _class_names(sample), seed)
        model, random_keys = headed.model, headed.random_keys
    model.eval().requires_grad_(False).to(device)
    config: Any = model.config
    if getattr(config, "use_cache", False):
        config.use_cache = False  # keys and values of past tokens serve generation alone
    base = base_model_of(model)
    inside = [key for key in random_keys if base is not model and key.startswith(f"{model.base_model_prefix}.")]
    lacking = [key for key in inside if "pooler" not in key]  # a pooler belongs to the head: many checkpoints have none
    if lacking:
        raise ModelError(
            f"The checkpoint {model_id} lacks weights of its own architecture, such as {lacking[0]}; choose another checkpoint."
        )
    weights = _weights_of(base, modules, model_id)
    for weight in weights.values() if with_loss else ():
        weight.requires_grad_()
    report("Reading the model", 1, 1)
    if sample is None:
        return Ready(entry, base, weights, None, None)
    texts = tokenize(tokenizer, sample, longest_input(max_length, tokenizer, base.config), "mean")
    texts = suited_to(base, texts, model_structure(model_id).hidden_size)
    if "eva" in strategies and not texts.is_padded:
        raise ModelError(f"The states of {model_id} depend on padding, and eva reads padded batches; choose another strategy.")
    if not with_loss:
        return Ready(entry, base, weights, texts, None)
    from gelora.ranks.scores.importance_loss import Objective

    return Ready(entry, base, weights, texts, Objective(model, texts, sample, bool(random_keys), seed))


def _check_loss(sample: Sample, model_id: str) -> None:
    dataset = sample.source.choice.dataset
    if sample.task == "classification" and len(set(sample.labels or ())) < 2:
        raise DataError(f"Every row drawn from {dataset} has the same label, so its loss says nothing; at least two classes are needed.")
    if sample.task == "unlabeled" and not model_structure(model_id).is_decoder:
        raise InputError(
            f"{dataset} has no labels and {model_id} is an encoder, so there is no loss to differentiate; choose data with labels or a "
            "decoder for gradient and fisher, or eva or weight-spectrum, which need no labels."
        )


def _class_names(sample: Sample) -> tuple[str, ...] | None:
    if sample.task != "classification":
        return None
    return sample.label_names or tuple(str(i) for i in range(int(max(sample.labels or (0,))) + 1))


def _weights_of(base: "nn.Module", modules: Sequence[TargetModule], model_id: str) -> "dict[str, torch.Tensor]":
    """The modules' weights by name: matrices, or [n_experts, ...] where a parameter holds several."""
    parameters: dict[str, Any] = dict(base.named_parameters(remove_duplicate=False))
    weights: dict[str, Any] = {}
    for module in modules:
        weight = parameters.get(f"{module.name}.weight", parameters.get(module.name))
        sides = (module.in_features, module.out_features)
        # Either way round: Conv1D has its inputs first, and no score depends on which side is which.
        fits = weight is not None and sorted(weight.shape[-2:]) == sorted(sides) and weight.numel() == module.n_experts * math.prod(sides)
        if not fits:
            found = "lacks it" if weight is None else f"has it in the shape {list(weight.shape)}"
            raise ModelError(
                f"{module.name} is to be {sides[0]} inputs wide and {sides[1]} outputs, but {model_id} {found}; use its own modules."
            )
        weights[module.name] = weight
    return weights
