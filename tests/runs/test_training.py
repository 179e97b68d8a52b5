"""The loop in this process: what is reported, when it stops, that it notices a loss which is no number."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model

from gelora.errors import StoreError
from gelora.runs.training import checkpoints
from gelora.runs.training.loop import total_steps, train
from gelora.runs.training.methods import apply_method
from gelora.runs.training.watch import Diverged
from gelora.tasks import build_task


class Notes:
    """A report that keeps everything."""

    def __init__(self):
        self.logged, self.steps, self.shown, self.said = [], [], [], []

    def values(self, step, values):
        self.logged.append((step, values))

    def progress(self, step, total_steps, seconds_left):
        self.steps.append((step, total_steps, seconds_left))

    def examples(self, step, shown):
        self.shown.append((step, shown))

    def say(self, text):
        self.said.append(text)

    def keep(self):
        pass

    def series(self, name):
        return [(step, values[name]) for step, values in self.logged if name in values]


def run(spec, folder, stop=lambda: False):
    task, notes = build_task(spec), Notes()
    learner = apply_method(task, spec, spec.plan, total_steps(spec.training, len(task.train)))
    where = folder / "checkpoints"
    done = train(task, learner, spec.training, spec.seed, where, notes, stop, checkpoints.last_whole(where))
    return done, learner, notes


def saved(folder):
    return checkpoints.all_checkpoints(folder / "checkpoints")


def test_every_step_is_logged_and_the_end_is_evaluated(make_spec, tmp_path):
    done, _, notes = run(make_spec(), tmp_path)
    assert done
    assert [step for step, _ in notes.series("loss")] == list(range(1, 13))
    assert [step for step, _ in notes.series("eval_loss")] == [3, 6, 9, 12]
    assert [step for step, _ in notes.series("eval_accuracy")] == [3, 6, 9, 12]
    assert notes.steps[-1] == (12, 12, 0.0)
    assert all(rate > 0 for _, rate in notes.series("examples_per_second"))
    assert [checkpoints.step_of(path) for path in saved(tmp_path)] == [12, 9]
    assert all(checkpoints.is_whole(path) for path in saved(tmp_path))
    names = {name for _, values in notes.logged for name in values}
    assert names - {"gpu_memory_bytes", "gpu_utilisation"} == {
        "loss",
        "grad_norm",
        "learning_rate",
        "epoch",
        "examples_per_second",
        "tokens_per_second",
    } | {f"eval_{metric}" for metric in ("loss", "accuracy", "f1", "matthews")}


def test_last_steps_and_those_of_checkpoints_are_logged_whatever_the_intervals(make_spec, tmp_path):
    _, _, notes = run(make_spec(log_every=5, eval_every=8), tmp_path)
    assert [step for step, _ in notes.series("loss")] == [1, 5, 8, 10, 12]
    assert [step for step, _ in notes.series("eval_loss")] == [8, 12]


def test_learning_happens_in_the_adapter_and_the_head_alone(make_spec, tmp_path):
    rows = [{"text": f"{i}: " + ("good " if i % 2 else "bad ") * 6, "label": i % 2} for i in range(64)]
    (tmp_path / "easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = make_spec(dataset=str(tmp_path / "easy.jsonl"), epochs=6)
    task = build_task(spec)
    before = {name: p.detach().clone() for name, p in apply_method(task, spec, spec.plan, 1).model.named_parameters()}
    _, learner, notes = run(spec, tmp_path)
    changed = {name for name, p in learner.model.named_parameters() if not torch.equal(p.detach(), before[name])}
    assert changed == {name for name, p in learner.model.named_parameters() if p.requires_grad}
    losses = [loss for _, loss in notes.series("loss")]
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
    assert notes.series("eval_accuracy")[-1][1] > task.majority_accuracy + 0.2


def test_same_seed_gives_the_same_losses(make_spec, tmp_path):
    first, second = (run(make_spec(lora_dropout=0.1), tmp_path / name)[2].series("loss") for name in "ab")
    assert first == second


def test_stop_saves_a_checkpoint_of_the_step(make_spec, tmp_path):
    steps = iter(range(100))
    done, _, notes = run(make_spec(epochs=50), tmp_path, stop=lambda: next(steps) >= 4)
    assert not done
    assert notes.series("loss")[-1][0] == 5
    (checkpoint,) = saved(tmp_path)
    assert checkpoint.name == "checkpoint-5"
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"} <= {p.name for p in checkpoint.iterdir()}


@pytest.mark.parametrize("options", [{"gradient_accumulation": 2, "batch_size": 4}, {"gradient_checkpointing": True}])
def test_parts_and_recomputing_change_the_memory_not_the_training(make_spec, tmp_path, options):
    plain = run(make_spec(), tmp_path / "plain")[2].series("loss")
    other = run(make_spec(**options), tmp_path / "other")[2].series("loss")
    assert [step for step, _ in plain] == [step for step, _ in other]
    if "gradient_checkpointing" in options:
        assert [loss for _, loss in other] == pytest.approx([loss for _, loss in plain], rel=1e-4)
    else:  # dropout draws other numbers in parts, so only the course is the same
        assert sum(loss for _, loss in other) == pytest.approx(sum(loss for _, loss in plain), rel=0.1)


@pytest.mark.parametrize("at", [2, 4, 7, 11])
def test_interrupted_and_resumed_gives_the_same_weights_and_losses(make_spec, tmp_path, at):
    """An exception in the middle of a step loses as much as kill -9: what was not in a sealed checkpoint."""

    class Killed(Exception):
        pass

    def killed_at(step):
        calls = iter(range(1, 100))

        def ask():
            if next(calls) == step:
                raise Killed
            return False

        return ask

    spec = make_spec(lora_dropout=0.1)
    _, whole, notes = run(spec, tmp_path / "whole")
    with pytest.raises(Killed):
        run(spec, tmp_path / "killed", killed_at(at))
    done, resumed, again = run(spec, tmp_path / "killed")
    assert done
    for (name, expected), found in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    assert again.series("loss") == notes.series("loss")[-len(again.series("loss")) :]
    assert again.series("eval_loss") == notes.series("eval_loss")[-len(again.series("eval_loss")) :]


def test_unsealed_checkpoint_is_not_gone_on_from(make_spec, tmp_path):
    spec = make_spec()
    run(spec, tmp_path)
    (saved(tmp_path)[0] / checkpoints.SEAL).unlink()
    _, _, notes = run(spec, tmp_path)
    assert [step for step, _ in notes.series("loss")] == [10, 11, 12]


@pytest.mark.parametrize(("rows", "expected"), [(8, [8, 4, 2]), (7, [7, 4, 2])])
def test_batch_that_does_not_fit_is_taken_in_parts_and_said(make_spec, tmp_path, monkeypatch, rows, expected):
    """Without a GPU: the loop is told that it has one, and its first two trainings run out of memory."""
    from gelora.runs.training import loop as training

    spec = make_spec(auto_batch=True, batch_size=rows)
    sizes, made = [], training._arguments

    def on_cpu(task, config, seed, folder, device, part):
        sizes.append(part)
        return made(task, config, seed, folder, "cpu", part)

    class Full(training.StepTrainer):
        def training_step(self, *args, **kwargs):
            if self._part > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().training_step(*args, **kwargs)

    monkeypatch.setattr(training, "resolve_device", lambda device: "cuda")
    monkeypatch.setattr(training, "runs_in_bfloat16", lambda config, device: False)
    monkeypatch.setattr(training, "_arguments", on_cpu)
    monkeypatch.setattr(training, "StepTrainer", Full)
    done, _, notes = run(spec, tmp_path)
    assert done
    assert sizes == expected
    n_steps = total_steps(spec.training, 48)
    assert [step for step, _ in notes.series("loss")] == list(range(1, n_steps + 1))
    assert notes.steps[-1][:2] == (n_steps, n_steps)
    assert notes.said[-1] == "out of memory: now 2 rows at a time, 4 times an optimizer step, from the start"
    with pytest.raises(torch.OutOfMemoryError):
        run(make_spec(), tmp_path / "not asked")


@pytest.mark.parametrize("kind", ["classification", "regression", "question-answering", "causal-lm"])
def test_parts_of_a_step_give_the_gradient_of_the_whole_step(kind, tmp_path):
    """7 rows a step of 48 in parts of 7, 4 or 2: a last step of 6 and parts of unequal size, exact against one batch."""
    import dataclasses

    from hand_made_tasks import hand_made_task, spec_for

    from gelora.runs.training import loop as training

    found = []
    for part in (7, 4, 2):
        task = hand_made_task("llama" if kind == "causal-lm" else "bert", kind, tmp_path / "model")
        for module in task.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if kind == "causal-lm":  # parts whose numbers of counted tokens differ
            masked = [row | {"labels": [-100] * (i % 11) + row["labels"][i % 11 :]} for i, row in enumerate(task.train)]
            task = dataclasses.replace(task, train=masked)
        spec = spec_for(task, method="full", batch_size=7, epochs=1, learning_rate=1e-3)
        learner, notes = apply_method(task, spec, None, 7), Notes()
        trainer = training._trainer(task, learner, spec.training, 0, tmp_path / str(part), notes, lambda: False, None, "cpu", part)
        assert trainer.train().global_step == 7
        found.append([loss for _, loss in notes.series("loss")] + [norm for _, norm in notes.series("grad_norm")])
    assert len(found[0]) == 14
    assert found[1] == pytest.approx(found[0], rel=2e-4)
    assert found[2] == pytest.approx(found[0], rel=2e-4)


def test_eval_loss_of_language_models_is_the_mean_over_tokens(make_spec, labelled_file, tmp_path):
    model = save_tiny_model("llama", tmp_path / "llama")
    spec = make_spec(model=model, dataset=labelled_file, task="causal-lm", max_length=24, epochs=1, precision="float32")
    _, _, notes = run(spec, tmp_path)
    losses, perplexities = notes.series("eval_loss"), notes.series("eval_perplexity")
    assert len(losses) > 1
    assert [math.exp(loss) for _, loss in losses] == pytest.approx([value for _, value in perplexities], rel=1e-12)


def test_checkpoint_of_other_steps_is_refused(make_spec, tmp_path):
    run(make_spec(), tmp_path)
    with pytest.raises(StoreError, match=r"a training of 12 optimizer steps, and this one has 14: its steps held other rows"):
        run(make_spec(batch_size=7), tmp_path)


def test_loss_that_is_no_number_ends_the_run(make_spec, tmp_path):
    folder = save_tiny_model("bert", tmp_path / "overflowing")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.2.output.dense.weight"].fill_(3e38)  # finite, and overflows in the forward pass
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Diverged, match=r"loss became nan at step 1; lower the learning rate \(now 0.001\)"):
        run(make_spec(model=folder), tmp_path)


def test_regression_on_pairs_of_metrics(make_spec, scored_file, tmp_path):
    _, _, notes = run(make_spec(dataset=scored_file, epochs=15, learning_rate=3e-3), tmp_path)
    assert notes.series("eval_pearson")[-1][1] > 0.5
    assert math.isclose(notes.series("eval_mse")[-1][1], notes.series("eval_loss")[-1][1], rel_tol=1e-5)


@pytest.mark.parametrize("architecture", ["fnet", "nystromformer"])
def test_rows_of_a_model_that_depends_on_padding_are_trained_and_evaluated_as_alone(make_spec, tmp_path, architecture):
    """Parts of one length against one row at a time: the same losses and gradients, and logits that are those of each row alone."""
    import dataclasses

    from gelora.records import WITHOUT_PADDING
    from gelora.runs.training import loop as training

    folder = save_tiny_model(architecture, tmp_path / "model", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    spec = make_spec(folder, method="full", epochs=1, learning_rate=1e-4, n_train=24)
    found = []
    for part, changes in ((8, {}), (1, {}), (8, {"without_padding": False})):
        task = build_task(spec)
        assert task.without_padding and WITHOUT_PADDING in task.notes
        assert len({len(row["input_ids"]) for row in task.train}) > 4
        kept = []
        task = dataclasses.replace(task, score=lambda logits, labels, kept=kept: kept.append(logits) or {}, **changes)
        learner, notes = apply_method(task, spec, None, 3), Notes()
        trainer = training._trainer(task, learner, spec.training, 0, tmp_path / f"{part}{changes}", notes, lambda: False, None, "cpu", part)
        trainer.train()
        learner.model.eval()
        with torch.no_grad():
            alone = torch.cat([learner.model(**task.collate([row])).logits for row in task.held_out])
        series = [value for name in ("loss", "grad_norm", "eval_loss") for _, value in notes.series(name)]
        found.append((series, float((torch.tensor(kept[-1]) - alone).abs().max())))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert max(found[0][1], found[1][1]) < 1e-5
    assert found[2][0] != pytest.approx(found[1][0], rel=1e-2) and found[2][1] > 1e-3
