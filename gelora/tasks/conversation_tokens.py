"""The tokens of a conversation, and which of them are answers: tokenised whole, told apart by the characters they stand for.

Works on tokenizers and character places; does not depend on templates, models or rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gelora.tasks.next_token import end_of_text
from gelora.tasks.prompts import Conversation


def conversation_tokens(tokenizer: Any, conversations: Sequence[Conversation]) -> list[tuple[list[int], np.ndarray]]:
    """Of each conversation its token ids, those of `apply_chat_template(..., tokenize=True)`, and bool [n_tokens], True in answers.

    A token that begins before an answer and reaches into it is a part of the answer. A tokenizer without places of characters
    (a slow one) is asked for the tokens of the text up to each border; what they share with the tokens of the whole lies before it.
    """
    texts, special = [one.text for one in conversations], any(one.adds_special for one in conversations)
    encoded = tokenizer(texts, add_special_tokens=special, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    found = []
    for i, one in enumerate(conversations):
        ids = list(encoded["input_ids"][i])
        learned = np.zeros(len(ids), dtype=bool)
        if tokenizer.is_fast:
            starts, ends = np.array(encoded["offset_mapping"][i], dtype=np.int64).reshape(-1, 2).T
            for start, stop in one.answers:
                learned |= (ends > start) & (starts < stop)
        else:
            for start, stop in one.answers:
                first, last = (
                    _n_shared(ids, tokenizer(one.text[:border], add_special_tokens=special)["input_ids"]) for border in (start, stop)
                )
                learned[first:last] = True
        if special and len(ids) > 1 and ids[-1] == ids[-2] == end_of_text(tokenizer):
            ids, learned = ids[:-1], learned[:-1]  # a tokenizer that ends every text by itself
        found.append((ids, learned))
    return found


def prompt_tokens(tokenizer: Any, conversations: Sequence[Conversation]) -> list[list[int]]:
    """Token ids of each conversation's prompt, as a model gets it that is asked to answer."""
    special = any(one.adds_special for one in conversations)
    found = [list(ids) for ids in tokenizer([one.prompt for one in conversations], add_special_tokens=special, verbose=False)["input_ids"]]
    return [ids[:-1] if special and len(ids) > 1 and ids[-1] == end_of_text(tokenizer) else ids for ids in found]


def _n_shared(ids: Sequence[int], others: Sequence[int]) -> int:
    return next((n for n, (one, other) in enumerate(zip(ids, others, strict=False)) if one != other), min(len(ids), len(others)))
