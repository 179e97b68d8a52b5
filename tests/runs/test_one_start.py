"""What is under way is not started a second time, unless a repeat is asked for; also not by eight processes at one moment."""

import dataclasses
import subprocess
import sys

import pytest

from gelora.errors import RunUnderWay
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import list_runs, run_under_way, start_run, stop_run
from gelora.runs.records.state import RunState, run_folder, write_state

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))
N_STARTERS = 8
STARTER = """
import sys
from gelora.errors import RunUnderWay
from gelora.records import RunSpec
from gelora.runs import start_run

spec = RunSpec.from_json(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    print("started", start_run(spec))
except RunUnderWay as equal:
    print("under way", equal.run_id)
"""


@pytest.fixture
def no_process(gelora_home, monkeypatch):
    """Runs are queued; no process is started."""
    monkeypatch.setattr("gelora.runs.process.jobs._launch", lambda *_: None)


def test_an_equal_run_is_refused_and_named(no_process):
    first = start_run(SPEC)
    with pytest.raises(
        RunUnderWay, match=f"Run {first} is queued and trains exactly this; follow it with `gelora runs {first}`, or ask"
    ) as said:
        start_run(SPEC, runs_at_once=2)
    assert said.value.run_id == first
    assert [run.id for run in list_runs()] == [first]
    assert run_under_way(SPEC).id == first


def test_other_seeds_ranks_and_settings_are_other_runs(no_process):
    training = dataclasses.replace(SPEC.training, epochs=7.0)
    specs = [SPEC, dataclasses.replace(SPEC, seed=1), dataclasses.replace(SPEC, training=training)]
    assert len({start_run(spec) for spec in specs}) == len(list_runs()) == 3
    assert run_under_way(dataclasses.replace(SPEC, seed=2)) is None


def test_a_repeat_that_is_asked_for_is_started(no_process):
    first, second = start_run(SPEC), start_run(SPEC, repeat=True)
    assert {run.id for run in list_runs()} == {first, second}
    write_state(run_folder(first), RunState(status="stopped"))
    assert run_under_way(SPEC).id == second


def test_what_has_ended_is_started_again(no_process):
    for status in ("finished", "failed", "stopped"):
        write_state(run_folder(start_run(SPEC)), RunState(status=status))
    assert len(list_runs()) == 3


def test_a_relative_path_is_the_same_data(no_process, labelled_file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    first = start_run(dataclasses.replace(SPEC, data=DataChoice("labelled.jsonl")))
    with pytest.raises(RunUnderWay, match=first):
        start_run(dataclasses.replace(SPEC, data=DataChoice(labelled_file)))


def test_of_eight_processes_that_start_it_at_one_moment_one_does(make_spec, gelora_home):
    spec = make_spec(epochs=1000)
    command = [sys.executable, "-c", STARTER, spec.to_json()]
    starters = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(N_STARTERS)]
    assert [starter.stdout.readline() for starter in starters] == ["ready\n"] * N_STARTERS
    for starter in starters:
        starter.stdin.write("go\n")
        starter.stdin.flush()
    said = sorted(starter.communicate(timeout=240)[0].strip() for starter in starters)
    try:
        [run] = list_runs()
        assert said == [f"started {run.id}", *[f"under way {run.id}"] * (N_STARTERS - 1)]
    finally:
        for found in list_runs():
            stop_run(found.id, grace_seconds=0)
