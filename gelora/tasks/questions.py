"""Rows of questions, contexts and answers, in SQuAD's form and its usual variants, checked.

Works on columns and characters; does not depend on tokens, models or scores.
"""

from dataclasses import dataclass
from typing import Any

from gelora.errors import DataError
from gelora.sources import Table, has_text


@dataclass(frozen=True)
class Question:
    """answers: texts that count as right, none if unanswerable; spans: (first, past the last) character of those found in the context."""

    question: str
    context: str
    answers: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def is_lost(self) -> bool:
        """Whether there are answers, none of which stands in the context."""
        return bool(self.answers) and not self.spans


def questions_of(table: Table) -> tuple[list[Question], int, int]:
    """(questions, rows left out for an empty question or context, answers that stood elsewhere than said).

    Answers may be `{"text": [...], "answer_start": [...]}`, a list of `{"text", "answer_start"}`, or a plain text. An answer
    that is not where its row says is taken from the nearest place where it stands.

    Raises:
        DataError: answers in another form, or no usable row.
    """
    choice, columns = table.choice, table.columns
    column = str(choice.label_column)
    sides = zip(columns[str(choice.text_column)], columns[str(choice.pair_column)], columns[column], strict=True)
    found, n_left_out, n_moved = [], 0, 0
    for number, (question, context, value) in enumerate(sides, start=1):
        if not has_text(question) or not has_text(context):
            n_left_out += 1
            continue
        answers = _answers(value)
        if answers is None:
            raise DataError(
                f"Row {number} of {choice.dataset} has no answers in the column {column!r} that can be read ({str(value)[:60]!r}); "
                'each must be {"text": [...], "answer_start": [...]}, with empty lists where there is no answer.'
            )
        spans = []
        for text, start in answers:
            place = _place(context, text, start)
            if place is not None:
                n_moved += start is not None and place != start
                spans.append((place, place + len(text)))
        found.append(Question(question.strip(), context, tuple(text for text, _ in answers), tuple(spans)))
    if not found:
        raise DataError(f"All {table.n_rows} rows of {choice.dataset} lack a question or a context; choose other columns.")
    return found, n_left_out, n_moved


def _answers(value: Any) -> list[tuple[str, int | None]] | None:
    """Pairs of text and start; None if the value has no known form."""
    if isinstance(value, str):
        pairs: list[tuple[Any, Any]] = [(value, None)]
    elif isinstance(value, dict) and "text" in value:
        texts, starts = value["text"], value.get("answer_start")
        texts = [texts] if isinstance(texts, str) else texts
        starts = [None] * len(texts or ()) if starts is None else [starts] if isinstance(starts, int) else starts
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(value, list) and all(isinstance(answer, dict) and "text" in answer for answer in value):
        pairs = [(answer["text"], answer.get("answer_start")) for answer in value]
    else:
        return None
    if not all(isinstance(text, str) and (start is None or isinstance(start, int)) for text, start in pairs):
        return None
    return [(text, start) for text, start in pairs if text.strip()]


def _place(context: str, text: str, start: int | None) -> int | None:
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    places = []
    place = context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return min(places, key=lambda place: abs(place - (start or 0))) if places else None
