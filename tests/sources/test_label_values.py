"""A label keeps the text with which it is written; numbers only where every one reads back; what is taken for what is said."""

import csv
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings, strategies as st

from gelora.errors import DataError, InputError
from gelora.records import DataChoice
from gelora.sources import labelled_rows, load_sample, read_labels, read_table
from gelora.sources.cell_values import as_quantity, numbers_as_written


def column(values, **options):
    return read_labels(list(values), "The label column 'label' of data", **options)


@pytest.mark.parametrize(
    ("different", "task", "names"),
    [
        (["01", "1", "010", "10"], "classification", ("01", "010", "1", "10")),
        (["1_0", "10", "2_0"], "classification", ("10", "1_0", "2_0")),
        (["1.10", "1.1", "1.2"], "classification", ("1.1", "1.10", "1.2")),
        (["1.9", "1.10", "1.11"], "classification", ("1.10", "1.11", "1.9")),
        (["1", "1.0"], "classification", ("1", "1.0")),
        (["+1", "1"], "classification", ("+1", "1")),
        (["-0", "0"], "classification", ("-0", "0")),
        (["1e5", "100000"], "classification", ("100000", "1e5")),
        (["true", "false"], "classification", ("false", "true")),
        (["NaN", "inf"], "classification", ("NaN", "inf")),
        (["\u0663", "3"], "classification", ("3", "\u0663")),
        (["10", "9", "-1"], "classification", ("-1", "9", "10")),
        (["1.0", "0.0"], "classification", ("0.0", "1.0")),
        (["4.00", "3.75", "0.50"], "regression", None),
        (["0.5", "1e-05", "2"], "regression", None),
        ([True, False], "classification", ("False", "True")),
        ([True, 1], "classification", ("1", "True")),
        ([2**53, 2**53 + 1, 2**53 + 2], "classification", tuple(str(2**53 + i) for i in range(3))),
        ([str(10**17), str(10**17 + 1)], "classification", (str(10**17), str(10**17 + 1))),
        ([10**400, 1, 2], "classification", ("1", "2", str(10**400))),
        ([Decimal("1.00"), Decimal("2.00")], "classification", ("1", "2")),
        ([Decimal("1.10"), Decimal("2.25")], "regression", None),
        ([1.0, 0, 2.0], "classification", ("0", "1", "2")),
    ],
)
def test_different_texts_are_different_labels(different, task, names):
    labels = column(different * 6)
    assert labels.task == task
    if task == "classification":
        places, found = labels.as_classes()
        assert found == names and len(set(places.tolist())) == len(different)
        assert [found[int(place)] for place in places] == list(labels.texts)
    else:
        assert labels.as_numbers().tolist() == [float(value) for value in different] * 6


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=6, unique_by=str.strip))
@settings(max_examples=150, deadline=None)
def test_no_two_texts_become_one_class(texts):
    texts = [text for text in texts if text.strip()]
    if texts:
        labels = column(texts * 3, asked="classification")
        assert list(labels.texts) == [text.strip() for text in texts] * 3 and len(set(labels.as_classes()[0])) == len(texts)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), min_size=1, max_size=8, unique_by=float))
@settings(max_examples=150, deadline=None)
def test_numbers_that_python_wrote_are_numbers(numbers):
    texts = [repr(number) for number in numbers]
    found = numbers_as_written(texts)
    assert found is None or [repr(number) for number in found] == texts
    assert found is not None or "-0.0" in texts or len(set(numbers)) < len(texts) or any("e" in text for text in texts)


@pytest.mark.parametrize(("text", "number"), [("1.10", 1.1), ("+2", 2.0), ("1E3", 1000.0), (".5", 0.5)])
def test_quantities_may_be_written_in_many_ways(text, number):
    assert as_quantity(text) == number


@pytest.mark.parametrize("text", ["01", "1_0", "nan", "inf", "", "1e999", "0x1", " 1", "1,5", "\u0663"])
def test_codes_and_words_are_no_quantities(text):
    assert as_quantity(text) is None


def test_many_numbers_written_in_several_ways_are_a_quantity_and_said():
    labels = column([f"{i}.{i % 7}0" if i % 2 else f"{i}.{i % 7}" for i in range(60)])
    assert labels.task == "regression" and labels.as_numbers()[3] == 3.3
    assert "more than one way" in labels.sentence()


def test_many_codes_and_many_long_numbers_are_neither_classes_nor_a_quantity():
    for values in ([f"{i:05}" for i in range(60)], [2**60 + i for i in range(60)]):
        assert column(values).task is None
        assert column(values, asked="classification").task == "classification"
        with pytest.raises(DataError, match=r"words, such as|regression can hold exactly"):
            column(values, asked="regression").as_numbers()


def test_a_task_that_is_chosen_is_followed():
    assert column([1, 2, 3] * 5, asked="regression").task == "regression"
    assert column(["01", "1"], asked="classification").as_classes()[1] == ("01", "1")
    assert column([0.5, 1.5] * 4, asked="classification").as_classes()[1] == ("0.5", "1.5")
    with pytest.raises(InputError, match="label_task"):
        DataChoice("docstrings", label_task="causal-lm")


def test_one_number_as_text_and_as_number_is_refused():
    with pytest.raises(DataError, match="has 1 both as a text and as a number"):
        column([1, "1", 2] * 4)


def test_spaces_at_the_edges_are_left_out_and_counted(tmp_path):
    file = tmp_path / "mixed.csv"
    file.write_text("text,label\n" + "".join(f"row {i},{(' pos', 'neg', 'pos', 'neg ')[i % 4]}\n" for i in range(24)))
    labels = labelled_rows(read_table(DataChoice(str(file)))).labels
    assert labels.as_classes()[1] == ("neg", "pos")
    assert labels.sentence().endswith("2 classes: neg, pos (classification). 12 labels have spaces at the edges, which were left out.")


def test_spaces_alone_are_no_label(tmp_path):
    file = tmp_path / "blank.csv"
    file.write_text("text,label\n" + "".join(f"row {i},{('pos', 'neg', '  ')[i % 3]}\n" for i in range(9)))
    with pytest.raises(DataError, match=r"3 of 9 rows of the label column 'label'"):
        load_sample(str(file), 4)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_whole_numbers_beyond_floats_stay_apart_in_every_kind_of_file(kind, tmp_path):
    rows = [{"text": f"row {i}", "label": 10**17 + i % 3} for i in range(12)]
    path = tmp_path / f"ids.{kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    sample = load_sample(str(path), 12)
    assert sample.label_names == tuple(str(10**17 + i) for i in range(3))
    for text, label in zip(sample.texts, sample.labels, strict=True):
        assert sample.label_names[int(label)] == str(rows[int(text.split()[-1])]["label"])


def test_rows_without_a_class_are_left_out_where_the_data_name_the_classes(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["entailment", "neutral", "contradiction"])})
    data = {"text": [f"row {i}" for i in range(12)], "label": [i % 4 - 1 for i in range(12)]}
    Dataset.from_dict(data, features=features).to_parquet(tmp_path / "nli.parquet")
    table = read_table(DataChoice(str(tmp_path / "nli.parquet")))
    rows = labelled_rows(table)
    assert rows.n_left_out == 3 and rows.labels.as_classes()[1] == ("entailment", "neutral", "contradiction")
    assert all(int(text.split()[-1]) % 4 - 1 == place for text, place in zip(rows.texts, rows.labels.as_classes()[0], strict=True))
