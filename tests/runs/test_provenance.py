"""What a run was made with: versions that are there, the commit that is there, and the command that repeats it."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import provenance
from gelora.runs.records import provenance_record
from gelora.runs.records.provenance_record import add, checkout, gather, tags
from gelora.runs.records.state import create_folder

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"), seed=3)


@pytest.fixture
def repository(tmp_path):
    """A checkout of its own with the package's name in it."""
    (tmp_path / "gelora").mkdir()
    (tmp_path / "gelora" / "__init__.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    return tmp_path


def test_record_holds_what_is_here(gelora_home):
    folder = create_folder(SPEC)
    record = gather(SPEC, folder, "cpu")
    assert record == provenance(folder.name) == json.loads((folder / "provenance.json").read_text())
    assert record["packages"]["torch"] == importlib.metadata.version("torch")
    assert (record["python"], record["seed"], record["device"]) == (platform.python_version(), 3, "cpu")
    assert record["spec_digest"] == SPEC.digest()
    assert record["device_name"]


def test_command_in_it_reads_the_spec_that_is_there(gelora_home):
    from gelora.cli import _parser

    folder = create_folder(SPEC)
    words = gather(SPEC, folder, "cpu")["command"].split()
    assert words[0] == "gelora"
    options = _parser().parse_args(words[1:])
    assert RunSpec.from_json(Path(options.spec).read_text()) == SPEC


def test_late_facts_join_and_earlier_attempts_stay(gelora_home):
    folder = create_folder(SPEC)
    gather(SPEC, folder, "cpu")
    add(folder, data_digest="abc", model_revision="main")
    first = provenance(folder.name)
    assert (first["data_digest"], first["model_revision"], first["seed"]) == ("abc", "main", 3)
    for _ in range(2):
        gather(SPEC, folder, "cpu")
    third = provenance(folder.name)
    assert "data_digest" not in third
    assert third["earlier"][0] == first
    assert len(third["earlier"]) == 2 and "earlier" not in third["earlier"][1]


def test_tags_are_short_texts_and_leave_out_what_is_not_known(gelora_home, monkeypatch):
    monkeypatch.setattr(provenance_record, "checkout", lambda: None)
    found = tags(gather(SPEC, create_folder(SPEC), "cpu"))
    assert found["gelora.fingerprint"] == SPEC.digest()
    assert found["version.python"] == platform.python_version()
    assert "gelora.git_commit" not in found
    assert all(isinstance(value, str) for value in found.values())


def test_commit_and_dirty_flag(repository, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a git hook
    clean = checkout(repository)
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    (repository / "gelora" / "__init__.py").write_text("changed")
    assert checkout(repository) == clean | {"dirty": True}


def test_package_that_lies_within_somebody_elses_checkout_has_no_commit(repository):
    inner = repository / "venv"
    (inner / "gelora").mkdir(parents=True)
    (inner / "gelora" / "__init__.py").write_text("")
    assert checkout(inner) is None


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent / "nowhere"))
    assert checkout(repository) is None


def test_nothing_is_known_before_the_run_begins(gelora_home):
    assert provenance(create_folder(SPEC).name) == {}
