"""A run that is forked off loaded libraries is like any other; where that cannot be, it is started afresh."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gelora.runs import list_runs, log_tail, run_info, start_run, stop_run, wait_for
from gelora.runs.process import preloaded, processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries survive a fork on Linux alone")

STARTER = """
import sys, time
from gelora.records import RunSpec
from gelora.runs import keep_ready, start_run
from gelora.runs.process import preloaded
keep_ready()
assert preloaded.wait_until_ready()
print(start_run(RunSpec.from_json(sys.argv[1])), preloaded._kept[0]._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def loader(libraries_loaded):
    """The process that has the libraries for this one; at the end no run goes on."""
    yield psutil.Process(preloaded._kept[0]._process.pid)
    for info in list_runs():
        stop_run(info.id, grace_seconds=0)


def wait_until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_forked_run_is_a_process_of_its_own(make_spec, loader):
    run_id = start_run(make_spec(epochs=1000))
    info = run_info(run_id)
    assert psutil.Process(info.state.pid).ppid() == loader.pid
    wait_until(lambda: run_info(run_id).state.step >= 1)
    assert (os.getsid(info.state.pid), os.getpgid(info.state.pid)) == (info.state.pid, info.state.pid)
    assert [process.pid for process in processes.of_run(run_id)] == [info.state.pid]
    assert psutil.Process(info.state.pid).cwd() == str(Path.cwd())
    assert stop_run(run_id).state.status == "stopped", log_tail(run_id)
    assert processes.of_run(run_id) == []


def test_how_a_forked_run_ended_is_known(make_spec, loader):
    run_id = start_run(make_spec(epochs=1000))
    wait_until(lambda: run_info(run_id).state.status == "running")
    os.kill(run_info(run_id).state.pid, signal.SIGKILL)
    info = wait_for(run_id)
    assert info.state.status == "failed" and info.state.reason.startswith("killed"), info.state.reason


@pytest.mark.parametrize(("name", "value"), [("HF_HOME", "/elsewhere"), ("CUDA_VISIBLE_DEVICES", "1"), ("OMP_NUM_THREADS", "7")])
def test_an_environment_that_libraries_read_when_they_are_loaded_needs_a_fresh_process(loader, name, value, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    assert preloaded.fork_run("run", tmp_path / "log.txt", dict(os.environ)) is None


def test_code_that_has_changed_since_is_loaded_afresh(loader, tmp_path, monkeypatch):
    monkeypatch.setattr(preloaded, "_code_state", lambda: (1, 1))
    assert preloaded.fork_run("run", tmp_path / "log.txt", preloaded._kept[0]._environment) is None


def test_it_goes_with_its_starter_and_the_run_goes_on(make_spec):
    spec = make_spec()
    starter = subprocess.Popen([sys.executable, "-c", STARTER, spec.to_json()], stdout=subprocess.PIPE, text=True)
    run_id, pid = starter.stdout.readline().split()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_until(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)
    info = wait_for(run_id)
    assert (info.state.status, info.state.step) == ("finished", 12), log_tail(run_id)
