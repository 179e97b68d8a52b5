"""The loss of rows of data under a model with a head, and what its gradients say of each weight: sensitivity and Fisher.

Knows tokens, labels and autograd; knows nothing of where model and rows come from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from gelora.errors import DataError
from gelora.records import Progress, Sample

if TYPE_CHECKING:
    from gelora.sources import TokenizedSample


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

    def __init__(self, model: Any, texts: "TokenizedSample", sample: Sample, has_random_head: bool, seed: int) -> None:
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

    def sensitivity(self, weights: dict[str, torch.Tensor], batch_size: int, report: Progress) -> tuple[dict[str, float], int]:
        """Mean |w * dL/dw| of each weight, averaged over batches, L the mean over a batch; and the number of batches."""
        sums = np.zeros(len(weights))
        batches = [self._rows[start : start + batch_size] for start in range(0, len(self._rows), batch_size)]
        for done, rows in enumerate(batches):
            report("Gradients", done, len(batches))
            loss, n_terms = self._negative_log_likelihood(rows)
            gradients = _gradients(loss / n_terms, weights)
            products = zip(weights.values(), gradients, strict=True)
            sums += _to_numpy([(weight.detach() * gradient).abs().mean(dtype=torch.float64) for weight, gradient in products])
        report("Gradients", len(batches), len(batches))
        return dict(zip(weights, (sums / len(batches)).tolist(), strict=True)), len(batches)

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


def _gradients(loss: torch.Tensor, weights: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    # A weight that the rows do not reach (an expert that no token chose) has gradient 0.
    return torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)


def _to_numpy(values: Sequence[torch.Tensor]) -> np.ndarray:
    """Scalars on the device as one array, fetched at once."""
    return torch.stack(list(values)).cpu().numpy()
