"""The worker's words: why a run failed, and what it refuses to do."""

import errno
import os
import signal

import pytest

from gelora.errors import DataError, HubError, ModelError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import run_info
from gelora.runs.state import RunState, create_folder, write_state
from gelora.runs.training import Diverged
from gelora.runs.worker import Recorder, StopRequested, StopSwitch, _one_gpu, _reason, main

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))


@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (DataError("Every row has the same label."), "data: Every row"),
        (ModelError("No blocks."), "model: No blocks."),
        (HubError("No network."), "hub: No network."),
        (Diverged("diverged: the loss became nan at step 3"), "diverged: the loss became nan at step 3"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: lower batch_size or max_length"),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), "out of memory: lower batch_size"),
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full: free some space"),
        (KeyError("weight"), "error: KeyError: 'weight'; the log has the traceback"),
        (ValueError(), "error: ValueError: no message"),
    ],
)
def test_every_failure_begins_with_its_kind(error, begins):
    assert _reason(error, SPEC).startswith(begins)


def test_out_of_memory_says_what_to_change_from():
    assert "batch_size is 16, max_length 128" in _reason(MemoryError(), SPEC)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["nosuchrun"], ["../x"]])
def test_bad_call_is_one_sentence(gelora_home, capsys, arguments):
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_run_that_has_ended_is_not_run_again(gelora_home, capsys):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="finished"))
    assert main([folder.name]) == 2
    assert "already finished" in capsys.readouterr().err
    assert run_info(folder.name).status == "finished"


def test_stop_raises_while_setting_up_and_waits_while_training(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    stop = StopSwitch()
    stop.install()
    try:
        with pytest.raises(StopRequested):
            os.kill(os.getpid(), signal.SIGTERM)
        stop = StopSwitch()
        stop.install()
        stop.arm(raises=False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(StopRequested):
            stop.arm(raises=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_log_line_and_state_hold_the_same_floats(gelora_home, capsys):
    folder = create_folder(SPEC)
    recorder = Recorder(folder)
    recorder.progress(0, 12, None, None)
    recorder.values(3, {"loss": 0.1 + 0.2, "grad_norm": float("inf")})
    assert capsys.readouterr().out == "step 3/12 loss=0.30000000000000004 grad_norm=inf\n"
    info = run_info(folder.name)
    assert (info.status, info.step, info.metrics) == ("running", 3, {"loss": 0.1 + 0.2})
    recorder.end("failed", "data: no")
    info = run_info(folder.name)
    assert (info.status, info.reason, info.seconds_left) == ("failed", "data: no", None)


@pytest.mark.parametrize(("given", "seen"), [(None, "0"), ("2,3", "2"), ("", "")])
def test_run_takes_one_gpu(monkeypatch, given, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given or "")
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    _one_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
