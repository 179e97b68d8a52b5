"""Arms side by side are each as they would be alone, and their differences are what the rows say."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model
from torch import nn
from transformers import Trainer

from gelora.errors import InputError, ModelError
from gelora.ranks import edit_ranks, uniform_ranks
from gelora.records import DataChoice, RaceSpec, RunSpec, TrainingConfig, lone_run, race_run
from gelora.runs import Arm, RaceResult, race
from gelora.runs.racing.side_by_side import beginning, train_side_by_side
from gelora.runs.racing.stacked import ArmWeights, StackedLora, arm_weights, stack_arms
from gelora.runs.records.race_result import holm
from gelora.runs.training.held_out import held_out_answers, lost_by_row
from gelora.runs.training.loop import total_steps, train
from gelora.runs.training.methods import apply_method
from gelora.sources import model_structure
from gelora.tasks import build_task

RATES = (1e-3, 5e-4, 2e-3)
SHAPES = [
    ("bert", "classification"), ("roberta", "classification"), ("deberta-v2", "regression"), ("modernbert", "classification"),
    ("llama", "causal-lm"), ("gpt2", "causal-lm"),
]  # fmt: skip


class Losses:
    """A report that keeps the losses."""

    def __init__(self):
        self.found = []

    def values(self, step, values):
        self.found += [values["loss"]] if "loss" in values else []

    def progress(self, *_):
        pass

    examples = say = progress

    def keep(self):
        pass


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout_prob", "attn_dropout", "dropout", "hidden_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def plans_of(folder):
    """Three plans: two of one rank, one that leaves a module out and gives two blocks other ranks."""
    structure = model_structure(folder)
    uneven = uniform_ranks(structure, 2)
    ranks = (
        dict.fromkeys(uneven.ranks, 2) | dict.fromkeys([m.name for m in uneven.modules if m.block == 2], 3) | {uneven.modules[0].name: 0}
    )
    return [uniform_ranks(structure, 1), uniform_ranks(structure, 4), edit_ranks(uneven, ranks)]


def spec_of(folder, kind, data, plan, rate):
    training = TrainingConfig(
        task=kind, n_train=48, n_eval=16, epochs=8.0, batch_size=8, learning_rate=rate, device="cpu", precision="float32", probe_size=0,
        log_every=1,
    )  # fmt: skip
    return RunSpec(str(folder), DataChoice(data), plan, training)


@pytest.mark.parametrize(("architecture", "kind"), SHAPES)
def test_every_arm_is_the_run_that_it_would_be_alone(architecture, kind, labelled_file, scored_file, tmp_path):
    folder = save_tiny_model(architecture, tmp_path / "model")
    data, plans = scored_file if kind == "regression" else labelled_file, plans_of(str(folder))
    lone, weights = [], []
    for plan, rate in zip(plans, RATES, strict=True):
        spec = spec_of(folder, kind, data, plan, rate)
        task, losses = build_task(spec), Losses()
        without_dropout(task.model)
        n_steps = total_steps(spec.training, len(task.train))
        weights.append(beginning(task, spec, plan, n_steps))
        learner = apply_method(task, spec, plan, n_steps)
        train(task, learner, spec.training, spec.seed, tmp_path / f"{rate}", losses, lambda: False)
        lone.append((arm_weights(learner.model, []), losses.found))
    task, found = build_task(spec), []
    stack = train_side_by_side(task, weights, RATES, spec, n_steps, lambda step, losses: found.append(losses.numpy()))

    assert np.stack(found, axis=1) == pytest.approx(np.array([losses for _, losses in lone]), abs=1e-5)
    layers = {name: module for name, module in task.model.named_modules() if isinstance(module, StackedLora)}
    assert set(layers) == {name for arm in weights for name in arm.factors}
    for name, layer in layers.items():
        for i, (alone, _) in enumerate(lone):
            a, b, _ = alone.factors.get(name, (torch.zeros(0, layer.a.shape[1]), torch.zeros(layer.b.shape[2], 0), 0.0))
            rank = len(a)
            assert torch.allclose(layer.a[i, :, :rank].T, a, atol=1e-5), (name, i)
            assert torch.allclose(layer.b[i, :rank].T, b, atol=1e-5), (name, i)
            assert not layer.a[i, :, rank:].any() and not layer.b[i, rank:].any()  # padding
    for i, (alone, _) in enumerate(lone):
        for name, head in alone.heads.items():
            for key, value in head.items():
                assert torch.allclose(task.model.get_submodule(name).get_parameter(key)[i], value, atol=1e-5), (name, key)
    assert (stack.values - torch.cat([p.detach().flatten(1) for p in stack.parameters], dim=1)).abs().max() == 0  # they are its views
    moved = max(
        (alone.factors[name][1] - w.factors[name][1]).abs().max() for (alone, _), w in zip(lone, weights, strict=True) for name in w.factors
    )
    assert moved > 1e-3


@pytest.mark.parametrize(
    ("architecture", "kind", "names"),
    [("bert", "classification", ("default", "pissa", "olora")), ("gpt2", "causal-lm", ("default", "pissa", "gaussian"))],
)
def test_an_arm_that_begins_as_a_part_of_the_base_weights_is_its_lone_run_too(architecture, kind, names, labelled_file, tmp_path):
    folder = save_tiny_model(architecture, tmp_path / "model")
    plans, lone = plans_of(str(folder)), []
    base = spec_of(folder, kind, labelled_file, plans[0], 1e-4)
    spec = race_run(base, RaceSpec(dict(zip(names, plans, strict=True)), (1e-4,), (0,), 48, "default", {n: n for n in names[1:]}))
    for name in names:
        alone = lone_run(spec, name, 0)
        alone = dataclasses.replace(alone, training=dataclasses.replace(alone.training, epochs=8.0))
        task, losses = build_task(alone), Losses()
        without_dropout(task.model)
        n_steps = total_steps(alone.training, len(task.train))
        learner = apply_method(task, alone, alone.plan, n_steps)
        train(task, learner, alone.training, 0, tmp_path / name, losses, lambda: False)
        lone.append((arm_weights(learner.model, []), losses.found))
    task, found = build_task(spec), []
    weights = [beginning(task, lone_run(spec, name, 0), plan, n_steps) for name, plan in zip(names, plans, strict=True)]
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    train_side_by_side(task, weights, [1e-4] * 3, base, n_steps, lambda step, losses: found.append(losses.numpy()))
    assert np.stack(found, axis=1) == pytest.approx(np.array([losses for _, losses in lone]), abs=1e-5)
    layers = {name: module for name, module in task.model.named_modules() if isinstance(module, StackedLora)}
    for name, layer in layers.items():
        assert torch.equal(layer.base.weight, before[f"{name}.weight"])  # all arms share them
        assert not layer.begun[0][0].any() and not layer.begun[1][0].any()  # of the arm that begins with nothing
        for i, (alone, _) in enumerate(lone):
            a, b, _ = alone.factors.get(name, (torch.zeros(0, layer.a.shape[1]), torch.zeros(layer.b.shape[2], 0), 0.0))
            assert torch.allclose(layer.a[i, :, : len(a)].T, a, atol=1e-5), (name, i)
            assert torch.allclose(layer.b[i, : len(a)].T, b, atol=1e-5), (name, i)


def test_answers_to_held_out_rows_are_those_of_each_arm_alone(tiny_bert, labelled_file):
    plans = plans_of(str(tiny_bert))
    spec = spec_of(tiny_bert, "classification", labelled_file, plans[0], 1e-3)
    task = build_task(spec)
    base, weights = copy.deepcopy(task.model), [beginning(task, spec, plan, 6) for plan in plans]
    train_side_by_side(task, weights, RATES, spec, 6, lambda *_: None)
    kept, labels = held_out_answers(task, 3)
    assert labels.tolist() == [row["labels"] for row in task.held_out]
    for i, plan in enumerate(plans):
        alone = build_task(spec)
        alone.model.load_state_dict(base.state_dict())
        train_side_by_side(alone, [weights[i]], [RATES[i]], spec, 6, lambda *_: None)
        [by_itself], _ = held_out_answers(alone, 1)
        assert kept[i] == pytest.approx(by_itself, abs=1e-5), plan.strategy
        lost, counted = lost_by_row(task, kept[i], labels)
        assert lost.sum() / counted.sum() == pytest.approx(float(nn.functional.cross_entropy(torch.tensor(kept[i]), torch.tensor(labels))))


def test_a_race_has_every_plan_at_every_rate_and_seed(tiny_bert, labelled_file):
    structure, told = model_structure(str(tiny_bert)), []
    plans = {"one": uniform_ranks(structure, 1), "two": uniform_ranks(structure, 2)}
    spec = spec_of(tiny_bert, "classification", labelled_file, plans["one"], 1e-3)
    found = race(spec, plans, [1e-3, 1e-4], [0, 3], 5, lambda *progress: told.append(progress))
    assert [(arm.name, arm.learning_rate) for arm in found.arms] == [("one", 1e-3), ("one", 1e-4), ("two", 1e-3), ("two", 1e-4)]
    assert found.training_losses.shape == (2, 5, 4)
    assert found.losses().shape == (2, 4)
    assert (found.task, found.main_metric) == ("classification", "eval_accuracy")
    assert ("Racing 4 arms, seed 3", 5, 5) in told
    answer = json.loads(json.dumps(found.as_json(0)))
    assert [arm["n_adapter_params"] for arm in answer["arms"]] == [plans["one"].n_adapter_params] * 2 + [plans["two"].n_adapter_params] * 2
    again = race(spec, plans, [1e-3, 1e-4], [0, 3], 5, lambda *_: None)
    assert np.array_equal(again.training_losses, found.training_losses)


@pytest.mark.parametrize(
    ("plans", "rates", "seeds", "n_steps", "message"),
    [
        ({"one": 1}, [1e-3], [0], 5, "two arms or more"),
        ({"one": 1, "two": 2}, [1e-3], [], 5, "and a seed"),
        ({"one": 1, "two": 2}, [1e-3], [0], 0, "n_steps is 0"),
        ({"one": 1, "two": 2}, [2.0], [0], 5, "learning_rate is 2.0"),
    ],
)
def test_a_race_that_cannot_be_is_refused_before_anything_is_loaded(tiny_bert, plans, rates, seeds, n_steps, message):
    made = {name: uniform_ranks(model_structure(str(tiny_bert)), rank) for name, rank in plans.items()}
    spec = RunSpec("no such model", DataChoice("no such data"), next(iter(made.values())), TrainingConfig())
    with pytest.raises(InputError, match=message):
        race(spec, made, rates, seeds, n_steps, lambda *_: None)


def test_a_head_of_another_kind_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 2, 1))
    arm = ArmWeights({}, {"1": {"weight": torch.zeros(2, 4, 1), "bias": torch.zeros(2)}}, frozenset())
    with pytest.raises(ModelError, match=r"1 is a Conv1d; arms train linear layers and layer norms whole"):
        stack_arms(model, [arm, arm])


def made_result(lost, counted, names=("a", "b", "c")):
    arms = tuple(Arm(name, 1e-3, None) for name in names)
    return RaceResult(
        arms, tuple(range(len(lost))), "causal-lm", "eval_loss", False, 1, np.zeros((len(lost), 1, len(arms))), lost, counted, ()
    )


def test_differences_are_paired_by_row():
    rng = np.random.default_rng(0)
    rows = rng.gamma(2.0, 5.0, 400)  # rows differ by far more than arms do
    lost = np.stack([rows, rows + 0.2 + rng.normal(0, 0.5, 400), rows + rng.normal(0, 0.5, 400)])
    none, worse, same = made_result((lost,), (np.ones(400),)).differences(0)
    assert (none.value, none.p_corrected, none.is_significant) == (0.0, None, False)
    assert worse.value == pytest.approx((lost[1] - lost[0]).mean())
    error = (lost[1] - lost[0]).std(ddof=1) / 20
    assert worse.ci_high - worse.ci_low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert worse.is_significant and worse.ci_low > 0
    assert not same.is_significant and same.ci_low < 0 < same.ci_high
    assert worse.p_corrected == pytest.approx(2 * worse.p)


def test_tokens_are_counted_in_language_modelling():
    lost, counted = np.array([[2.0, 30.0], [4.0, 30.0]]), np.array([1.0, 10.0])
    result = made_result((lost,), (counted,), ("a", "b"))
    assert result.losses()[0] == pytest.approx([32 / 11, 34 / 11])
    assert result.differences(0)[1].value == pytest.approx(2 / 11)


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(1)
    rows = rng.gamma(2.0, 1.0, 300)
    up, down = (np.stack([rows, rows + shift + rng.normal(0, 0.1, 300)]) for shift in (0.3, -0.2))
    one = made_result((up,), (np.ones(300),), ("a", "b")).differences(0)[1]
    both = made_result((up, down, up), (np.ones(300),) * 3, ("a", "b")).differences(0)[1]
    assert one.is_significant and not both.is_significant
    assert both.ci_high - both.ci_low > 5 * (one.ci_high - one.ci_low)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(2), 0
    for _ in range(120):
        rows = rng.gamma(2.0, 1.0, 150)
        lost = np.stack([rows, rows + 0.1 + rng.normal(0, 0.4, 150)])
        found = made_result((lost,), (np.ones(150),), ("a", "b")).differences(0)[1]
        held += found.ci_low <= 0.1 <= found.ci_high
    assert 0.88 <= held / 120 <= 1.0  # 95% and three standard errors


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_trainer_s_decayed_parameters_are_found(tiny_bert, labelled_file):
    spec = spec_of(tiny_bert, "classification", labelled_file, uniform_ranks(model_structure(str(tiny_bert)), 2), 1e-3)
    task = build_task(spec)
    weights = beginning(task, spec, spec.plan, 6)
    assert set(weights.factors) <= weights.decayed
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= weights.decayed
    assert not {"classifier.bias", "bert.pooler.dense.bias"} & weights.decayed
    assert callable(Trainer.get_decay_parameter_names)
