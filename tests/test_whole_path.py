"""Not only the bundled model: measure -> plan -> train -> reload, through the command line, for other shapes and places."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import save_as_hub_cache, save_tiny_model

from gelora.cli import main

RELOAD = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
base, adapter, pad = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, pad_token_id=pad, dtype=torch.float32)
model = PeftModel.from_pretrained(model, adapter).eval()
rows = [json.loads(line) for line in open(sys.argv[4])]
with torch.inference_mode():
    right = sum(
        int(model(**tokenizer(r["sentence"], return_tensors="pt", truncation=True, max_length=64)).logits.argmax()) == r["label"]
        for r in rows
    )
assert "gelora" not in sys.modules
print(right / len(rows))
"""


class Commands:
    """`gelora ...` with a data folder of its own, in this process: libraries are loaded once. Runs are processes all the same."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
        for name, value in {"GELORA_HOME": str(home), **environment}.items():
            monkeypatch.setenv(name, value)
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        self._capsys.readouterr()
        status = main(arguments)
        said = self._capsys.readouterr()
        assert status == 0, f"{arguments}: {said.out}\n{said.err}"
        return said.out


def go_the_whole_path(gelora: Commands, model: str, dataset: str, folder: Path, n: int, **options: str) -> tuple[dict, dict]:
    profile, plan = folder / "m.json", folder / "plan.json"
    gelora("measure", "--model", model, "--dataset", dataset, "--n-samples", str(n), "--max-length", "64", "--json", str(profile))
    gelora("plan", "--profile", str(profile), "--offset", "2", "--json", str(plan), "--lora-config", str(folder / "config"))
    settings = [f"--set={key}={value}" for key, value in options.items()]
    run = json.loads(gelora("train", "--model", model, "--dataset", dataset, "--plan", str(plan), "--epochs", "1", *settings, "--json"))
    return json.loads(profile.read_text()), run


def reloaded_accuracy(base: str, run: dict, rows: Path, pad: int) -> float:
    arguments = [sys.executable, "-c", RELOAD, base, str(Path(run["folder"]) / "adapter"), str(pad), str(rows)]
    return float(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


@pytest.mark.timeout(600)
def test_a_real_llama_on_real_reviews(shared_data, tmp_path, capsys, monkeypatch):
    model, data = shared_data / "models" / "stories260K", shared_data / "uci-sentiment" / "train.jsonl"
    data = data if data.is_file() else next((shared_data / "uci-sentiment").glob("*.jsonl"))
    gelora = Commands(tmp_path / "home", capsys, monkeypatch)
    profile, run = go_the_whole_path(gelora, str(model), str(data), tmp_path, 400, n_train="600", n_eval="200", max_length="64")
    assert len(profile["layer_names"]) == 6
    assert run["status"] == "finished" and run["metrics"]["loss"] > 0
    rows = tmp_path / "some.jsonl"
    rows.write_text("".join(data.read_text().splitlines(keepends=True)[:100]))
    config = json.loads((model / "tokenizer_config.json").read_text())
    adapter = json.loads((Path(run["folder"]) / "adapter" / "tokenizer_config.json").read_text())
    assert adapter["pad_token"] and config["tokenizer_class"]
    from transformers import AutoTokenizer

    pad = AutoTokenizer.from_pretrained(Path(run["folder"]) / "adapter").pad_token_id
    assert 0.3 < reloaded_accuracy(str(model), run, rows, pad) <= 1


@pytest.mark.timeout(600)
def test_a_deberta_that_lies_in_the_hub_cache(tmp_path, capsys, monkeypatch):
    cache = tmp_path / "hub"
    snapshot = save_as_hub_cache("deberta-v2", "someone/tiny-deberta", cache)
    rows = tmp_path / "rows.jsonl"
    words = ["river", "stone", "cloud", "paper", "music", "garden", "window", "letter", "bridge", "forest", "market", "winter"]
    texts = [
        (f"the {words[i % 12]} by the {words[(i * 5 + i // 12) % 12]} was {'good' if i % 2 else 'bad'} {i}", i % 2) for i in range(160)
    ]
    rows.write_text("".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in texts))
    gelora = Commands(tmp_path / "home", capsys, monkeypatch, HF_HUB_CACHE=str(cache))
    _, run = go_the_whole_path(gelora, "someone/tiny-deberta", str(rows), tmp_path, 150, n_train="100", n_eval="40", max_length="64")
    assert run["status"] == "finished"
    pad = json.loads((snapshot / "config.json").read_text())["pad_token_id"]
    assert 0 <= reloaded_accuracy(str(snapshot), run, rows, pad) <= 1


def until(holds, seconds: float = 240):
    """The first true answer of `holds`, asked again until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = holds()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError("it did not come true in time")


@pytest.mark.timeout(400)
def test_a_detached_run_outlives_its_shell_and_stops_with_a_checkpoint(tmp_path, capsys, monkeypatch):
    model = save_tiny_model("bert", tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"sentence {i} is here", "label": i % 2}) + "\n" for i in range(200)))
    gelora = Commands(tmp_path / "home", capsys, monkeypatch)
    command = f"{sys.executable} -m gelora train --model {model} --dataset {rows} --rank 2 --epochs 900 --detach --json; sleep 600"
    shell = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    run_id = json.loads(shell.stdout.readline())["id"]
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()

    def losses() -> int:
        return len(json.loads(gelora("runs", run_id, "--json"))["history"].get("loss", []))

    first = until(losses)
    until(lambda: losses() > first)
    assert [run["status"] for run in json.loads(gelora("runs", "--json"))] == ["running"]
    stopped = json.loads(gelora("stop", run_id, "--json"))
    assert stopped["status"] == "stopped"
    (checkpoint,) = (Path(stopped["folder"]) / "checkpoints").glob("checkpoint-*")
    assert (checkpoint / "optimizer.pt").is_file()
    assert (Path(stopped["folder"]) / "adapter" / "adapter_model.safetensors").is_file()
