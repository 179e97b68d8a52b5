"""What columns are taken for, and that a person's choice is kept."""

import pytest

from gelora.errors import DataError, InputError
from gelora.records import DataChoice
from gelora.tasks import propose

SQUAD = {"id": "1", "title": "t", "context": "He lives in Rome.", "question": "Where?", "answers": {"text": ["Rome"], "answer_start": [12]}}
ALPACA = {"instruction": "Say it.", "input": "", "output": "It is said."}


def many(row, n=20):
    return [{key: f"{value} {i}" if isinstance(value, str) else value for key, value in row.items()} for i in range(n)]


@pytest.mark.parametrize(
    ("rows", "kind", "columns", "alternatives"),
    [
        (many(SQUAD), "question-answering", ("question", "context", "answers"), ("causal-lm",)),
        ([{"question": f"w {i}", "passage": f"It is in {i}.", "answer": str(i)} for i in range(9)], "question-answering",
         ("question", "passage", "answer"), ("instruction", "causal-lm")),
        (many(ALPACA), "instruction", ("instruction", "input", "output"), ("causal-lm",)),
        (many({"prompt": "Say it.", "completion": "It is said."}), "instruction", ("prompt", None, "completion"), ("causal-lm",)),
        ([{"sentence": f"s {i}", "label": i % 3} for i in range(20)], "classification",
         ("sentence", None, "label"), ("regression", "causal-lm")),
        ([{"text": f"s {i}", "label": "ab"[i % 2]} for i in range(20)], "classification", ("text", None, "label"), ("causal-lm",)),
        ([{"premise": f"s {i}", "hypothesis": f"h {i}", "label": i / 7} for i in range(20)], "regression",
         ("premise", "hypothesis", "label"), ("causal-lm",)),
        ([{"title": f"s {i}", "body": f"a longer text {i}", "id": str(i)} for i in range(20)], "causal-lm", ("body", None, None), ()),
    ],
)  # fmt: skip
def test_columns_say_the_task(write_rows, rows, kind, columns, alternatives):
    found = propose(DataChoice(write_rows(rows)))
    assert (found.kind, (found.text_column, found.pair_column, found.label_column)) == (kind, columns)
    assert found.alternatives == alternatives
    assert len(found.reasons) == 1
    again = propose(found.applied_to(DataChoice(write_rows(rows))))
    assert (again.kind, again.text_column, again.pair_column, again.label_column) == (kind, *columns)


def test_answers_that_stand_in_no_context_are_free_answers(write_rows):
    rows = [{"question": f"why {i}", "context": "It is so.", "answer": f"nobody knows {i}"} for i in range(20)]
    found = propose(DataChoice(write_rows(rows)))
    assert (found.kind, found.text_column, found.pair_column, found.label_column) == ("instruction", "question", None, "answer")


def test_the_columns_of_another_task_can_be_asked_for(write_rows):
    path = write_rows(many(SQUAD))
    found = propose(DataChoice(path), "causal-lm")
    assert (found.text_column, found.pair_column, found.label_column) == ("context", None, None)
    found = propose(DataChoice(path, text_column="title"), "causal-lm")
    assert found.text_column == "title"


def test_a_person_s_columns_are_kept(write_rows):
    rows = [{"a": f"do {i}", "b": f"done with {i}", "c": i % 2} for i in range(20)]
    path = write_rows(rows)
    assert propose(DataChoice(path, text_column="a", label_column="c")).kind == "classification"
    found = propose(DataChoice(path, text_column="a", label_column="b"))
    assert (found.kind, found.text_column, found.label_column) == ("instruction", "a", "b")
    assert propose(DataChoice(path, text_column="a", label_column=""), None).kind == "causal-lm"


def test_a_task_that_the_columns_do_not_allow_is_one_sentence(write_rows):
    path = write_rows([{"text": f"s {i}"} for i in range(20)])
    with pytest.raises(
        DataError, match="has not the columns for instruction: it needs a column of instructions and one of outputs; there are: text"
    ):
        propose(DataChoice(path), "instruction")
    with pytest.raises(InputError, match="Unknown task 'translation'"):
        propose(DataChoice(path), "translation")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("squad", "question-answering"), ("squad_v2", "question-answering"), ("alpaca-1k", "instruction"), ("glue/stsb", "regression"),
     ("glue/cola", "classification"), ("uci-sentiment", "classification")],
)  # fmt: skip
def test_real_data_are_recognised(shared_data, name, kind):
    assert propose(DataChoice(str(shared_data / name / "train.jsonl"))).kind == kind
