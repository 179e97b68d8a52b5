"""Which column is the text, the second text and the label, by the names that published data have."""

import pytest

from gelora.sources.column_roles import find_roles

TEXT = ["a small red cat", "two dogs ran", "one more text here"]
NUMBERS = ["0", "1", "0"]


def roles(*names, **given):
    """(text, pair, label) of columns of texts; names that end in ! hold numbers."""
    columns = {name.rstrip("!"): NUMBERS if name.endswith("!") else TEXT for name in names}
    found = find_roles(columns, given.get("text"), given.get("pair"), given.get("label"))
    return found.text, found.pair, found.label


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *[("question", "sentence"), ("question", "passage"), ("question", "context"), ("query", "document"), ("query", "passage")],
        *[("sentence_A", "sentence_B"), ("text_a", "text_b"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("s1", "s2")],
        *[("question1", "question2"), ("#1 String", "#2 String"), ("text", "text_pair"), ("left_title", "right_title")],
        *[("claim", "evidence"), ("query_text", "passage_text"), ("questionOne", "questionTwo"), ("anchor", "positive")],
    ],
)
def test_two_texts_are_a_pair_in_any_order_of_columns(first, second):
    assert roles("id!", first, second, "label!") == (first, second, "label")
    assert roles("label!", second, first, "id!") == (first, second, "label")


def test_of_a_triplet_the_negative_is_no_part_of_the_pair_and_it_is_said():
    found = find_roles(dict.fromkeys(("anchor", "positive", "negative"), TEXT), None, None, None)
    assert (found.text, found.pair) == ("anchor", "positive")
    assert any("'negative' is no part of the pair" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    "names", [("title", "text"), ("text", "summary"), ("instruction", "output"), ("text", "source"), ("text_1", "label_2")]
)
def test_names_that_say_nothing_of_a_pair_make_none(names):
    assert roles(*names)[1] is None


def test_system_prompts_sources_and_identifiers_are_never_the_text():
    assert roles("system", "user", "assistant")[0] == "user"
    assert roles("url", "source", "guid", "remark")[0] == "remark"


def test_what_is_given_is_kept_and_the_rest_is_found():
    assert roles("premise", "hypothesis", "label!", text="hypothesis") == ("hypothesis", None, "label")
    assert roles("sentence1", "sentence2", "label!", pair="")[:2] == ("sentence1", "")
    assert roles("text", "label!", "score!", label="score") == ("text", None, "score")
