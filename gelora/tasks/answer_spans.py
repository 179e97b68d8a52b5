"""From start and end scores of all windows to one answer a question: the best span of any window, or none.

Takes scores, windows and contexts; does not depend on models or metrics. The rules are those of Devlin et al. 2019, section 4.3.
"""

from collections.abc import Sequence

import numpy as np

from gelora.tasks.answer_windows import Windows
from gelora.tasks.questions import Question


def best_answers(scores: np.ndarray, windows: Windows, questions: Sequence[Question], longest: int, may_be_none: bool) -> list[str]:
    """One answer a question, "" for none.

    All spans of at most `longest` tokens inside the context are looked at, none is left out by a beam. With
    `may_be_none` a question has no answer where the null score, the lowest of its windows, is above its best span.

    Args:
        scores: [n_windows, n_tokens or more, 2], start and end logits in the order of `windows.rows`.
        windows: of these questions.
        questions: in the order of `windows.question_of`.
        longest: tokens of an answer, at least 1.
        may_be_none: whether "no answer" is legal.
    """
    n_windows, width = scores.shape[:2]
    inside = np.zeros((n_windows, width), dtype=bool)
    for i, places in enumerate(windows.offsets):
        inside[i, : len(places)] = places[:, 1] > places[:, 0]
    start = np.where(inside, scores[..., 0], -np.inf)
    end = np.where(inside, scores[..., 1], -np.inf)
    best, first, last = np.full(n_windows, -np.inf), np.zeros(n_windows, dtype=np.int64), np.zeros(n_windows, dtype=np.int64)
    every = np.arange(n_windows)
    for gap in range(min(longest, width)):
        sums = start[:, : width - gap] + end[:, gap:]
        place = sums.argmax(axis=1)
        value = sums[every, place]
        better = value > best
        best[better], first[better], last[better] = value[better], place[better], place[better] + gap
    null = scores[every, windows.null_at].sum(axis=1)
    lowest_null = np.full(len(questions), np.inf)
    np.minimum.at(lowest_null, windows.question_of, null)

    order = np.argsort(-best, kind="stable")
    numbers, places = np.unique(windows.question_of[order], return_index=True)
    answers = [""] * len(questions)
    for number, window in zip(numbers.tolist(), order[places].tolist(), strict=True):
        if np.isfinite(best[window]) and not (may_be_none and lowest_null[number] > best[window]):
            places_of = windows.offsets[window]
            answers[number] = questions[number].context[places_of[first[window], 0] : places_of[last[window], 1]].strip()
    return answers
