"""From a spec to model, rows and metric."""

import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_models import save_tiny_model

from gelora.errors import DataError
from gelora.runs.tasks import _classification_metrics, _regression_metrics, build_task


def rows_to(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_classification_rows_are_split_and_counted(make_spec):
    task = build_task(make_spec())
    assert (len(task.train), len(task.held_out)) == (48, 16)
    assert (task.kind, task.n_labels, task.main_metric) == ("classification", 2, "eval_accuracy")
    assert task.majority_accuracy == 0.5  # both classes are equally frequent, and the split keeps that
    lengths = [len(row["input_ids"]) for row in task.held_out]
    assert lengths == sorted(lengths)
    assert {row["labels"] for row in task.train} == {0, 1}


def test_trainable_parameters_are_the_adapter_and_the_head(make_spec):
    task = build_task(make_spec())
    width, blocks, r = 32, 3, 2
    assert task.n_adapter_params == blocks * 4 * r * (width + width)
    assert task.n_head_params == (width * width + width) + (width * 2 + 2)  # pooler and classifier
    assert sum(p.numel() for p in task.model.parameters() if p.requires_grad) == task.n_adapter_params + task.n_head_params


def test_head_only_run_leaves_the_blocks_frozen(make_spec):
    task = build_task(make_spec(method="head"))
    trainable = [name for name, p in task.model.named_parameters() if p.requires_grad]
    assert task.n_adapter_params == 0
    assert task.n_head_params == sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    assert trainable
    assert not any("encoder" in name or "embeddings" in name for name in trainable)


def test_same_seed_gives_the_same_head_and_rows(make_spec):
    first, second, other = build_task(make_spec(seed=3)), build_task(make_spec(seed=3)), build_task(make_spec(seed=4))
    heads = [{n: p.detach().numpy() for n, p in t.model.named_parameters() if p.requires_grad} for t in (first, second, other)]
    assert all(np.array_equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert not all(np.array_equal(heads[0][name], heads[2][name]) for name in heads[0])
    assert first.train == second.train != other.train


def test_pairs_become_one_input_of_two_segments(make_spec, paired_file):
    task = build_task(make_spec(dataset=paired_file))
    assert all(set(row["token_type_ids"]) == {0, 1} for row in task.train)


def test_regression_labels_stay_real_numbers(make_spec, scored_file):
    task = build_task(make_spec(dataset=scored_file))
    assert (task.kind, task.n_labels, task.main_metric, task.majority_accuracy) == ("regression", 1, "eval_pearson", None)
    assert all(isinstance(row["labels"], float) for row in task.train)
    assert task.model.config.problem_type == "regression"


def test_fewer_rows_than_asked_for_keep_the_proportion(make_spec):
    task = build_task(make_spec(n_train=3000, n_eval=1000))
    assert (len(task.train), len(task.held_out)) == (48, 16)


def test_texts_are_cut_to_what_the_model_can_hold(make_spec, tmp_path):
    path = rows_to(tmp_path / "long.jsonl", [{"text": f"{i} " + "good story " * 300, "label": i % 2} for i in range(20)])
    task = build_task(make_spec(dataset=path, max_length=10_000))
    assert max(len(row["input_ids"]) for row in task.train) == 128


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"text": f"text {i}", "label": "same"} for i in range(20)], "same label"),
        ([{"text": f"a text of number {i}"} for i in range(20)], "no labels"),
        ([{"text": f"text {i}", "label": i % 2} for i in range(3)], "needs at least 4"),
    ],
)
def test_data_that_cannot_be_learned_is_one_sentence(make_spec, tmp_path, rows, sentence):
    with pytest.raises(DataError, match=sentence):
        build_task(make_spec(dataset=rows_to(tmp_path / "data.jsonl", rows)))


def test_decoder_gets_a_padding_token(make_spec, tmp_path):
    task = build_task(make_spec(model=save_tiny_model("llama", tmp_path / "llama")))
    assert task.model.config.pad_token_id == task.tokenizer.pad_token_id is not None
    assert task.model.config.use_cache is False


def test_classification_metrics_are_the_textbook_ones():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    predictions = np.eye(2)[[0, 0, 1, 1, 1, 1, 0, 0]]
    tp, tn, fp, fn = 3, 2, 1, 2
    matthews = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert _classification_metrics(predictions, labels) == pytest.approx({"accuracy": 5 / 8, "f1": 2 / 3, "matthews": matthews})


def test_f1_of_three_classes_is_the_mean_over_classes():
    labels, predictions = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 1, 2]]
    assert _classification_metrics(predictions, labels)["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_regression_metrics_are_the_textbook_ones():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    answers = (2 * truth + rng.normal(size=50)).reshape(-1, 1)
    found = _regression_metrics(answers, truth)
    assert found["pearson"] == pytest.approx(np.corrcoef(answers[:, 0], truth)[0, 1])
    assert found["spearman"] == pytest.approx(spearmanr(answers[:, 0], truth).statistic)
    assert found["mse"] == pytest.approx(np.mean((answers[:, 0] - truth) ** 2))


def test_correlation_with_a_constant_is_undefined_not_a_warning():
    found = _regression_metrics(np.ones((5, 1)), np.arange(5.0))
    assert math.isnan(found["pearson"])
    assert found["mse"] == 3.0
