"""What a run says of itself: the same floats everywhere, a full disk ends the run."""

import json
import time
from types import SimpleNamespace

import pytest

from gelora.errors import StoreError
from gelora.runs.records import recorder as recorder_module
from gelora.runs.records.metrics_file import read_history
from gelora.runs.records.recorder import Recorder
from gelora.runs.records.state import read_state
from gelora.tasks import ShownExample


class Heard:
    """Trackers that keep what they are told."""

    def __init__(self):
        self.events, self.ended = [], None

    def log(self, step, values):
        self.events.append((step, values))

    def end(self, status, reason):
        self.ended = (status, reason)


@pytest.fixture
def run(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.trackers = Heard()
    return recorder


def test_every_value_is_in_log_metrics_state_and_trackers(run, tmp_path, capsys):
    run.progress(3, 10, 1.5)
    run.values(3, {"loss": 0.1 + 0.2, "examples_per_second": 7.25, "gpu_memory_bytes": 3e9})
    run.values(4, {"loss": float("nan")})
    run.end("finished", None)
    assert "loss=0.30000000000000004 examples_per_second=7.25" in capsys.readouterr().out
    values = {"loss": 0.1 + 0.2, "examples_per_second": 7.25, "gpu_memory_bytes": 3e9}
    assert run.trackers.events == [(3, values), (4, {})]
    assert run.trackers.ended == ("finished", None)
    assert read_history(tmp_path) == {name: [(3, value)] for name, value in sorted(values.items())}
    state = read_state(tmp_path)
    assert (state.status, state.step, state.total_steps, state.seconds_left) == ("finished", 3, 10, None)
    assert (state.examples_per_second, state.gpu_memory_bytes) == (7.25, 3_000_000_000)
    assert "loss" not in state.metrics  # the last one is no number, for which JSON has no word


def test_the_values_of_a_killed_attempt_are_there_for_the_next(run, tmp_path):
    run.values(1, {"loss": 1 / 3, "grad_norm": float("inf")})
    run.keep()  # here the process is killed
    again = Recorder(tmp_path, read_state(tmp_path))
    again.values(2, {"loss": 2 / 3})
    again.end("finished", None)
    assert read_history(tmp_path) == {"loss": [(1, 1 / 3), (2, 2 / 3)]}


def test_what_an_earlier_version_had_not_sent_goes_into_the_metrics(tmp_path):
    (tmp_path / "unsent.json").write_text('[[1, {"loss": 0.5}], [2, {"loss": 0.25}]]')
    Recorder(tmp_path).end("finished", None)
    assert read_history(tmp_path) == {"loss": [(1, 0.5), (2, 0.25)]}
    assert not (tmp_path / "unsent.json").exists()


def test_a_damaged_file_of_unsent_values_is_named(tmp_path):
    (tmp_path / "unsent.json").write_text("[[1, ")
    with pytest.raises(StoreError, match=r"unsent\.json is damaged.*remove it and resume"):
        Recorder(tmp_path)


def test_the_heartbeat_goes_on_while_training_is_silent(run, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "_SECONDS", 0.05)
    run.progress(5, 10, None)
    deadline = time.monotonic() + 240
    while read_state(tmp_path).step != 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_state(tmp_path).step == 5
    run.end("stopped", "asked")


def test_the_heartbeat_is_not_taken_for_training_that_goes_on(run, monkeypatch):
    monkeypatch.setattr(recorder_module, "_SECONDS", 0.05)
    moments = iter([100.0, 100.5, 101.0, 131.0, 131.5])
    monkeypatch.setattr(recorder_module, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    for step in (0, 1, 2):
        run.progress(step, 10, None)
    assert (run.state.step_seconds, run.state.longest_pause_seconds) == (0.5, 0.5)
    run.progress(2, 10, None)  # an evaluation's batch
    run.progress(3, 10, None)
    assert (run.state.step_seconds, run.state.longest_pause_seconds) == (0.5, 30.0)
    run.stage("saving the adapter")
    assert run.state.progressed_at is None


def test_training_is_told_that_the_disk_is_full(run, monkeypatch):
    def full(folder, state):
        raise StoreError("Cannot write state.json: No space left on device.")

    monkeypatch.setattr(recorder_module, "write_state", full)
    deadline = time.monotonic() + 240
    with pytest.raises(StoreError, match="No space left"):
        while time.monotonic() < deadline:
            run.values(1, {"loss": 1.0})
            time.sleep(0.05)


def test_examples_are_written_whole(run, tmp_path):
    run.examples(7, [ShownExample("a text", "good", "bad", False)])
    written = json.loads((tmp_path / "examples.json").read_text())
    assert written == {"step": 7, "rows": [{"given": "a text", "truth": "good", "prediction": "bad", "right": False}]}
    run.end("failed", "disk full: free some space")
    assert read_state(tmp_path).reason == "disk full: free some space"
