"""One layer opened: neighbors, copies and label agreement of small configurations worked out by hand; tokens as rows."""

import json

import numpy as np
import pytest
from tiny_models import save_tiny_model

import gelora
from gelora.errors import Cancelled, InputError
from gelora.opened_layer import OpenedLayer
from gelora.records import DataChoice, HiddenStates, ModelStructure, Sample, SampleSource, TargetModule

MODEL = ModelStructure("tiny", "rev", "bert", 1, 2, 100, False, False, (TargetModule("layer.0.attention.q", 1, "q", 2, 2),))
SOURCE = SampleSource(DataChoice("texts"), "rev", 0, 6, True, "digest")


def opened(first, second, layer=1, labels=None, task="unlabeled", **options) -> OpenedLayer:
    """The layer of six one-letter texts a to f; `first` and `second` are places on a line at layers 0 and 1."""
    texts = tuple("abcdef"[: len(first)])
    names = ("even", "odd") if task == "classification" else None
    sample = Sample(texts, None, None if labels is None else tuple(map(float, labels)), names, task, SOURCE)
    values = np.zeros((2, len(first), 2), dtype=np.float32)
    values[0, :, 0], values[1, :, 0] = first, second
    states = HiddenStates(values, ("embeddings", "block 1"), "mean", 32, "float32", False, MODEL, SOURCE)
    return gelora.open_layer(states, sample, layer, **options)


LINE = [0, 1, 3, 7, 15, 31]


def test_neighbors_come_as_rows_with_distances_and_whether_they_were_near_before():
    layer = opened([0, 1, 31, 7, 15, 3], LINE, n_neighbors=2)  # c and f change places in the block
    assert layer.name == "block 1" and layer.n_rows == layer.n_points == 6
    assert [(layer.words(n.row), n.distance) for n in layer.neighbors(3)] == [("c", 4.0), ("b", 6.0)]
    # before: d at 7 has f at 4 and b at 6; c, 24 away, was not near
    assert [n.was_before for n in layer.neighbors(3)] == [False, True]
    assert [(n.row, n.distance, n.was_before) for n in layer.neighbors(0)] == [(1, 1.0, True), (2, 3.0, False)]
    rows = np.array([[n.was_before for n in layer.neighbors(row)] for row in range(6)])
    assert layer.share_before() == rows.mean()


def test_at_the_embeddings_there_is_no_layer_before():
    layer = opened(LINE, LINE, layer=0, n_neighbors=2)
    assert layer.share_before() is None
    assert [n.was_before for n in layer.neighbors(0)] == [None, None]


def test_copies_are_one_point_and_listed_largest_group_first():
    layer = opened(LINE, [5, 0, 5, 1, 1, 5], n_neighbors=2)
    assert layer.n_points == 3
    assert layer.duplicates() == ((0, 2, 5), (3, 4))
    assert layer.copies(2) == (0, 5) and layer.copies(1) == ()
    assert [(n.row, n.distance) for n in layer.neighbors(5)] == [(3, 4.0), (1, 5.0)]
    assert layer.neighbors(0) == layer.neighbors(5)


def test_copies_before_count_as_near_before():
    layer = opened([0, 0, 9, 20, 30, 40], LINE, n_neighbors=2)
    assert layer.neighbors(0)[0] == (1, 1.0, True)  # a and b had the same vector
    assert [n.was_before for n in layer.neighbors(1)] == [True, True]  # c was the nearest other vector of a and b


def test_the_share_of_neighbors_with_the_same_label_is_held_against_chance():
    # neighbors on the line: a-b, b-a, c-b, d-c, e-d, f-e
    layer = opened([0] * 6, LINE, labels=[0, 0, 1, 1, 1, 0], task="classification", n_neighbors=2)
    near = [layer.labels[n.row] == layer.labels[row] for row in range(6) for n in layer.neighbors(row)]
    agreement = layer.label_overlap()
    assert agreement == ("classification", np.mean(near), 12 / 30)
    assert [layer.label(row) for row in (0, 2)] == ["even", "odd"]
    two = opened([0] * 4, [0, 1, 10, 11], labels=[0, 0, 1, 1], task="classification", n_neighbors=2)
    # each has its like first and then one of the others; chance: of the 3 other points 1 is alike
    assert two.label_overlap() == ("classification", 1 / 2, pytest.approx(1 / 3))


def test_numbers_as_labels_are_compared_by_their_difference():
    labels = [0.0, 0.5, 4.0, 6.0, 6.5, 20.0]
    layer = opened([0] * 6, LINE, labels=labels, task="regression", n_neighbors=2)
    table = np.abs(np.subtract.outer(labels, labels))
    near = np.mean([table[row, n.row] for row in range(6) for n in layer.neighbors(row)])
    assert layer.label_overlap() == ("regression", pytest.approx(near), pytest.approx(table.sum() / 30))
    assert layer.label(1) == "0.5"


def test_a_layer_of_equal_vectors_has_no_neighbors_and_no_plane_and_says_so_to_the_next():
    layer = opened([2] * 6, LINE, layer=0)
    assert (layer.graph, layer.plane, layer.n_points) == (None, None, 1)
    assert layer.neighbors(4) == [] and layer.label_overlap() is None
    assert layer.duplicates() == ((0, 1, 2, 3, 4, 5),)
    assert opened([2] * 6, LINE, layer=1).were_before is None
    assert opened([2] * 6, LINE, layer=0, metric="cosine").graph is None  # one direction


def test_the_plane_is_that_of_all_rows():
    layer = opened([0] * 6, LINE)
    np.testing.assert_allclose(layer.plane.coordinates[:, 0], np.array(LINE) - np.mean(LINE), rtol=1e-6)
    assert layer.plane.shares[0] == pytest.approx(1)


def test_it_goes_to_json_and_back():
    layer = opened(LINE, [5, 0, 5, 1, 1, 5], labels=[0, 1, 0, 1, 0, 1], task="classification", n_neighbors=2)
    assert OpenedLayer.from_json(layer.to_json()) == layer
    empty = opened([2] * 6, LINE, layer=0)
    assert OpenedLayer.from_json(empty.to_json()) == empty


def test_illegal_arguments_are_named():
    with pytest.raises(InputError, match="layer"):
        opened(LINE, LINE, layer=2)
    with pytest.raises(InputError, match="n_neighbors"):
        opened(LINE, LINE, n_neighbors=1)
    with pytest.raises(InputError, match="metric"):
        opened(LINE, LINE, metric="taxi")
    layer = opened(LINE, LINE)
    states = HiddenStates(np.zeros((2, 6, 2)), layer.layer_names, "mean", 32, "float32", False, MODEL, SOURCE)
    other = Sample(tuple("abcdef"), None, None, None, "unlabeled", SampleSource(DataChoice("texts"), "rev", 1, 6, True, "digest"))
    with pytest.raises(InputError, match="another sample"):
        gelora.open_layer(states, other, 1)


def test_progress_can_cancel():
    def told(stage, done, total):
        if done == 1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        opened(LINE, LINE, progress=told)


def test_rows_of_tokens_are_shown_in_their_text(tmp_path):
    texts = ["red river flows", "blue cat sees", "old house", "new tree finds a dog"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(texts)))
    model = str(save_tiny_model("bert", tmp_path / "model"))
    sample = gelora.load_sample(str(tmp_path / "rows.jsonl"), 10)
    states = gelora.extract_hidden_states(model, sample, pooling="tokens")
    layer = gelora.open_layer(states, sample, 1, n_neighbors=3)
    assert layer.n_rows == states.values.shape[1]
    for row in range(layer.n_rows):
        assert layer.words(row).count("[") == layer.words(row).count("]") == 1
        around = layer.words(row).translate(str.maketrans("", "", "[] #"))
        text = next(i for i, text in enumerate(sample.texts) if around in text.replace(" ", ""))
        assert layer.labels[row] == sample.labels[text]
