"""Passwords and tokens are in no sentence, log or record, however they came in."""

import pytest

from gelora.cli import main
from gelora.errors import HubError, InputError
from gelora.masking import without_secrets
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import list_runs
from gelora.runs.process import reasons
from gelora.runs.process.worker import main as work_on
from gelora.runs.records.state import create_folder
from gelora.sources import hub

HUB_TOKEN = "hf_" + "aB3" * 11


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("cannot reach https://anna:pass@host/x?y=1", "cannot reach https://***@host/x?y=1"),
        ("GET http://h/x?token=abc&n=2 and ?api_key=xyz", "GET http://h/x?token=***&n=2 and ?api_key=***"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: Bearer ***"),
        (f"unauthorized: {HUB_TOKEN}.", "unauthorized: hf_***."),
        ("tokens=3, the key=value pair, hf_dataset at a@b.c", "tokens=3, the key=value pair, hf_dataset at a@b.c"),
        ("https://huggingface.co/datasets/a/b", "https://huggingface.co/datasets/a/b"),
    ],
)
def test_what_is_secret_is_masked_and_nothing_else(given, shown):
    assert without_secrets(given) == shown
    assert str(InputError(given)) == shown
    assert shown in reasons.of_error(RuntimeError(given), None)


def test_values_of_secret_variables_are_masked_wherever_they_turn_up(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "swordfish!")
    assert without_secrets("login 0123456789abcdef / swordfish!") == "login *** / ***"


def test_a_hub_with_a_password_is_named_without_it(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://anna:pass@127.0.0.1:1")
    with pytest.raises(HubError, match=r"http://\*\*\*@127\.0\.0\.1:1 cannot be reached"), hub.hub_errors("a/b", "model"):
        raise TimeoutError


@pytest.mark.parametrize("option", ["--model", "--dataset", "--held-out"])
def test_a_web_address_is_no_model_and_no_data_and_gets_into_no_record(option, gelora_home, capsys):
    arguments = ["train", "--dataset", "docstrings", "--method", "head", "--detach", option, "https://anna:pass@host/x.csv"]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "https://***@host/x.csv' is " in said.err and "pass@" not in said.err + said.out
    assert list_runs() == []


def test_the_log_of_a_run_that_fails_has_no_password(gelora_home, monkeypatch, capsys):
    def fail(_spec, recorder, _stop, _report_to):
        recorder.say(f"asking https://anna:pass@host with {HUB_TOKEN}")
        raise RuntimeError("https://anna:pass@host refuses")

    monkeypatch.setattr("gelora.runs.process.worker.work", fail)
    folder = create_folder(RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head")))
    assert work_on([folder.name]) == 1
    said = capsys.readouterr()
    written = said.out + said.err + "".join(file.read_text() for file in folder.glob("*.json"))
    assert "Traceback" in written and "https://***@host refuses" in written
    assert "pass@" not in written and HUB_TOKEN not in written
