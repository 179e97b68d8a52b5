"""Instruction tuning: the model learns the answers and where they end, not the prompts. Of a chat it learns every answer.

Says of instructions and chats which tokens count; does not depend on adapters or loops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.sources import Table, has_text, is_missing
from gelora.tasks.conversation_tokens import conversation_tokens, prompt_tokens
from gelora.tasks.encoding import IGNORED, sentence_of_counts
from gelora.tasks.language_task import language_task, load_language_model
from gelora.tasks.material import Material
from gelora.tasks.next_token import Prompt
from gelora.tasks.prompts import Conversation, Message, RefusedConversation, conversation, question, without_system
from gelora.tasks.splitting import choose_rows, shown_rows
from gelora.tasks.task import Row, Task

_NEW = 48
_N_SHOWN = 4
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Instruction:
    """given: what the instruction is about, "" for nothing; chat: all messages where the row is a chat, whose first exchange this is."""

    instruction: str
    given: str
    answer: str
    chat: tuple[Message, ...] = ()

    def messages(self, tokenizer: Any) -> Sequence[Message]:
        """What the chat template is given."""
        asked = {"role": "user", "content": question(tokenizer, self.instruction, self.given)}
        return self.chat or (asked, {"role": "assistant", "content": self.answer})

    def texts(self) -> list[str]:
        """All that is read of the row."""
        return [message["content"] for message in self.chat] or [self.instruction, self.given, self.answer]


@dataclass(frozen=True)
class _Side:
    rows: list[Row]
    prompts: list[Prompt]


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
    sides = []
    for part, what in zip(chosen, ("training", "held-out"), strict=True):
        sides.append(_encoded(part, what, material.tokenizer, length, notes))
        if not sides[-1].rows:
            raise DataError(
                f"No {what} prompt of {material.data.dataset} leaves room for an answer within {length} tokens; raise max_length."
            )
    fitting = [prompt for prompt in sides[1].prompts if len(prompt.ids) + _NEW <= length]
    prompts = [fitting[i] for i in shown_rows(len(fitting), _N_SHOWN)] or [min(sides[1].prompts, key=lambda prompt: len(prompt.ids))]
    n_new = min(_NEW, length - max(len(prompt.ids) for prompt in prompts))
    texts = (text for part in chosen for one in part for text in one.texts())
    return language_task(material, headed, sides[0].rows, sides[1].rows, prompts, n_new, texts, notes)


def instructions_of(table: Table) -> tuple[list[Instruction], int]:
    """The rows that have instruction and answer, and how many have not.

    Raises:
        DataError: no row has both.
    """
    choice, columns = table.choice, table.columns
    given = columns[choice.pair_column] if choice.pair_column else [""] * table.n_rows
    chats = table.chats.get((str(choice.text_column), str(choice.label_column)), [()] * table.n_rows)
    found = [
        Instruction(instruction.strip(), about.strip() if isinstance(about, str) else "", answer.strip(), chat)
        for instruction, about, answer, chat in zip(
            columns[str(choice.text_column)], given, columns[str(choice.label_column)], chats, strict=True
        )
        if has_text(instruction) and has_text(answer) and (isinstance(about, str) or is_missing(about))
    ]
    if not found:
        raise DataError(
            f"No row of {choice.dataset} has text both in {choice.text_column!r} (the instruction) and in {choice.label_column!r} "
            "(the answer); choose other columns."
        )
    return found, table.n_rows - len(found)


def _encoded(part: list[Instruction], what: str, tokenizer: Any, length: int, notes: list[str]) -> _Side:
    """The rows that hold a token of an answer, and their prompts; the notes say how many rows lost answers, and why."""
    kept, conversations = _conversations(part, what, tokenizer, notes)
    tokens = conversation_tokens(tokenizer, conversations)
    rows, shown, n_without, n_cut = [], [], 0, 0
    for one, (ids, learned), prompt in zip(kept, tokens, prompt_tokens(tokenizer, conversations), strict=True):
        labels = np.where(learned, ids, IGNORED)[:length].tolist()
        if not learned[:length].any():
            n_without += 1
            continue
        n_cut += bool(learned[length:].any())
        rows.append({"input_ids": ids[:length], "attention_mask": [1] * len(labels), "labels": labels})
        given = "\n".join(text for text in (one.instruction, one.given) if text)
        shown.append(Prompt(prompt, given[:_SHOWN_CHARACTERS], one.answer[:_SHOWN_CHARACTERS]))
    if n_without or n_cut:
        notes.append(
            f"{length} tokens cut off the whole answer of {n_without:,} of {len(part):,} {what} rows, which are left out, and a part of "
            f"the answers of {n_cut:,}; a higher max_length keeps them"
        )
    return _Side(rows, shown)


def _conversations(part: list[Instruction], what: str, tokenizer: Any, notes: list[str]) -> tuple[list[Instruction], list[Conversation]]:
    """The rows that the chat template takes, as conversations; a row alone may be refused (a chat that the assistant begins), not all."""
    kept, found, refusal, n_folded = [], [], None, 0
    for one in part:
        messages = one.messages(tokenizer)
        try:
            try:
                made = conversation(tokenizer, messages)
            except RefusedConversation:
                if len(messages) < 3 or messages[0]["role"] != "system":
                    raise
                made = conversation(tokenizer, without_system(messages))
                n_folded += 1
        except RefusedConversation as error:
            refusal = error
            continue
        kept.append(one)
        found.append(made)
    if refusal is not None and not kept:
        raise refusal
    if n_folded:
        notes.append(f"the chat template takes no system message; {n_folded:,} {what} rows have it before the first message of the user")
    if refusal is not None:
        left_out = sentence_of_counts(len(part) - len(kept), "chat was", "chats were")
        notes.append(f"{left_out} left out of the {what} rows, since: {refusal}")
    if found[0].end_added:
        notes.append("the chat template marks no end of an answer; the end-of-text token stands after the last one of each row")
    return kept, found
