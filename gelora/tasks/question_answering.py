"""Extractive question answering with long contexts, answerable or not (SQuAD v1.1 and v2.0).

Says which windows are trained on, what evaluation keeps and how it is scored; does not depend on adapters or loops.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.sources import load_question_answerer
from gelora.tasks.answer_scores import answer_scores, exact_and_f1
from gelora.tasks.answer_spans import best_answers
from gelora.tasks.answer_windows import Windows, cut_into_windows
from gelora.tasks.encoding import by_length, check_vocabulary, padding_collator, sentence_of_counts
from gelora.tasks.material import Material
from gelora.tasks.questions import Question, questions_of
from gelora.tasks.splitting import choose_rows, digest_of, shown_rows
from gelora.tasks.task import Row, ShownExample, Task

_USUAL_LONGEST = 30
_EXCERPT = 300


def build_question_answering(material: Material) -> Task:
    """The task of a dataset of questions, contexts and answers; questions about one context stay on one side.

    Raises:
        DataError: answers that cannot be read, or none that can be learned.
        InputError: `doc_stride` leaves no room in a window of `max_length`.
        ModelError: the model has no form for it.
    """
    spec = material.spec
    notes: list[str] = []
    questions, own = _read(material, notes)
    keys = [(question.context,) for question in questions]
    other = [(question.context,) for question in own] if own is not None else None
    train_ids, held_ids, said = choose_rows(spec, keys, None, (other, None) if other is not None else None)
    notes += said
    training = _learnable([questions[i] for i in train_ids], material, notes)
    asked = [(own if own is not None else questions)[i] for i in held_ids]

    headed = load_question_answerer(material.entry, material.tokenizer, spec.seed)
    length = material.length_for(headed.model, notes)
    material.progress("Reading the texts as tokens", 0, 1)
    cut = [cut_into_windows(part, material.tokenizer, headed.model, length, spec.training.doc_stride) for part in (training, asked)]
    train = _rows_to_learn(cut[0], training, material, notes)
    windows = _sorted(cut[1])
    notes += [f"{len(part):,} questions became {len(w.rows):,} windows" for part, w in zip((training, asked), cut, strict=True)]
    n_cut = sum(w.n_cut_questions for w in cut)
    if n_cut:
        notes.append(f"{sentence_of_counts(n_cut, 'question was', 'questions were')} too long for a window and cut")
    check_vocabulary([*train, *windows.rows], headed.model, material.entry)
    may_be_none = not all(question.answers for question in [*training, *asked])
    longest = max(_USUAL_LONGEST, max(row["end_positions"] - row["start_positions"] + 1 for row in train))

    def predict(kept: Any) -> list[str]:
        return best_answers(np.asarray(kept), windows, asked, longest, may_be_none)

    return Task(
        kind=material.kind,
        model=headed.model,
        tokenizer=material.tokenizer,
        entry=material.entry,
        train=train,
        held_out=windows.rows,
        collate=padding_collator(material.tokenizer),
        reduce=start_and_end,
        score=lambda kept, _labels: answer_scores(predict(kept), [question.answers for question in asked]),
        show=_shower(asked, predict),
        main_metric="eval_f1",
        higher_is_better=True,
        label_names=None,
        majority_accuracy=None,
        random_keys=headed.random_keys,
        reloaded_keys=bool(headed.mismatched_keys),
        peft_task_type="QUESTION_ANS",
        auto_class="AutoModelForQuestionAnswering",
        texts_digest=digest_of(text for question in [*training, *asked] for text in (question.question, question.context)),
        notes=tuple(notes),
    )


def start_and_end(outputs: Any, _labels: Any) -> Any:
    """(start logits, end logits), each [n_rows, n_tokens] -> [n_rows, n_tokens, 2] in float32, which a Trainer can pad and join."""
    import torch

    return torch.stack([outputs[0], outputs[1]], dim=-1).float()


def _read(material: Material, notes: list[str]) -> tuple[list[Question], list[Question] | None]:
    questions, n_left_out, n_moved = questions_of(material.table)
    own, own_left_out, own_moved = questions_of(material.held_out) if material.held_out is not None else (None, 0, 0)
    if n_left_out + own_left_out:
        notes.append(f"{sentence_of_counts(n_left_out + own_left_out, 'row', 'rows')} without question or context left out")
    if n_moved + own_moved:
        moved = sentence_of_counts(n_moved + own_moved, "answer is", "answers are")
        notes.append(f"{moved} not where the row says and taken from the nearest place")
    return questions, own


def _learnable(questions: list[Question], material: Material, notes: list[str]) -> list[Question]:
    kept = [question for question in questions if not question.is_lost]
    if not any(question.spans for question in kept):
        raise DataError(
            f"No answer in the training rows of {material.data.dataset} stands in its context (column {material.data.pair_column!r}), "
            "so there is no span to learn; choose the columns of context and answers, or the task instruction for free answers."
        )
    n_lost = len(questions) - len(kept)
    if n_lost:
        notes.append(f"{sentence_of_counts(n_lost, 'question', 'questions')} whose answer is not in its context left out of training")
    return kept


def _rows_to_learn(windows: Windows, questions: list[Question], material: Material, notes: list[str]) -> list[Row]:
    """All windows but those of answers that no window holds whole: they would teach that there is none."""
    has_window = np.zeros(len(questions), dtype=bool)
    np.logical_or.at(has_window, windows.question_of, windows.holds_answer)
    lost = np.array([bool(question.spans) for question in questions]) & ~has_window
    if lost.any():
        notes.append(
            f"{sentence_of_counts(int(lost.sum()), 'answer is', 'answers are')} whole in no window and left out of training; "
            "a larger doc_stride or max_length keeps them"
        )
    rows = [row for row, number in zip(windows.rows, windows.question_of.tolist(), strict=True) if not lost[number]]
    if not windows.holds_answer.any():
        raise DataError(
            f"Every answer in the training rows of {material.data.dataset} is longer than a window holds; raise max_length and doc_stride."
        )
    return rows


def _sorted(windows: Windows) -> Windows:
    order = by_length(windows.rows)
    return Windows(
        [windows.rows[i] for i in order],
        windows.question_of[order],
        [windows.offsets[i] for i in order],
        windows.null_at[order],
        windows.holds_answer[order],
        windows.n_cut_questions,
    )


def _shower(asked: list[Question], predict: Callable[[Any], list[str]]) -> Callable[[Any], list[ShownExample]]:
    places = shown_rows(len(asked))

    def show(kept: Any) -> list[ShownExample]:
        predictions = predict(kept)
        shown = []
        for place in places:
            question, given = asked[place], predictions[place]
            truth = question.answers[0] if question.answers else "(no answer)"
            right = exact_and_f1(given, question.answers)[0] == 1.0
            shown.append(ShownExample(f"{question.question}\n{_excerpt(question)}", truth, given or "(no answer)", right))
        return shown

    return show


def _excerpt(question: Question) -> str:
    """The part of the context around the answer."""
    middle = sum(question.spans[0]) // 2 if question.spans else 0
    start = max(0, min(middle - _EXCERPT // 2, len(question.context) - _EXCERPT))
    end = start + _EXCERPT
    return f"{'…' if start else ''}{question.context[start:end]}{'…' if end < len(question.context) else ''}"
