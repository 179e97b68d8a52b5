"""Hugging Face's Trainer, whose batch is all rows of an optimizer step, computed in parts that memory holds or replayed as a graph.

Works on batches and a model; does not depend on tasks, configs, checkpoints or where reports go.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer

from gelora.runs.training.data_order import GroupedByLength, batches_of_one_length
from gelora.runs.training.graphs import StepGraphs
from gelora.tasks import IGNORED


class StepTrainer(Trainer):
    """The Trainer with its own order of rows, and evaluations that leave the random states as they found them.

    A batch is all rows of an optimizer step; it is computed in parts of `part` rows, the last of which may be smaller, each
    weighed by its rows or, where the loss is a mean over tokens, by the tokens that count: the gradient is that of the
    step as one batch, for any size. Steps are replayed as CUDA graphs where `say` is given, which is called once they are.
    """

    def __init__(
        self,
        order: GroupedByLength,
        after_evaluation: Callable[[], None],
        say: Callable[[str], None] | None,
        part: int,
        means_over_tokens: bool,
        without_padding: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        # Losses are means, of a part's rows or counted tokens, and `training_step` weighs the parts; the Trainer would conclude
        # from a forward with **kwargs that it has to divide by the number of items itself.
        self.model_accepts_loss_kwargs = False
        self._part, self._means_over_tokens, self._without_padding = part, means_over_tokens, without_padding
        self._order = order
        self._after_evaluation = after_evaluation
        self._graphs = StepGraphs(self._trained, self._loss_of, say) if say is not None else None

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # they are not read, and counting the model's parameters at every step costs milliseconds

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        # The Trainer asks the model, which looks for gradients in every module; only what the optimizer has can have one.
        self.model.zero_grad = optimizer.zero_grad
        return optimizer

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _loss_of(self, inputs: dict[str, torch.Tensor], n_items: Any) -> torch.Tensor:
        with self.compute_loss_context_manager():
            loss: torch.Tensor = self.compute_loss(self.model, inputs, num_items_in_batch=n_items)
        return loss

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        if self._graphs is None:
            return self._in_parts(model, self._prepare_inputs(inputs))
        if not model.training:  # going through all modules takes as long as a small model's step
            model.train()
        inputs = self._prepare_inputs(inputs)
        step = super().training_step
        return self._graphs.step(inputs, num_items_in_batch, lambda: step(model, inputs, num_items_in_batch))

    def _in_parts(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        model.train()
        parts = _parts_of(inputs, self._part, self._without_padding)
        if len(parts) == 1:
            return super().training_step(model, parts[0])
        weights = [_n_counted(part["labels"]) if self._means_over_tokens else _n_rows(part) for part in parts]
        total = torch.zeros((), device=self.args.device)
        for part, weight in zip(parts, weights, strict=True):
            if weight:  # the mean over no tokens is not a number
                loss = self._loss_of(part, None) * (weight / sum(weights))
                self.accelerator.backward(loss)
                total += loss.detach()
        return total

    def _get_train_sampler(self, *_args: Any, **_kwargs: Any) -> GroupedByLength:
        return self._order

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        loader = super().get_eval_dataloader(*args, **kwargs)
        if not self._without_padding:
            return loader
        batches = batches_of_one_length([len(row["input_ids"]) for row in self.eval_dataset], self.args.per_device_eval_batch_size)
        return DataLoader(self.eval_dataset, batch_sampler=batches, collate_fn=self.data_collator)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with torch.random.fork_rng(devices=[]):  # each pass over a DataLoader draws a number from the CPU's generator
            metrics = super().evaluate(*args, **kwargs)
            self._after_evaluation()
            return metrics


def _parts_of(inputs: dict[str, torch.Tensor], most: int, without_padding: bool = False) -> list[dict[str, torch.Tensor]]:
    """A batch padded on the right, as batches of at most `most` rows, each padded to its own longest row only, or of one length."""
    if _n_rows(inputs) <= most and not without_padding:
        return [inputs]
    rows = torch.arange(_n_rows(inputs), device=inputs["input_ids"].device)
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


def _n_rows(batch: dict[str, torch.Tensor]) -> int:
    """Rows of a batch, by which the mean over them is weighed."""
    return len(batch["input_ids"])


def _n_counted(labels: torch.Tensor) -> int:
    """Tokens that a causal model's loss counts: the first of a row follows from nothing."""
    return int((labels[:, 1:] != IGNORED).sum())
