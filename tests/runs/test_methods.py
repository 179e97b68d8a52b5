"""Every method on every kind of task, under the real Trainer: what is trained, what it costs, and that a run can go on."""

import dataclasses
import json
import warnings
from pathlib import Path

import pytest
import torch
from hand_made_tasks import collate, hand_made_task, plan_for, spec_for
from safetensors import safe_open
from transformers import Trainer, TrainingArguments

from gelora.errors import InputError, ModelError, StoreError
from gelora.ranks import modules_to_save
from gelora.records import INITS_OF_BASE
from gelora.runs.training.checkpoints import check_fits
from gelora.runs.training.methods import Learner, apply_method

STEPS = 16
METHODS = ("lora", "adalora", "head", "bitfit", "full")


def trainer_of(
    task, learner: Learner, folder: Path, *, steps: int = STEPS, save_every: int = 4, batch: int = 4, logging="no", **options
) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=5e-3,
        seed=3,
        use_cpu=True,
        save_steps=save_every,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        logging_strategy=logging,
        **options,
    )
    return Trainer(learner.model, arguments, train_dataset=task.train, data_collator=collate, callbacks=list(learner.callbacks))


def prepared(architecture: str, kind: str, method: str, folder: Path, steps: int = STEPS, plan=None, **training):
    task = hand_made_task(architecture, kind, folder)
    spec = spec_for(task, method, plan, **training)
    return task, apply_method(task, spec, spec.plan, steps)


def trained_weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner.model.named_parameters() if p.requires_grad}


def outputs(learner_or_model, task) -> torch.Tensor:
    model = getattr(learner_or_model, "model", learner_or_model).eval()
    with torch.no_grad():
        output = model(**collate(task.held_out))
    return output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits])


def ended_and_resumed(architecture: str, kind: str, method: str, folder: Path, at: int, plan=None, **training):
    """The learner of a run that was never interrupted, and of one that goes on from its checkpoint in a fresh process's place."""
    task, whole = prepared(architecture, kind, method, folder / "base", plan=plan, **training)
    trainer_of(task, whole, folder / "checkpoints").train()
    task, again = prepared(architecture, kind, method, folder / "base", plan=plan, **training)
    check_fits(folder / "checkpoints" / f"checkpoint-{at}", again.model)
    trainer_of(task, again, folder / "checkpoints").train(resume_from_checkpoint=str(folder / "checkpoints" / f"checkpoint-{at}"))
    return task, whole, again


RESUMED = [
    ("bert", "classification", "lora", 8, {"use_dora": True, "lora_dropout": 0.1}),
    ("bert", "classification", "lora", 8, {"init_lora_weights": "pissa"}),
    ("llama", "causal-lm", "lora", 8, {"init_lora_weights": "olora"}),
    ("bert", "classification", "adalora", 4, {"lora_dropout": 0.1}),
    ("bert", "classification", "adalora", 8, {}),
    ("gpt2", "causal-lm", "adalora", 12, {}),
    ("gpt2", "causal-lm", "head", 8, {}),
    ("bert", "question-answering", "bitfit", 8, {}),
    ("gpt2", "causal-lm", "full", 8, {}),
]


@pytest.mark.parametrize(("architecture", "kind", "method", "at", "training"), RESUMED)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(architecture, kind, method, at, training, tmp_path):
    task, whole, again = ended_and_resumed(architecture, kind, method, tmp_path, at, **training)
    expected, found = trained_weights(whole), trained_weights(again)
    _, fresh = prepared(architecture, kind, method, tmp_path / "base", **training)
    assert expected.keys() == found.keys()
    assert any((expected[name] - start).abs().max() > 1e-3 for name, start in trained_weights(fresh).items())
    assert max((expected[name] - found[name]).abs().max() for name in expected) < 1e-6
    assert (outputs(whole, task) - outputs(again, task)).abs().max() < 1e-5


def test_adalora_without_its_state_would_not_end_there(tmp_path, monkeypatch):
    from gelora.runs.training.method_state import AllocatorState

    monkeypatch.setattr(AllocatorState, "on_train_begin", lambda *args, **kwargs: None)
    _, whole, again = ended_and_resumed("bert", "classification", "adalora", tmp_path, 8)
    expected, found = trained_weights(whole), trained_weights(again)
    assert max((expected[name] - found[name]).abs().max() for name in expected) > 1e-4


def test_a_checkpoint_of_adalora_holds_what_may_come_back_and_what_was_gathered(tmp_path):
    task, learner = prepared("bert", "classification", "adalora", tmp_path / "base")
    trainer_of(task, learner, tmp_path / "checkpoints", steps=8).train()
    checkpoint = tmp_path / "checkpoints" / "checkpoint-8"
    with safe_open(checkpoint / "adapter_model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_shape()[0] for name in file.keys() if name.endswith("lora_A")} == {3}  # noqa: SIM118
    with safe_open(checkpoint / "adalora.safetensors", "pt") as file:
        kept = json.loads(file.metadata()["kept"])
    assert sum(map(sum, kept.values())) < 12 * 3 and {len(mask) for mask in kept.values()} == {3}


@pytest.mark.parametrize("target_modules", ["attention", "all-linear"])
def test_adalora_ends_with_the_plan_s_parameters(tmp_path, target_modules):
    task = hand_made_task("bert", "classification", tmp_path / "base")
    plan = plan_for(task, 2, target_modules)
    task, learner = prepared("bert", "classification", "adalora", tmp_path / "base", plan=plan)
    trainer_of(task, learner, tmp_path / "checkpoints").train()
    found = learner.found_plan()
    cheapest = min(module.n_params_per_rank for module in plan.modules)
    assert learner.n_adapter_params == plan.n_adapter_params
    assert plan.n_adapter_params - cheapest < found.n_adapter_params <= plan.n_adapter_params
    assert len(set(found.ranks.values())) > 1  # they were given out, not spread evenly
    assert {found.alphas[name] / r for name, r in found.ranks.items() if r} == {32.0}


def test_pissa_goes_on_from_another_machine_s_decomposition(tmp_path):
    task, learner = prepared("bert", "classification", "lora", tmp_path / "base", init_lora_weights="pissa")
    trainer = trainer_of(task, learner, tmp_path / "checkpoints", steps=4)
    trainer.train()
    expected = outputs(learner, task)
    checkpoint = tmp_path / "checkpoints" / "checkpoint-4"
    task, again = prepared("bert", "classification", "lora", tmp_path / "base", init_lora_weights="gaussian")
    # A run whose own beginning was quite another one: random A0 and B0 taken out of the base weights.
    from gelora.ranks import InitialAdapter
    from gelora.runs.training.method_state import BeginningState

    layers = [module for module in again.model.modules() if hasattr(module, "lora_B") and "default" in module.lora_B]
    with torch.no_grad():
        for layer in layers:
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
            layer.base_layer.weight -= layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    state = BeginningState(again.model, InitialAdapter(again.model))
    again.model.load_adapter(str(checkpoint), "default", is_trainable=True)
    assert (outputs(again, task) - expected).abs().max() > 0.1
    state.on_train_begin(trainer.args, trainer.state, trainer.control)
    assert (outputs(again, task) - expected).abs().max() < 1e-5


def test_a_checkpoint_without_the_method_s_file_is_named(tmp_path):
    task, learner = prepared("bert", "classification", "adalora", tmp_path / "base")
    trainer_of(task, learner, tmp_path / "checkpoints", steps=8).train()
    checkpoint = tmp_path / "checkpoints" / "checkpoint-8"
    (checkpoint / "adalora.safetensors").write_bytes(b"cut")
    task, again = prepared("bert", "classification", "adalora", tmp_path / "base")
    with pytest.raises(StoreError, match=r"checkpoint-8 has no readable adalora.safetensors.*start a new run"):
        trainer_of(task, again, tmp_path / "checkpoints").train(resume_from_checkpoint=str(checkpoint))


CASES = [
    ("bert", "classification"),
    ("roberta", "regression"),
    ("distilbert", "question-answering"),
    ("gpt2", "causal-lm"),
]


@pytest.mark.parametrize(("architecture", "kind"), CASES)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_trained_moves_and_nothing_else_does(architecture, kind, method, tmp_path):
    task, learner = prepared(architecture, kind, method, tmp_path / "base", steps=10)
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    trained = {name for name, p in learner.model.named_parameters() if p.requires_grad}
    n_trained = sum(before[name].numel() for name in trained)
    if method == "adalora":
        assert learner.n_adapter_params < n_trained - learner.n_head_params
    else:
        assert learner.n_adapter_params + learner.n_head_params == n_trained
    assert (learner.n_adapter_params == 0) == (method == "head")
    result = trainer_of(task, learner, tmp_path / "checkpoints", steps=10, save_every=100).train()
    assert result.training_loss > 0
    moved = {name for name, p in learner.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= trained
    assert len(moved) > 0.8 * len(trained)  # a key's bias has no gradient but rounding


def test_the_pooler_and_what_the_checkpoint_lacks_are_trained_by_every_method(tmp_path):
    for architecture, heads in [("bert", ["bert.pooler", "classifier"]), ("modernbert", ["classifier", "head"])]:
        task = hand_made_task(architecture, "classification", tmp_path / architecture)
        assert modules_to_save(task.model, task.random_keys) == heads
        n_head = sum(p.numel() for name in heads for p in task.model.get_submodule(name).parameters())
        for method in METHODS:
            if (architecture, method) == ("modernbert", "bitfit"):
                continue
            assert prepared(architecture, "classification", method, tmp_path / architecture)[1].n_head_params == n_head, method


def test_a_language_model_s_head_alone_is_a_copy_where_it_is_tied(tmp_path):
    task, learner = prepared("gpt2", "causal-lm", "head", tmp_path / "base")
    assert learner.n_head_params == task.model.get_input_embeddings().weight.numel()
    assert "a copy of it is trained" in learner.notes[0]
    embeddings = task.model.get_input_embeddings().weight.detach().clone()
    before = outputs(learner, task)
    learner.model.train()
    trainer_of(task, learner, tmp_path / "checkpoints", steps=5, save_every=100).train()
    assert torch.equal(task.model.get_input_embeddings().weight, embeddings)
    assert (outputs(learner, task) - before).abs().max() > 1e-3


def test_lora_of_a_language_model_trains_no_head_that_the_checkpoint_has(tmp_path):
    assert prepared("gpt2", "causal-lm", "lora", tmp_path / "tied")[1].n_head_params == 0
    task, learner = prepared("llama", "causal-lm", "lora", tmp_path / "lacking")
    assert task.random_keys == ("lm_head.weight",) and learner.n_head_params == 320 * 32


@pytest.mark.parametrize("method", METHODS)
def test_recomputed_activations_give_the_same_gradients(method, tmp_path):
    def gradients(recompute: bool) -> dict[str, torch.Tensor]:
        task, learner = prepared("bert", "classification", method, tmp_path / "base", gradient_checkpointing=recompute)
        learner.model.train()
        if recompute:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                learner.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for module in learner.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        learner.model(**collate(task.train[:8])).loss.backward()
        return {name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None}

    plain, recomputed = gradients(False), gradients(True)
    assert plain.keys() == recomputed.keys() and len(plain) > 3
    assert max((plain[name] - recomputed[name]).abs().max() for name in plain) < 1e-6


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_accumulated_parts_are_one_batch_of_a_language_model(method, tmp_path):
    norms = []
    for part in (8, 2):
        task, learner = prepared("gpt2", "causal-lm", method, tmp_path / "base")
        for module in learner.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        options = {"gradient_accumulation_steps": 8 // part, "logging_steps": 1}
        trainer = trainer_of(task, learner, tmp_path / "checkpoints", steps=2, save_every=100, batch=part, logging="steps", **options)
        trainer.train()
        norms.append([entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry])
    assert len(norms[0]) == 2
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_the_same_seed_draws_the_same_adapter_whatever_was_drawn_before(tmp_path):
    _, first = prepared("bert", "classification", "lora", tmp_path / "base")
    task = hand_made_task("bert", "classification", tmp_path / "base")
    state = torch.random.get_rng_state()
    torch.rand(7)
    spec = spec_for(task)
    second = apply_method(task, spec, spec.plan, STEPS)
    other = apply_method(hand_made_task("bert", "classification", tmp_path / "base"), dataclasses.replace(spec, seed=1), spec.plan, STEPS)
    a, b, c = (trained_weights(learner) for learner in (first, second, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)
    torch.random.set_rng_state(state)
    apply_method(hand_made_task("bert", "classification", tmp_path / "base"), spec, spec.plan, STEPS)
    assert set(INITS_OF_BASE) == {"olora", "pissa"}


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"LlamaForSequenceClassification has no biases.*choose method 'lora', 'head' or 'full'"):
        prepared("llama", "classification", "bitfit", tmp_path / "llama")
    with pytest.raises(InputError, match=r"has 9 optimizer steps; AdaLoRA needs at least 10"):
        prepared("bert", "classification", "adalora", tmp_path / "bert", steps=9)
    task = hand_made_task("bert", "classification", tmp_path / "bert")
    with pytest.raises(InputError, match=r"mean rank of 32, .* room for 32; AdaLoRA has nothing to take away"):
        prepared("bert", "classification", "adalora", tmp_path / "bert", plan=plan_for(task, 32))
    with pytest.raises(InputError, match="Method 'lora' needs a rank plan"):
        apply_method(task, spec_for(task), None, STEPS)
    task.model.supports_gradient_checkpointing = False
    with pytest.raises(ModelError, match="BertForSequenceClassification cannot recompute its activations; turn gradient_checkpointing off"):
        apply_method(task, spec_for(task, "full", gradient_checkpointing=True), None, STEPS)


def test_a_checkpoint_of_another_model_plan_or_method_is_named(tmp_path):
    task, learner = prepared("bert", "classification", "lora", tmp_path / "base")
    trainer_of(task, learner, tmp_path / "checkpoints", steps=2, save_every=2).train()
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    check_fits(checkpoint, learner.model)
    wider = plan_for(hand_made_task("bert", "classification", tmp_path / "base"), 3)
    for other, sentence in [
        (
            prepared("bert", "classification", "lora", tmp_path / "base", plan=wider)[1],
            r"lora_A.weight is 2 x 32 there and 3 x 32",
        ),
        (prepared("roberta", "classification", "lora", tmp_path / "other")[1], r"adapter of another model .*is missing there"),
        (prepared("bert", "classification", "head", tmp_path / "base")[1], r"lora_A.weight is there alone"),
    ]:
        with pytest.raises(ModelError, match=sentence):
            check_fits(checkpoint, other.model)
    _, full = prepared("bert", "classification", "full", tmp_path / "base")
    with pytest.raises(StoreError, match=r"no weights \(model.*checkpoint-2; the checkpoint was deleted or is of another method"):
        check_fits(checkpoint, full.model)
    (checkpoint / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(StoreError, match=r"cannot be read.*damaged"):
        check_fits(checkpoint, learner.model)
