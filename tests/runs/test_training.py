"""The loop in this process: what is reported, when it stops, that it notices a loss which is no number."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model

from gelora.errors import InputError
from gelora.runs.tasks import build_task
from gelora.runs.training import Diverged, choose_device, train


class Notes:
    """A report that keeps everything."""

    def __init__(self):
        self.logged, self.steps = [], []

    def values(self, step, values):
        self.logged.append((step, values))

    def progress(self, step, total_steps, seconds_left, examples_per_second):
        self.steps.append((step, total_steps, seconds_left, examples_per_second))

    def series(self, name):
        return [(step, values[name]) for step, values in self.logged if name in values]


def run(spec, folder, stop=lambda: False):
    task, notes = build_task(spec), Notes()
    return train(task, spec.training, spec.seed, folder / "checkpoints", notes, stop), task, notes


def checkpoints(folder):
    return list((folder / "checkpoints").iterdir())


def test_every_step_is_logged_and_the_end_is_evaluated(make_spec, tmp_path):
    done, _, notes = run(make_spec(), tmp_path)
    assert done
    assert [step for step, _ in notes.series("loss")] == list(range(1, 13))
    assert [step for step, _ in notes.series("eval_loss")] == [3, 6, 9, 12]
    assert [step for step, _ in notes.series("eval_accuracy")] == [3, 6, 9, 12]
    assert notes.steps[-1][:3] == (12, 12, 0.0)
    assert all(rate > 0 for _, rate in notes.series("examples_per_second"))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-12"]
    names = {name for _, values in notes.logged for name in values}
    assert names == {"loss", "grad_norm", "learning_rate", "epoch", "examples_per_second", "train_loss"} | {
        f"eval_{metric}" for metric in ("loss", "accuracy", "f1", "matthews")
    }


def test_last_steps_are_logged_and_evaluated_whatever_the_intervals(make_spec, tmp_path):
    _, _, notes = run(make_spec(log_every=5, eval_every=8), tmp_path)
    assert [step for step, _ in notes.series("loss")] == [1, 5, 10, 12]
    assert [step for step, _ in notes.series("eval_loss")] == [8, 12]


def test_learning_happens_in_the_adapter_and_the_head_alone(make_spec, tmp_path):
    rows = [{"text": f"{i}: " + ("good " if i % 2 else "bad ") * 6, "label": i % 2} for i in range(64)]
    (tmp_path / "easy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = make_spec(dataset=str(tmp_path / "easy.jsonl"), epochs=6)
    before = {name: p.detach().clone() for name, p in build_task(spec).model.named_parameters()}
    _, task, notes = run(spec, tmp_path)
    changed = {name for name, p in task.model.named_parameters() if not torch.equal(p.detach(), before[name])}
    assert changed == {name for name, p in task.model.named_parameters() if p.requires_grad}
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
    (checkpoint,) = checkpoints(tmp_path)
    assert checkpoint.name == "checkpoint-5"
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"} <= {p.name for p in checkpoint.iterdir()}


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_missing_device_is_one_sentence(make_spec):
    with pytest.raises(InputError, match="no CUDA device"):
        choose_device(make_spec(device="cuda").training)
    assert choose_device(make_spec(device="auto").training) == "cpu"
