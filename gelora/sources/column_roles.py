"""Which column is the text, which the second text, which the label: found by rule from names and values.

A pair is two columns of texts whose names differ in a paired mark alone (sentence1 and sentence2, text_a and text_b, left_title
and right_title, text and text_pair), or a name of a query with a name of a passage (question and sentence, query and document,
premise and hypothesis, anchor and positive). Does not depend on files, models or what labels mean.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gelora.sources.cell_values import are_texts, is_missing

_TEXT_NAMES = (
    *("text", "sentence", "premise", "anchor", "question", "content", "document", "review", "body", "comment", "tweet", "message"),
    *("query", "claim", "instruction", "prompt", "user", "article", "passage", "paragraph", "context", "description", "title"),
)
_LABEL_NAMES = (
    *("label", "labels", "gold_label", "score", "target", "class", "category", "sentiment", "stars", "rating", "similarity_score"),
)
_ANSWERS = frozenset(["answer", "answers", "output", "response", "completion", "assistant", "chosen", "rejected"])
_NEVER = frozenset(["id", "idx", "ids", "index", "guid", "uid", "uuid", "url", "uri", "source", "system", "filename", "file", "path"])
_FILLERS = frozenset(["text", "string", "str", "content", "body"])
_FAMILIES = (  # a text of the first with a text of the second, the likelier second first
    (
        ("question", "query", "claim"),
        ("context", "passage", "paragraph", "document", "doc", "sentence", "positive", "pos", "evidence", "article", "text"),
    ),
    (("premise",), ("hypothesis",)),
    (("anchor",), ("positive", "pos")),
)
_MARKS = (("1", "2"), ("a", "b"), ("left", "right"), ("first", "second"), ("one", "two"), ("0", "1"))
_SECONDS = frozenset(["pair", "2", "b"])


@dataclass(frozen=True)
class Roles:
    """text, pair, label: columns, None where none was found; reasons: a sentence for each that was found."""

    text: str | None
    pair: str | None
    label: str | None
    reasons: tuple[str, ...]


def find_roles(columns: Mapping[str, list[Any]], text: str | None, pair: str | None, label: str | None) -> Roles:
    """The roles of columns: those that are given are kept ("" is none), those that are None are found."""
    texts = [name for name in text_columns(columns) if name != label]
    reasons = []
    if text is None:
        text, partner, reason = _found_text(columns, texts, pair is None)
        if text:
            reasons.append(reason)
        pair = partner if pair is None else pair
    elif pair is None:
        partners = [(rank, other) for other in texts if other != text and (rank := _pair_rank(text, other)) is not None]
        pair = min(partners)[1] if partners else None
        if pair:
            reasons.append(_pair_sentence(text, pair))
    if label is None:
        by_name = {name.strip().lower(): name for name in columns}
        found = (by_name.get(name) for name in _LABEL_NAMES)
        label = next((name for name in found if name and name not in (text, pair) and _has_values(columns[name])), None)
        if label:
            reasons.append(f"{label!r} is the label by its name.")
    if text and pair:
        negatives = [name for name in texts if {"negative", "neg"} & set(_tokens(name))]
        reasons += [f"{', '.join(map(repr, negatives))} is no part of the pair."] if negatives else []
    return Roles(text, pair, label, tuple(reasons))


def text_columns(columns: Mapping[str, list[Any]]) -> list[str]:
    """Columns that may be a text: strings that are not all numbers, by their name no identifier, source, system prompt or label."""
    return [name for name, values in columns.items() if _may_be_text(name) and are_texts(values)]


def is_known_name(name: str) -> bool:
    """Whether a name is one that columns of texts and labels usually have."""
    lower, tokens = name.lower(), _tokens(name)
    if lower in _LABEL_NAMES or lower in _ANSWERS or lower in _NEVER or lower in ("hypothesis", "positive", "negative", "input"):
        return True
    words = [token for token in tokens if token not in _SIGNS]
    return bool(words) and all(token in _TEXT_NAMES or token in _FILLERS for token in words)


_SIGNS = frozenset(mark for marks in _MARKS for mark in marks) | _SECONDS


def _found_text(columns: Mapping[str, list[Any]], texts: list[str], with_pair: bool) -> tuple[str | None, str | None, str]:
    if with_pair:
        couples = [(rank, a, b) for a in texts for b in texts if a != b and (rank := _pair_rank(a, b)) is not None]
        if couples:
            _, a, b = min(couples, key=lambda couple: couple[0])
            return a, b, _pair_sentence(a, b)
    known = sorted((place, i) for i, name in enumerate(texts) if (place := _text_rank(name)) is not None)
    if known:
        chosen = texts[known[0][1]]
        return chosen, None, f"{chosen!r} is the text by its name."
    others = [name for name in texts if not set(_tokens(name)) & _ANSWERS] or texts
    if not others:
        return None, None, ""
    chosen = max(others, key=lambda name: mean_length(columns[name]))
    return chosen, None, f"{chosen!r} is the text: of the columns that hold texts it has the longest."


def _pair_sentence(a: str, b: str) -> str:
    return f"{a!r} and {b!r} are the two texts of a pair by their names."


def _pair_rank(a: str, b: str) -> tuple[int, ...] | None:
    """How likely b is the second text of a, the smaller the likelier; None where the names say nothing."""
    first, second = _tokens(a), _tokens(b)
    for number, (asking, answering) in enumerate(_FAMILIES):
        one, other = _member(first, asking), _member(second, answering)
        if one is not None and other is not None:
            return (1, number, one, other)
    rank = _stem_rank(first, second)
    return None if rank is None else (0, *rank)


def _stem_rank(first: list[str], second: list[str]) -> tuple[int, ...] | None:
    """Names that differ in a paired mark alone, or the second in an added one; a stem that no text usually has counts for nothing."""
    different = [(x, y) for x, y in zip(first, second, strict=False) if x != y]
    if len(first) == len(second) and len(different) == 1 and different[0] in _MARKS:
        stem = [token for token in first if token != different[0][0]]
        place = _MARKS.index(different[0])
    elif len(second) == len(first) + 1 and second[:-1] == first and second[-1] in _SECONDS:
        stem, place = first, len(_MARKS)
    else:
        return None
    known = [_TEXT_NAMES.index(token) for token in stem if token in _TEXT_NAMES]
    is_stem = bool(known) and all(token in _TEXT_NAMES or token in _FILLERS for token in stem)
    short = stem in (["s"], ["sent"], ["seq"], ["string"], ["str"], ["q"], ["phrase"], ["utterance"])
    return (known[0] if is_stem else len(_TEXT_NAMES), place) if is_stem or short else None


def _member(tokens: list[str], family: tuple[str, ...]) -> int | None:
    """The place in the family of the one token that is not a filler (question, query_text)."""
    own = [token for token in tokens if token not in _FILLERS] or tokens
    return family.index(own[0]) if len(own) == 1 and own[0] in family else None


def _text_rank(name: str) -> int | None:
    tokens = _tokens(name)
    own = [token for token in tokens if token not in _SIGNS] or tokens
    return _TEXT_NAMES.index(own[0]) if len(own) == 1 and own[0] in _TEXT_NAMES else None


def _tokens(name: str) -> list[str]:
    """A name's words in lower case, numbers apart: sentence1, sentence_A, #1 String, questionTwo."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower())


def _may_be_text(name: str) -> bool:
    tokens = set(_tokens(name))
    return not tokens & _NEVER and name.strip().lower() not in _LABEL_NAMES and not tokens & {"label", "labels"}


def _has_values(values: list[Any]) -> bool:
    """Whether there is any label: test sets are often published with an empty column."""
    return any(not is_missing(value) for value in values)


def mean_length(values: list[Any]) -> float:
    """Characters of the texts among the first 1000 cells, on average; 0 where there is none."""
    first = [len(value) for value in values[:1000] if isinstance(value, str)]
    return sum(first) / max(1, len(first))
