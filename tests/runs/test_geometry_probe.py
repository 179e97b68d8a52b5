"""Geometry during training: measured without touching the training, within its budget, and ranks re-allocated."""

import dataclasses
import json
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_models import save_tiny_model, tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    TrainerCallback,
    TrainerControl,
)

from gelora.errors import InputError, StoreError
from gelora.geometry import TwoNN
from gelora.ranks import edit_ranks, uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs.records.geometry_log import GeometryLog, GeometryMeasurement, read_geometry
from gelora.runs.training import checkpoints, geometry_probe, probe_sample
from gelora.runs.training.geometry_probe import GeometryProbe
from gelora.runs.training.loop import train
from gelora.runs.training.methods import apply_method
from gelora.runs.training.probe_sample import ProbeSample
from gelora.runs.training.reallocation import plan_in_use, reallocation_steps
from gelora.sources import model_structure
from gelora.tasks import ShownExample, Task

KINDS = {
    "classification": ("SEQ_CLS", AutoModelForSequenceClassification),
    "question-answering": ("QUESTION_ANS", AutoModelForQuestionAnswering),
    "causal-lm": ("CAUSAL_LM", AutoModelForCausalLM),
}
WORDS = ("the", "film", "was", "good", "bad", "great", "dull", "and", "a", "story", "with", "very", "train", "rain", "place", "garden")


def made_rows(tokenizer, kind: str, n: int, seed: int) -> list[dict]:
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        label = i % 2
        text = " ".join([*rng.choices(WORDS, k=rng.randint(4, 12)), "good" if label else "bad"])
        row = dict(tokenizer(text))
        if kind == "classification":
            row["labels"] = label
        elif kind == "causal-lm":
            row["labels"] = list(row["input_ids"])
        else:
            row |= {"start_positions": 1, "end_positions": 2}
        rows.append(row)
    return rows


def made_task(folder, architecture: str = "bert", kind: str = "classification", n_held_out: int = 48) -> Task:
    """A task of its own, so that these tests hang on nothing but the record."""
    peft_task, auto = KINDS[kind]
    tokenizer = tiny_tokenizer(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        options = {"num_labels": 2} if kind == "classification" else {}
        model, info = auto.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, **options)
    model.config.pad_token_id = model.config.pad_token_id or 0

    def collate(rows):
        width = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "labels": -100}
        return {
            name: torch.tensor(
                [row[name] + [fill[name]] * (width - len(row[name])) if isinstance(row[name], list) else row[name] for row in rows]
            )
            for name in rows[0]
        }

    return Task(
        kind=kind,
        model=model,
        tokenizer=tokenizer,
        entry=SimpleNamespace(model_id=str(folder), revision="rev"),
        train=made_rows(tokenizer, kind, 80, 0),
        held_out=sorted(made_rows(tokenizer, kind, n_held_out, 1), key=lambda row: len(row["input_ids"])),
        collate=collate,
        reduce=lambda outputs, labels: (outputs[0] if isinstance(outputs, tuple) else outputs).float().mean(dim=-1),
        score=lambda kept, labels: {"mean": float(np.mean(kept))},
        show=lambda kept: [ShownExample("given", "truth", "prediction", None)],
        main_metric="eval_mean",
        higher_is_better=True,
        label_names=("bad", "good") if kind == "classification" else None,
        majority_accuracy=None,
        random_keys=tuple(info["missing_keys"]),
        reloaded_keys=False,
        peft_task_type=peft_task,
        auto_class=auto.__name__,
        texts_digest="digest",
    )


class Notes:
    """A report that keeps what it is told."""

    def __init__(self):
        self.logged, self.said = [], []

    def values(self, step, values):
        self.logged.append((step, values))

    def progress(self, *_args):
        pass

    def examples(self, *_args):
        pass

    def say(self, text):
        self.said.append(text)

    def keep(self):
        pass


class Killed(Exception):
    """As a kill: nothing is saved after it."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_tiny_model(name, tmp_path_factory.mktemp(name)) for name in ("bert", "gpt2", "llama")}


@pytest.fixture(autouse=True)
def cost_is_no_matter(monkeypatch):
    """Measuring takes longer than training here."""
    monkeypatch.setattr(geometry_probe, "COST_SHARE", 1e9)


@pytest.fixture
def make(folders):
    """make(method=..., plan=..., **training) -> RunSpec of 20 optimizer steps with an evaluation at every 5th."""

    def spec(architecture="bert", method="lora", plan=None, seed=3, **training) -> RunSpec:
        folder = str(folders[architecture])
        if plan is None and method in ("lora", "adalora"):
            more = {"encoder.layer.1.attention.self.query": 5} if architecture == "bert" else {}
            plan = edit_ranks(uniform_ranks(model_structure(folder), 2), more)
        options = {"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "device": "cpu", "probe_size": 40}
        options |= {"eval_every": 5, "log_every": 5}
        config = TrainingConfig(method=method, **{**options, **training})
        return RunSpec(folder, DataChoice("made"), plan, config, seed)

    return spec


def run(spec, folder, task=None, resume=False, callbacks=(), with_probe=True):
    """Train, from the last checkpoint when asked, as the worker does it; returns model, probe and notes."""
    folder.mkdir(exist_ok=True)
    architecture = "bert" if "bert" in spec.model else "gpt2" if "gpt2" in spec.model else "llama"
    task = task or made_task(spec.model, architecture)
    start = checkpoints.last_whole(folder / "checkpoints") if resume else None
    plan = (plan_in_use(start) if start else None) or spec.plan
    learner, notes = apply_method(task, spec, plan, 20), Notes()
    probe = GeometryProbe(task, learner.model, spec, plan, folder, notes.values, notes.say) if with_probe else None
    learner.callbacks.extend(callbacks)
    train(task, learner, spec.training, spec.seed, folder / "checkpoints", notes, lambda: False, start, probe)
    return learner.model, probe, notes


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def equal(one, other) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_measured_at_the_start_at_every_evaluation_and_at_the_end(make, tmp_path):
    _, _, notes = run(make(), tmp_path)
    found = read_geometry(tmp_path)
    assert [line.step for line in found] == [0, 5, 10, 15, 20]
    assert all(line.layer_names == ("embeddings", "block 1", "block 2", "block 3") for line in found)
    assert all(len(line.dimensions) == 4 and all(d > 0 for d in line.dimensions) for line in found)
    assert found[0].dimensions != found[-1].dimensions
    assert found[0].share is None and all(line.share > 0 and line.seconds > 0 for line in found[1:])
    assert all(line.installed == {"1": 2, "2": 5, "3": 2} and not line.reallocated and line.note is None for line in found)
    for line in found:
        rises = [b - a for a, b in zip(line.dimensions, line.dimensions[1:], strict=False)]
        assert line.wanted == {str(i): max(0, math.ceil(rise)) + 1 for i, rise in enumerate(rises, 1)}
    for line in found:
        assert line.n_samples == 40 and line.resolved > 0
        assert all(low < dimension < high for (low, high), dimension in zip(line.intervals, line.dimensions, strict=True))
        assert all(1 <= line.supported[block] <= rank for block, rank in line.wanted.items())
    reported = {step: values for step, values in notes.logged if "id/layer_00" in values}
    assert {step: tuple(values.values()) for step, values in reported.items()} == {line.step: line.dimensions for line in found}
    assert list(reported[0]) == [f"id/layer_{i:02d}" for i in range(4)]


@pytest.mark.parametrize("options", [{"lora_dropout": 0.2}, {"method": "full", "probe_estimator": "danco"}], ids=["lora", "full"])
def test_training_with_a_probe_gives_the_same_weights_bit_for_bit(make, tmp_path, monkeypatch, options):
    monkeypatch.setenv("GELORA_HOME", str(tmp_path / "home"))
    spec = make(**options, eval_every=10)
    with_probe, _, notes = run(spec, tmp_path / "a")
    without, _, plain_notes = run(spec, tmp_path / "b", with_probe=False)
    assert equal(weights(with_probe), weights(without))
    losses = [[(step, v["loss"]) for step, v in n.logged if "loss" in v] for n in (notes, plain_notes)]
    assert losses[0] == losses[1]


def test_no_generator_and_no_module_s_mode_is_changed(make, tmp_path, monkeypatch):
    estimate_profile = probe_sample.estimate_profile

    def careless(*args, **kwargs):
        random.random(), np.random.rand(), torch.rand(1)
        return estimate_profile(*args, **kwargs)

    monkeypatch.setattr(probe_sample, "estimate_profile", careless)
    spec = make()
    task = made_task(spec.model)
    model = apply_method(task, spec, spec.plan, 20).model
    probe = GeometryProbe(task, model, spec, spec.plan, tmp_path, lambda *_: None)
    model.train()
    odd = next(module for module in model.modules() if isinstance(module, torch.nn.Dropout))
    odd.eval()
    modes = [module.training for module in model.modules()]
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    probe.on_train_begin(SimpleNamespace(bf16=False), SimpleNamespace(global_step=0, max_steps=20), TrainerControl())
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(read_geometry(tmp_path)) == 1


def test_dimension_is_that_of_the_mean_states_of_the_model_as_it_is(make, tmp_path):
    spec = make()
    task = made_task(spec.model)
    model = apply_method(task, spec, spec.plan, 20).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    probe = GeometryProbe(task, model, spec, spec.plan, tmp_path, lambda *_: None)
    probe.on_train_begin(SimpleNamespace(bf16=False), SimpleNamespace(global_step=0, max_steps=20), TrainerControl())
    model.eval()
    rows = probe._sample.rows
    assert len(rows) == 40 and all(row in task.held_out for row in rows)
    with torch.no_grad():
        inputs = [{k: torch.tensor([row[k]]) for k in ("input_ids", "attention_mask", "token_type_ids")} for row in rows]
        states = [model(**row, output_hidden_states=True).hidden_states for row in inputs]
    for layer, dimension in enumerate(read_geometry(tmp_path)[0].dimensions):
        points = torch.stack([state[layer][0].mean(dim=0) for state in states]).numpy()
        assert dimension == pytest.approx(TwoNN().fit(points).dimension_, rel=1e-3)


def test_no_text_is_in_the_probe_twice_unless_there_are_too_few(make):
    spec = make()
    task = made_task(spec.model)
    structure = model_structure(spec.model)
    tokenizer = task.tokenizer

    def sample(contexts, n=90):
        rows = [dict(tokenizer(f"question {i}", f"context {i % contexts}")) for i in range(n)]
        return [tokenizer.decode(row["input_ids"]) for row in ProbeSample(dataclasses.replace(task, held_out=rows), spec, structure).rows]

    few = sample(30)
    assert len(few) == 30 and len({text.split("[SEP]")[1] for text in few}) == 30
    assert len(sample(10)) == 40  # ten contexts cannot be measured
    assert len(sample(60)) == 40
    assert sample(60) == sample(60)


@pytest.mark.parametrize(
    ("architecture", "kind", "method"),
    [
        ("bert", "question-answering", "lora"),
        ("bert", "question-answering", "head"),
        ("llama", "causal-lm", "lora"),
        ("gpt2", "causal-lm", "full"),
        ("gpt2", "classification", "bitfit"),
        ("bert", "classification", "head"),
        ("bert", "classification", "adalora"),
    ],
)
def test_every_kind_of_task_and_method_is_measured(make, tmp_path, architecture, kind, method):
    spec = make(architecture, method, epochs=0.6)
    task = made_task(spec.model, architecture, kind)
    run(spec, tmp_path, task)
    found = read_geometry(tmp_path)
    assert [line.step for line in found] == [0, 5, 6]
    assert all(d is not None for line in found for d in line.dimensions)
    assert all(bool(line.installed) == bool(line.wanted) == (method in ("lora", "adalora")) for line in found)


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"precision": "bfloat16"}], ids=["checkpointing", "bf16"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_measured_and_resized_under_other_ways_of_training(make, tmp_path, architecture, options):
    spec = make(architecture, epochs=0.5, reallocate_at=(0.5,), **options)
    run(spec, tmp_path)
    found = read_geometry(tmp_path)
    assert [(line.step, line.reallocated) for line in found] == [(0, False), (2, True), (5, False)]
    assert all(d is not None for line in found for d in line.dimensions)


def test_too_few_rows_are_null_with_a_reason_and_end_nothing(make, tmp_path):
    spec = make(epochs=0.6, probe_size=8)
    _, _, notes = run(spec, tmp_path)
    found = read_geometry(tmp_path)
    assert [line.dimensions for line in found] == [(None,) * 4] * 3
    assert all("8 rows" in line.note and line.wanted == {} for line in found)
    assert not any("id/layer_00" in values for _, values in notes.logged)


def test_estimator_that_fails_ends_nothing(make, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise np.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(probe_sample, "estimate_profile", fail)
    spec = make(reallocate_at=(0.5,), epochs=0.6)
    _, probe, _ = run(spec, tmp_path)
    found = read_geometry(tmp_path)
    assert [line.step for line in found] == [0, 3, 5, 6]
    assert found[1].note == "twonn failed: LinAlgError: did not converge; so ranks were not re-allocated"
    assert not any(line.reallocated for line in found) and probe.plan is spec.plan


def test_layer_without_a_dimension_is_null_and_its_neighbors_are_not(make, tmp_path, monkeypatch):
    states_of_rows = probe_sample.states_of_rows

    def constant_first_layer(*args, **kwargs):
        states = states_of_rows(*args, **kwargs)
        values = states.values.copy()
        values[0] = 1.0
        return dataclasses.replace(states, values=values)

    monkeypatch.setattr(probe_sample, "states_of_rows", constant_first_layer)
    _, _, notes = run(make(epochs=0.5), tmp_path)
    (line, *_) = read_geometry(tmp_path)
    assert line.dimensions[0] is None and all(d > 0 for d in line.dimensions[1:])
    assert line.note == "no dimension at embeddings: 1 distinct vector of 40: too few for a dimension"
    assert line.wanted["1"] == 1
    assert [name for name in notes.logged[0][1] if name.startswith("id/")] == ["id/layer_01", "id/layer_02", "id/layer_03"]


def test_measurement_that_costs_too_much_is_left_out_and_said_but_never_start_and_end(make, tmp_path, monkeypatch):
    monkeypatch.setattr(geometry_probe, "COST_SHARE", 1e-9)
    run(make(), tmp_path)
    found = read_geometry(tmp_path)
    assert [line.step for line in found] == [0, 20]
    assert found[-1].note.startswith("not measured at step 5, 10, 15: that would have cost more than")


def test_affordable_is_foreseen_from_the_pace(make, tmp_path, monkeypatch):
    monkeypatch.setattr(geometry_probe, "COST_SHARE", 0.1)
    spec = make()
    task = made_task(spec.model)
    probe = GeometryProbe(task, apply_method(task, spec, spec.plan, 20).model, spec, spec.plan, tmp_path, lambda *_: None)
    probe._log.add(GeometryMeasurement(0, "twonn", (), (), seconds=2.0))
    probe._spent_before = 2.0
    state = SimpleNamespace(global_step=5, max_steps=20)
    for elapsed, affordable in ((14.0, False), (16.0, True)):  # 60 s in all, of which 2 + 2 + 2 are 10%
        monkeypatch.setattr(geometry_probe.time, "perf_counter", lambda elapsed=elapsed: probe._began + elapsed)
        assert probe._affordable(state) is affordable


def test_ranks_are_reallocated_and_what_is_saved_loads_in_plain_peft(make, tmp_path):
    spec = make(reallocate_at=(0.3, 0.6))
    task = made_task(spec.model)
    model, probe, notes = run(spec, tmp_path, task)
    found = {line.step: line for line in read_geometry(tmp_path)}
    assert list(found) == [0, 5, 6, 10, 12, 15, 20]
    assert found[6].reallocated and found[6].installed == found[6].wanted != found[5].installed
    assert found[10].installed == found[6].installed
    assert found[6].note.startswith("ranks were re-allocated: block ")
    assert f"step 6: {found[6].note}" in notes.said
    is_said = any(words in found[6].note for words in ("rank units above the offset", "no rise exceeds", "no rise has"))
    assert is_said == (found[6].supported != found[6].installed)
    assert {str(b): r for b, r in probe.plan.block_ranks().items()} == found[20].installed
    assert (probe.plan.strategy, probe.plan.estimator, probe.plan.edits) == ("gelora", "twonn", {})
    checkpoint = checkpoints.last_whole(tmp_path / "checkpoints")
    assert plan_in_use(checkpoint) == probe.plan
    assert "plan.json" in json.loads((checkpoint / checkpoints.SEAL).read_text())["files"]
    loaded = PeftModel.from_pretrained(made_task(spec.model).model, checkpoint).eval()
    batch = task.collate(task.held_out[:8])
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model.eval()(**batch).logits)


@pytest.mark.parametrize("kill_at", [8, 13])
def test_run_killed_after_a_reallocation_ends_as_one_never_killed(make, tmp_path, kill_at):
    spec = make(reallocate_at=(0.3, 0.6), lora_dropout=0.1)
    whole, probe, _ = run(spec, tmp_path / "whole")
    with pytest.raises(Killed):
        run(spec, tmp_path / "killed", callbacks=[KillAt(kill_at)])
    resumed, probe_after, _ = run(spec, tmp_path / "killed", resume=True)
    assert probe_after.plan == probe.plan
    one, other = weights(whole), weights(resumed)
    assert list(one) == list(other)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) <= 1e-6
    told = ("step", "dimensions", "wanted", "installed", "reallocated")
    lines = [[[getattr(line, key) for key in told] for line in read_geometry(tmp_path / name)] for name in ("whole", "killed")]
    assert lines[0] == lines[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_a_gpu_in_bfloat16(make, tmp_path):
    spec = make(device="cuda", precision="bfloat16", reallocate_at=(0.3, 0.6))
    with pytest.raises(Killed):
        run(spec, tmp_path, callbacks=[KillAt(13)])
    model, *_ = run(spec, tmp_path, resume=True)
    found = read_geometry(tmp_path)
    assert [line.step for line in found] == [0, 5, 6, 10, 12, 15, 20]
    assert [line.step for line in found if line.reallocated] == [6, 12]
    assert all(d is not None for line in found for d in line.dimensions)
    loaded = PeftModel.from_pretrained(made_task(spec.model).model, checkpoints.last_whole(tmp_path / "checkpoints"))
    assert {n: p.shape for n, p in loaded.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_rewinding_gives_the_model_the_ranks_of_a_checkpoint(make, tmp_path):
    spec = make(reallocate_at=(0.3,))
    model, probe, _ = run(spec, tmp_path)
    now = {name: p.shape for name, p in model.named_parameters()}
    probe.rewind(None)
    assert probe.plan is spec.plan
    fresh = apply_method(made_task(spec.model), spec, spec.plan, 20).model
    assert [(n, p.shape) for n, p in model.named_parameters()] == [(n, p.shape) for n, p in fresh.named_parameters()]
    probe.rewind(checkpoints.last_whole(tmp_path / "checkpoints"))
    assert {name: p.shape for name, p in model.named_parameters()} == now


def test_what_reallocation_needs_is_said_at_once(make, tmp_path):
    task = made_task(make().model)
    structure = model_structure(make().model)
    zero = edit_ranks(uniform_ranks(structure, 2), {"encoder.layer.0.attention.self.key": 0})
    for options, message in (
        ({"probe_size": 0}, "set probe_size"),
        ({"probe_size": 10}, "at least 22 different held-out rows; there are 10"),
        ({"plan": zero}, "1 of 12 modules have rank 0"),
        ({"init_lora_weights": "orthogonal", "plan": uniform_ranks(structure, 2)}, "orthogonal"),
    ):
        spec = make(reallocate_at=(0.5,), **options)
        model = apply_method(made_task(spec.model), spec, spec.plan, 20).model
        with pytest.raises(InputError, match=message):
            GeometryProbe(task, model, spec, spec.plan, tmp_path, lambda *_: None)
    with pytest.raises(InputError, match="probe_estimator 'two-nn'"):
        spec = make(probe_estimator="two-nn")
        GeometryProbe(task, task.model, spec, spec.plan, tmp_path, lambda *_: None)


def test_steps_of_reallocation():
    assert reallocation_steps((0.25, 0.5), 100) == (25, 50)
    assert reallocation_steps((0.5, 0.51, 0.99), 20) == (10,)  # the last step is followed by no training
    assert reallocation_steps((0.01,), 10) == (1,)
    assert reallocation_steps((0.5,), 1) == () == reallocation_steps((), 10)


def test_reading_tolerates_a_line_cut_short_and_writing_drops_what_is_later(tmp_path):
    assert read_geometry(tmp_path) == []
    log = GeometryLog(tmp_path)
    for step in (0, 5, 10):
        share = step / 100 or None
        log.add(GeometryMeasurement(step, "twonn", ("embeddings", "block 1"), (None, 2.0), 1.5, share, {"1": 3}, {"1": 2}, note="why"))
    text = (tmp_path / "geometry.jsonl").read_text()
    assert [json.loads(line)["dimensions"] for line in text.splitlines()] == [[None, 2.0]] * 3
    (tmp_path / "geometry.jsonl").write_text(text + '{"step": 15, "seco')
    assert [line.step for line in read_geometry(tmp_path)] == [0, 5, 10]
    log = GeometryLog(tmp_path)
    assert (len(log), log.seconds, log.training_seconds) == (3, 4.5, 45.0)
    log.forget_after(5)
    assert [line.step for line in read_geometry(tmp_path)] == [0, 5] and not log.has(10)
    (tmp_path / "geometry.jsonl").unlink()
    (tmp_path / "geometry.jsonl").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        read_geometry(tmp_path)


def test_plan_in_use_is_none_where_none_was_kept_and_named_where_it_is_broken(tmp_path):
    assert plan_in_use(tmp_path) is None
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        plan_in_use(tmp_path)


def test_measurement_is_read_back_as_it_was_and_one_of_an_earlier_version_without_intervals(tmp_path):
    written = GeometryMeasurement(
        3, "mle", ("embeddings", "block 1"), (None, 2.5), 1.5, 0.1, {"1": 3}, {"1": 2}, True, "why", (None, (2.0, 3.0)), 40, {"1": 2}, 0.7
    )
    GeometryLog(tmp_path).add(written)
    assert read_geometry(tmp_path) == [written]
    assert [(e.dimension, e.ci_low, e.ci_high, e.n_samples, e.note) for e in written.estimates] == [
        (None, None, None, 40, "why"), (2.5, 2.0, 3.0, 40, None),
    ]  # fmt: skip
    entry = json.loads((tmp_path / "geometry.jsonl").read_text())
    for name in ("intervals", "n_samples", "supported", "resolved"):
        del entry[name]
    (tmp_path / "geometry.jsonl").write_text(json.dumps(entry | {"of_a_later_version": 1}) + "\n")
    (old,) = read_geometry(tmp_path)
    assert old == dataclasses.replace(written, intervals=(), n_samples=0, supported={}, resolved=None)
    assert [(e.dimension, e.ci_low) for e in old.estimates] == [(None, None), (2.5, None)]
