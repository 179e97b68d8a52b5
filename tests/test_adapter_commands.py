"""`gelora inspect` and `gelora compress`: a table for a person, JSON for a machine, plain PEFT's scores, one sentence for errors."""

import json
import math

import pytest
import torch
from peft import PeftModel
from tiny_models import save_tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from gelora.cli import main
from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs.training.adapters import save_learner
from gelora.runs.training.methods import apply_method
from gelora.sources import model_structure
from gelora.tasks import build_task

ROWS = [{"text": f"the film number {i} was {'good' if i % 2 else 'bad'}", "label": i % 2} for i in range(60)]


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """A run's folder with spec.json and an adapter of random weights on a tiny BERT; its held-out rows in a file of their own."""
    folder = tmp_path_factory.mktemp("left")
    save_tiny_model("bert", folder / "model")
    for name, rows in (("rows", ROWS[:40]), ("held_out", ROWS[40:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = str(folder / "model")
    spec = RunSpec(
        model, DataChoice(str(folder / "rows.jsonl")), uniform_ranks(model_structure(model), 4), TrainingConfig(device="cpu"), 0,
        DataChoice(str(folder / "held_out.jsonl")),
    )  # fmt: skip
    (folder / "spec.json").write_text(spec.to_json())
    task = build_task(spec)
    learner = apply_method(task, spec, spec.plan, 10)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    save_learner(task, learner, folder / "adapter", {})
    return folder


def by_plain_peft(folder, adapter) -> tuple[float, float]:
    """Accuracy and mean loss on the held-out rows, by transformers and PEFT alone."""
    base = AutoModelForSequenceClassification.from_pretrained(folder / "model", num_labels=2, ignore_mismatched_sizes=True)
    model, tokenizer = PeftModel.from_pretrained(base, adapter).eval(), AutoTokenizer.from_pretrained(adapter)
    labels = torch.tensor([row["label"] for row in ROWS[40:]])
    with torch.no_grad():
        logits = model(**tokenizer([row["text"] for row in ROWS[40:]], return_tensors="pt", padding=True)).logits
    return float((logits.argmax(1) == labels).float().mean()), float(torch.nn.functional.cross_entropy(logits, labels))


def test_inspect_says_what_its_json_holds(left, tmp_path, capsys):
    assert main(["inspect", str(left / "adapter"), "--json", str(tmp_path / "found.json")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert len(found["modules"]) == 12
    for row in found["modules"]:
        assert (
            row["module"] in said and row["r"] == 4 == len(row["singular_values"]) and 1 <= row["stable_rank"] <= row["effective_rank"] + 1
        )
        assert row["norm"] == pytest.approx(math.hypot(*row["singular_values"]))
    assert "of 48 units of rank hold 99%" in said and "not looked at" in said


def test_compress_measures_the_score_again_on_the_run_s_own_rows(left, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compress", str(left / "adapter"), "--out", str(out), "--match", "uniform:1", "--json", str(tmp_path / "c.json")]) == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "c.json").read_text())
    assert found["n_params"] == found["n_params_before"] // 4 == 12 * 64
    for adapter, scores in ((left / "adapter", found["before"]), (out, found["after"])):
        accuracy, loss = by_plain_peft(left, adapter)
        assert scores["eval_accuracy"] == pytest.approx(accuracy) and scores["eval_loss"] == pytest.approx(loss, abs=1e-5)
    assert found["before"]["eval_loss"] != found["after"]["eval_loss"]
    assert f"{found['before']['eval_accuracy']:.4f} before, {found['after']['eval_accuracy']:.4f} after" in said


def test_data_can_be_named_and_energy_is_the_default(left, tmp_path, capsys):
    arguments = ["--dataset", str(left / "rows.jsonl"), "--held-out", str(left / "held_out.jsonl"), "--device", "cpu", "--json"]
    assert main(["compress", str(left / "adapter"), "--out", str(tmp_path / "out"), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["relative"] <= math.sqrt(0.05) and found["after"]["eval_accuracy"] == pytest.approx(
        by_plain_peft(left, tmp_path / "out")[0]
    )


def test_a_run_is_named_by_its_id(left, gelora_home, capsys):
    (gelora_home / "runs").mkdir(parents=True)
    (gelora_home / "runs" / "20260301-100000-a").symlink_to(left)
    assert main(["inspect", "20260301-100000-a"]) == 0
    assert "12 modules" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["inspect", "nowhere"], "There is no folder and no run nowhere"),
        (["compress", "{left}/adapter", "--out", "{left}/model"], "is there already and not empty"),
        (["compress", "{left}/adapter", "--out", "{out}", "--params", "10"], "keeps nothing of this adapter; one unit of rank costs 64"),
        (["compress", "{left}/adapter", "--out", "{out}", "--energy", "2"], "energy"),
        (["inspect", "{left}/model"], "adapter_config.json cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(left, tmp_path, arguments, says, gelora_home, capsys):
    assert main([argument.format(left=left, out=tmp_path / "out") for argument in arguments]) == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_another_model_s_adapter_is_not_scored(left, tmp_path, capsys):
    save_tiny_model("gpt2", tmp_path / "other")
    data = ["--dataset", str(left / "rows.jsonl"), "--held-out", str(left / "held_out.jsonl"), "--device", "cpu"]
    arguments = ["compress", str(left / "adapter"), "--out", str(tmp_path / "out"), *data, "--model", str(tmp_path / "other")]
    assert main(arguments) == 2
    assert "is no adapter of" in capsys.readouterr().err
