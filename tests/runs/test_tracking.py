"""The run store: made once, exact values, honest when it is away."""

import math
import subprocess
import sys

import pytest

from gelora.errors import StoreError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import ensure_store, history
from gelora.runs.records.state import RunState, create_folder, write_state
from gelora.runs.records.tracking import Tracker, _client, close, forget, tracking_uri

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))


@pytest.fixture
def tracker():
    return Tracker("a run", {"a": 1, "long": "x" * 10_000}, {"gelora.run_id": "a-run"})


@pytest.fixture
def run_id(tracker):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="finished", mlflow_run_id=tracker.id))
    return folder.name


def test_values_come_back_exactly(tracker, run_id):
    values = [0.1, 1 / 3, 0.6931471824645996, 1e-300, 5e15 + 1, -2.5e-4]
    for step, value in enumerate(values):
        assert tracker.log([(step, {"loss": value, "double": 2 * value})]) is None
    assert history(run_id) == {"loss": list(enumerate(values)), "double": [(i, 2 * v) for i, v in enumerate(values)]}


def test_values_that_are_no_numbers_are_left_out(tracker, run_id):
    tracker.log([(1, {"loss": math.nan, "eval_loss": math.inf, "grad_norm": 1.0})])
    assert history(run_id) == {"grad_norm": [(1, 1.0)]}


def test_what_the_store_did_not_take_is_sent_again(tracker, run_id, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(type(tracker._client), "log_batch", lambda *a, **k: 1 / 0)
        assert "did not take 1 values" in tracker.log([(1, {"loss": 0.5})])
    assert tracker.log([(2, {"loss": 0.25})]) is None
    assert history(run_id) == {"loss": [(1, 0.5), (2, 0.25)]}


def test_run_without_a_record_yet_has_no_history(tracker):
    assert history(create_folder(SPEC).name) == {}


def test_forgotten_run_is_gone_and_forgetting_twice_is_no_error(tracker):
    forget(tracker.id)
    forget("0" * 32)
    assert tracker._client.get_run(tracker.id).info.lifecycle_stage == "deleted"


def test_two_processes_at_once_make_one_store(gelora_home):
    code = "from gelora.runs import ensure_store; ensure_store(); ensure_store()"
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert [line for text in errors for line in text.splitlines() if "INFO" in line] == []
    assert sorted(path.name for path in gelora_home.iterdir() if path.suffix != ".lock") == ["mlflow.db"]
    tracker = Tracker("a run", {}, {})
    assert tracker._client.get_run(tracker.id).info.artifact_uri.startswith((gelora_home / "artifacts").as_uri())


def test_store_of_the_environment_is_used(gelora_home, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    ensure_store()
    assert tracking_uri() == uri
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (gelora_home / "mlflow.db").exists()


def test_store_that_is_no_database_is_one_sentence(gelora_home):
    gelora_home.mkdir()
    (gelora_home / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"cannot be opened.*not a database.*move .*mlflow\.db away"):
        ensure_store()


def test_server_that_is_away_is_said_within_seconds(gelora_home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="Check MLFLOW_TRACKING_URI"):
        ensure_store()


def test_a_run_whose_process_died_is_closed_and_can_be_taken_up_again(gelora_home):
    first = Tracker("run", {"seed": 1}, {})
    first.log([(1, {"loss": 2.0})])
    assert close(first.id, "failed", "killed or lost") is None
    found = _client(tracking_uri()).get_run(first.id)
    assert (found.info.status, found.data.tags["gelora.reason"]) == ("FAILED", "killed or lost")
    again = Tracker("run", {"seed": 1}, {}, first.id)
    assert again.id == first.id
    assert _client(tracking_uri()).get_run(first.id).info.status == "RUNNING"
    assert Tracker("run", {}, {}, "0" * 32).id != first.id  # the store has lost that one
