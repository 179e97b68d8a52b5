"""The batch of an optimizer step in parts that memory holds, and what each of them weighs.

Works on padded batches; does not depend on models, losses or the Trainer.
"""

import torch

from gelora.tasks import IGNORED


def parts_of(inputs: dict[str, torch.Tensor], most: int) -> list[dict[str, torch.Tensor]]:
    """A batch padded on the right, as batches of at most `most` rows, each padded to its own longest row only."""
    if n_rows(inputs) <= most:
        return [inputs]
    parts = [dict(zip(inputs, tensors, strict=True)) for tensors in zip(*(t.split(most) for t in inputs.values()), strict=True)]
    width = inputs["input_ids"].shape[1]
    for part in parts:
        longest = int(part["attention_mask"].sum(dim=1).max())
        for name, tensor in part.items():
            if tensor.dim() == 2 and tensor.shape[1] == width:
                part[name] = tensor[:, :longest]
    return parts


def n_rows(batch: dict[str, torch.Tensor]) -> int:
    """Rows of a batch, by which the mean over them is weighed."""
    return len(batch["input_ids"])


def n_counted(labels: torch.Tensor) -> int:
    """Tokens that a causal model's loss counts: the first of a row follows from nothing."""
    return int((labels[:, 1:] != IGNORED).sum())
