"""A draw is the same for the same seed, in proportion to the classes, with no text twice; labels mean what they say."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import DataError, InputError
from gelora.records import DataChoice
from gelora.sources import load_sample
from gelora.sources.samples import stratified


@pytest.fixture
def write(tmp_path):
    """write(rows) -> the path of a .jsonl file."""

    def write_rows(rows):
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write_rows


def labelled(labels):
    return [{"text": f"text number {i}", "label": label} for i, label in enumerate(labels)]


def key(text):
    return " ".join(text.lower().split())


# drawing


def test_the_same_seed_draws_the_same_and_another_one_draws_others(write):
    file = write(labelled([i % 3 for i in range(300)]))
    one, again, other = load_sample(file, 60, 7), load_sample(file, 60, 7), load_sample(file, 60, 8)
    assert one == again
    assert one.texts != other.texts and set(one.texts) != set(other.texts)
    assert one.source.texts_digest != other.source.texts_digest


def test_a_draw_is_in_proportion_to_the_classes_and_mixed(write):
    file = write(labelled(["a"] * 600 + ["b"] * 300 + ["c"] * 100))
    sample = load_sample(file, 50, 0)
    assert Counter(sample.labels) == {0.0: 30, 1.0: 15, 2.0: 5}
    assert sample.label_names == ("a", "b", "c") and sample.task == "classification"
    assert list(sample.labels) != sorted(sample.labels)
    for text, label in zip(sample.texts, sample.labels, strict=True):
        assert int(text.split()[-1]) in (range(600), range(600, 900), range(900, 1000))[int(label)]


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_every_class_gets_its_share_rounded_down_or_up(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    n = max(1, round(share * len(labels)))
    order = np.random.default_rng(seed).permutation(len(labels))
    taken = stratified(order, labels, n)
    assert len(taken) == n == len(set(taken.tolist()))
    for label, count in enumerate(counts):
        exact = n * count / len(labels)
        assert math.floor(exact) <= np.sum(labels[taken] == label) <= math.ceil(exact)


def test_a_text_never_comes_twice_unless_repeats_are_wanted(write):
    rows = [{"text": text} for text in ("One text", "another text", "ONE  text ", "a third one", "another text")]
    assert sorted(map(key, load_sample(write(rows), 10).texts)) == ["a third one", "another text", "one text"]
    assert len(load_sample(write(rows), 10, distinct=False)) == 5


def test_a_text_never_comes_twice_across_the_sides_of_pairs(write):
    pairs = [("a", "b"), ("b", "c"), ("d", "d"), ("e", "f"), ("g", "a")]
    sample = load_sample(write([{"sentence1": x, "sentence2": y} for x, y in pairs]), 10)
    texts = [*sample.texts, *sample.text_pairs]
    assert len(set(texts)) == len(texts)
    assert ("e", "f") in list(zip(sample.texts, sample.text_pairs, strict=True)) and "d" not in texts


def test_distinct_real_pairs_share_no_sentence(shared_data):
    sample = load_sample(str(shared_data / "glue/mrpc/train.jsonl"), 2000, 0)
    texts = [key(text) for text in (*sample.texts, *sample.text_pairs)]
    assert len(set(texts)) == len(texts)
    assert 1000 < len(sample) <= 2000


def test_a_draw_from_many_real_rows_is_in_proportion(shared_data):
    sample = load_sample(str(shared_data / "glue/sst2/train.jsonl"), 1000, 0)
    assert len(sample) == 1000 and sample.label_names == ("0", "1")
    assert sum(sample.labels) / 1000 == pytest.approx(0.558, abs=0.02)


def test_fewer_rows_than_asked_are_all_taken(write):
    assert len(load_sample(write(labelled([0, 1] * 5)), 1000)) == 10


def test_empty_texts_are_left_out(write):
    rows = [{"text": text, "label": 1} for text in ("a", "", "  \n", None, "b")]
    assert sorted(load_sample(write(rows), 10).texts) == ["a", "b"]


def test_rows_with_an_empty_second_text_are_left_out(write):
    rows = [{"sentence1": f"one {i}", "sentence2": "" if i == 1 else f"two {i}"} for i in range(4)]
    assert sorted(load_sample(write(rows), 10).text_pairs) == ["two 0", "two 2", "two 3"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"text": "same words"}] * 6, "1 usable distinct text;"),
        ([{"text": "only one"}], "1 usable distinct text;"),
        ([{"text": "  "}] * 3, "All 3 rows of column 'text'"),
    ],
)
def test_data_that_cannot_be_drawn_from_says_why(rows, says, write):
    with pytest.raises(DataError, match=says):
        load_sample(write(rows), 10, text_column="text")


@pytest.mark.parametrize("n_samples", [1, 0, -3, 2.5, "many", True])
def test_the_number_of_samples_must_be_a_whole_number_of_at_least_two(n_samples, write):
    with pytest.raises(InputError, match=f"n_samples is .*{n_samples}"):
        load_sample(write(labelled([0, 1])), n_samples)


@pytest.mark.parametrize("seed", [-1, 0.5, "0"])
def test_the_seed_must_be_a_whole_number(seed, write):
    with pytest.raises(InputError, match="seed"):
        load_sample(write(labelled([0, 1])), 2, seed)


# what is recorded


def test_the_source_is_enough_to_draw_again(write):
    file = write([{"sentence1": f"a {i}", "sentence2": f"b {i}", "label": i % 2} for i in range(40)])
    for options in ({}, {"pair_column": ""}, {"label_column": ""}, {"text_column": "sentence2", "label_column": "label"}):
        sample = load_sample(file, 20, 3, **options)
        source = sample.source
        assert (source.n_samples, source.seed, source.distinct) == (20, 3, True)
        assert load_sample(source.choice, source.n_samples, source.seed, distinct=source.distinct) == sample


def test_the_source_names_the_columns_that_were_used(write):
    file = write([{"sentence1": f"a {i}", "sentence2": f"b {i}", "label": i % 2} for i in range(40)])
    assert load_sample(file, 20).source.choice == DataChoice(file, None, None, "sentence1", "sentence2", "label")
    assert load_sample(DataChoice(file, pair_column=""), 20).text_pairs is None


def test_options_beside_a_choice_are_refused(write):
    with pytest.raises(InputError, match="inside the DataChoice"):
        load_sample(DataChoice(write(labelled([0, 1]))), 2, text_column="text")


def test_the_bundled_data_is_drawn_stratified_over_its_packages(bundled_sentences):
    sample = load_sample("docstrings", 300, 0)
    assert sample.label_names == ("numpy", "pandas", "plotly", "scipy", "sklearn", "streamlit")
    assert len(sample) == 300 and set(sample.labels) == set(range(6))
    assert load_sample("docstrings", 300, 0) == sample


# labels


@pytest.mark.parametrize(
    ("labels", "task", "names"),
    [
        ([0, 1, 1, 0] * 5, "classification", ("0", "1")),
        ([3, 1, 2] * 5, "classification", ("1", "2", "3")),
        ([10, 9] * 5, "classification", ("9", "10")),
        (["pos", "neg"] * 5, "classification", ("neg", "pos")),
        ([True, False] * 5, "classification", ("False", "True")),
        ([1.0, 0.0] * 5, "classification", ("0", "1")),
        (["only"] * 5, "classification", ("only",)),
        ([5, 3.8, 0, 4.25, 1] * 3, "regression", None),
        (list(range(60)) * 3, "regression", None),
        (list(range(10)), "regression", None),
    ],
)
def test_labels_are_classes_or_a_quantity(labels, task, names, write):
    sample = load_sample(write(labelled(labels)), len(labels))
    assert (sample.task, sample.label_names) == (task, names)
    for text, label in zip(sample.texts, sample.labels, strict=True):
        given = labels[int(text.split()[-1])]
        if names is None:
            assert label == given
        else:
            assert names[int(label)] == str(int(given) if isinstance(given, float) else given)


def test_real_similarity_scores_are_a_quantity(shared_data):
    sample = load_sample(str(shared_data / "glue/stsb/train.jsonl"), 200)
    assert sample.task == "regression" and 0 <= min(sample.labels) < max(sample.labels) <= 5


@pytest.mark.parametrize("missing", [float("nan"), None])
def test_missing_labels_are_counted(missing, write):
    with pytest.raises(DataError, match=r"3 of 10 rows of the label column 'label'"):
        load_sample(write(labelled([1, 0] * 3 + [missing] * 3 + [1])), 5)


def test_missing_labels_do_not_matter_where_no_label_is_wanted(write):
    sample = load_sample(write(labelled([1, None, 0, None])), 4, label_column="")
    assert sample.task == "unlabeled" and len(sample) == 4


def test_a_label_column_that_is_empty_throughout_is_none(write):
    file = write(labelled([None] * 6))
    assert load_sample(file, 6).task == "unlabeled"
    with pytest.raises(DataError, match="no label in any row"):
        load_sample(file, 6, label_column="label")


def test_infinite_labels_are_refused(write):
    with pytest.raises(DataError, match="infinite"):
        load_sample(write(labelled([0.5, math.inf, 1.5] * 4)), 5)


@pytest.mark.parametrize(
    ("labels", "says"),
    [([f"free text {i}" for i in range(40)], "40 different words"), ([[1, 2]] * 6, "list values"), ([{"a": 1}] * 6, "dict values")],
)
def test_a_column_that_is_no_label_is_refused_when_asked_for_and_left_alone_otherwise(labels, says, write):
    file = write(labelled(labels))
    with pytest.raises(DataError, match=says):
        load_sample(file, 5, label_column="label")
    sample = load_sample(file, 5)
    assert sample.task == "unlabeled"
    assert load_sample(sample.source.choice, 5) == sample
