"""Windows, spans and answers: what is trained on, and that right logits give right answers back."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
import torch

from gelora.errors import DataError, InputError, ModelError
from gelora.tasks import build_task
from gelora.tasks.answer_spans import best_answers
from gelora.tasks.answer_windows import Windows, cut_into_windows
from gelora.tasks.questions import Question

PLACES = ("Rome", "Paris", "the Old Town", "Berlin", "Oslo", "New York", "a garden", "Lima")


def questions(n, unanswerable=0.0, filler=10, seed=0):
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        place = rng.choice(PLACES)
        before = " ".join(rng.choice(("rain", "story", "film", "talk")) for _ in range(rng.randint(0, filler)))
        context = f"{before} The person with number {i} lives in {place}, near the station. {before}".strip()
        empty = rng.random() < unanswerable
        answers = {"text": [] if empty else [place], "answer_start": [] if empty else [context.index(place)]}
        rows.append({"id": str(i), "title": "t", "context": context, "question": f"Where does number {i} live?", "answers": answers})
    return rows


def options(**changes):
    return {"max_length": 96, "doc_stride": 24, "n_train": 24, "n_eval": 12} | changes


def perfect(task):
    """Logits of a model that knows where every window's answer starts and ends."""
    width = max(len(row["input_ids"]) for row in task.held_out)
    logits = np.full((len(task.held_out), width, 2), -5.0)
    for i, row in enumerate(task.held_out):
        logits[i, row["start_positions"], 0] = logits[i, row["end_positions"], 1] = 5.0
    return logits


@pytest.mark.parametrize("model", ["bert", "roberta", "gpt2", "llama"])
def test_right_logits_give_all_answers_back(make_spec, write_rows, model):
    task = build_task(make_spec(write_rows(questions(40, filler=60)), model=model, **options(max_length=110)))
    assert (task.kind, task.main_metric, task.peft_task_type) == ("question-answering", "eval_f1", "QUESTION_ANS")
    assert len(task.held_out) > 12  # long contexts became several windows
    assert task.score(perfect(task), None) == {"exact": 1.0, "f1": 1.0}
    assert max(len(row["input_ids"]) for row in [*task.train, *task.held_out]) <= 110
    assert any("qa_outputs" in key for key in task.random_keys)
    lengths = [len(row["input_ids"]) for row in task.held_out]
    assert lengths == sorted(lengths)


def test_unanswerable_questions_are_scored_apart(make_spec, write_rows):
    rows = questions(60, unanswerable=0.5, filler=40)
    task = build_task(make_spec(write_rows(rows), **options()))
    assert set(task.score(perfect(task), None).values()) == {1.0}
    always_null = np.full_like(perfect(task), -1.0)
    always_null[:, 0] = 4.0
    scores = task.score(always_null, None)
    assert (scores["NoAns_exact"], scores["HasAns_exact"]) == (1.0, 0.0)
    assert 0 < scores["exact"] < 1
    shown = task.show(always_null)
    assert {example.prediction for example in shown} == {"(no answer)"}
    assert all(example.right == (example.truth == "(no answer)") for example in shown)


def test_without_unanswerable_questions_there_is_always_an_answer(make_spec, write_rows):
    task = build_task(make_spec(write_rows(questions(40)), **options()))
    logits = perfect(task)
    logits[:, 0] += 100.0
    assert task.score(logits, None) == {"exact": 1.0, "f1": 1.0}


def test_questions_about_one_context_are_on_one_side(make_spec, write_rows):
    rows = questions(20, filler=2)
    more = [row | {"question": f"And where is it that number {i} lives?"} for i, row in enumerate(rows)]
    task = build_task(make_spec(write_rows(rows + more), **options(n_train=30, n_eval=10)))
    contexts = [
        {task.tokenizer.decode(row["input_ids"], skip_special_tokens=True).split("?")[1] for row in side}
        for side in (task.train, task.held_out)
    ]
    assert len(contexts[1]) == 5
    assert not contexts[0] & contexts[1]


@pytest.mark.parametrize("between", [" ", "-"])
def test_windows_overlap_by_the_stride_and_cover_the_context(tiny, between):
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny("bert"))
    model = AutoModelForQuestionAnswering.from_pretrained(tiny("bert"))
    context = between.join(f"word{i}" for i in range(120))
    start = context.index("word60")
    question = Question("Which word?", context, ("word60",), ((start, start + 6),))
    windows = cut_into_windows([question], tokenizer, model, 64, 16)
    covered = [set(range(*place)) for places in windows.offsets for place in [(places[places[:, 1] > 0][0, 0], places[:, 1].max())]]
    assert set().union(*covered) == set(range(len(context)))
    inside = [places[places[:, 1] > 0] for places in windows.offsets]
    assert all(len({tuple(p) for p in a} & {tuple(p) for p in b}) == 16 for a, b in itertools.pairwise(inside))
    for row, places, holds in zip(windows.rows, windows.offsets, windows.holds_answer, strict=True):
        first, last = row["start_positions"], row["end_positions"]
        if holds:
            assert context[places[first, 0] : places[last, 1]].strip() == "word60"
        else:
            assert (first, last) == (0, 0)
    assert windows.holds_answer.any()


def test_the_best_span_is_that_of_a_search_over_all(tiny):
    rng = np.random.default_rng(0)
    n_windows, width, longest = 12, 20, 5
    text = " ".join(f"w{i:02d}" for i in range(60))
    offsets = []
    for _ in range(n_windows):
        first = int(rng.integers(0, 40))
        places = np.zeros((width, 2), dtype=np.int32)
        for token in range(4, 18):
            places[token] = (4 * (first + token), 4 * (first + token) + 3)
        offsets.append(places)
    of = np.sort(rng.integers(0, 5, n_windows))
    of[:5] = range(5)
    windows = Windows([], of, offsets, np.zeros(n_windows, dtype=np.int64), np.zeros(n_windows, dtype=bool), 0)
    asked = [Question("?", text, (), ()) for _ in range(5)]
    scores = rng.normal(size=(n_windows, width, 2))
    scores[:, 0] -= 1.0
    expected = []
    for number in range(5):
        spans = {
            (scores[w, s, 0] + scores[w, e, 1]): text[offsets[w][s, 0] : offsets[w][e, 1]]
            for w in np.flatnonzero(of == number)
            for s in range(4, 18)
            for e in range(s, min(s + longest, 18))
        }
        null = min(scores[w, 0].sum() for w in np.flatnonzero(of == number))
        expected.append("" if null > max(spans) else spans[max(spans)])
    assert best_answers(scores, windows, asked, longest, may_be_none=True) == expected
    assert "" not in best_answers(scores + np.array([50.0, 0.0]) * (np.arange(width) == 0)[:, None], windows, asked, longest, False)


def test_padding_changes_nothing_and_batches_join(make_spec, write_rows, logits_of):
    task = build_task(make_spec(write_rows(questions(40, unanswerable=0.3, filler=30)), **options()))
    kept, alone = logits_of(task), logits_of(task, batch_size=1)
    assert kept.shape[2] == 2
    assert task.score(kept, None) == task.score(alone, None)
    loss = task.model(**task.collate(task.train[:4])).loss
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["answers"]["text"][0],
        lambda row: [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}],
        lambda row: {"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]},
    ],
)
def test_other_forms_of_answers_are_read(make_spec, write_rows, change):
    rows = questions(30)
    usual = build_task(make_spec(write_rows(rows, "usual"), **options()))
    task = build_task(make_spec(write_rows([row | {"answers": change(row)} for row in rows], "other"), **options()))
    assert task.kind == "question-answering"
    assert task.train == usual.train


def test_answers_that_are_elsewhere_are_found_and_lost_ones_left_out(make_spec, write_rows):
    rows = questions(40)
    for row in rows[:5]:
        row["answers"]["answer_start"] = [row["answers"]["answer_start"][0] + 1]
    for row in rows[5:8]:
        row["answers"]["text"] = ["Atlantis"]
    dev = write_rows(questions(6, seed=9), "dev")
    task = build_task(make_spec(write_rows(rows), held_out=dev, **options(n_train=40)))
    assert "5 answers are not where the row says and taken from the nearest place" in task.notes
    assert "3 questions whose answer is not in its context left out of training" in task.notes
    assert "37 questions became" in " ".join(task.notes)


def test_an_answer_longer_than_a_window_is_left_out_and_said(make_spec, write_rows):
    rows = questions(40)
    long = " ".join(f"part{i}" for i in range(80))
    rows[0] |= {"context": f"Here is {long}.", "answers": {"text": [long], "answer_start": [8]}}
    task = build_task(make_spec(write_rows(rows), held_out=write_rows(questions(6, seed=9), "dev"), **options(n_train=40)))
    assert any(note.startswith("1 answer is whole in no window and left out of training") for note in task.notes)
    texts = [task.tokenizer.decode(row["input_ids"]) for row in task.train]
    assert len(texts) >= 39
    assert not any("part3" in text for text in texts)


def test_long_questions_are_cut_and_said(make_spec, write_rows):
    rows = questions(40)
    rows[0]["question"] = "really " * 200 + "where?"
    task = build_task(make_spec(write_rows(rows), **options(n_train=28)))
    assert "1 question was too long for a window and cut" in task.notes
    assert max(len(row["input_ids"]) for row in [*task.train, *task.held_out]) <= 96


def test_a_stride_without_room_is_one_sentence(make_spec, write_rows):
    path = write_rows(questions(30))
    with pytest.raises(InputError, match=r"doc_stride is 128, and windows of 128 tokens can share at most 94"):
        build_task(make_spec(path, **options(max_length=128, doc_stride=128)))
    build_task(make_spec(path, **options(max_length=128, doc_stride=94)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda row: row | {"answers": {"text": ["Atlantis"], "answer_start": [3]}}, "stands in its context"),
        (lambda row: row | {"answers": {"text": [], "answer_start": []}}, "stands in its context"),
        (lambda row: row | {"answers": {"words": ["Rome"]}}, "Row 1 of .* has no answers in the column 'answers' that can be read"),
        (lambda row: row | {"answers": {"text": ["Rome", "Lima"], "answer_start": [3]}}, "Row 1 of"),
        (lambda row: row | {"context": " "}, "lack a question or a context|no column|All"),
    ],
)
def test_answers_that_cannot_be_learned_are_one_sentence(make_spec, write_rows, change, sentence):
    with pytest.raises(DataError, match=sentence):
        build_task(make_spec(write_rows([change(row) for row in questions(30)]), **options(task="question-answering")))


def test_a_language_model_s_checkpoint_whose_blocks_would_be_random_is_refused(make_spec, write_rows, shared_data):
    path = write_rows(questions(30))
    with pytest.raises(ModelError, match="do not fit LlamaForQuestionAnswering"):
        build_task(make_spec(path, model=shared_data / "models" / "stories260K", **options()))


def test_real_questions_come_back_whole(make_spec, shared_data):
    path, dev = shared_data / "squad_v2" / "train.jsonl", shared_data / "squad_v2" / "validation.jsonl"
    spec = make_spec(
        str(path), model=shared_data / "models", held_out=str(dev), **options(n_train=20, n_eval=200, max_length=384, doc_stride=128)
    )
    task = build_task(dataclasses.replace(spec, model="all-MiniLM-L6-v2"))
    scores = task.score(perfect(task), None)
    assert scores["f1"] > 0.995  # where an annotator's answer begins or ends inside a token, some characters come with it
    assert scores["NoAns_exact"] == 1.0
