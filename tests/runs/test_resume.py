"""Runs that go on: in the same record, from the last whole checkpoint, at their turn; and those that must not."""

import os
import signal
import time

import pytest

from gelora.errors import RunError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import delete_run, history, list_runs, log_tail, resume_run, run_info, start_run, stop_run, wait_for
from gelora.runs.process import processes
from gelora.runs.records.record_file import Launch, read_json, write_json
from gelora.runs.records.state import RunState, create_folder, read_state, write_state
from gelora.runs.training.checkpoints import last_whole, seal

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))


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


@pytest.fixture
def launches(monkeypatch):
    """What would have been started, in place of processes."""
    seen = []
    monkeypatch.setattr("gelora.runs.process.jobs._launch", lambda folder, *_: seen.append(folder.name))
    return seen


def until(condition, run_id, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition(info := run_info(run_id)):
        assert info.is_live, f"{info.state.status}: {info.state.reason}\n{log_tail(run_id)}"
        assert time.monotonic() < deadline, log_tail(run_id)
        time.sleep(0.05)
    return info


def checkpoint(folder, step):
    made = folder / "checkpoints" / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "weights.bin").write_bytes(b"x" * 100)
    seal(made)
    return made


def test_second_waits_first_is_killed_second_starts_first_goes_on_where_it_was(make_spec, started):
    first = started(make_spec(epochs=1000, eval_every=3, n_eval=4, probe_size=0))
    second = started(make_spec(epochs=1000, seed=1, probe_size=0))
    before = until(lambda info: last_whole(info.folder / "checkpoints"), first)
    assert until(lambda info: info.state.queue_place is not None, second).state.queue_place == 1
    assert (run_info(second).state.status, run_info(second).state.slot, before.state.slot, before.state.attempts) == (
        "queued",
        None,
        "cpu",
        1,
    )

    os.kill(before.state.pid, signal.SIGKILL)
    killed = wait_for(first, poll_seconds=0.05)
    assert (killed.state.status, killed.can_resume) == ("failed", True)
    assert killed.state.reason.startswith("killed (signal 9), perhaps by the system for lack of memory")
    assert processes.of_run(first) == []
    until(lambda info: info.state.status == "running", second)

    resumed_from = last_whole(killed.folder / "checkpoints")
    assert resume_run(first) == first
    waiting = until(lambda info: info.state.queue_place is not None, first)
    assert (waiting.state.status, waiting.state.attempts, waiting.state.mlflow_run_id) == ("queued", 2, before.state.mlflow_run_id)
    with pytest.raises(RunError, match="is queued; it needs no resuming"):
        resume_run(first)
    stopped = stop_run(first)
    assert stopped.state.status == "stopped" and not read_json(stopped.folder / "stop.json")["killed"]  # by itself, within the grace
    step = int(resumed_from.name.removeprefix("checkpoint-"))
    assert stopped.state.reason == f"stopped before training went on; the last checkpoint is checkpoints/checkpoint-{step}"
    assert run_info(second).state.status == "running"

    resume_run(first)
    assert stop_run(second).state.status == "stopped"
    going_on = until(lambda info: info.state.status == "running" and info.state.step > step, first)
    assert (going_on.state.attempts, going_on.state.mlflow_run_id, going_on.state.started_at) == (
        3,
        before.state.mlflow_run_id,
        before.state.started_at,
    )
    ended = stop_run(first)
    assert ended.state.status == "stopped" and ended.state.step > step
    assert f"resumed from {resumed_from.name} (attempt 3)" in (ended.folder / "log.txt").read_text()
    steps = [step for step, _ in history(first)["loss"]]
    assert min(steps) <= step and max(steps) == ended.state.step
    assert processes.of_run(first) == processes.of_run(second) == []


def test_newest_whole_checkpoint_counts(gelora_home, launches):
    folder = create_folder(SPEC)
    write_json(folder / "stop.json", {})
    write_json(folder / "exit.json", {"pid": 1, "returncode": -9})
    write_state(folder, RunState(status="failed", reason="killed", step=50, total_steps=90, mlflow_run_id="abc", attempts=2))
    for step in (10, 20, 30):
        checkpoint(folder, step)
    (folder / "checkpoints" / "checkpoint-30" / "weights.bin").write_bytes(b"x" * 99)
    assert resume_run(folder.name) == folder.name
    assert launches == [folder.name]
    state = read_state(folder)
    assert (state.status, state.reason, state.step, state.total_steps) == ("queued", None, 20, 90)
    assert (state.attempts, state.mlflow_run_id, state.ended_at) == (3, "abc", None)
    assert log_tail(folder.name).endswith("resumed from checkpoint-20 (attempt 3)")
    assert not (folder / "stop.json").exists() and not (folder / "exit.json").exists()


def test_without_a_checkpoint_it_begins_again_and_says_so(gelora_home, launches):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="stopped", step=50))
    resume_run(folder.name)
    assert read_state(folder).step == 0
    assert "resumed from the beginning: there is no whole checkpoint" in log_tail(folder.name)


def test_damaged_state_is_replaced(gelora_home, launches):
    folder = create_folder(SPEC)
    checkpoint(folder, 10)
    (folder / "state.json").write_text("{")
    assert run_info(folder.name).can_resume
    resume_run(folder.name)
    assert (read_state(folder).status, read_state(folder).step) == ("queued", 10)


def test_finished_run_says_how_to_repeat_it(gelora_home, launches):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="finished"))
    assert not run_info(folder.name).can_resume
    with pytest.raises(RunError, match=r"is finished; there is nothing to resume\. Repeat it: gelora train --spec .*spec\.json"):
        resume_run(folder.name)
    assert launches == []


def test_run_whose_spec_is_damaged_is_not_resumed(gelora_home, launches):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="failed"))
    (folder / "spec.json").write_text("{}")
    assert not run_info(folder.name).can_resume
    with pytest.raises(RunError, match=r"cannot be resumed: .*Start a new one"):
        resume_run(folder.name)
    assert read_state(folder).status == "failed"


@pytest.mark.parametrize("run_id", ["nosuchrun", "../x"])
def test_unknown_run_is_not_resumed(gelora_home, run_id):
    with pytest.raises(RunError, match="gelora runs"):
        resume_run(run_id)


def test_process_that_cannot_be_started_leaves_the_run_as_it_was(gelora_home, monkeypatch):
    def refuse(*_):
        raise OSError("no memory")

    monkeypatch.setattr("gelora.runs.process.processes.start", refuse)
    monkeypatch.setattr("gelora.runs.process.preloaded.fork_run", lambda *_: None)
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="stopped", reason="stopped at step 3", step=3))
    with pytest.raises(RunError, match="cannot be started: no memory"):
        resume_run(folder.name)
    assert (run_info(folder.name).state.status, run_info(folder.name).state.reason) == ("stopped", "stopped at step 3")
    with pytest.raises(RunError, match="cannot be started: no memory"):
        start_run(SPEC)
    assert [info.id for info in list_runs()] == [folder.name]
    assert list((gelora_home / "runs" / ".queue").glob("*.json")) == []


def test_resumed_run_keeps_the_time_of_its_start_and_can_be_deleted(gelora_home, launches):
    folder = create_folder(SPEC, Launch(started_at="2026-01-01T00:00:00+00:00"))
    write_state(folder, RunState(status="stopped"))
    resume_run(folder.name)
    assert read_json(folder / "launch.json")["started_at"] == "2026-01-01T00:00:00+00:00"
    write_state(folder, RunState(status="stopped"))
    delete_run(folder.name)
    assert list_runs() == []
