"""What evaluation keeps of the answers to held-out rows, for one model or several arms on one, and what each row lost.

Does not depend on how anything was trained.
"""

from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn
from transformers.trainer_pt_utils import nested_concat

from gelora.runs.training.data_order import batches_of_one_length
from gelora.tasks import IGNORED, Task

OF_TOKENS = ("causal-lm", "instruction")
_EVALUATED_ROWS = 256  # rows of all arms in one pass


@torch.no_grad()
def held_out_answers(task: Task, n_arms: int, bf16: bool = False, model: nn.Module | None = None) -> tuple[list[Any], Any]:
    """What evaluation keeps of each arm's answers to the held-out rows, in the rows' order, and the rows' labels.

    model: that answers in place of the task's own.
    """
    model = task.model if model is None else model
    device = next(model.parameters()).device
    size = max(1, _EVALUATED_ROWS // n_arms)
    lengths = [len(row["input_ids"]) for row in task.held_out]
    starts = range(0, len(lengths), size)
    chosen = batches_of_one_length(lengths, size) if task.without_padding else [list(range(len(lengths)))[i : i + size] for i in starts]
    kept: list[Any] = [None] * n_arms
    all_labels: Any = None
    for places in chosen:
        batch = {name: tensor.to(device) for name, tensor in task.collate([task.held_out[i] for i in places]).items()}
        labels = batch.pop("labels")
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(**for_all(batch, n_arms)).logits
        for i, arm in enumerate(logits.view(n_arms, -1, *logits.shape[1:])):
            answer = task.reduce(arm, labels).cpu().numpy()
            kept[i] = answer if kept[i] is None else nested_concat(kept[i], answer, padding_index=IGNORED)
        known = labels.cpu().numpy()
        all_labels = known if all_labels is None else nested_concat(all_labels, known, padding_index=IGNORED)
    return kept, all_labels


def lost_by_row(task: Task, kept: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each held-out row lost, and by how much it counts: nats and tokens, nats and 1, or squared error and 1; [n_rows] each."""
    if task.kind in OF_TOKENS:
        return kept[:, 0].astype(np.float64), kept[:, 1].astype(np.float64)
    answers = kept.astype(np.float64)
    if task.kind == "regression":
        return (answers.reshape(len(labels)) - labels) ** 2, np.ones(len(labels))
    return -log_softmax(answers, axis=1)[np.arange(len(labels)), labels], np.ones(len(labels))


def for_all(batch: dict[str, torch.Tensor], n_arms: int) -> dict[str, torch.Tensor]:
    """The inputs of a batch, without its labels, once for every arm: row r * B + b is row b of arm r."""
    return {name: tensor.repeat(n_arms, *[1] * (tensor.dim() - 1)) for name, tensor in batch.items() if name != "labels"}
