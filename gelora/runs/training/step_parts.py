"""The batch of an optimizer step in parts that memory holds, and what each of them weighs.

Works on padded batches; does not depend on models, losses or the Trainer.
"""

import torch

from gelora.tasks import IGNORED


def parts_of(inputs: dict[str, torch.Tensor], most: int, without_padding: bool = False) -> list[dict[str, torch.Tensor]]:
    """A batch padded on the right, as batches of at most `most` rows, each padded to its own longest row only, or of one length."""
    if n_rows(inputs) <= most and not without_padding:
        return [inputs]
    rows = torch.arange(n_rows(inputs), device=inputs["input_ids"].device)
    lengths = inputs["attention_mask"].sum(dim=1) if without_padding else torch.zeros_like(rows)
    chosen = [some for length in lengths.unique() for some in rows[lengths == length].split(most)]
    parts = [{name: tensor[some] for name, tensor in inputs.items()} for some in chosen]
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
