"""Instruction tuning: the model learns the answer and where it ends, not the prompt.

Knows prompts, answers and which tokens count; knows nothing of adapters or loops.
"""

from dataclasses import dataclass
from typing import Any

from gelora.errors import DataError
from gelora.sources import Table, has_text, is_missing
from gelora.tasks.encoding import IGNORED, sentence_of_counts
from gelora.tasks.language_task import language_task, load_language_model
from gelora.tasks.material import Material
from gelora.tasks.next_token import Prompt, end_of_text
from gelora.tasks.prompts import prompt_and_answer
from gelora.tasks.splitting import choose_rows, shown_rows
from gelora.tasks.task import Row, Task

_NEW = 48
_N_SHOWN = 4
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Instruction:
    """given: what the instruction is about, "" for nothing."""

    instruction: str
    given: str
    answer: str


@dataclass(frozen=True)
class _Side:
    rows: list[Row]
    prompts: list[Prompt]
    n_without_answer: int
    n_cut: int


def build_instruction(material: Material) -> Task:
    """The task of a dataset of instructions and answers; rows with the same instruction and input stay on one side.

    Raises:
        DataError: no row has both, or `max_length` leaves no room for any answer.
        ModelError: the model is no causal language model, or its chat template cannot be used.
    """
    notes: list[str] = []
    found, n_left_out = instructions_of(material.table)
    own, own_left_out = instructions_of(material.held_out) if material.held_out is not None else (None, 0)
    other = ([(one.instruction + "\n" + one.given,) for one in own], None) if own is not None else None
    keys = [(one.instruction + "\n" + one.given,) for one in found]
    train_ids, held_ids, said = choose_rows(material.spec, keys, None, other)
    notes += said
    if n_left_out + own_left_out:
        left_out = sentence_of_counts(
            n_left_out + own_left_out, "row without instruction or answer was", "rows without instruction or answer were"
        )
        notes.append(f"{left_out} left out")
    chosen = [[found[i] for i in train_ids], [(found if own is None else own)[i] for i in held_ids]]
    headed = load_language_model(material, notes)
    length = material.length_for(headed.model, notes)
    material.progress("Reading the texts as tokens", 0, 1)
    sides = [_encoded(part, material.tokenizer, length) for part in chosen]
    for side, part, what in zip(sides, chosen, ("training", "held-out"), strict=True):
        if not side.rows:
            raise DataError(
                f"No {what} prompt of {material.data.dataset} leaves room for an answer within {length} tokens; raise max_length."
            )
        if side.n_without_answer:
            lost = sentence_of_counts(side.n_without_answer, "prompt fills", "prompts fill")
            notes.append(f"{lost} {length} tokens with no room for the answer and left out of the {what} rows")
        if side.n_cut:
            notes.append(f"{side.n_cut:,} of {len(part):,} {what} answers go beyond {length} tokens and were cut")
    fitting = [prompt for prompt in sides[1].prompts if len(prompt.ids) + _NEW <= length]
    prompts = [fitting[i] for i in shown_rows(len(fitting), _N_SHOWN)] or [min(sides[1].prompts, key=lambda prompt: len(prompt.ids))]
    n_new = min(_NEW, length - max(len(prompt.ids) for prompt in prompts))
    texts = (text for part in chosen for one in part for text in (one.instruction, one.given, one.answer))
    return language_task(material, headed, sides[0].rows, sides[1].rows, prompts, n_new, texts, notes)


def instructions_of(table: Table) -> tuple[list[Instruction], int]:
    """The rows that have instruction and answer, and how many have not.

    Raises:
        DataError: no row has both.
    """
    choice, columns = table.choice, table.columns
    given = columns[choice.pair_column] if choice.pair_column else [""] * table.n_rows
    found = [
        Instruction(instruction.strip(), about.strip() if isinstance(about, str) else "", answer.strip())
        for instruction, about, answer in zip(columns[str(choice.text_column)], given, columns[str(choice.label_column)], strict=True)
        if has_text(instruction) and has_text(answer) and (isinstance(about, str) or is_missing(about))
    ]
    if not found:
        raise DataError(
            f"No row of {choice.dataset} has text both in {choice.text_column!r} (the instruction) and in {choice.label_column!r} "
            "(the answer); choose other columns."
        )
    return found, table.n_rows - len(found)


def _encoded(part: list[Instruction], tokenizer: Any, length: int) -> _Side:
    texts = [prompt_and_answer(tokenizer, one.instruction, one.given, one.answer) for one in part]
    with_special = not any(has_special for _, _, has_special in texts)
    prompts = tokenizer([prompt for prompt, _, _ in texts], add_special_tokens=with_special, verbose=False)["input_ids"]
    answers = tokenizer([answer for _, answer, _ in texts], add_special_tokens=False, verbose=False)["input_ids"]
    end = end_of_text(tokenizer)
    rows, shown, n_without, n_cut = [], [], 0, 0
    for one, before, after in zip(part, prompts, answers, strict=True):
        if with_special and end is not None and before[-1] == end:
            before = before[:-1]  # a tokenizer that ends every text by itself
        if end is not None and end not in after:
            after = [*after, end]
        if len(before) >= length:
            n_without += 1
            continue
        ids = (before + after)[:length]
        n_cut += len(before) + len(after) > length
        labels = [IGNORED] * len(before) + ids[len(before) :]
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
        given = "\n".join(text for text in (one.instruction, one.given) if text)
        shown.append(Prompt(before, given[:_SHOWN_CHARACTERS], one.answer[:_SHOWN_CHARACTERS]))
    return _Side(rows, shown, n_without, n_cut)
