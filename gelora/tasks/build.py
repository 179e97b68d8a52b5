"""From a run's spec to its task: data and model are loaded, and the kind's own file builds the task.

Says which kind is built where; does not depend on a kind's rows, heads or metrics.
"""

import dataclasses

from gelora.errors import ModelError
from gelora.records import WITHOUT_PADDING, Progress, RunSpec
from gelora.sources import Table, model_structure, rows_depend_on_padding
from gelora.tasks.task import Task

_N_LOOKED_AT = 64  # rows, one of which is run for the check of padding


def build_task(spec: RunSpec, progress: Progress | None = None) -> Task:
    """Read the rows, split off or read the held-out ones, load the model with the task's head.

    Call it in a process of its own: it seeds the global random generators, from which the head and then an adapter are
    drawn. The same spec gives the same rows, order and head.

    Args:
        spec: of the run; its method and plan are not looked at.
        progress: told how far reading is.

    Raises:
        InputError: a column, file, length or stride is not legal.
        DataError: the data cannot carry the task (labels of another kind, one class, too few or empty rows, lost answers).
        ModelError: the model has no form for the task, or lacks weights of its own.
        HubError: model or data are on the hub and out of reach.
    """
    from transformers import set_seed

    from gelora.tasks.causal_lm import build_causal_lm
    from gelora.tasks.instruction import build_instruction
    from gelora.tasks.material import gather
    from gelora.tasks.question_answering import build_question_answering
    from gelora.tasks.sequences import build_sequences

    builders = {
        "classification": build_sequences,
        "regression": build_sequences,
        "question-answering": build_question_answering,
        "causal-lm": build_causal_lm,
        "instruction": build_instruction,
    }
    material = gather(spec, progress)
    set_seed(spec.seed)
    task = _checked_for_padding(builders[material.kind](material), spec.model)
    return dataclasses.replace(task, as_read=(*_as_read(material.table), *_as_read(material.held_out)))


def _as_read(table: Table | None) -> tuple[str, ...]:
    """How the rows were read, in sentences that name their file."""
    return () if table is None else tuple(f"{table.choice.dataset}: {said}" for said in table.report.sentences())


def _checked_for_padding(task: Task, model_id: str) -> Task:
    """The task, to be run without padding where the model's states depend on it."""
    tokenizer = task.tokenizer
    padding = {"pad_token_id": tokenizer.pad_token_id or 0, "pad_token_type_id": tokenizer.pad_token_type_id}
    try:
        without = rows_depend_on_padding(task.model, task.train[:_N_LOOKED_AT], model_structure(model_id).hidden_size, **padding)
    except ModelError as error:
        return dataclasses.replace(task, notes=(*task.notes, f"whether states depend on padding was not checked: {error}"))
    return dataclasses.replace(task, without_padding=True, notes=(*task.notes, WITHOUT_PADDING)) if without else task
