"""The task and column roles proposed for a dataset from its columns; a person can change them.

By names and values of columns; does not depend on models or training.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from gelora.errors import DataError
from gelora.records import TASK_KINDS, DataChoice, Progress, check_choice
from gelora.sources import Table, is_missing, labelled_rows, mean_length, read_table, text_columns

_QUESTIONS = ("question", "query")
_CONTEXTS = ("context", "passage", "paragraph", "document", "article")
_ANSWERS = ("answers", "answer")
_INSTRUCTIONS = ("instruction", "prompt", "question", "query", "user")
_INPUTS = ("input",)
_OUTPUTS = ("output", "response", "completion", "answer", "assistant")
_LOOKED_AT = 200

_NEEDS = {
    "question-answering": "a column of questions, one of contexts, and one of answers ({text, answer_start}, as SQuAD has it)",
    "instruction": "a column of instructions and one of outputs",
    "classification": "a column of texts and a label column with few different values",
    "regression": "a column of texts and a label column with numbers",
    "causal-lm": "a column of texts",
}

Found = tuple[tuple[str, str | None, str | None], str]
"""Columns of text, pair and label, and a sentence that says why."""


@dataclass(frozen=True)
class Proposal:
    """What a dataset's columns look made for.

    kind: one of `gelora.records.TASK_KINDS`; text_column, pair_column, label_column: as in `DataChoice`, None where there
    is none; reasons: sentences that say why; alternatives: other kinds that the columns allow.
    """

    kind: str
    text_column: str
    pair_column: str | None
    label_column: str | None
    reasons: tuple[str, ...]
    alternatives: tuple[str, ...]

    def applied_to(self, choice: DataChoice) -> DataChoice:
        """The choice with these columns in it, so that nothing is left to detection."""
        return dataclasses.replace(
            choice, text_column=self.text_column, pair_column=self.pair_column or "", label_column=self.label_column or ""
        )


def propose(choice: DataChoice, kind: str | None = None, progress: Progress | None = None) -> Proposal:
    """Task and columns of a dataset: columns that the choice names are kept, the others are found by name and content.

    Args:
        choice: the data.
        kind: None to have it proposed, or the kind whose columns are wanted.
        progress: told how far reading is.

    Raises:
        InputError, DataError, HubError: the data cannot be read, or has not the columns that the kind needs.
    """
    return propose_for(read_table(choice, progress), choice, kind)


def propose_for(table: Table, choice: DataChoice, kind: str | None = None) -> Proposal:
    """`propose` of a table that is already read."""
    if kind is not None:
        check_choice("task", kind, TASK_KINDS)
    wanted = TASK_KINDS if kind is None else (kind,)
    found: dict[str, Found] = {}
    if "question-answering" in wanted:
        found |= _question_answering(table, choice)
    if "instruction" in wanted:
        found |= _instruction(table, choice, is_asked=kind is not None)
    if not found and ("classification" in wanted or "regression" in wanted):
        found |= _labelled(table, kind)
    if "causal-lm" in wanted:
        found |= _texts(table, choice)
    if kind is not None and kind not in found:
        raise DataError(
            f"{choice.dataset} has not the columns for {kind}: it needs {_NEEDS[kind]}; there are: {', '.join(table.columns)}. "
            "Choose the columns, or another task."
        )
    chosen = kind or next(iter(found))
    (text, pair, label), reason = found[chosen]
    return Proposal(chosen, text, pair, label, (reason,), tuple(name for name in found if name != chosen))


def _question_answering(table: Table, choice: DataChoice) -> dict[str, Found]:
    question = choice.text_column or _by_name(table, _QUESTIONS)
    context = choice.pair_column or _by_name(table, _CONTEXTS)
    answers = choice.label_column or _by_name(table, _ANSWERS)
    if not (question and context and answers) or len({question, context, answers}) < 3:
        return {}
    values = [value for value in table.columns[answers][:_LOOKED_AT] if value is not None]
    roles = (question, context, answers)
    if values and all(isinstance(value, dict | list) for value in values):
        return {"question-answering": (roles, f"The column {answers!r} holds answers with their place in {context!r}.")}
    pairs = list(zip(table.columns[answers], table.columns[context], strict=True))[:_LOOKED_AT]
    texts = [(answer, where) for answer, where in pairs if isinstance(answer, str) and answer and isinstance(where, str)]
    if texts and sum(answer in where for answer, where in texts) > len(texts) / 2:
        return {"question-answering": (roles, f"The texts of {answers!r} stand in those of {context!r}.")}
    return {}


def _instruction(table: Table, choice: DataChoice, is_asked: bool) -> dict[str, Found]:
    output = choice.label_column or _by_name(table, _OUTPUTS)
    text = choice.text_column or next((name for one in _INSTRUCTIONS if (name := _by_name(table, (one,))) and name != output), None)
    if not output or not text or output == text or not _are_texts(table.columns[output]) or not _are_texts(table.columns[text]):
        return {}
    if choice.label_column and not is_asked and _are_classes(table.columns[output]):
        return {}
    pair = choice.pair_column if choice.pair_column is not None else _by_name(table, _INPUTS)
    if pair in ("", text, output):
        pair = None
    return {"instruction": ((text, pair, output), f"The column {output!r} holds texts that answer {text!r}.")}


def _labelled(table: Table, kind: str | None) -> dict[str, Found]:
    """Classification and regression, the likelier first."""
    settled = table.choice
    rows = labelled_rows(table, kind)
    label = settled.label_column
    if rows.labels is None or not label:
        return {}
    roles = (str(settled.text_column), settled.pair_column or None, label)
    if kind is not None:  # asked for; whether the labels fit is said where they are read
        return {kind: (roles, f"The column {label!r} was taken for the label.")}
    found: dict[str, Found] = {rows.task: (roles, rows.labels.sentence())}
    if rows.task == "classification" and (rows.labels.numbers is not None and not rows.labels.class_names):
        found["regression"] = (roles, f"The column {label!r} holds numbers, which can be taken for a quantity.")
    return found


def _texts(table: Table, choice: DataChoice) -> dict[str, Found]:
    text = str(table.choice.text_column)
    lengths = {name: mean_length(table.columns[name][:_LOOKED_AT]) for name in text_columns(table.columns)}
    if choice.text_column is None and text.lower() not in ("text", "content") and lengths:
        text = max(lengths, key=lambda name: lengths[name])
    return {"causal-lm": ((text, None, None), f"The column {text!r} holds texts.")}


def _by_name(table: Table, names: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in table.columns}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _are_texts(values: list[Any]) -> bool:
    first = [value for value in values[:_LOOKED_AT] if value is not None]
    return bool(first) and all(isinstance(value, str) for value in first)


def _are_classes(values: list[str]) -> bool:
    """Few different words, as the sources have it."""
    present = [value for value in values if not is_missing(value)]
    return len(set(present)) <= min(50, max(2, len(present) // 2))
