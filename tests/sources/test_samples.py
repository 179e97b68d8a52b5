"""Samples are seeded, stratified, distinct; files and columns that are wrong are one sentence."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import DataError, InputError
from gelora.records import DataChoice
from gelora.sources import describe_dataset, load_sample, split_sample
from gelora.sources.samples import _stratified


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def reviews(tmp_path) -> str:
    """90 of class 0, 30 of class 1."""
    return write(tmp_path / "reviews.jsonl", [{"idx": i, "text": f"review number {i}", "label": int(i % 4 == 0)} for i in range(120)])


def test_the_same_seed_draws_the_same_texts_and_another_draws_others(reviews):
    one, same, other = (load_sample(reviews, 40, seed) for seed in (0, 0, 1))
    assert one == same and one.source.texts_digest == same.source.texts_digest
    assert one.texts != other.texts


def test_classes_keep_their_share(reviews):
    assert Counter(load_sample(reviews, 40).labels) == {0.0: 30, 1.0: 10}


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(1, 80))
@settings(max_examples=60)
def test_a_stratified_draw_is_within_one_of_every_share(labels, n):
    n = min(n, len(labels))
    drawn = _stratified(np.arange(len(labels)), np.array(labels, dtype=float), n)
    assert len(drawn) == len(set(drawn.tolist())) == n
    for label, count in Counter(labels).items():
        assert abs(Counter(labels[i] for i in drawn)[label] - n * count / len(labels)) < 1


def test_no_text_occurs_twice_also_across_the_sides_of_a_pair(tmp_path):
    rows = [{"sentence1": f"a {i % 7}", "sentence2": f"a {(i + 3) % 9}", "label": i % 2} for i in range(200)]
    path = write(tmp_path / "pairs.jsonl", rows)
    sample = load_sample(path, 200)
    texts = [*sample.texts, *sample.text_pairs]
    assert len(texts) == len(set(texts))
    assert len(load_sample(path, 200, distinct=False)) == 200


def test_case_and_spaces_do_not_make_a_text_distinct(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"text": text} for text in ("One  text", "one text", "another text")])
    assert len(load_sample(path, 10)) == 2


def test_real_pair_data_has_no_repeats(shared_data):
    sample = load_sample(str(shared_data / "glue" / "mrpc" / "train.jsonl"), 2000)
    texts = [*sample.texts, *sample.text_pairs]
    assert len(texts) == len({" ".join(t.lower().split()) for t in texts})
    assert sample.source.choice.pair_column == "sentence2"


@pytest.mark.parametrize(
    ("file", "task", "text", "pair"),
    [
        ("glue/sst2/train", "classification", "sentence", None),
        ("glue/cola/train", "classification", "sentence", None),
        ("glue/rte/train", "classification", "sentence1", "sentence2"),
        ("glue/stsb/train", "regression", "sentence1", "sentence2"),
        ("squad/train", "unlabeled", "question", "context"),
    ],
)
def test_columns_and_task_of_real_data_are_found(shared_data, file, task, text, pair):
    info = describe_dataset(DataChoice(str(shared_data / f"{file}.jsonl")))
    assert (info.task, info.text_column, info.pair_column) == (task, text, pair)


def test_the_choice_of_columns_is_obeyed(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"body": f"b {i}", "title": f"t {i}", "stars": i % 3, "label": 0} for i in range(30)])
    sample = load_sample(path, 10, text_column="title", label_column="stars")
    assert all(text.startswith("t ") for text in sample.texts)
    assert sample.label_names == ("0", "1", "2")
    assert load_sample(path, 10, label_column="").task == "unlabeled"


def test_words_and_truth_values_are_classes_and_fractions_a_quantity(tmp_path):
    for values, task, names in (
        (["good", "bad"], "classification", ("bad", "good")),
        ([True, False], "classification", ("0", "1")),
        ([0.5, 3.25], "regression", None),
    ):
        path = write(tmp_path / "rows.jsonl", [{"text": f"text {i}", "label": values[i % 2]} for i in range(20)])
        sample = load_sample(path, 20)
        assert (sample.task, sample.label_names) == (task, names)


def test_csv_and_parquet_read_like_jsonl(tmp_path, reviews):
    frame = pd.read_json(reviews, lines=True)
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    frame.to_parquet(tmp_path / "reviews.parquet")
    expected = load_sample(reviews, 50)
    for kind in ("csv", "parquet"):
        sample = load_sample(str(tmp_path / f"reviews.{kind}"), 50)
        assert (sample.texts, sample.labels, sample.task) == (expected.texts, expected.labels, expected.task), kind


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.jsonl", b'{"text": "one"}\n{broken\n', "line 2"),
        ("rows.jsonl", b'["a list"]\n', "line 1 is list"),
        ("rows.jsonl", b"\xff\xfe\x00binary", "UTF-8"),
        ("rows.jsonl", b"", "no rows"),
        ("rows.csv", b"", "CSV"),
        ("rows.csv", b"\x00\xff\x00", "CSV|column"),
        ("rows.parquet", b"not parquet at all", "Parquet"),
        ("rows.txt", b"hello", "jsonl"),
        ("rows.jsonl", b'{"n": 1}\n{"n": 2}\n', "no column with text"),
        ("rows.jsonl", b'{"text": ""}\n{"text": "  "}\n', "empty"),
        ("rows.jsonl", b'{"text": "only one"}\n', "at least 2"),
        ("rows.jsonl", b'{"text": "a b", "label": NaN}\n{"text": "c d", "label": 1}\n', "missing or NaN"),
        ("rows.jsonl", b'{"text": "a b", "label": [1]}\n{"text": "c d", "label": [2]}\n', "list"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((InputError, DataError), match=says) as caught:
        load_sample(str(path), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"text_column": "nope"}, "its columns are: idx, text, label"),
        ({"pair_column": "nope"}, "no column 'nope'"),
        ({"label_column": "nope"}, "no column 'nope'"),
        ({"split": "train"}, "no split"),
        ({"n_samples": 1}, "at least 2"),
        ({"n_samples": 2.5}, "whole number"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_wrong_option_is_one_sentence(reviews, options, says):
    with pytest.raises(InputError, match=says):
        load_sample(reviews, **options)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.csv"):
        load_sample(str(tmp_path / "missing.csv"))


def test_a_split_parts_the_rows_and_keeps_the_shares(reviews):
    sample = load_sample(reviews, 100)
    train, held_out = split_sample(sample, 20, seed=3)
    assert (len(train), len(held_out)) == (80, 20)
    assert not set(train.texts) & set(held_out.texts)
    assert Counter(held_out.labels) == {0.0: 15, 1.0: 5}
    assert split_sample(sample, 20, seed=3)[1] == held_out
    with pytest.raises(InputError):
        split_sample(sample, 100, seed=0)


def test_a_dataset_of_the_datasets_cache_is_read_offline(tmp_path, reviews, monkeypatch):
    """The hub's path on a dataset that is on this machine: load_dataset answers, the columns are settled alike."""
    import datasets

    from gelora.sources import tables

    built = datasets.Dataset.from_json(reviews, cache_dir=str(tmp_path / "cache"))
    built = built.cast_column("label", datasets.ClassLabel(names=["good", "bad"]))
    asked = {}

    def load(name, config, split, revision):
        asked.update(name=name, config=config, split=split, revision=revision)
        return built

    monkeypatch.setattr(tables, "_is_cached", lambda dataset: True)
    monkeypatch.setattr(datasets, "load_dataset", load)
    sample = load_sample("someone/reviews", 40, config="plain", split="test")
    assert asked == {"name": "someone/reviews", "config": "plain", "split": "test", "revision": None}
    assert sample.label_names == ("good", "bad") and sample.source.choice.split == "test"
