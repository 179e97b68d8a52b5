"""A question and its context as windows of tokens: a long context becomes several, which share `doc_stride` tokens.

Maps characters to tokens; does not depend on training, scores or which rows are held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import InputError, ModelError
from gelora.tasks.encoding import input_names
from gelora.tasks.questions import Question
from gelora.tasks.task import Row

_LEAST_QUESTION = 16


@dataclass(frozen=True)
class Windows:
    """Windows in the order of their questions.

    rows: with `start_positions` and `end_positions`, tokens of the first answer, or the null position where the window has
    none. question_of: [n_windows] index of the question. offsets: one a window, int32 [n_tokens, 2], first and past the last
    character in the context, (0, 0) outside of it. null_at: [n_windows] position that stands for "no answer here".
    holds_answer: [n_windows]. n_cut_questions: questions that were too long.
    """

    rows: list[Row]
    question_of: np.ndarray
    offsets: list[np.ndarray]
    null_at: np.ndarray
    holds_answer: np.ndarray
    n_cut_questions: int


def cut_into_windows(questions: Sequence[Question], tokenizer: Any, model: Any, max_length: int, doc_stride: int) -> Windows:
    """Windows of at most `max_length` tokens.

    The position for "no answer" is that of the classifier token; a model that reads from left to right has seen nothing
    there, so for a tokenizer without one it is an end-of-text token at the end of the window.

    Raises:
        InputError: the stride leaves no room in a window.
        ModelError: the tokenizer cannot say where in the text a token stands.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("This model's tokenizer cannot say which characters a token covers; choose a model with a tokenizer.json.")
    marker = None if tokenizer.cls_token_id is not None else tokenizer.eos_token_id
    length = max_length - (marker is not None)
    room = length - tokenizer.num_special_tokens_to_add(pair=True)
    advance = max(1, room // 8)
    for_question = room - doc_stride - advance
    if for_question < min(_LEAST_QUESTION, room // 2):
        most = room - advance - min(_LEAST_QUESTION, room // 2)
        raise InputError(
            f"doc_stride is {doc_stride}, and windows of {max_length} tokens can share at most {max(0, most)}, since question and new text "
            "need room too; lower doc_stride or raise max_length (384 and 128 are usual)."
        )
    texts, n_cut = _cut_questions([question.question for question in questions], tokenizer, for_question)
    encoded = tokenizer(
        texts,
        [question.context for question in questions],
        truncation="only_second",
        max_length=length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    names = input_names(model, encoded)
    rows, offsets, nulls, holds = [], [], [], []
    question_of = np.array(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    for i, number in enumerate(question_of.tolist()):
        row = {name: encoded[name][i] for name in names}
        of_context = np.array([part == 1 for part in encoded.sequence_ids(i)], dtype=bool)
        places = np.array(encoded["offset_mapping"][i], dtype=np.int32).reshape(-1, 2) * of_context[:, None]
        if marker is not None:
            row = {name: [*row[name], {"input_ids": marker, "attention_mask": 1}.get(name, row[name][-1])] for name in names}
            places = np.vstack([places, np.zeros((1, 2), dtype=np.int32)])
        ids = row["input_ids"]
        null_at = len(ids) - 1 if marker is not None else ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0
        span = _tokens_of(questions[number].spans[:1], places)
        first, last = span or (null_at, null_at)
        rows.append(row | {"start_positions": first, "end_positions": last})
        offsets.append(places)
        nulls.append(null_at)
        holds.append(span is not None)
    return Windows(rows, question_of, offsets, np.array(nulls, dtype=np.int64), np.array(holds, dtype=bool), n_cut)


def _cut_questions(texts: list[str], tokenizer: Any, most: int) -> tuple[list[str], int]:
    """Questions of at most so many tokens, a line break after each where the tokenizer puts nothing between two texts."""
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    is_parted = None in tokenizer("a", "b").sequence_ids(0)[1:-1]
    end = "" if is_parted else "\n"
    cut, n_cut = [], 0
    for text, places in zip(texts, encoded["offset_mapping"], strict=True):
        if len(places) + 2 * len(end) > most:
            text, n_cut = text[: places[max(0, most - 1 - 2 * len(end))][1]], n_cut + 1
        cut.append(text + end)
    return cut, n_cut


def _tokens_of(spans: Sequence[tuple[int, int]], places: np.ndarray) -> tuple[int, int] | None:
    """First and last token of a span of characters, None unless the window has all of it."""
    inside = np.flatnonzero(places[:, 1] > places[:, 0])
    if not spans or not len(inside):
        return None
    (first, past), starts, ends = spans[0], places[inside, 0], places[inside, 1]
    if starts[0] > first or ends[-1] < past:
        return None
    begin = np.searchsorted(ends, first, side="right")  # the first token that reaches beyond the first character
    end = np.searchsorted(starts, past, side="left") - 1  # the last that begins before the end
    return int(inside[begin]), int(inside[max(begin, end)])
