"""`gelora train, runs, stop, resume`: what options mean, and that everything a page does can be done from a shell."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import partial

import pytest

from gelora.cli import main
from gelora.records import DataChoice, RankPlan, RunSpec, TrainingConfig
from gelora.runs import GeometryMeasurement
from gelora.runs.records.record_file import write_json
from gelora.runs.records.state import RunState, create_folder, write_state

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head", epochs=3.0), seed=5)


@pytest.fixture
def started(gelora_home, monkeypatch):
    """The runs that a command would start, with how many at once; their folders are made, no process is."""
    import gelora.runs

    seen = []

    def start(spec, runs_at_once=1, report_to=(), repeat=False):
        seen.append((spec, runs_at_once))
        return create_folder(spec).name

    monkeypatch.setattr(gelora.runs, "start_run", start)
    return seen


def train(started, *arguments):
    started.clear()
    assert main(["train", *arguments, "--detach", "--json"]) == 0
    return [spec for spec, _ in started]


def ended_run(status="finished", **values):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status=status, step=3, total_steps=9, metrics={"loss": 0.25}, **values))
    return folder


def test_plain_options(started):
    (spec,) = train(started, "--rank", "3", "--target-modules", "mlp")
    assert (spec.model, spec.data, spec.seed, spec.held_out) == ("all-MiniLM-L6-v2", DataChoice("docstrings"), 0, None)
    assert set(spec.plan.ranks.values()) == {3} and spec.plan.target_modules == "mlp"
    assert spec.training == TrainingConfig()


def test_every_setting_can_be_set(started):
    given = {
        "n_train": "100", "learning_rate": "1e-3", "precision": "float32", "use_dora": "true", "gradient_checkpointing": "yes",
        "auto_batch": "1", "init_lora_weights": "gaussian", "gradient_accumulation": "2", "task": "classification",
    }  # fmt: skip
    (spec,) = train(started, "--rank", "2", *(word for item in given.items() for word in ("--set", "=".join(item))))
    assert spec.training == TrainingConfig(
        n_train=100, learning_rate=1e-3, precision="float32", use_dora=True, gradient_checkpointing=True, auto_batch=True,
        init_lora_weights="gaussian", gradient_accumulation=2, task="classification",
    )  # fmt: skip
    (spec,) = train(started, "--rank", "2", "--set", "reallocate_at=0.25,0.5")
    assert spec.training.reallocate_at == (0.25, 0.5)
    (spec,) = train(started, "--rank", "2", "--set", "reallocate_at=", "--set", "use_dora=False")
    assert (spec.training.reallocate_at, spec.training.use_dora) == ((), False)


@pytest.mark.parametrize("method", ["head", "bitfit", "full"])
def test_methods_without_ranks(started, method):
    (spec,) = train(started, "--method", method)
    assert (spec.training.method, spec.plan) == (method, None)


def test_methods_with_ranks(started, tmp_path):
    (lora,) = train(started, "--rank", "2")
    path = tmp_path / "plan.json"
    path.write_text(lora.plan.to_json())
    (spec,) = train(started, "--plan", str(path), "--method", "adalora", "--epochs", "1")
    assert (spec.training.method, spec.plan) == ("adalora", RankPlan.from_json(path.read_text()))
    (head,) = train(started, "--head-only")
    assert head.training.method == "head"


def test_a_run_a_seed(started, capsys):
    specs = train(started, "--method", "head", "--seeds", "0,2,1,2", "--runs-at-once", "4")
    assert [spec.seed for spec in specs] == [0, 2, 1]
    assert [at_once for _, at_once in started] == [4, 4, 4]
    assert len({row["id"] for row in json.loads(capsys.readouterr().out)}) == 3


def test_an_equal_run_is_refused_until_a_repeat_is_asked_for(gelora_home, monkeypatch, capsys):
    monkeypatch.setattr("gelora.runs.process.jobs._launch", lambda *_: None)
    command = ["train", "--method", "head", "--seeds", "3,4", "--detach", "--json"]
    assert main(command) == 0
    first, _ = (row["id"] for row in json.loads(capsys.readouterr().out))
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"Run {first} is queued and trains exactly this" in said and "--repeat" in said
    assert main([*command, "--repeat"]) == 0
    assert main(["runs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])) == 4


@pytest.fixture
def reviews(tmp_path):
    """Texts with one to four stars."""
    path = tmp_path / "reviews.csv"
    path.write_text("body,stars\n" + "".join(f"the film number {i} was seen by somebody,{1 + i % 4}\n" for i in range(40)))
    return str(path)


def test_detached_runs_say_seed_state_and_what_they_learn(started, reviews, capsys):
    arguments = ["train", "--method", "head", "--dataset", reviews, "--text-column", "body", "--label-column", "stars", "--detach"]
    assert main([*arguments, "--seeds", "4,7"]) == 0
    task, first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("  seed 4  started") and second.endswith("  seed 7  queued, 1 run before it")
    assert task == (
        f"Task: classification, from text 'body', label 'stars'. The label column 'stars' of {reviews} is taken for 4 classes: 1, 2, 3, 4 "
        "(classification). To change it: --set task=regression"
    )
    assert main([*arguments, "--set", "task=regression", "--runs-at-once", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].endswith("  seed 0  started") and said[0].startswith("Task: regression, from text 'body', label 'stars'.")
    assert main([*arguments, "--set", "task=question-answering"]) == 0
    assert "Task: not settled. " in capsys.readouterr().out
    assert main([*arguments, "--set", "task=instruction"]) == 0  # numbers as the file writes them are answers, where that is asked
    assert "Task: instruction, from text 'body', label 'stars'." in capsys.readouterr().out


def test_of_data_that_is_not_here_yet_no_task_is_guessed(started, capsys):
    assert main(["train", "--preset", "rte", "--method", "head", "--set", "task=auto", "--detach"]) == 0
    assert "Task: settled when the run has its data" in capsys.readouterr().out


def test_spec_file_is_run_as_written_or_with_changes(started, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(SPEC.to_json(indent=1))
    assert train(started, "--spec", str(path)) == [SPEC]
    (changed,) = train(started, "--spec", str(path), "--set", "epochs=1", "--seed", "7", "--rank", "2", "--method", "lora")
    assert (changed.training.epochs, changed.seed, changed.training.method) == (1.0, 7, "lora")
    (other,) = train(started, "--spec", str(path), "--dataset", "rows.jsonl", "--label-column", "y")
    assert other.data == DataChoice("rows.jsonl", label_column="y")


def test_held_out_rows_from_a_file_or_a_split(started):
    (spec,) = train(started, "--method", "head", "--dataset", "a.jsonl", "--text-column", "t", "--held-out", "b.jsonl")
    assert spec.held_out == DataChoice("b.jsonl", text_column="t")
    (spec,) = train(
        started, "--method", "head", "--dataset", "nyu-mll/glue", "--config", "rte", "--split", "train", "--held-out", "validation"
    )
    assert spec.held_out == DataChoice("nyu-mll/glue", "rte", "validation")


def test_preset_from_the_hub_and_from_a_folder(started, tmp_path):
    (spec,) = train(started, "--preset", "rte", "--method", "head", "--set", "epochs=1")
    assert (spec.data.dataset, spec.data.config, spec.held_out.split) == ("nyu-mll/glue", "rte", "validation")
    assert (spec.training.task, spec.training.max_length, spec.training.epochs) == ("classification", 256, 1.0)
    (tmp_path / "train.jsonl").write_text("{}\n")
    (spec,) = train(started, "--preset", "rte", "--dataset", str(tmp_path), "--method", "head")
    assert (spec.data.dataset, spec.held_out) == (str(tmp_path / "train.jsonl"), None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "lora"], "--plan FILE or --rank R"),
        (["--method", "bitfit", "--rank", "2"], "has no ranks"),
        (["--head-only", "--method", "full"], "contradict"),
        (["--method", "head", "--seeds", "0,x"], "0,1,2"),
        (["--method", "head", "--seeds", ","], "empty"),
        (["--method", "head", "--seeds", "0", "--seed", "1"], "one of them"),
        (["--method", "head", "--set", "auto_batch=perhaps"], "true or false"),
        (["--rank", "2", "--set", "reallocate_at=0.5,soon"], "numbers with commas"),
        (["--method", "head", "--set", "n_train=1.5"], "a whole number"),
        (["--spec", "nowhere.json"], "nowhere.json"),
        (["--preset", "imagenet", "--method", "head"], "imagenet"),
        (["--set", "method=magic"], "magic"),
        (["--method", "head", "--runs-at-once", "0"], "at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_one_sentence(gelora_home, capsys, arguments, says):
    assert main(["train", *arguments, "--detach"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("gelora: ") and says in error and len(error.splitlines()) == 1
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_spec_file_of_something_else_says_what_it_should_be(gelora_home, tmp_path, capsys):
    path = tmp_path / "plan.json"
    path.write_text('{"record": "RankPlan"}')
    assert main(["train", "--spec", str(path)]) == 2
    assert "RunSpec" in capsys.readouterr().err


def test_table_and_csv_hold_every_run(gelora_home, capsys, tmp_path):
    first, second = ended_run(), ended_run("failed", reason="killed", main_metric="eval_loss")
    write_json(second / "launch.json", {"started_at": "2026-01-01T00:00:00+00:00"})
    assert main(["runs"]) == 0
    table = capsys.readouterr().out
    assert first.name in table and second.name in table and "loss 0.2500" in table
    out = tmp_path / "runs.csv"
    assert main(["runs", "--csv", str(out)]) == 0
    assert capsys.readouterr().out == f"Wrote {out}\n"
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(out.read_text()))}
    assert rows[second.name]["reason"] == "killed" and rows[second.name]["started_at"] == "2026-01-01T00:00:00+00:00"
    assert (rows[first.name]["seed"], rows[first.name]["loss"], rows[first.name]["step"]) == ("5", "0.25", "3")
    assert main(["runs", first.name, "--csv", "-"]) == 0
    assert capsys.readouterr().out == "id,metric,step,value\n"


def test_one_run_in_full(gelora_home, capsys):
    folder = ended_run("stopped", reason="stopped at step 3")
    write_json(folder / "provenance.json", {"command": "gelora train --spec x"})
    write_json(folder / "examples.json", {"step": 3, "rows": []})
    measured = [GeometryMeasurement(step, "twonn", ("embeddings",), (d,), 0.5) for step, d in ((6, 8.0), (0, 9.0), (0, 9.5))]
    (folder / "geometry.jsonl").write_text("".join(json.dumps(asdict(m)) + "\n" for m in measured) + '{"step": 9')
    (folder / "log.txt").write_text("one\ntwo\nthree\n")
    assert main(["runs", folder.name, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["can_resume"], answer["history"]) == ("stopped", True, {})
    assert answer["geometry"] == [json.loads(json.dumps(asdict(m))) for m in (measured[2], measured[0])]
    assert (answer["examples"]["step"], answer["provenance"]) == (3, {"command": "gelora train --spec x"})
    assert main(["runs", folder.name]) == 0
    shown = capsys.readouterr().out
    assert "Repeat it: gelora train --spec x" in shown and f"gelora resume {folder.name}" in shown
    assert main(["runs", folder.name, "--log", "2"]) == 0
    assert capsys.readouterr().out == "two\nthree\n"


def test_runs_are_deleted_all_or_none(gelora_home, capsys):
    first, second = ended_run(), ended_run()
    assert main(["runs", "--delete"]) == 2
    assert main(["runs", first.name, "nosuchrun", "--delete"]) == 2
    assert first.is_dir()
    assert main(["runs", first.name, second.name, "--delete"]) == 0
    assert not first.exists() and not second.exists()


def test_ended_run_is_not_stopped_and_finished_one_not_resumed(gelora_home, capsys):
    folder = ended_run()
    assert main(["stop", folder.name]) == 2
    assert main(["resume", folder.name]) == 2
    assert "is finished" in capsys.readouterr().err
    assert main(["stop", "all"]) == 0
    assert "No run is under way." in capsys.readouterr().out


def test_interrupt_in_the_foreground_is_a_clean_stop(tmp_path):
    """Also where SIGINT came in ignored, as it does to a job that a shell without job control starts in the background."""
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": f"number {i} is here", "label": i % 2}) + "\n" for i in range(40)))
    command = [sys.executable, "-m", "gelora", "train", "--method", "head", "--dataset", str(data), "--seeds", "0,1", "--device", "cpu"]
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with (tmp_path / "out.txt").open("w") as out:
        shell = subprocess.Popen(
            [*command, "--set", "n_train=20", "--set", "n_eval=8", "--epochs", "1000"], stdout=out, stderr=out, preexec_fn=ignore
        )
    ids: list[str] = []
    deadline = time.monotonic() + 240
    while len(ids) < 2:
        assert shell.poll() is None and time.monotonic() < deadline, ids
        time.sleep(0.05)
        ids = re.findall(r"Started (\S+) ", (tmp_path / "out.txt").read_text())
    shell.send_signal(signal.SIGINT)
    assert shell.wait(240) == 130
    listed = subprocess.run([sys.executable, "-m", "gelora", "runs", *ids, "--json"], capture_output=True, text=True, check=True)
    assert [run["status"] for run in json.loads(listed.stdout)] == ["stopped", "stopped"]
