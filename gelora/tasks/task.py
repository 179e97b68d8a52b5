"""What a run learns: the record that every kind of task fills, and that training, evaluation and the page read.

Does not depend on adapters, the training loop or processes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

Row = dict[str, Any]
"""One tokenised example: `input_ids`, `attention_mask`, perhaps `token_type_ids`, and the task's own labels."""


@dataclass(frozen=True)
class ShownExample:
    """One held-out example as a page shows it; `right` is None where there is no right or wrong."""

    given: str
    truth: str
    prediction: str
    right: bool | None


@dataclass(frozen=True)
class Task:
    """Everything that training needs to know of a task.

    kind: one of `gelora.records.TASK_KINDS`.
    model: a transformers model with the task's head, float32 on the CPU, no adapter yet.
    train, held_out: tokenised rows; the held-out ones are sorted by length.
    collate: rows -> a batch of tensors, padded to its longest row.
    reduce: (the model's logits or outputs of a batch, labels) -> what of them evaluation keeps; called on the device.
    score: (what was kept, of all held-out rows; the labels) -> {name: value}, names without the prefix `eval_`.
    show: (what was kept) -> a few held-out examples with the current prediction; always the same examples.
    main_metric: the value that is compared, with the prefix (`eval_accuracy`).
    label_names: of classes, else None. majority_accuracy: held-out share of the class most frequent in training, else None.
    random_keys: parameters that the checkpoint lacks and that were drawn; reloaded_keys: whether a loader has to be told
    that some have another size. peft_task_type: PEFT's name for the task. auto_class: transformers' class that loads it.
    as_read: how each file of rows was read, in sentences.
    texts_digest: of the rows drawn. notes: what a person should know of the data (rows left out and why, lengths cut).
    without_padding: the model's states depend on padding, so that rows of one length run together and batches are not padded.
    generate: for language modelling, model -> a few held-out prompts with what the model goes on with; `show` is then empty.
    """

    kind: str
    model: "nn.Module"
    tokenizer: Any
    entry: Any
    train: list[Row]
    held_out: list[Row]
    collate: "Callable[[list[Row]], dict[str, torch.Tensor]]"
    reduce: "Callable[[Any, Any], Any]"
    score: Callable[[Any, Any], dict[str, float]]
    show: Callable[[Any], list[ShownExample]]
    main_metric: str
    higher_is_better: bool
    label_names: tuple[str, ...] | None
    majority_accuracy: float | None
    random_keys: tuple[str, ...]
    reloaded_keys: bool
    peft_task_type: str
    auto_class: str
    texts_digest: str
    notes: tuple[str, ...] = ()
    as_read: tuple[str, ...] = ()
    without_padding: bool = False
    generate: "Callable[[Any], list[ShownExample]] | None" = None

    @property
    def n_labels(self) -> int:
        """Outputs of a classification head: the number of classes, 1 for regression."""
        return len(self.label_names) if self.label_names else 1
