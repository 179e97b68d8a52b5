"""Trackers are told what a run logs; one that fails stops no training, one that is missing is said before the start."""

import importlib.util

import pytest

from gelora.errors import InputError, StoreError
from gelora.runs.records import trackers as module
from gelora.runs.records.trackers import Trackers, check_trackers, close_in_mlflow, installed_trackers

mlflow_is_there = pytest.mark.skipif("mlflow" not in installed_trackers(), reason="MLflow is not installed")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a-run").mkdir()
    return tmp_path / "a-run"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The store of MLflow of all tests here: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def environment(monkeypatch, store, tmp_path):
    """That store, artifacts under tmp_path; what trackers set is undone."""
    monkeypatch.chdir(tmp_path)
    for name in module._environment("", "x"):
        monkeypatch.setenv(name, "to be undone")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)


@pytest.fixture
def client(environment):
    import mlflow

    mlflow.set_tracking_uri(None)
    return mlflow.tracking.MlflowClient


@pytest.fixture
def said():
    return []


def test_the_names_are_those_of_transformers():
    from transformers.integrations import get_reporting_integration_callbacks

    for name in module.TRACKERS:
        assert len(get_reporting_integration_callbacks([name])) == 1


def test_an_unknown_tracker_is_named():
    with pytest.raises(InputError, match=r"'tensorbord'.*tensorboard"):
        check_trackers(["tensorbord"])


def test_a_tracker_that_is_not_installed_is_said_before_the_start(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=r"'wandb' is not installed: pip install wandb, or leave it out"):
        check_trackers(["wandb"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI is set, but MLflow is not installed.*or unset it"):
        check_trackers([])


def test_a_server_named_by_the_environment_is_reported_to(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert check_trackers(["tensorboard", "tensorboard"]) == ("tensorboard",)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert check_trackers(["tensorboard"]) == ("tensorboard", "mlflow")


def test_without_trackers_nothing_happens(folder, said):
    told = Trackers((), folder, {}, None, said.append)
    told.log(1, {"loss": 1.0})
    told.keep(folder, "adapter")
    told.end("finished", None)
    assert (said, list(folder.iterdir()), told.mlflow_run_id) == ([], [], None)


@mlflow_is_there
@pytest.mark.parametrize(("status", "there"), [("finished", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED")])
def test_mlflow_has_the_values_settings_files_and_end(folder, said, client, status, there, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "config.json").write_text("{}")
    told = Trackers(("mlflow",), folder, {"seed": 1, "long": "x" * 10_000}, None, said.append)
    for step, value in enumerate([0.1, 1 / 3, 1e-300]):
        told.log(step, {"loss": value, "id/layer_01": 2 * value})
    told.keep(tmp_path / "adapter", "adapter")
    told.end(status, "because")
    found = client().get_run(told.mlflow_run_id)
    assert (found.info.status, found.info.run_name, found.data.tags["gelora.reason"]) == (there, "a-run", "because")
    assert (found.data.params["seed"], set(found.data.params["long"])) == ("1", {"x"})
    assert [(m.step, m.value) for m in client().get_metric_history(told.mlflow_run_id, "loss")] == [(0, 0.1), (1, 1 / 3), (2, 1e-300)]
    assert [file.path for file in client().list_artifacts(told.mlflow_run_id, "adapter")] == ["adapter/config.json"]
    assert said == []


@mlflow_is_there
def test_a_resumed_run_goes_on_in_the_same_record_of_mlflow(folder, said, client):
    first = Trackers(("mlflow",), folder, {"seed": 1}, None, said.append)
    first.end("stopped", "asked")
    again = Trackers(("mlflow",), folder, {"seed": 1}, first.mlflow_run_id, said.append)
    assert again.mlflow_run_id == first.mlflow_run_id
    assert client().get_run(again.mlflow_run_id).info.status == "RUNNING"
    again.end("finished", None)
    assert client().get_run(again.mlflow_run_id).info.status == "FINISHED"


@mlflow_is_there
def test_without_a_server_mlflow_keeps_all_under_the_data_folder(folder, said, client, gelora_home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    gelora_home.mkdir()
    told = Trackers(("mlflow",), folder, {}, None, said.append)
    told.keep(folder, "adapter")
    told.end("finished", None)
    found = client(f"sqlite:///{gelora_home / 'mlflow.db'}").get_run(told.mlflow_run_id)
    assert found.info.artifact_uri.startswith((gelora_home / "artifacts").as_uri())
    assert said == []


@mlflow_is_there
def test_a_run_whose_process_died_is_closed_in_mlflow(client):
    open_run = client().create_run(client().create_experiment("another")).info.run_id
    close_in_mlflow(open_run, "failed", "killed or lost")
    found = client().get_run(open_run)
    assert (found.info.status, found.data.tags["gelora.reason"]) == ("FAILED", "killed or lost")


@mlflow_is_there
def test_a_server_that_is_away_is_one_sentence_at_the_start(folder, said, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"The tracker mlflow cannot be begun: .*Check its settings, or leave it out"):
        Trackers(("mlflow",), folder, {}, None, said.append)


@pytest.mark.skipif("tensorboard" not in installed_trackers(), reason="neither tensorboard nor tensorboardX is installed")
def test_tensorboard_gets_an_event_file_in_the_runs_folder(folder, said, environment):
    told = Trackers(("tensorboard",), folder, {"seed": 1}, None, said.append)
    told.log(1, {"loss": 0.5, "eval_loss": 0.25})
    told.end("finished", None)
    (events,) = folder.rglob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()
    assert b"eval/loss" in events.read_bytes()
    assert said == []


def test_a_tracker_that_fails_is_a_warning_said_once(folder, said, environment, monkeypatch):
    import transformers.integrations

    class Failing:
        def on_train_begin(self, *_, **__):
            pass

        def on_log(self, *_, **__):
            raise RuntimeError("no room on https://me:secret@server/x.\nmore")

        on_train_end = on_log

    monkeypatch.setattr(transformers.integrations, "get_reporting_integration_callbacks", lambda names: [Failing])
    told = Trackers(("wandb",), folder, {}, None, said.append)
    told.log(1, {"loss": 1.0})
    told.log(2, {"loss": 0.5})
    told.end("finished", None)
    assert said == ["a tracker failed (no room on https://***@server/x); metrics.jsonl has all values"]
