"""The loss of rows of data under a model with a head, and what its gradients say of each weight: GoRA's mean |w * G| and Fisher.

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


def _gradients(loss: torch.Tensor, weights: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    # A weight that the rows do not reach (an expert that no token chose) has gradient 0.
    return torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)


def _to_numpy(values: Sequence[torch.Tensor]) -> np.ndarray:
    """Scalars on the device as one array, fetched at once."""
    return torch.stack(list(values)).cpu().numpy()
