"""A race as a run: stopped or killed it goes on exactly, in waves it finds the same, and what cannot race is said beforehand."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gelora.errors import InputError, RunError, StoreError
from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, RaceSpec, RunSpec, TrainingConfig, race_run
from gelora.runs import export_arm
from gelora.runs.racing import leg, run as race_run_module, side_by_side
from gelora.runs.racing.run import RaceTrainer
from gelora.runs.racing.waves import arms_bytes, waves
from gelora.runs.records.race_result import read_result, write_result
from gelora.runs.records.state import create_folder
from gelora.runs.training import held_out
from gelora.runs.training.watch import Diverged
from gelora.sources import model_structure

N_STEPS, SEEDS = 6, (0, 3)


class Kept:
    """A report that keeps all that it is told; may end the race as a kill would."""

    def __init__(self, dies_at=None):
        self.logged, self.said, self.step, self._dies_at = {}, [], 0, dies_at

    def values(self, step, values):
        self.logged |= {(name, step): value for name, value in values.items() if name != "examples_per_second"}

    def progress(self, step, total, left):
        self.step = step
        if step == self._dies_at:
            raise KeyboardInterrupt

    def say(self, text):
        self.said.append(text)

    def examples(self, *_):
        pass

    def keep(self):
        pass


@pytest.fixture
def race_spec(tiny_bert, labelled_file):
    """race_spec(rates, ranks, **training) -> the spec of a race of uniform ranks."""

    def make(rates=(1e-3,), ranks=(1, 2, 4), seeds=SEEDS, inits=None, **training):
        structure = model_structure(str(tiny_bert))
        plans = {f"r{rank}": uniform_ranks(structure, rank) for rank in ranks}
        options = {"n_train": 48, "n_eval": 16, "batch_size": 8, "device": "cpu", "precision": "float32", "eval_every": 2, "log_every": 1}
        base = RunSpec(str(tiny_bert), DataChoice(labelled_file), plans["r1"], TrainingConfig(**options | training))
        return race_run(base, RaceSpec(plans, rates, seeds, N_STEPS, "r1", inits or {}))

    return make


def carried_out(spec, folder, report=None, stop_at=None):
    report = report or Kept()
    trainer = RaceTrainer(spec, report, lambda *_: None, folder, lambda: stop_at is not None and report.step >= stop_at)
    return trainer.run(), report


def arms_in(folder):
    return {path.relative_to(folder): load_file(path) for path in sorted(folder.glob("arms/*/*.safetensors"))}


@pytest.mark.parametrize("inits", [{}, {"r2": "pissa", "r4": "olora"}], ids=["default", "of the base"])
def test_a_race_that_was_stopped_and_killed_ends_as_one_that_was_not(inits, race_spec, tmp_path):
    spec = race_spec(inits=inits)
    whole, of_whole = carried_out(spec, tmp_path / "whole")
    folder, logged = tmp_path / "broken", {}
    stopped, report = carried_out(spec, folder, stop_at=3)  # between two evaluations of the first seed
    assert stopped is None
    assert (folder / "checkpoints" / "checkpoint-3" / "complete.json").is_file()
    logged |= report.logged
    killed = Kept(dies_at=N_STEPS + 5)  # in the second seed, a step after an evaluation
    with pytest.raises(KeyboardInterrupt):
        carried_out(spec, folder, killed)
    logged |= killed.logged
    resumed, report = carried_out(spec, folder)
    logged |= report.logged

    assert resumed == whole
    assert resumed.training_losses.shape == (len(SEEDS), N_STEPS, 3)
    assert logged == of_whole.logged
    assert min(step for name, step in report.logged if name.startswith("loss/r1/3")) == 5  # not from the beginning
    of_arms = arms_in(folder)
    assert len(of_arms) == 3 * len(SEEDS)
    for path, tensors in arms_in(tmp_path / "whole").items():
        assert {name: tensor.tolist() for name, tensor in tensors.items()} == {name: t.tolist() for name, t in of_arms[path].items()}
    again, report = carried_out(spec, folder)  # as when it was killed between its last checkpoint and its result
    assert again == whole and not report.logged


def test_what_is_logged_is_what_the_result_says(race_spec, tmp_path):
    result, report = carried_out(race_spec(), tmp_path)
    for seed_place, seed in enumerate(SEEDS):
        for i, name in enumerate(("r1", "r2", "r4")):
            assert report.logged[f"eval_loss/{name}/{seed}", N_STEPS] == pytest.approx(result.losses()[seed_place, i])
            assert [report.logged[f"loss/{name}/{seed}", step] for step in range(1, N_STEPS + 1)] == pytest.approx(
                result.training_losses[seed_place, :, i].tolist()
            )
    assert {step for name, step in report.logged if name == "eval_accuracy/r2/0"} == {2, 4, 6}
    low, value, high = (report.logged[f"{what}/r2/0", 6] for what in ("ci_low", "difference", "ci_high"))
    assert low < value < high and value == pytest.approx(result.losses()[0, 1] - result.losses()[0, 0])
    assert ("difference/r1/0", 6) not in report.logged
    write_result(tmp_path, result)
    assert read_result(tmp_path) == result
    (tmp_path / "race.json").write_text("{")
    with pytest.raises(StoreError, match=r"race\.json is damaged"):
        read_result(tmp_path)


def test_waves_find_what_all_at_once_find(race_spec, tmp_path, monkeypatch):
    spec = race_spec(seeds=(0,))
    whole, report = carried_out(spec, tmp_path / "whole")
    assert not report.said
    two = arms_bytes(spec, 2, 16, "float32", 0, False)
    monkeypatch.setattr(race_run_module, "free_bytes", lambda device: int(1.2 * two))
    monkeypatch.setattr(race_run_module, "arms_bytes", lambda spec, n, *_: arms_bytes(spec, n, 16, "float32", 0, False))
    parted, report = carried_out(spec, tmp_path / "parted")
    assert any("they train in 2 waves of at most 2" in sentence for sentence in report.said)
    np.testing.assert_allclose(parted.training_losses, whole.training_losses, atol=1e-6)
    np.testing.assert_allclose(parted.losses(), whole.losses(), atol=1e-6)
    assert parted.arms == whole.arms
    for path, tensors in arms_in(tmp_path / "whole").items():
        for name, tensor in arms_in(tmp_path / "parted")[path].items():
            np.testing.assert_allclose(tensor, tensors[name], atol=1e-6)


@pytest.mark.parametrize(("free", "expected"), [(100, (7,)), (44, (4, 3)), (33, (3, 2, 2)), (1, (1,) * 7)])
def test_waves_are_as_few_as_memory_allows_and_nearly_equal(free, expected):
    assert waves(7, lambda n: 10 * n, free) == expected


def test_an_arm_that_diverges_is_said_and_takes_no_other_with_it(race_spec, tmp_path, monkeypatch):
    spec = race_spec(ranks=(1, 2), seeds=(0,))
    alone, _ = carried_out(spec, tmp_path / "alone")
    broken = {spec.race.plans["r2"].n_adapter_params}

    def beginning(task, spec, plan, n_steps):
        found = side_by_side.beginning(task, spec, plan, n_steps)
        if plan.n_adapter_params in broken:
            found.factors.update({name: (a * float("inf"), b, scale) for name, (a, b, scale) in found.factors.items()})
        return found

    monkeypatch.setattr(leg, "beginning", beginning)
    found, report = carried_out(spec, tmp_path / "one")
    assert report.said == ["r2 diverged before step 1 (seed 0); the other arms go on"]
    assert np.isnan(found.losses()[0, 1])
    assert found.losses()[0, 0] == alone.losses()[0, 0]
    answer = json.loads(json.dumps(found.as_json(0), allow_nan=False))
    assert answer["arms"][1]["eval_loss"] is None and answer["arms"][1]["p_corrected"] is None
    assert answer["arms"][0]["eval_loss"] == found.losses()[0, 0]
    write_result(tmp_path, found)
    assert read_result(tmp_path) == found
    broken.add(spec.race.plans["r1"].n_adapter_params)
    with pytest.raises(Diverged, match="the loss of every arm"):
        carried_out(spec, tmp_path / "both")


def test_equal_races_have_equal_digests_and_older_specs_their_own(race_spec, make_spec):
    spec = race_spec()
    other = dataclasses.replace(spec.training, epochs=9.0, learning_rate=0.5, loader_workers=2, probe_size=64, batch_size=4)
    other = dataclasses.replace(other, gradient_accumulation=2, n_train=4000)
    assert race_run(dataclasses.replace(spec, training=other, race=None), spec.race).digest() == spec.digest()
    assert race_run(spec, dataclasses.replace(spec.race, n_steps=7)).digest() != spec.digest()
    assert RunSpec.from_json(spec.to_json()) == spec
    lone = make_spec()
    older = json.loads(lone.to_json())
    del older["race"]
    assert RunSpec.from_json(json.dumps(older)).digest() == lone.digest()


def test_what_cannot_race_is_refused_before_anything_is_loaded(race_spec):
    spec = race_spec()
    plans = spec.race.plans
    foreign = dataclasses.replace(plans["r2"], model_id="another")
    for change, message in (
        ({"plans": plans | {"r2": foreign}}, "those of r2 for another; arms of a race share one model"),
        ({"plans": {"r1": plans["r1"]}}, "two arms or more"),
        ({"reference": "r9"}, "Unknown reference 'r9'"),
        ({"inits": {"r9": "pissa"}}, "Unknown plan of a beginning 'r9'"),
        ({"inits": {"r2": "lora-ga"}}, "Unknown init_lora_weights 'lora-ga'"),
        ({"seeds": (0, 0)}, "The seeds of a race are 0, 0; give each once"),
        ({"learning_rates": (1e-3, 1e-3)}, "learning rates of a race are 0.001, 0.001"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(spec.race, **change)
    with pytest.raises(InputError, match="which DoRA's magnitudes scale"):
        race_run(dataclasses.replace(spec, training=dataclasses.replace(spec.training, use_dora=True)), spec.race)
    with pytest.raises(InputError, match="make its spec with race_run"):
        dataclasses.replace(spec, seed=5)


@pytest.mark.parametrize("inits", [{}, {"r2": "pissa"}], ids=["default", "pissa"])
def test_an_exported_arm_is_a_plain_adapter_with_the_arm_s_own_logits(inits, race_spec, gelora_home, tmp_path, monkeypatch):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    spec, answers = race_spec(rates=(1e-3, 4e-3), ranks=(1, 2), inits=inits), []

    def held_out_answers(task, n_arms, bf16):
        answers.append((task, *held_out.held_out_answers(task, n_arms, bf16)))
        return answers[-1][1:]

    monkeypatch.setattr(leg, "held_out_answers", held_out_answers)
    folder = create_folder(spec)
    result, _ = carried_out(spec, folder)
    write_result(folder, result)
    task, kept, _ = answers[-1]  # of the second seed, at its end
    exported = export_arm(folder.name, "r2 0.004", tmp_path / "adapter", SEEDS[1])
    base = AutoModelForSequenceClassification.from_pretrained(spec.model, num_labels=2)
    model = PeftModel.from_pretrained(base, exported).eval()
    batch = task.collate(task.held_out)
    del batch["labels"]
    with torch.no_grad():
        logits = model(**batch).logits
    np.testing.assert_allclose(logits.numpy(), kept[3], atol=1e-5)
    assert np.abs(kept[3] - kept[2]).max() > 1e-3  # the other rate is another arm
    assert AutoTokenizer.from_pretrained(exported).vocab_size
    assert f"- eval_loss: {result.losses()[1, 3]:.6g}" in (exported / "README.md").read_text()

    for arm, seed, target, message in (
        ("r2", None, "new", "Unknown arm 'r2'; choose one of: r1 0.001"),
        ("r1 0.001", 5, "new", "Unknown seed '5'; choose one of: 0, 3"),
        ("r1 0.001", 0, "adapter", "is not empty; name a new folder"),
    ):
        with pytest.raises(InputError, match=message):
            export_arm(folder.name, arm, tmp_path / target, seed)
    lone = create_folder(dataclasses.replace(spec, race=None))
    with pytest.raises(InputError, match="is no race"):
        export_arm(lone.name, "r1", tmp_path / "new")


def test_an_arm_that_is_not_there_is_one_sentence(tmp_path):
    from gelora.runs.racing.arms import read_arm

    with pytest.raises(RunError, match="not trained to its end"):
        read_arm(tmp_path / "arm-0.safetensors")
    (tmp_path / "arm-0.safetensors").write_bytes(b"x")
    with pytest.raises(StoreError, match="is damaged"):
        read_arm(tmp_path / "arm-0.safetensors")
