"""What a run leaves behind gives the same outputs in a process without this package, by the README's own lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hand_made_tasks import hand_made_task, plan_for, spec_for
from safetensors import safe_open

from gelora.errors import StoreError
from gelora.ranks import plan_from_adapter
from gelora.runs.training.adapters import base_of, save_learner
from gelora.runs.training.methods import apply_method
from gelora.sources import find_model
from gelora.tasks.prompts import conversation

CASES = [
    ("modernbert", "classification", "lora", {}),
    ("deberta-v2", "classification", "lora", {"use_dora": True}),
    ("modernbert", "classification", "head", {}),
    ("gpt2", "classification", "lora", {"init_lora_weights": "pissa", "use_dora": True}),
    ("bert", "classification", "adalora", {}),
    ("roberta", "regression", "bitfit", {}),
    ("bert", "question-answering", "lora", {"init_lora_weights": "orthogonal"}),
    ("distilbert", "question-answering", "full", {}),
    ("llama", "causal-lm", "lora", {"init_lora_weights": "olora"}),
    ("gpt2", "causal-lm", "head", {}),
    ("opt", "causal-lm", "full", {}),
    ("gpt2", "instruction", "bitfit", {}),
    ("qwen2", "instruction", "lora", {"init_lora_weights": "gaussian"}),
]
TEXTS = ["the film was good", "the story and the train and the garden were slow and dull", "rain"]
CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"

# Runs the README's own lines in each folder, in one process.
LOADER = """
import contextlib, io, json, os, sys
texts, folders = json.loads(sys.argv[1])
found = []
for folder in folders:
    os.chdir(folder)
    names, said = {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(open("README.md").read().split("```python\\n")[1].split("```")[0], names)
    output = names["model"](**names["tokenizer"](texts, return_tensors="pt", padding=True))
    logits = [output.logits] if "logits" in output else [output.start_logits, output.end_logits]
    found.append([[x.tolist() for x in logits], said.getvalue()])
ours = sorted(name for name in sys.modules if name.split(".")[0] == "gelora")
print(json.dumps([found, ours]))
"""


def nudge(model, size: float = 0.02) -> None:
    """Move every trainable weight away from where a fresh model has it, as training does."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += size * torch.randn(parameter.shape, generator=generator)


def logits_of(model, tokenizer) -> list[torch.Tensor]:
    with torch.no_grad():
        output = model.eval()(**tokenizer(TEXTS, return_tensors="pt", padding=True))
    return [output.logits] if "logits" in output else [output.start_logits, output.end_logits]


def learned(architecture: str, kind: str, method: str, folder: Path, **training):
    task = hand_made_task(architecture, kind, folder)
    spec = spec_for(task, method, **training)
    return task, apply_method(task, spec, spec.plan, 40)


def test_the_readme_s_lines_give_the_same_outputs_in_a_process_without_us(tmp_path):
    folders, before = [], []
    for i, (architecture, kind, method, training) in enumerate(CASES):
        task, learner = learned(architecture, kind, method, tmp_path / f"{i}", **training)
        fresh = logits_of(learner.model, task.tokenizer)
        nudge(learner.model)
        if method == "adalora":  # one module is left without an adapter, another with a part
            values = [layer.lora_E["default"].data for layer in learner.model.modules() if hasattr(layer, "lora_E")]
            values[0].zero_()
            values[1][0] = 0.0
        if kind == "instruction" and architecture == "qwen2":
            task.tokenizer.chat_template = CHAT
        before.append(logits_of(learner.model, task.tokenizer))
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(fresh, before[-1], strict=True))
        folders.append(str(save_learner(task, learner, tmp_path / f"{i}" / "adapter", {"eval_accuracy": 0.75})))
    command = [sys.executable, "-c", LOADER, json.dumps([TEXTS, folders])]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found, ours = json.loads(result.stdout.splitlines()[-1])
    assert ours == []
    for case, (logits, said), expected in zip(CASES, found, before, strict=True):
        assert said.strip() or case[1] == "question-answering", case  # its answer may be empty
        for one, other in zip(logits, expected, strict=True):
            assert (torch.tensor(one) - other).abs().max() < 1e-5, case
            assert other.std() > 1e-3  # they differ between texts, so that the comparison says something


def test_what_adalora_found_is_saved_as_plain_lora_of_those_ranks(tmp_path):
    task, learner = learned("bert", "classification", "adalora", tmp_path / "base")
    nudge(learner.model)
    values = {name: layer.lora_E["default"].data for name, layer in learner.model.named_modules() if hasattr(layer, "lora_E")}
    for i, one in enumerate(values.values()):
        one[: i % 4] = 0.0
    found = learner.found_plan()
    assert set(found.ranks.values()) == {0, 1, 2, 3}
    folder = save_learner(task, learner, tmp_path / "adapter", {})
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["base_model_name_or_path"] == str(task.entry.path)
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys() if ".lora_" in name}  # noqa: SIM118
    assert sum(rows * columns for rows, columns in shapes.values()) == found.n_adapter_params
    assert {name: r for name, r in plan_from_adapter(folder, plan_structure(task)).ranks.items() if r} == {
        name: r for name, r in found.ranks.items() if r
    }


def plan_structure(task):
    from gelora.sources import model_structure

    return model_structure(str(task.entry.path))


def test_readme_says_what_the_outputs_mean_and_how_good_they_are(tmp_path):
    task, learner = learned("bert", "classification", "lora", tmp_path / "base")
    readme = (save_learner(task, learner, tmp_path / "adapter", {"eval_accuracy": 0.75, "loss": 0.1}) / "README.md").read_text()
    assert "Labels: 0 = no, 1 = perhaps, 2 = yes." in readme
    assert "- eval_accuracy: 0.75" in readme and "- loss" not in readme
    assert "num_labels=3" in readme and "library_name: peft" in readme and "tags: [lora, text-classification]" in readme
    task, learner = learned("bert", "question-answering", "full", tmp_path / "whole")
    readme = (save_learner(task, learner, tmp_path / "model", {}) / "README.md").read_text()
    assert "library_name: transformers" in readme and "This folder holds the whole model." in readme
    assert "stopped before its first evaluation" in readme


def test_an_instruction_is_put_as_in_training(tmp_path):
    task, learner = learned("gpt2", "instruction", "lora", tmp_path / "base")
    readme = (save_learner(task, learner, tmp_path / "adapter", {}) / "README.md").read_text()
    asked = [{"role": "user", "content": "Name three colors."}, {"role": "assistant", "content": "Red."}]
    assert repr(conversation(task.tokenizer, asked).prompt) in readme
    task.tokenizer.chat_template = CHAT
    assert "apply_chat_template" in (save_learner(task, learner, tmp_path / "adapter", {}) / "README.md").read_text()


def test_a_head_of_another_size_is_said(tmp_path):
    import dataclasses

    task, learner = learned("bert", "classification", "lora", tmp_path / "base")
    task = dataclasses.replace(task, reloaded_keys=True)
    assert "ignore_mismatched_sizes=True" in (save_learner(task, learner, tmp_path / "adapter", {}) / "README.md").read_text()


def test_base_is_named_so_that_anybody_can_load_it(tmp_path):
    assert base_of(find_model("all-MiniLM-L6-v2")) == (
        "sentence-transformers/all-MiniLM-L6-v2",
        "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    )
    task, learner = learned("bert", "classification", "lora", tmp_path / "base")
    config = json.loads((save_learner(task, learner, tmp_path / "adapter", {}) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(task.entry.path)
    assert config["r"] == 2
    assert set(config["modules_to_save"]) >= {"bert.pooler", "classifier"}


def test_offline_the_readme_leads_to_the_bundled_model(tmp_path):
    import dataclasses

    task, learner = learned("bert", "classification", "lora", tmp_path / "base")
    own = (save_learner(task, learner, tmp_path / "adapter", {}) / "README.md").read_text()
    assert "Offline" not in own  # the base is a local folder already
    bundled = find_model("all-MiniLM-L6-v2")
    readme = (save_learner(dataclasses.replace(task, entry=bundled), learner, tmp_path / "adapter", {}) / "README.md").read_text()
    assert "in place of `'sentence-transformers/all-MiniLM-L6-v2'`" in readme
    command = next(line for line in readme.splitlines() if line.startswith("python -c "))
    printed = subprocess.run(command.replace("python", sys.executable, 1), shell=True, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(bundled.path)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_second_save_replaces_the_first_and_leaves_nothing_behind(method, tmp_path):
    task, learner = learned("bert", "classification", method, tmp_path / "base")
    for _ in range(2):
        save_learner(task, learner, tmp_path / "adapter", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_save_that_fails_leaves_the_last_one_whole(tmp_path, monkeypatch):
    task, learner = learned("bert", "classification", "lora", tmp_path / "base")
    folder = save_learner(task, learner, tmp_path / "adapter", {"eval_accuracy": 0.75})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(task.tokenizer, "save_pretrained", full_disk)
    with pytest.raises(StoreError, match=r"cannot be saved into .*adapter: No space left on device; free some space"):
        save_learner(task, learner, folder, {"eval_accuracy": 0.8})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_a_whole_model_that_is_saved_generates_with_its_cache(tmp_path):
    task, learner = learned("gpt2", "causal-lm", "full", tmp_path / "base")
    folder = save_learner(task, learner, tmp_path / "model", {})
    assert json.loads((folder / "config.json").read_text()).get("use_cache", True) is True
    assert task.model.config.use_cache is False


def test_mixed_ranks_of_pissa_are_saved_at_twice_their_size(tmp_path):
    import dataclasses

    task = hand_made_task("bert", "classification", tmp_path / "base")
    plan = plan_for(task)
    ranks = {name: 1 + i % 3 for i, name in enumerate(plan.ranks)}
    plan = dataclasses.replace(plan, ranks=ranks, alphas={name: 32.0 * r for name, r in ranks.items()})
    task, learner = learned("bert", "classification", "lora", tmp_path / "base", plan=plan, init_lora_weights="pissa")
    nudge(learner.model)
    expected = logits_of(learner.model, task.tokenizer)[0]
    folder = save_learner(task, learner, tmp_path / "adapter", {})
    from peft import PeftModel

    again = PeftModel.from_pretrained(hand_made_task("bert", "classification", tmp_path / "base").model, folder)
    found = {name: layer.r["default"] for name, layer in again.get_base_model().named_modules() if hasattr(layer, "lora_A")}
    assert found == {f"bert.{name}": 2 * r for name, r in ranks.items()}
    assert (logits_of(again, task.tokenizer)[0] - expected).abs().max() < 1e-5
