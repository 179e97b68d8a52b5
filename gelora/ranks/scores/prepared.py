"""Model, matrices and rows prepared for module scores, and the loss of the rows with its gradients: GoRA's mean |w * G| and Fisher.

The model is loaded once, on the device, frozen but for the matrices. Does not depend on how a score becomes a rank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gelora.errors import DataError, InputError, ModelError
from gelora.records import DataChoice, Progress, Sample, TargetModule, resolve_device
from gelora.sources import (
    ModelEntry,
    TokenizedSample,
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

WITH_LOSS = ("gradient", "fisher")
WITH_DATA = (*WITH_LOSS, "eva")


class Objective:
    """The negative log likelihood of rows: of their class, of their value (a normal law of variance 1), or of their next tokens.

    Args:
        model: in evaluation mode, on its device; a sequence classifier where the sample has labels, else a causal model.
        texts: the sample's tokens.
        sample: labels and task.
        has_random_head: whether the head was drawn, which `description` says.
        seed: that it was drawn from.

    Raises:
        DataError: no row has a token to predict.
    """

    def __init__(self, model: Any, texts: TokenizedSample, sample: Sample, has_random_head: bool, seed: int) -> None:
        self._model = model
        self._texts = texts
        self._task = sample.task
        self._labels = sample.labels or ()
        self._device = str(next(model.parameters()).device)
        # A text of one token has no next one, so it has no likelihood.
        self._rows = np.arange(len(sample)) if sample.labels else np.flatnonzero(texts.lengths > 1)
        if len(self._rows) == 0:
            raise DataError(f"No text of {sample.source.choice.dataset} has two tokens, so there is no next token to predict.")
        loss = {
            "classification": f"the cross-entropy of {getattr(model.config, 'num_labels', 0)} classes",
            "regression": "the squared error",
            "unlabeled": "the next-token cross-entropy",
        }[sample.task]
        self.description = f"{loss} under {f'a random head (seed {seed})' if has_random_head else 'the checkpoint’s own head'}"

    @property
    def n_rows(self) -> int:
        """Rows that have a likelihood."""
        return len(self._rows)

    def gradient_product(self, weights: dict[str, torch.Tensor], batch_size: int, report: Progress) -> dict[str, float]:
        """Mean |w * G| over the entries of each weight, G the gradient of the mean loss over all terms of all rows.

        Gradients are added up before the absolute value is taken, so that what points one way in one row and the other way
        in the next cancels, and the rows of a forward pass decide nothing but memory.
        """
        sums = [torch.zeros_like(weight) for weight in weights.values()]
        n_terms = 0
        batches = self._texts.batches(self._rows, batch_size)
        for done, rows in enumerate(batches):
            report("Gradients", done, len(batches))
            loss, n_of_batch = self._negative_log_likelihood(rows)
            n_terms += n_of_batch
            for total, gradient in zip(sums, _gradients(loss, weights), strict=True):
                total += gradient
        report("Gradients", len(batches), len(batches))
        pairs = zip(weights.values(), sums, strict=True)
        means = _to_numpy([(weight.detach() * total).abs().mean(dtype=torch.float64) for weight, total in pairs])
        return dict(zip(weights, (means / n_terms).tolist(), strict=True))

    def fisher(self, weights: dict[str, torch.Tensor], report: Progress) -> dict[str, float]:
        """Mean squared gradient of each weight, of the log likelihood of one row at a time, averaged over the rows."""
        sums = np.zeros(len(weights))
        sizes = np.array([weight.numel() for weight in weights.values()])
        for done, row in enumerate(self._rows):
            report("Fisher information", done, len(self._rows))
            loss, _ = self._negative_log_likelihood(np.array([row]))
            norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in _gradients(loss, weights)]
            sums += _to_numpy(norms) ** 2 / sizes
        report("Fisher information", len(self._rows), len(self._rows))
        return dict(zip(weights, (sums / len(self._rows)).tolist(), strict=True))

    def _negative_log_likelihood(self, rows: np.ndarray) -> tuple[torch.Tensor, int]:
        """Its sum over the rows (and over their tokens), without constants; and how many terms that sum has."""
        inputs = self._texts.batch(rows, self._device)
        logits = self._model(**inputs).logits.float()
        if self._task == "unlabeled":
            next_ids = inputs["input_ids"][:, 1:]
            is_token = inputs["attention_mask"][:, 1:].bool()
            return functional.cross_entropy(logits[:, :-1][is_token], next_ids[is_token], reduction="sum"), int(is_token.sum())
        labels = [self._labels[i] for i in rows]
        if self._task == "regression":
            truth = torch.tensor(labels, dtype=torch.float32, device=self._device)
            return functional.mse_loss(logits.squeeze(-1), truth, reduction="sum") / 2, len(rows)
        classes = torch.tensor(labels, device=self._device).long()
        return functional.cross_entropy(logits, classes, reduction="sum"), len(rows)


@dataclass(frozen=True)
class Ready:
    """Model, matrices and rows on the device; `objective` where a strategy needs a loss, `texts` where one needs rows."""

    entry: ModelEntry
    base: nn.Module
    weights: dict[str, torch.Tensor]
    texts: TokenizedSample | None
    objective: Objective | None


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
    device = resolve_device(device)
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


def _weights_of(base: nn.Module, modules: Sequence[TargetModule], model_id: str) -> dict[str, torch.Tensor]:
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


def _gradients(loss: torch.Tensor, weights: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    # A weight that the rows do not reach (an expert that no token chose) has gradient 0.
    return torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)


def _to_numpy(values: Sequence[torch.Tensor]) -> np.ndarray:
    """Scalars on the device as one array, fetched at once."""
    return torch.stack(list(values)).cpu().numpy()
