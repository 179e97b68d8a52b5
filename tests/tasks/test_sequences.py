"""Classification and regression: rows, split, labels, head, and every way in which the data can be wrong."""

import numpy as np
import pytest
import torch

from gelora.errors import DataError, ModelError
from gelora.records import DataChoice
from gelora.tasks import build_task


def texts_of(task, rows):
    return [task.tokenizer.decode(row["input_ids"], skip_special_tokens=True) for row in rows]


def test_rows_are_split_counted_and_sorted(make_spec, labelled_file):
    task = build_task(make_spec(labelled_file))
    assert (len(task.train), len(task.held_out)) == (48, 16)
    assert (task.kind, task.n_labels, task.main_metric, task.higher_is_better) == ("classification", 2, "eval_accuracy", True)
    assert (task.peft_task_type, task.auto_class) == ("SEQ_CLS", "AutoModelForSequenceClassification")
    assert task.majority_accuracy == 0.5  # both classes are equally frequent, and the split keeps that
    lengths = [len(row["input_ids"]) for row in task.held_out]
    assert lengths == sorted(lengths)
    assert {row["labels"] for row in task.train} == {0, 1}
    assert not set(texts_of(task, task.train)) & set(texts_of(task, task.held_out))
    assert task.notes == ()


def test_the_seed_makes_head_and_rows(make_spec, labelled_file):
    first, second, other = (build_task(make_spec(labelled_file, seed=seed)) for seed in (3, 3, 4))
    heads = [task.model.classifier.weight for task in (first, second, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert first.train == second.train != other.train
    assert first.texts_digest == second.texts_digest != other.texts_digest


def test_the_method_changes_neither_head_nor_rows(make_spec, labelled_file):
    first, other = (
        build_task(make_spec(labelled_file, method=method, learning_rate=rate)) for method, rate in (("head", 1e-3), ("full", 1e-5))
    )
    assert torch.equal(first.model.classifier.weight, other.model.classifier.weight)
    assert first.train == other.train


def test_what_the_checkpoint_lacks_is_named(make_spec, labelled_file):
    task = build_task(make_spec(labelled_file))
    assert task.random_keys == ("classifier.bias", "classifier.weight")
    assert not task.reloaded_keys


def test_training_uses_rows_that_repeat_and_keeps_them_on_one_side(make_spec, write_rows, labelled_rows):
    task = build_task(make_spec(write_rows(labelled_rows * 3), n_train=144, n_eval=48))
    assert len(task.train) + len(task.held_out) == 192
    assert len(task.held_out) > 24
    assert not set(texts_of(task, task.train)) & set(texts_of(task, task.held_out))


def test_pairs_that_share_a_side_are_on_one_side_of_the_split(make_spec, write_rows, labelled_rows):
    rows = [{"sentence1": labelled_rows[i // 4]["text"], "sentence2": f"number {i} of them all", "label": i % 2} for i in range(64)]
    task = build_task(make_spec(write_rows(rows)))
    premises = [{text.split(" number")[0] for text in texts_of(task, side)} for side in (task.train, task.held_out)]
    assert premises[1]
    assert not premises[0] & premises[1]
    assert all(set(row["token_type_ids"]) == {0, 1} for row in task.train)


def test_regression_labels_are_numbers(make_spec, write_rows, labelled_rows):
    rows = [row | {"label": len(row["text"]) / 20 + row["label"]} for row in labelled_rows]
    task = build_task(make_spec(write_rows(rows)))
    assert (task.kind, task.n_labels, task.main_metric, task.majority_accuracy) == ("regression", 1, "eval_pearson", None)
    assert task.model.config.problem_type == "regression"
    assert {row["labels"] for row in task.train} <= {row["label"] for row in rows}
    assert task.collate(task.train[:3])["labels"].dtype == torch.float32


def test_whole_numbers_are_classes_unless_regression_is_asked_for(make_spec, write_rows, labelled_rows):
    path = write_rows([row | {"label": i % 5 + 1} for i, row in enumerate(labelled_rows)])
    assert build_task(make_spec(path)).label_names == ("1", "2", "3", "4", "5")
    task = build_task(make_spec(path, task="regression"))
    assert {row["labels"] for row in task.train} == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_held_out_data_of_its_own_is_the_dev_set(make_spec, write_rows, labelled_rows):
    train, dev = write_rows(labelled_rows[:40], "train"), write_rows(labelled_rows[40:], "dev")
    task = build_task(make_spec(train, held_out=dev, n_train=1000, n_eval=10))
    assert (len(task.train), len(task.held_out)) == (40, 10)
    dev_texts = {row["text"]: row["label"] for row in labelled_rows[40:]}
    assert {
        text: row["labels"] for text, row in zip(texts_of(task, task.held_out), task.held_out, strict=True)
    }.items() <= dev_texts.items()


def test_held_out_labels_follow_the_names_of_training(make_spec, write_rows, labelled_rows):
    words = ("no", "yes")
    train = write_rows([row | {"label": words[row["label"]]} for row in labelled_rows[:40]], "train")
    dev = write_rows([row | {"label": "yes"} for row in labelled_rows[40:] if row["label"]], "dev")
    task = build_task(make_spec(train, held_out=dev))
    assert task.label_names == words
    assert {row["labels"] for row in task.held_out} == {1}


def test_a_column_may_be_missing_a_name_in_the_held_out_choice(make_spec, write_rows, labelled_rows):
    train = write_rows([{"a": row["text"], "b": row["label"]} for row in labelled_rows[:40]], "train")
    dev = write_rows([{"c": row["text"], "b": row["label"]} for row in labelled_rows[40:]], "dev")
    columns = {"text_column": "a", "label_column": "b"}
    task = build_task(make_spec(train, held_out=DataChoice(dev, text_column="c"), columns=columns))
    assert len(task.held_out) == 16


def test_an_unseen_label_among_the_held_out_rows_is_named(make_spec, write_rows, labelled_rows):
    train = write_rows(labelled_rows[:40], "train")
    dev = write_rows([*labelled_rows[40:], {"text": "something else", "label": 2}], "dev")
    with pytest.raises(DataError, match=r"label '2', which no training row has \(there are: 0, 1\); leave those rows out"):
        build_task(make_spec(train, held_out=dev))


def test_held_out_rows_that_are_trained_on_are_said(make_spec, write_rows, labelled_rows):
    train, dev = write_rows(labelled_rows[:40], "train"), write_rows(labelled_rows[38:], "dev")
    task = build_task(make_spec(train, held_out=dev, n_eval=26))
    assert task.notes == ("2 of 26 held-out rows are also trained on",)
    with pytest.raises(DataError, match=r"Every held-out row of .* is also trained on"):
        build_task(make_spec(train, held_out=train))


def test_fewer_rows_than_asked_for_keep_the_proportion(make_spec, labelled_file):
    task = build_task(make_spec(labelled_file, n_train=3000, n_eval=1000))
    assert (len(task.train), len(task.held_out)) == (48, 16)


def test_long_texts_are_cut_and_said(make_spec, write_rows):
    path = write_rows([{"text": f"{i} " + "good story " * (200 if i < 5 else 2), "label": i % 2} for i in range(20)])
    task = build_task(make_spec(path, max_length=10_000))
    assert max(len(row["input_ids"]) for row in [*task.train, *task.held_out]) == 128
    assert any("at most 128 tokens long" in note and "not 10000" in note for note in task.notes)
    cut = [note for note in task.notes if "longer than 128 tokens and were cut" in note]
    assert sum(int(note.split()[0]) for note in cut) == 5


def test_roberta_s_positions_for_padding_are_not_used(make_spec, write_rows, tiny, tmp_path):
    import shutil

    from transformers import AutoTokenizer

    folder = tmp_path / "roberta"
    shutil.copytree(tiny("roberta"), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained(folder)
    path = write_rows([{"text": f"{i} " + "good story " * 200, "label": i % 2} for i in range(20)])
    task = build_task(make_spec(path, model=folder, max_length=1000))
    assert max(len(row["input_ids"]) for row in task.train) == 128  # of 130 positions
    with torch.no_grad():
        assert torch.isfinite(task.model(**task.collate(task.train[:2])).loss)


def test_rows_without_text_are_left_out_and_counted(make_spec, write_rows, labelled_rows):
    task = build_task(make_spec(write_rows([*labelled_rows, {"text": "", "label": 1}, {"text": "  ", "label": 0}]), n_train=100))
    assert len(task.train) + len(task.held_out) == 64
    assert task.notes == ("2 rows without text were left out",)


@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        ([{"text": f"text {i}", "label": "same"} for i in range(20)], {}, "same label"),
        ([{"text": f"a text of number {i}"} for i in range(20)], {}, "no labels"),
        ([{"text": f"text {i}", "label": i % 2} for i in range(3)], {}, "3 usable rows; a run needs at least 4"),
        ([{"text": "one", "label": 1.5}], {"task": "regression"}, "1 usable row; a run needs at least 4"),
        ([{"text": "", "label": i % 2} for i in range(20)], {}, "All 20 rows of column 'text'"),
        ([{"text": "one text", "label": i % 2} for i in range(20)], {}, "share their texts, so that none can be held out"),
        (
            [{"text": f"t {i}", "label": "ab"[i % 2]} for i in range(20)],
            {"task": "regression"},
            "words, such as 'a', and regression needs numbers",
        ),
        ([{"text": f"t {i}", "label": i + 0.5} for i in range(20)], {"task": "classification"}, "such as 0.5, which are no classes"),
        (
            [{"text": f"t {i}", "label": i % 2} for i in range(20)],
            {"task": "question-answering"},
            "has not the columns for question-answering",
        ),
    ],
)
def test_data_that_cannot_be_learned_is_one_sentence(make_spec, write_rows, rows, options, sentence):
    with pytest.raises(DataError, match=sentence):
        build_task(make_spec(write_rows(rows), **options))


def test_a_tokenizer_of_another_model_is_one_sentence(make_spec, labelled_file, tmp_path):
    from tiny_models import save_tiny_model

    folder = save_tiny_model("bert", tmp_path / "small", vocab_size=100)
    with pytest.raises(ModelError, match="embeddings for 100 only"):
        build_task(make_spec(labelled_file, model=folder))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "distilbert", "modernbert"])
def test_architectures_classify(make_spec, labelled_file, tiny, logits_of, architecture):
    task = build_task(make_spec(labelled_file, model=architecture))
    assert task.model.config.pad_token_id == task.tokenizer.pad_token_id is not None
    assert not getattr(task.model.config, "use_cache", False)
    kept = logits_of(task)
    assert kept.shape == (16, 2)
    alone = logits_of(task, batch_size=1)  # no padding: the same answers
    assert np.allclose(kept, alone, atol=1e-4)
    assert task.model.config._attn_implementation == "sdpa"


def test_scores_and_shown_examples_come_from_the_logits(make_spec, labelled_file, labelled_rows, logits_of):
    task = build_task(make_spec(labelled_file))
    labels = np.array([row["labels"] for row in task.held_out])
    assert task.score(np.eye(2)[labels], labels) == {"accuracy": 1.0, "f1": 1.0, "matthews": 1.0}
    shown = task.show(np.eye(2)[1 - labels])
    assert len(shown) == 6
    truths = {row["text"]: str(row["label"]) for row in labelled_rows}
    assert all(truths[example.given] == example.truth for example in shown)
    sides = {id(row): text for row, text in zip(task.held_out, texts_of(task, task.held_out), strict=True)}
    assert [example.given for example in shown] == [sides[id(task.held_out[i])] for i in (0, 3, 6, 9, 12, 15)]
    assert all(example.right is False and {example.truth, example.prediction} == {"0", "1"} for example in shown)
    assert [example.given for example in task.show(logits_of(task))] == [example.given for example in shown]
    assert set(example.given for example in shown) <= set(texts_of(task, task.held_out))


def test_a_glue_folder_brings_its_metric_and_names(make_spec, write_rows, labelled_rows, tmp_path):
    (tmp_path / "glue" / "cola").mkdir(parents=True)
    path = write_rows([{"sentence": row["text"], "label": row["label"]} for row in labelled_rows], "glue/cola/train")
    task = build_task(make_spec(path))
    assert (task.main_metric, task.label_names) == ("eval_matthews", ("unacceptable", "acceptable"))
    assert "matthews" in task.score(np.eye(2)[[0, 1, 1]], np.array([0, 1, 0]))
