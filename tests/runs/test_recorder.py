"""What a run says of itself: the same floats everywhere, nothing lost when the store is slow, a full disk is heard."""

import json
import threading
import time

import pytest

from gelora.errors import StoreError
from gelora.runs.records import recorder as recorder_module
from gelora.runs.records.recorder import Recorder
from gelora.runs.records.state import read_state
from gelora.tasks import ShownExample


class Store:
    """A tracker that keeps what it gets; `hold` makes it slow."""

    def __init__(self):
        self.events, self.ended, self.hold = [], None, threading.Event()
        self.hold.set()

    def log(self, events):
        self.hold.wait(10)
        self.events += list(events)
        return None

    def end(self, status):
        self.ended = status

    def tag(self, name, value):
        pass


@pytest.fixture
def run(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.tracker = Store()
    return recorder


def test_every_value_is_in_log_store_and_state(run, tmp_path, capsys):
    run.progress(3, 10, 1.5)
    run.values(3, {"loss": 0.1 + 0.2, "examples_per_second": 7.25, "gpu_memory_bytes": 3e9})
    run.values(4, {"loss": float("nan")})
    run.end("finished", None)
    assert "loss=0.30000000000000004 examples_per_second=7.25" in capsys.readouterr().out
    assert run.tracker.events[0] == (3, {"loss": 0.1 + 0.2, "examples_per_second": 7.25, "gpu_memory_bytes": 3e9})
    state = read_state(tmp_path)
    assert (state.status, state.step, state.total_steps, state.seconds_left) == ("finished", 3, 10, None)
    assert (state.examples_per_second, state.gpu_memory_bytes) == (7.25, 3_000_000_000)
    assert "loss" not in state.metrics  # the last one is no number, for which JSON has no word


def test_a_slow_store_does_not_hold_up_training_and_loses_nothing(run, tmp_path):
    run.tracker.hold.clear()
    began = time.monotonic()
    for step in range(200):
        run.values(step, {"loss": float(step)})
        run.progress(step, 200, None)
    assert time.monotonic() - began < 2
    assert run.latest() == {"loss": 199.0}
    run.tracker.hold.set()
    run.end("finished", None)
    assert [step for step, _ in run.tracker.events] == list(range(200))
    assert read_state(tmp_path).metrics == {"loss": 199.0}


def test_what_the_store_did_not_have_when_a_checkpoint_was_made_is_sent_by_the_next_attempt(run, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "_SECONDS", 0.05)
    run.tracker.hold.clear()
    for step in (1, 2):
        run.values(step, {"loss": step / 3, "grad_norm": float("inf")})
        time.sleep(0.3)  # the first is on its way by now, the second waits
    began = time.monotonic()
    run.keep()
    assert time.monotonic() - began < 1
    assert (tmp_path / "unsent.json").is_file()  # here the process is killed

    again = Recorder(tmp_path, read_state(tmp_path))
    time.sleep(0.3)  # the store is not open yet: nothing may be lost meanwhile
    again.tracker = Store()
    again.end("finished", None)
    assert again.tracker.events == [(1, {"loss": 1 / 3}), (2, {"loss": 2 / 3})]
    assert not (tmp_path / "unsent.json").exists()
    run.tracker.hold.set()


def test_a_damaged_file_of_unsent_values_ends_no_run(tmp_path, capsys):
    (tmp_path / "unsent.json").write_text("[[1, ")
    Recorder(tmp_path).end("finished", None)
    assert "unsent.json is damaged" in capsys.readouterr().out


def test_the_heartbeat_goes_on_while_training_is_silent(run, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "_SECONDS", 0.05)
    run.progress(5, 10, None)
    deadline = time.monotonic() + 10
    while read_state(tmp_path).step != 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert read_state(tmp_path).step == 5
    run.end("stopped", "asked")


def test_a_disk_that_is_full_is_heard_by_the_training(run, monkeypatch):
    def full(folder, state):
        raise StoreError("Cannot write state.json: No space left on device.")

    monkeypatch.setattr(recorder_module, "write_state", full)
    deadline = time.monotonic() + 10
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
