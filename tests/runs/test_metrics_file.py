"""A run's values in metrics.jsonl: exact, whole after a kill, one sentence where they cannot be kept."""

import math
import os
import sqlite3

import pytest

from gelora.errors import StoreError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import history
from gelora.runs.records.metrics_file import NAME, MetricsFile
from gelora.runs.records.state import RunState, create_folder, write_state

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))


@pytest.fixture
def folder(gelora_home):
    return create_folder(SPEC)


def test_values_come_back_exactly(folder):
    values = [0.1, 1 / 3, 0.6931471824645996, 1e-300, 5e15 + 1, -2.5e-4]
    file = MetricsFile(folder)
    for step, value in enumerate(values):
        file.append(step, {"loss": value, "double": 2 * value})
    assert history(folder.name) == {"double": [(i, 2 * v) for i, v in enumerate(values)], "loss": list(enumerate(values))}


def test_values_that_are_not_finite_are_left_out(folder):
    file = MetricsFile(folder)
    file.append(1, {"loss": math.nan, "eval_loss": math.inf, "grad_norm": 1.0})
    file.append(2, {"loss": -math.inf})
    assert history(folder.name) == {"grad_norm": [(1, 1.0)]}
    assert (folder / NAME).read_bytes().count(b"\n") == 1


def test_of_a_step_trained_again_the_later_value_counts(folder):
    MetricsFile(folder).append(3, {"loss": 2.0})
    MetricsFile(folder).append(3, {"loss": 1.0})
    MetricsFile(folder).append(1, {"loss": 4.0})
    assert history(folder.name) == {"loss": [(1, 4.0), (3, 1.0)]}


@pytest.mark.parametrize("n_bytes", range(1, 20, 3))
def test_a_line_cut_short_is_not_read_and_is_removed_by_who_goes_on(folder, n_bytes):
    MetricsFile(folder).append(1, {"loss": 2.0})
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole + whole[:n_bytes])
    assert history(folder.name) == {"loss": [(1, 2.0)]}
    MetricsFile(folder).append(2, {"loss": 1.0})
    assert history(folder.name) == {"loss": [(1, 2.0), (2, 1.0)]}


def test_a_full_disk_is_one_sentence_and_leaves_no_half_line(folder, monkeypatch):
    file = MetricsFile(folder)
    file.append(1, {"loss": 2.0})
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda f, data: write(f, data[:5]))
        with pytest.raises(StoreError, match=r"metrics\.jsonl: no room.*free some space"):
            file.append(2, {"loss": 1.0})
    file.append(3, {"loss": 0.5})
    assert history(folder.name) == {"loss": [(1, 2.0), (3, 0.5)]}


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"3",
        b'{"step": "x"}',
        b'{"step": 1, "\\ud800": 1}',
        b'{"step": 1, "loss": null}',
        b'{"step": 1, "loss": [1]}',
        b"\xff",
        b'{"step": 1e999}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_named(folder, line):
    MetricsFile(folder).append(1, {"loss": 2.0})
    with (folder / NAME).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(StoreError, match=r"metrics\.jsonl is damaged in line 2 .*log\.txt has the same values"):
        history(folder.name)


def test_a_run_that_has_logged_nothing_has_no_history(folder):
    assert history(folder.name) == {}


@pytest.fixture
def earlier(folder, gelora_home):
    """A run as versions that kept values in MLflow left it."""
    with sqlite3.connect(gelora_home / "mlflow.db") as connection:
        connection.execute("CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN)")
        rows = [
            ("loss", 2.0, 10, "a", 1, 0),
            ("loss", 1.0, 20, "a", 2, 0),
            ("loss", 1.5, 30, "a", 2, 0),
            ("loss", 9.0, 1, "b", 1, 0),
            ("acc", 0.0, 1, "a", 1, 1),
        ]
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    write_state(folder, RunState(status="stopped", mlflow_run_id="a"))
    return folder


def test_the_values_of_an_earlier_version_are_read_from_its_database(earlier):
    assert history(earlier.name) == {"loss": [(1, 2.0), (2, 1.5)]}


def test_a_database_of_an_earlier_version_that_is_damaged_is_one_sentence(earlier, gelora_home):
    (gelora_home / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"mlflow\.db, which cannot be read"):
        history(earlier.name)
