"""EM and F1 by SQuAD's rules, against examples worked out by hand."""

import pytest

from gelora.tasks.answer_scores import answer_scores, exact_and_f1, normalized_answer


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The Denver Broncos!", "denver broncos"),
        ("a  cat, an apple and the end", "cat apple and end"),
        ("U.S.A.", "usa"),  # punctuation goes before articles: no "a" is left over to be one
        ("theory of another", "theory of another"),
        ("24–10", "24–10"),  # only ASCII punctuation
        ("the", ""),
    ],
)
def test_normalization_is_the_official_one(text, normalized):
    assert normalized_answer(text) == normalized


@pytest.mark.parametrize(
    ("given", "answers", "exact", "f1"),
    [
        ("the Broncos", ["Broncos", "Denver"], 1.0, 1.0),
        ("Denver Broncos won", ["Denver Broncos"], 0.0, 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("cat cat dog", ["cat dog dog"], 0.0, 2 / 3),  # words are counted as often as both sides have them
        ("nothing alike", ["Denver"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("Denver", [], 0.0, 0.0),
        ("", ["Denver"], 0.0, 0.0),
        ("Denver", ["the", "Denver"], 1.0, 1.0),  # an answer of articles alone counts for nothing
    ],
)
def test_exact_match_and_f1_of_worked_examples(given, answers, exact, f1):
    assert exact_and_f1(given, answers) == pytest.approx((exact, f1))


def test_means_over_questions_and_over_both_kinds():
    scores = answer_scores(["Denver", "", "Rome", ""], [["Denver"], [], [], ["two words"]])
    assert scores == {
        "exact": 0.5, "f1": 0.5, "HasAns_exact": 0.5, "HasAns_f1": 0.5, "NoAns_exact": 0.5, "NoAns_f1": 0.5,
    }  # fmt: skip
    assert answer_scores(["Denver"], [["Denver"]]) == {"exact": 1.0, "f1": 1.0}
    assert "HasAns_f1" not in answer_scores([""], [[]])
