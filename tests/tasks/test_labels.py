"""Held-out labels by the classes of training: names match names, numbers match numbers, and nothing is guessed between them."""

import numpy as np
import pytest

from gelora.errors import DataError
from gelora.records import DataChoice
from gelora.sources import LabelledRows, read_labels
from gelora.tasks import build_task
from gelora.tasks.labels import as_classes, by_classes

CHOICE = DataChoice("held.csv")


def rows(values, class_names=None, asked="classification"):
    labels = read_labels(values, "The label column 'label' of data", class_names, asked)
    return LabelledRows([f"text {i}" for i in range(len(values))], None, labels)


def matched(train, held, train_names=None, held_names=None):
    training = rows(train, train_names)
    _, names = as_classes(training, DataChoice("train.csv"))
    return [names[int(place)] for place in by_classes(rows(held, held_names), CHOICE, names, training)]


@pytest.mark.parametrize(
    ("train", "held", "names"),
    [
        (["a", "b"], ["b"], ["b"]),
        (["01", "1", "10"], ["1", "01"], ["1", "01"]),
        ([0, 1], ["1", "0"], ["1", "0"]),
        ([0.0, 1.0], ["1", "0"], ["1", "0"]),
        (["0.0", "1.0"], [1, 0], ["1.0", "0.0"]),
        ([10**17, 10**17 + 1], [str(10**17 + 1)], [str(10**17 + 1)]),
        ([True, False], ["True"], ["True"]),
        (["0", "1", "unknown"], [1], ["1"]),
    ],
)
def test_a_label_is_its_name_and_numbers_are_compared_as_numbers(train, held, names):
    assert matched(train * 3, held) == names


def test_names_and_numbers_of_one_feature_are_one_label():
    names = ("bad", "good")
    assert matched([0, 1] * 3, ["good"], train_names=names) == ["good"]
    assert matched([0, 1] * 3, [1, 0], train_names=names) == ["good", "bad"]
    assert matched(["bad", "good"] * 3, [1, 0], held_names=names) == ["good", "bad"]
    assert matched([0, 1] * 3, [1, 0], held_names=names) == ["1", "0"]
    assert matched([0, 1] * 3, [1, 0], train_names=names, held_names=("good", "bad")) == ["bad", "good"]


@pytest.mark.parametrize(
    ("train", "held", "train_names", "held_names", "says"),
    [
        (["sports", "business"], ["0", "1"], None, None, r"held\.csv has numbers for labels, such as '0', .*words \(business, sports\)"),
        ([0, 1], ["sports", "business"], None, None, r"has words for labels, such as 'sports', and the training data numbers \(0, 1\)"),
        ([True, False], [0, 1], None, None, "has numbers for labels"),
        ([0, 1, 2], [1], ("1", "2", "3"), None, "has numbers for labels.*nothing says which number is which word"),
        ([0, 1], [0], ("bad", "good"), ("x", "y"), "has the label 'x', which no training row has"),
        (["a", "b"], ["c"], None, None, r"has the label 'c', which no training row has \(there are: a, b\)"),
        ([0, 1], [2], ("bad", "good", "never trained"), None, "has the label '2', which no training row has"),
    ],
)
def test_labels_of_another_kind_or_unseen_are_refused(train, held, train_names, held_names, says):
    with pytest.raises(DataError, match=says):
        matched(train * 3, held, train_names, held_names)


def test_many_word_classes_and_a_tiny_held_out_file_are_legal(make_spec, write_rows):
    words = [f"intent {i:02}" for i in range(77)]
    train = write_rows([{"text": f"the {i % 77} thing of round {i // 77}", "label": words[i % 77]} for i in range(154)], "train")
    held = write_rows([{"text": f"held out text {i}", "label": words[i * 19]} for i in range(4)], "held")
    task = build_task(make_spec(train, held_out=held, n_train=154, n_eval=16))
    assert task.label_names == tuple(words) and len(task.held_out) == 4
    assert [task.model.config.id2label[row["labels"]] for row in task.held_out] != []
    assert {task.model.config.id2label[row["labels"]] for row in task.held_out} == {words[i * 19] for i in range(4)}
    split = build_task(make_spec(train, n_train=150, n_eval=4))
    assert len(split.held_out) == 4 and split.label_names == tuple(words)


def test_codes_train_as_the_classes_that_they_are(make_spec, write_rows):
    codes = ("01", "1", "010", "10")
    path = write_rows([{"text": f"the thing of number {i}", "label": codes[i % 4]} for i in range(40)])
    task = build_task(make_spec(path))
    assert set(task.label_names) == set(codes)
    counts = np.bincount([row["labels"] for row in task.train + task.held_out])
    assert counts.tolist() == [10, 10, 10, 10]


def test_regression_of_words_that_are_numbers_is_possible_when_it_is_asked_for(make_spec, write_rows):
    path = write_rows([{"text": f"the thing of number {i}", "label": ("1.1", "1.10", "2")[i % 3]} for i in range(40)])
    assert build_task(make_spec(path)).kind == "classification"
    assert {row["labels"] for row in build_task(make_spec(path, task="regression")).train} == {1.1, 2.0}
