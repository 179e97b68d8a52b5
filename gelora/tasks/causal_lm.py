"""Causal language modelling: documents concatenated, an end-of-text token after each, cut into blocks of one length.

Makes blocks of documents; does not depend on prompts and answers, adapters or loops.
"""

from collections.abc import Sequence
from typing import Any

from gelora.errors import DataError
from gelora.sources import Table, labelled_rows
from gelora.tasks.encoding import encode, sentence_of_counts
from gelora.tasks.language_task import language_task, load_language_model
from gelora.tasks.material import Material
from gelora.tasks.next_token import Prompt, end_of_text
from gelora.tasks.splitting import choose_rows, shown_rows
from gelora.tasks.task import Row, Task

_GIVEN, _NEW = 32, 32
_N_SHOWN = 4


def build_causal_lm(material: Material) -> Task:
    """The task of a dataset of texts; the number of rows asked for counts texts, the rows made of them are blocks.

    Raises:
        DataError: too few texts, or no tokens in them.
        ModelError: the model is no causal language model.
    """
    notes: list[str] = []
    texts, n_left_out = _texts(material.table)
    own, own_left_out = _texts(material.held_out) if material.held_out is not None else (None, 0)
    other = ([(text,) for text in own], None) if own is not None else None
    train_ids, held_ids, said = choose_rows(material.spec, [(text,) for text in texts], None, other)
    notes += said
    chosen = [[texts[i] for i in train_ids], [(texts if own is None else own)[i] for i in held_ids]]
    headed = load_language_model(material, notes)
    length = material.length_for(headed.model, notes)
    material.progress("Reading the texts as tokens", 0, 1)
    end = end_of_text(material.tokenizer)
    documents = [_tokens(part, material.tokenizer, headed.model) for part in chosen]
    n_left_out += own_left_out + sum(not ids for part in documents for ids in part)
    if n_left_out:
        notes.append(f"{sentence_of_counts(n_left_out, 'row without text was', 'rows without text were')} left out")
    train, held_out = (pack([ids for ids in part if ids], length, end) for part in documents)
    if not train or not held_out:
        raise DataError(f"The texts of {material.data.dataset} have no tokens for {material.entry.model_id}; choose other data.")
    notes.append(
        f"{len(chosen[0]):,} texts became {len(train):,} blocks of {length} tokens, {len(chosen[1]):,} held-out ones {len(held_out):,}"
    )
    prompts = _prompts([ids for ids in documents[1] if len(ids) > 3], material.tokenizer, length)
    n_new = max(1, min(_NEW, length - max((len(prompt.ids) for prompt in prompts), default=0)))
    return language_task(material, headed, train, held_out, prompts, n_new, [*chosen[0], *chosen[1]], notes)


def pack(documents: Sequence[list[int]], length: int, end: int | None) -> list[Row]:
    """Documents one after another, each ended by `end` if it is not, as blocks of `length` tokens; the last may be shorter.

    A block is its own labels; a last block of one token, from which nothing follows, is left out.
    """
    stream: list[int] = []
    for ids in documents:
        stream += ids
        if end is not None and ids[-1] != end:
            stream.append(end)
    blocks = [stream[i : i + length] for i in range(0, len(stream), length)]
    return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": list(ids)} for ids in blocks if len(ids) > 1]


def _texts(table: Table) -> tuple[list[str], int]:
    rows = labelled_rows(table)
    return rows.texts, rows.n_left_out


def _tokens(texts: list[str], tokenizer: Any, model: Any) -> list[list[int]]:
    encoded = encode(tokenizer, model, texts, None, None)
    return [[] if i in encoded.empty else row["input_ids"] for i, row in enumerate(encoded.rows)]


def _prompts(documents: list[list[int]], tokenizer: Any, length: int) -> list[Prompt]:
    """The beginnings of a few held-out texts, and how they really go on."""
    prompts = []
    for place in shown_rows(len(documents), _N_SHOWN):
        ids = documents[place]
        n_given = max(1, min(len(ids) // 2, _GIVEN, length // 2))
        given, after = ids[:n_given], ids[n_given : n_given + _NEW]
        prompts.append(Prompt(given, tokenizer.decode(given, skip_special_tokens=True), tokenizer.decode(after, skip_special_tokens=True)))
    return prompts
