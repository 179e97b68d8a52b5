"""A saved adapter gives the same logits in a process that knows PEFT and transformers, and not us."""

import json
import subprocess
import sys

import pytest
import torch
from tiny_models import save_tiny_model, tiny_model
from transformers import AutoModelForSequenceClassification

from gelora.ranks import allocate_ranks, apply_plan, modules_to_save
from gelora.sources import structure_of

ARCHITECTURES = ("bert", "deberta-v2", "modernbert", "llama", "distilbert", "roberta", "gpt2")

# What another person's script would be. Number of labels and padding token are not in a base checkpoint nor in an
# adapter, so whoever loads the base model says them, here as in training.
SCRIPT = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

cases, seen = json.load(open(sys.argv[1])), {}
for name, case in cases.items():
    torch.manual_seed(case["seed"])  # another random head than the saved one
    base = AutoModelForSequenceClassification.from_pretrained(case["base"], **case["base_options"])
    model = PeftModel.from_pretrained(base, case["adapter"]).eval()
    with torch.inference_mode():
        seen[name] = model(**{k: torch.tensor(v) for k, v in case["inputs"].items()}).logits.tolist()
assert not [m for m in sys.modules if m.split(".")[0] == "gelora"]
json.dump(seen, open(sys.argv[2], "w"))
"""


def trained_and_saved(architecture, folder, profile, seed):
    """Build a classifier on a base checkpoint, give adapter and head other weights, save: what a training run leaves."""
    padded = {"pad_token_id": 2} if architecture in ("llama", "gpt2") else {}
    base = save_tiny_model(architecture, folder / "base", **({"pad_token_id": None} if padded else {}))
    options = {"num_labels": 3, **padded}
    model, info = AutoModelForSequenceClassification.from_pretrained(base, output_loading_info=True, **options)
    structure = structure_of(tiny_model(architecture), architecture, "rev")
    plan = allocate_ranks(profile([10.0, 12.5, 11.0, 13.2], structure), "all-linear")
    peft_model = apply_plan(model, plan, task_type="SEQ_CLS", modules_to_save=modules_to_save(model, info["missing_keys"]))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in peft_model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    peft_model.save_pretrained(folder / "adapter")
    rows = torch.randint(5, 300, (3, 9), generator=generator)
    mask = torch.ones_like(rows)
    rows[1, 6:], mask[1, 6:] = model.config.pad_token_id, 0
    inputs = {"input_ids": rows, "attention_mask": mask}
    with torch.inference_mode():
        logits = peft_model.eval()(**inputs).logits
    case = {
        "base": str(base),
        "base_options": options,
        "adapter": str(folder / "adapter"),
        "inputs": {name: tensor.tolist() for name, tensor in inputs.items()},
        "seed": seed + 1,
    }
    return case, logits


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory, make_profile):
    """{architecture: (logits before saving, logits in the other process)}; one process for all, since it starts slowly."""
    folder = tmp_path_factory.mktemp("adapters")
    made = {name: trained_and_saved(name, folder / name, make_profile, 7) for name in ARCHITECTURES}
    (folder / "cases.json").write_text(json.dumps({name: case for name, (case, _) in made.items()}))
    (folder / "load.py").write_text(SCRIPT)
    command = [sys.executable, "load.py", "cases.json", "seen.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads((folder / "seen.json").read_text())
    return {name: (logits, torch.tensor(seen[name])) for name, (_, logits) in made.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_adapter_gives_the_same_logits_in_another_process(reloaded, architecture):
    before, after = reloaded[architecture]
    assert before.shape == (3, 3)
    assert before.std() > 0.01  # the inputs and the weights do matter
    assert (before - after).abs().max() <= 1e-5
