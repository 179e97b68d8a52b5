"""A saved adapter gives the same logits in a process that has never heard of this package."""

import json
import subprocess
import sys

import torch
from tiny_models import save_tiny_model

from gelora.runs.adapters import base_of, save_adapter
from gelora.runs.tasks import build_task
from gelora.sources import find_model

CASES = [("bert", "lora"), ("deberta-v2", "lora"), ("modernbert", "lora"), ("llama", "lora"), ("modernbert", "head")]
TEXTS = ["the film was good", "the story and the train and the garden were slow and dull", "rain"]

# Runs the README's own lines in each folder, in one process.
LOADER = """
import json, os, sys
texts, folders = json.loads(sys.argv[1])
found = []
for folder in folders:
    os.chdir(folder)
    names = {}
    exec(open("README.md").read().split("```python\\n")[1].split("```")[0], names)
    inputs = names["tokenizer"](texts, return_tensors="pt", padding=True)
    found.append(names["model"](**inputs).logits.tolist())
ours = sorted(name for name in sys.modules if name.split(".")[0] == "gelora")
print(json.dumps([found, ours]))
"""


def nudge(model):
    """Move every trainable weight away from where a fresh model has it, as training does."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def test_readme_lines_give_the_same_logits_in_a_process_without_us(make_spec, tmp_path):
    folders, before = [], []
    for architecture, method in CASES:
        folder = tmp_path / f"{architecture}-{method}"
        task = build_task(make_spec(model=save_tiny_model(architecture, folder), method=method))
        nudge(task.model)
        task.model.eval()
        with torch.no_grad():
            before.append(task.model(**task.tokenizer(TEXTS, return_tensors="pt", padding=True)).logits)
        folders.append(str(save_adapter(task, folder / "adapter", {"eval_accuracy": 0.75})))
    command = [sys.executable, "-c", LOADER, json.dumps([TEXTS, folders])]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found, ours = json.loads(result.stdout.splitlines()[-1])
    assert ours == []
    for case, logits, expected in zip(CASES, found, before, strict=True):
        assert (torch.tensor(logits) - expected).abs().max() < 1e-5, case
        assert expected.std() > 1e-3  # logits that differ between texts, so that the comparison says something


def test_readme_says_what_the_outputs_mean_and_how_good_they_are(make_spec, tmp_path):
    readme = (save_adapter(build_task(make_spec()), tmp_path / "adapter", {"eval_accuracy": 0.75}) / "README.md").read_text()
    assert "Labels: 0 = 0, 1 = 1." in readme
    assert "- eval_accuracy: 0.75" in readme
    assert "num_labels=2" in readme


def test_checkpoint_with_a_head_of_another_size_is_trained_anew(make_spec, tmp_path):
    from transformers import AutoModelForSequenceClassification

    folder = save_tiny_model("bert", tmp_path / "base")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5).save_pretrained(folder)
    task = build_task(make_spec(model=folder))
    assert task.n_labels == 2
    assert task.n_head_params == (32 * 32 + 32) + (32 * 2 + 2)
    assert "ignore_mismatched_sizes=True" in (save_adapter(task, tmp_path / "adapter", {}) / "README.md").read_text()


def test_base_is_named_so_that_anybody_can_load_it(make_spec, tmp_path):
    assert base_of(find_model("all-MiniLM-L6-v2")) == (
        "sentence-transformers/all-MiniLM-L6-v2",
        "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    )
    task = build_task(make_spec())
    config = json.loads((save_adapter(task, tmp_path / "adapter", {}) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(task.entry.path)
    assert config["r"] == 2
    assert set(config["modules_to_save"]) >= {"bert.pooler", "classifier"}


def test_second_save_replaces_the_first_and_leaves_nothing_behind(make_spec, tmp_path):
    task = build_task(make_spec())
    for _ in range(2):
        save_adapter(task, tmp_path / "adapter", {})
    assert [path.name for path in tmp_path.iterdir() if "adapter" in path.name] == ["adapter"]
