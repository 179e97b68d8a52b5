"""Run folders: ids, damaged ones, and runs whose process is gone, without training anything."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from gelora.errors import RunError, StoreError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import delete_run, list_runs, log_tail, run_info, stop_run, wait_for
from gelora.runs.process import processes
from gelora.runs.process.reasons import LOST
from gelora.runs.records import final_status
from gelora.runs.records.record_file import write_json
from gelora.runs.records.state import RunState, create_folder, now, read_state, write_state

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))


@pytest.fixture
def folder(gelora_home):
    return create_folder(SPEC)


def launched(folder, pid, create_time):
    write_json(folder / "launch.json", {"pid": pid, "pid_create_time": create_time, "started_at": now()})


def me():
    return os.getpid(), psutil.Process().create_time()


def test_ids_are_readable_and_unique(gelora_home):
    ids = {create_folder(SPEC).name for _ in range(20)}
    assert len(ids) == 20
    assert all("all-minilm-l6-v2-docstrings" in run_id for run_id in ids)


@pytest.mark.parametrize("model", ["../../etc/passwd", "ORG/Name With Spaces", "/", "é", "x" * 300])
def test_any_model_name_gives_a_legal_id(gelora_home, model):
    run_id = create_folder(RunSpec(model, DataChoice("a/b.jsonl"), None, TrainingConfig(method="head"))).name
    assert run_info(run_id).model == model


@pytest.mark.parametrize("run_id", ["../runs", "..", "", "/etc", "A", "x/y", ".new-x", "a" * 200, "a\n"])
def test_illegal_ids_are_refused_before_the_disk_is_touched(gelora_home, run_id):
    with pytest.raises(RunError, match="is not a run id"):
        run_info(run_id)


@pytest.mark.parametrize("call", [run_info, stop_run, delete_run, log_tail, wait_for])
def test_unknown_id_says_how_to_list_runs(gelora_home, call):
    with pytest.raises(RunError, match=r"no run 'nosuchrun'.*gelora runs"):
        call("nosuchrun")


def test_run_of_a_dead_process_is_failed_and_stays_so(folder):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    launched(folder, child.pid, psutil.Process(child.pid).create_time())
    write_state(folder, RunState(status="running", step=7))
    assert run_info(folder.name).state.status == "running"
    child.kill()
    child.wait()
    info = run_info(folder.name)
    assert (info.state.status, info.state.reason, info.state.step) == ("failed", LOST, 7)
    assert read_state(folder).status == "failed"
    assert info.state.ended_at is not None


def test_zombie_counts_as_dead(folder):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    launched(folder, child.pid, psutil.Process(child.pid).create_time())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert run_info(folder.name).state.status == "failed"
    child.wait()


def test_reused_pid_is_not_the_run(folder):
    pid, created = me()
    launched(folder, pid, created - 1000)
    assert run_info(folder.name).state.status == "failed"


def test_end_that_the_worker_wrote_is_kept(folder):
    launched(folder, *me())
    write_state(folder, RunState(status="finished", metrics={"eval_accuracy": 0.5}))
    launched(folder, 2**22 + 1, 0.0)
    assert run_info(folder.name).state.status == "finished"
    assert run_info(folder.name).state.metrics == {"eval_accuracy": 0.5}


def test_run_being_started_is_queued_and_one_that_never_was_is_failed(folder):
    assert run_info(folder.name).state.status == "queued"
    os.utime(folder / "spec.json", (0, 0))
    assert run_info(folder.name).state.status == "failed"


def test_run_whose_starter_died_before_it_had_a_process_is_failed_at_once(folder):
    pid, created = me()
    write_json(folder / "launch.json", {"started_at": now(), "starter_pid": pid, "starter_create_time": created})
    os.utime(folder / "launch.json", (time.time() - 5, time.time() - 5))
    assert run_info(folder.name).state.status == "queued"
    write_json(folder / "launch.json", {"started_at": now(), "starter_pid": 2**22 + 1, "starter_create_time": 0.0})
    os.utime(folder / "launch.json", (time.time() - 5, time.time() - 5))
    assert run_info(folder.name).state.status == "failed"


def test_process_that_is_not_on_record_yet_is_found_by_its_mark(folder):
    child = processes.start([sys.executable, "-c", "import time; time.sleep(600)"], folder / "log.txt", folder.name, os.environ)
    while not processes.of_run(folder.name):
        assert child.poll() is None  # the system shows a process's environment a moment after it was started
    os.utime(folder / "spec.json", (0, 0))
    assert run_info(folder.name).state.status == "queued"
    child.kill()
    child.wait()
    assert run_info(folder.name).state.status == "failed"


def test_clock_that_was_set_does_not_end_a_run(folder):
    child = processes.start([sys.executable, "-c", "import time; time.sleep(600)"], folder / "log.txt", folder.name, os.environ)
    launched(folder, child.pid, psutil.Process(child.pid).create_time() - 7200)
    assert run_info(folder.name).state.status == "queued"
    child.kill()
    child.wait()


def test_no_child_of_a_dead_run_is_left(folder):
    code = "import os, subprocess; subprocess.Popen(['sleep', '600']); os.kill(os.getpid(), 9)"
    child = processes.start([sys.executable, "-c", code], folder / "log.txt", folder.name, os.environ)
    launched(folder, child.pid, psutil.Process(child.pid).create_time())
    child.wait()
    assert [process.name() for process in processes.of_run(folder.name)] == ["sleep"]
    assert run_info(folder.name).state.status == "failed"
    assert processes.of_run(folder.name) == []


@pytest.mark.parametrize(
    ("returncode", "says"),
    [
        (-9, "killed (signal 9), perhaps by the system for lack of memory"),
        (-11, "killed (signal 11, SIGSEGV)"),
        (1, "lost: the process ended with status 1"),
        (74, "disk full: free some space"),
    ],
)
def test_exit_status_that_the_starter_saw_names_the_reason(folder, returncode, says):
    launched(folder, 2**22 + 1, time.time())
    write_json(folder / "exit.json", {"pid": 2**22 + 1, "returncode": returncode})
    assert run_info(folder.name).state.reason.startswith(says)


def test_exit_status_of_an_earlier_process_does_not_count(folder):
    launched(folder, 2**22 + 1, time.time())
    write_json(folder / "exit.json", {"pid": 4, "returncode": -11})
    assert run_info(folder.name).state.reason == LOST


def test_run_of_before_the_machine_was_restarted_says_so(folder):
    launched(folder, *me()[:1], psutil.boot_time() - 1000)
    assert run_info(folder.name).state.reason.startswith("lost: the machine was restarted")


def test_the_last_message_is_read(folder):
    final_status.reserve(folder)
    launched(folder, 2**22 + 1, time.time())
    final_status.write(folder, "failed", "disk full: free some space" + "x" * 10_000)
    assert (folder / "last_words.json").stat().st_size == 4096
    assert run_info(folder.name).state.reason.startswith("disk full: free some space")


def test_run_that_says_nothing_is_shown_as_silent_and_not_given_up(folder):
    launched(folder, *me())
    write_state(folder, RunState(status="running", heartbeat_at="2026-01-01T00:00:00+00:00"))
    info = run_info(folder.name)
    assert (info.state.status, info.is_live) == ("running", True)
    assert info.state.reason.startswith("silent for ")
    write_state(folder, RunState(status="running", heartbeat_at=now()))
    assert run_info(folder.name).state.reason is None


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"progressed_at": 90, "step_seconds": 0.41, "longest_pause_seconds": 2.0}, r"no step for \d+ s; usual 0.41 s: .* resume"),
        ({"progressed_at": 90, "step_seconds": 0.41, "longest_pause_seconds": 40.0}, None),  # an evaluation took as long before
        ({"progressed_at": 90, "step_seconds": 30.0, "longest_pause_seconds": 30.0}, None),
        ({"progressed_at": 50, "step_seconds": 0.01}, None),
        ({"progressed_at": 90}, None),  # the first step may take long
        ({"heartbeat_at": -3600}, r"dated 3\d\d\d s in the future"),
        ({"heartbeat_at": -5}, None),
    ],
)
def test_training_that_does_not_go_on_is_said_beyond_what_its_own_pauses_explain(folder, state, said):
    launched(folder, *me())
    state = {name: ago(value) if name.endswith("_at") else value for name, value in state.items()}
    write_state(folder, RunState(**{"status": "running", "heartbeat_at": now(), "seconds_left": 2194.0} | state))
    found = run_info(folder.name).state
    assert found.status == "running"
    assert (found.reason is None) if said is None else re.search(said, found.reason)
    assert found.seconds_left == (2194.0 if said is None else None)


def test_stop_request_explains_a_process_that_is_gone(folder):
    launched(folder, 2**22 + 1, 0.0)
    write_json(folder / "stop.json", {"killed": True, "grace_seconds": 3.0})
    write_state(folder, RunState(status="running", step=3))
    info = run_info(folder.name)
    assert info.state.status == "stopped"
    assert info.state.reason == "it did not stop within 3 s and was killed; there is no checkpoint"


def test_stopping_a_run_that_has_ended_changes_nothing(folder):
    write_state(folder, RunState(status="finished", ended_at="2026-01-01T00:00:00+00:00"))
    assert stop_run(folder.name).state.status == "finished"
    assert not (folder / "stop.json").exists()


def test_process_that_ignores_the_request_is_killed_with_its_children(folder):
    code = (
        "import signal, subprocess, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\nsignal.pause()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    grandchild = psutil.Process(int(child.stdout.readline()))
    launched(folder, child.pid, psutil.Process(child.pid).create_time())
    write_state(folder, RunState(status="running", step=3))
    info = stop_run(folder.name, grace_seconds=0.2)
    assert info.state.status == "stopped"
    assert "was killed" in info.state.reason
    child.wait()
    psutil.wait_procs([grandchild], timeout=10)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    child.stdout.close()


@pytest.mark.parametrize("name", ["state.json", "launch.json", "spec.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"status": "dancing"}'])
def test_damaged_folder_is_listed_and_leaves_the_others_alone(folder, name, content):
    launched(folder, *me())
    write_state(folder, RunState(status="running"))
    good = create_folder(SPEC)
    launched(good, *me())
    (folder / name).write_bytes(content)
    runs = {info.id: info for info in list_runs()}
    assert runs[good.name].state.status == "queued"
    if name == "launch.json" and content.startswith(b'{"'):
        return  # a launch record that lacks what it should have: state.json has it too
    assert runs[folder.name].state.status == "failed"
    assert "damaged" in runs[folder.name].state.reason or runs[folder.name].state.reason == LOST


def test_empty_folder_is_listed_as_failed(gelora_home):
    empty = create_folder(SPEC)
    (empty / "spec.json").unlink()
    assert [(i.state.status, i.model) for i in list_runs()] == [("failed", "?")]


def test_unfinished_and_deleted_folders_are_not_listed(folder):
    folder.rename(folder.with_name(f".new-{folder.name}"))
    assert list_runs() == []


def test_runs_are_listed_newest_first(gelora_home):
    for stamp in ("20260101-000000", "20260301-000000", "20260201-000000"):
        create_folder(SPEC).rename(gelora_home / "runs" / f"{stamp}-a-b-0000")
    assert [info.id[:8] for info in list_runs()] == ["20260301", "20260201", "20260101"]


def test_log_tail_gives_the_last_lines_of_a_long_log(folder):
    assert log_tail(folder.name) == ""
    (folder / "log.txt").write_bytes(b"".join(b"line %d \xff %s\n" % (i, b"x" * 50) for i in range(20_000)))
    tail = log_tail(folder.name, 3).splitlines()
    assert [line.split()[1] for line in tail] == ["19997", "19998", "19999"]


def test_live_run_is_not_deleted(folder):
    launched(folder, *me())
    with pytest.raises(RunError, match="stop it first"):
        delete_run(folder.name)
    assert folder.is_dir()


def test_deleted_run_is_gone(folder):
    write_state(folder, RunState(status="finished"))
    delete_run(folder.name)
    assert list_runs() == []
    assert [path.name for path in folder.parent.iterdir()] == [".queue"]
    assert list((folder.parent / ".queue").glob("*.json")) == []


def test_deletion_that_was_cut_short_is_finished_by_the_next(folder):
    half = folder.with_name(".deleted-20260101-000000-a-b-0000")
    half.mkdir()
    (half / "log.txt").write_text("left")
    write_state(folder, RunState(status="finished"))
    delete_run(folder.name)
    assert not half.exists()


def test_values_that_are_no_numbers_never_reach_the_file(folder):
    write_state(folder, RunState(metrics={"loss": float("nan"), "eval_loss": 0.1}))
    assert json.loads((folder / "state.json").read_text())["metrics"] == {"eval_loss": 0.1}


def test_full_disk_while_settling_still_gives_an_answer(folder, monkeypatch):
    launched(folder, 2**22 + 1, time.time())

    def full(*_):
        raise StoreError("no space")

    monkeypatch.setattr("gelora.runs.process.status.write_state", full)
    info = run_info(folder.name)
    assert (info.state.status, info.state.reason) == ("failed", f"{LOST} (no space)")


def test_an_ended_run_is_read_again_only_when_a_record_of_it_is_another(folder, monkeypatch):
    from gelora.runs.process import status

    launched(folder, *me())
    write_state(folder, RunState(status="finished", step=10))
    assert run_info(folder.name).state.step == 10
    read = []
    monkeypatch.setattr(status, "read_state", lambda f: read.append(f) or read_state(f))
    assert run_info(folder.name).state.step == 10 and read == []
    write_state(folder, RunState(status="finished", step=11))
    assert run_info(folder.name).state.step == 11 and len(read) == 1
    write_state(folder, RunState(status="queued"))
    assert run_info(folder.name).is_live and run_info(folder.name).is_live and len(read) == 3


def test_a_damaged_record_is_not_kept_for_good(folder):
    (folder / "state.json").write_text("{")
    assert "damaged" in run_info(folder.name).state.reason
    write_state(folder, RunState(status="finished"))
    assert run_info(folder.name).state.status == "finished"


def test_the_data_folder_is_its_owners_alone(gelora_home):
    create_folder(SPEC)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (gelora_home, gelora_home / "runs")] == [0o700, 0o700]
