"""Exact match and F1 of answers, by the rules of SQuAD's own evaluation.

Rajpurkar et al. 2016 (v1.1), Rajpurkar et al. 2018 (v2.0): lower case, no punctuation, no articles, single spaces; the best
over the answers that people gave. Does not depend on anything but texts.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and the words a, an, the, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_and_f1(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1 of words), each the best over the answers, from 0 to 1; no answer at all means that none is right.

    Where one side is empty after normalization, both count 1 if the other is empty too, else 0.
    """
    given = normalized_answer(prediction)
    truths = [truth for truth in map(normalized_answer, answers) if truth] or [""]
    return max(float(given == truth) for truth in truths), max(_f1(given.split(), truth.split()) for truth in truths)


def answer_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Means over questions, from 0 to 1: `exact`, `f1`, and where some questions have no answer, both kinds apart.

    Args:
        predictions: one a question, "" for no answer.
        answers: those that count as right, none for an unanswerable question.

    Returns:
        `exact`, `f1`; with unanswerable questions also `HasAns_exact`, `HasAns_f1`, `NoAns_exact`, `NoAns_f1`, the names of
        SQuAD v2.0's evaluation (which multiplies by 100); a kind that no question has is left out.
    """
    found = [exact_and_f1(given, truths) for given, truths in zip(predictions, answers, strict=True)]
    scores = _means(found, "")
    answerable = [any(truths) for truths in answers]
    if not all(answerable):
        for name, wanted in (("HasAns_", True), ("NoAns_", False)):
            scores |= _means([pair for pair, is_answerable in zip(found, answerable, strict=True) if is_answerable == wanted], name)
    return scores


def _means(found: list[tuple[float, float]], prefix: str) -> dict[str, float]:
    if not found:
        return {}
    exact, f1 = zip(*found, strict=True)
    return {f"{prefix}exact": sum(exact) / len(found), f"{prefix}f1": sum(f1) / len(found)}


def _f1(given: list[str], truth: list[str]) -> float:
    if not given or not truth:
        return float(given == truth)
    common = (Counter(given) & Counter(truth)).total()
    return 2 * common / (len(given) + len(truth))
