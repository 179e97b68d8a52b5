"""What every kind of task is built from: the run's spec, its tables with settled columns, model entry and tokenizer.

Finds a run's data and model; does not depend on what a kind makes of them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from gelora.errors import DataError
from gelora.records import DataChoice, Progress, RunSpec
from gelora.sources import ModelEntry, Table, find_model, load_tokenizer, longest_input, model_structure, read_table
from gelora.tasks.columns import propose_for
from gelora.tasks.presets import Preset, preset_of


@dataclass(frozen=True)
class Material:
    """kind: settled, never "auto"; table, held_out: with this kind's columns in their `choice`; preset: that fits, or None."""

    spec: RunSpec
    kind: str
    table: Table
    held_out: Table | None
    entry: ModelEntry
    tokenizer: Any
    preset: Preset | None
    progress: Progress

    @property
    def data(self) -> DataChoice:
        """The choice of the training data."""
        return self.table.choice

    def length_for(self, model: Any, notes: list[str]) -> int:
        """The longest row in tokens; says in `notes` when the model holds less than was asked for."""
        wanted = self.spec.training.max_length
        length = longest_input(wanted, self.tokenizer, model.config, model)
        if length < wanted:
            notes.append(f"rows are at most {length} tokens long, all that {self.entry.model_id} can hold, not {wanted} as asked for")
        return length


def gather(spec: RunSpec, progress: Progress | None) -> Material:
    """Read data, settle kind and columns, find the model.

    Raises:
        DataError, InputError, HubError, ModelError: whatever the sources say of data or model; columns that do not fit the task.
    """
    asked = spec.training.task
    table = read_table(spec.data, progress)
    proposal = propose_for(table, spec.data, None if asked == "auto" else asked)
    if asked == "auto" and proposal.kind == "causal-lm" and not model_structure(spec.model).is_decoder:
        raise DataError(
            f"{spec.data.dataset} has no labels, so there is nothing to learn for {spec.model}, which is no causal language model; "
            "choose its label column or other data, or a decoder to learn the texts themselves."
        )
    table = dataclasses.replace(table, choice=proposal.applied_to(table.choice))
    held_out = None
    if spec.held_out is not None:
        own, used = spec.held_out, table.choice
        columns = {name: getattr(used, name) if getattr(own, name) is None else getattr(own, name) for name in _COLUMNS}
        held_out = read_table(dataclasses.replace(own, **columns), progress)
    entry = find_model(spec.model)
    preset = preset_of(table.choice)
    fits = preset is not None and preset.kind == proposal.kind
    return Material(spec, proposal.kind, table, held_out, entry, load_tokenizer(entry), preset if fits else None, progress or _silent)


_COLUMNS = ("text_column", "pair_column", "label_column")


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody listens."""
