"""A run killed with -9 at some step and resumed ends with the weights of one that was never killed."""

import os
import random
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_tiny_model

from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import geometry, history, log_tail, resume_run, run_info, start_run, wait_for
from gelora.sources import model_structure

from .conftest import sentences, write_rows

N_STEPS = 30


def spec_of(kind, tmp_path):
    causal = kind == "causal-lm"
    model = save_tiny_model("llama" if causal else "bert", tmp_path / "model")
    rows = [{"text": f"{text} {'and so on ' * (i % 4)}", "label": label} for i, (text, label) in enumerate(sentences(140))]
    data = DataChoice(write_rows(tmp_path / "rows.jsonl", rows), text_column="text", label_column="" if causal else "label")
    training = TrainingConfig(
        n_train=80, n_eval=60, epochs=3.0, batch_size=8, learning_rate=2e-3, max_length=32, eval_every=7, device="cpu", precision="float32",
        task=kind, lora_dropout=0.1, probe_size=60,
    )  # fmt: skip
    return RunSpec(str(model), data, uniform_ranks(model_structure(str(model)), 2), training, 3)


def kill_at(run_id, step):
    """Kill the run's process group with -9 once it has trained `step` steps; returns where it was then."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        info = run_info(run_id)
        if info.state.status == "failed" or info.state.status == "finished":
            pytest.fail(f"{info.state.status} before it could be killed: {info.state.reason}\n{log_tail(run_id)}")
        if f"step {step}/" in log_tail(run_id, 400):
            os.kill(info.state.pid, signal.SIGKILL)
            while run_info(run_id).is_live:
                time.sleep(0.05)
            return run_info(run_id).state.step
        time.sleep(0.02)
    pytest.fail(f"step {step} was never reached:\n{log_tail(run_id)}")


def weights_of(run_id):
    return load_file(run_info(run_id).folder / "adapter" / "adapter_model.safetensors")


def curves_of(run_id):
    return {line.step: line.dimensions for line in geometry(run_id)}


@pytest.mark.parametrize("kind", ["classification", "causal-lm"])
def test_the_weights_are_those_of_a_run_that_was_never_killed(kind, tmp_path, monkeypatch, libraries_loaded):
    monkeypatch.setenv("GELORA_HOME", str(tmp_path / "home"))
    spec = spec_of(kind, tmp_path)
    whole = start_run(spec)
    assert wait_for(whole).state.status == "finished", log_tail(whole)

    killed = start_run(spec)
    kill_at(killed, random.Random(os.getpid()).randint(8, N_STEPS - 3))  # any step after the first checkpoint and before the end
    assert run_info(killed).can_resume
    assert resume_run(killed) == killed
    info = wait_for(killed)
    assert info.state.status == "finished", log_tail(killed)
    assert info.state.attempts == 2

    expected, found = weights_of(whole), weights_of(killed)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    for name in ("loss", "eval_loss", info.state.main_metric):
        assert history(killed)[name] == history(whole)[name], name
    # Which evaluations are measured depends on the pace of the machine; what is measured does not.
    curves_of_whole, curves_of_killed = curves_of(whole), curves_of(killed)
    both = curves_of_whole.keys() & curves_of_killed.keys()
    assert {0, info.state.step} <= both and any(dimension is not None for dimension in curves_of_whole[0])
    assert [curves_of_killed[step] for step in both] == [curves_of_whole[step] for step in both]
