"""Runs as they are in life: processes of their own that outlive their starter, can be stopped, killed, and fail."""

import json
import re
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_model

from gelora.runs import delete_run, history, list_runs, log_tail, run_info, start_run, stop_run, wait_for
from gelora.runs.training.checkpoints import last_whole

STARTER = """
import sys, time
from gelora.records import RunSpec
from gelora.runs import start_run
print(start_run(RunSpec.from_json(sys.argv[1])), flush=True)
time.sleep(600)
"""


@pytest.fixture
def started(libraries_loaded):
    """start(spec) -> run id; whatever still runs at the end of the test is stopped."""
    ids = []

    def start(spec):
        ids.append(start_run(spec))
        return ids[-1]

    yield start
    for run_id in ids:
        if run_id in {info.id for info in list_runs()}:
            stop_run(run_id, grace_seconds=0)


def wait_until(run_id, condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition(info := run_info(run_id)):
        assert info.is_live, f"{info.state.status}: {info.state.reason}\n{log_tail(run_id)}"
        assert time.monotonic() < deadline, log_tail(run_id)
        time.sleep(0.05)
    return info


def logged_values(run_id):
    """{name: [(step, value), ...]} as the log's text has them."""
    found = {}
    for line in (run_info(run_id).folder / "log.txt").read_text().splitlines():
        if match := re.match(r"step (\d+)/\S+ (.*)", line):
            for name, value in (word.split("=") for word in match[2].split()):
                found.setdefault(name, []).append((int(match[1]), float(value)))
    return found


def test_run_outlives_its_starter_and_says_the_same_everywhere(make_spec):
    spec = make_spec()
    starter = subprocess.Popen([sys.executable, "-c", STARTER, spec.to_json()], stdout=subprocess.PIPE, text=True)
    run_id = starter.stdout.readline().strip()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    seen = []
    info = wait_for(run_id, on_update=lambda info: seen.append(info.state.status), poll_seconds=0.1)
    assert info.state.status == "finished", log_tail(run_id)
    assert seen[0] in ("queued", "running")
    assert (info.state.step, info.state.total_steps, info.spec, info.state.reason) == (12, 12, spec, None)
    assert (info.method, info.strategy, info.state.device) == ("lora", "uniform", "cpu")

    values = history(run_id)
    assert values == logged_values(run_id)
    assert [step for step, _ in values["loss"]] == list(range(1, 13))
    assert info.state.metrics == {name: series[-1][1] for name, series in values.items()}
    assert info.state.metrics["majority_accuracy"] == 0.5
    assert json.loads((info.folder / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert "checkpoint-12" in {path.name for path in (info.folder / "checkpoints").iterdir()}
    assert "Traceback" not in (info.folder / "log.txt").read_text()

    delete_run(run_id)
    assert run_id not in {info.id for info in list_runs()}
    assert not info.folder.exists()


def test_stopped_run_leaves_checkpoint_and_adapter(make_spec, started):
    run_id = started(make_spec(epochs=1000))
    wait_until(run_id, lambda info: info.state.step >= 2)
    info = stop_run(run_id)
    assert info.state.status == "stopped", log_tail(run_id)
    assert info.state.reason == f"stopped at step {info.state.step}; checkpoint and adapter are saved"
    assert last_whole(info.folder / "checkpoints").name == f"checkpoint-{info.state.step}"
    assert (info.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert info.state.ended_at is not None
    assert history(run_id) == logged_values(run_id)


def test_run_that_is_stopped_while_it_starts_leaves_nothing_behind(make_spec, started):
    run_id = started(make_spec(epochs=1000))
    info = stop_run(run_id)
    assert (info.state.status, info.state.reason) == ("stopped", "stopped before training began")
    assert not (info.folder / "adapter").exists()


def test_diverged_run_is_failed_with_the_reason(make_spec, started, tmp_path):
    overflowing = save_tiny_model("bert", tmp_path / "overflowing")
    weights = load_file(overflowing / "model.safetensors")
    weights["encoder.layer.2.output.dense.weight"].fill_(3e38)
    save_file(weights, overflowing / "model.safetensors", metadata={"format": "pt"})

    diverged = started(make_spec(model=overflowing))
    info = wait_for(diverged)
    assert info.state.status == "failed"
    assert info.state.reason.startswith("diverged: the loss became nan at step 1; lower the learning rate (now 0.001)")
    assert "loss=nan" in log_tail(diverged)
    assert "Traceback" not in log_tail(diverged, 500)
    assert not (info.folder / "adapter").exists()
