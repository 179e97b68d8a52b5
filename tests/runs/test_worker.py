"""The worker's words: why a run failed, and what it refuses to do."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from gelora.errors import DataError, HubError, ModelError, StoreError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import run_info
from gelora.runs.process import devices, processes, reasons
from gelora.runs.process.worker import StopRequested, StopSwitch, main
from gelora.runs.records.record_file import write_json
from gelora.runs.records.recorder import Recorder
from gelora.runs.records.state import RunState, create_folder, read_state, write_state
from gelora.runs.training.watch import Diverged

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch):
    """`main` takes over two signals and its process's environment; the test's process gets all back."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    environment = dict(os.environ)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(environment)


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
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk full: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 22847 vs 22800"), "disk full"),
        (RuntimeError("basic_ios::clear: iostream error"), "disk full"),
        (StoreError("Cannot write x: No space left on device. Free some space."), "disk full"),
        (StoreError("Cannot write x: Permission denied."), "store: Cannot write x"),
        (DataError("The column 'disk' is missing."), "data: The column"),
        (KeyError("weight"), "error: KeyError: 'weight'; the log has the traceback"),
        (ValueError(), "error: ValueError: no message"),
    ],
)
def test_every_failure_begins_with_its_kind(error, begins):
    assert reasons.of_error(error, SPEC).startswith(begins)


def test_out_of_memory_says_what_to_change_from():
    assert "batch_size is 16, max_length 128" in reasons.of_error(MemoryError(), SPEC)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["nosuchrun"], ["../x"]])
def test_bad_call_is_one_sentence(gelora_home, capsys, arguments):
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_run_that_has_ended_is_not_run_again(gelora_home, capsys):
    folder = create_folder(SPEC)
    write_state(folder, RunState(status="finished"))
    assert main([folder.name]) == 2
    assert "already finished" in capsys.readouterr().err
    assert run_info(folder.name).state.status == "finished"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_stop_raises_while_setting_up_and_waits_while_training(number):
    signal.signal(number, signal.SIG_IGN)  # as it may have been inherited
    stop = StopSwitch()
    stop.install()
    stop.arm(raises=True)
    with pytest.raises(StopRequested):
        os.kill(os.getpid(), number)
    stop = StopSwitch()
    stop.install()
    stop.arm(raises=False)
    os.kill(os.getpid(), number)
    assert stop()
    with pytest.raises(StopRequested):
        stop.arm(raises=True)


def test_log_line_and_state_hold_the_same_floats(gelora_home, capsys):
    folder = create_folder(SPEC)
    recorder = Recorder(folder)
    recorder.progress(3, 12, None)
    recorder.values(3, {"loss": 0.1 + 0.2, "grad_norm": float("inf")})
    assert capsys.readouterr().out == "step 3/12 loss=0.30000000000000004 grad_norm=inf\n"
    assert run_info(folder.name).state.status == "running"
    recorder.end("failed", "data: no")
    info = run_info(folder.name)
    assert (info.state.status, info.state.reason, info.state.seconds_left) == ("failed", "data: no", None)
    assert (info.state.step, info.state.metrics) == (3, {"loss": 0.1 + 0.2})


def test_cause_that_a_library_wrapped_is_found():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("cannot save the checkpoint") from error
    except RuntimeError as error:
        assert reasons.of_error(error, SPEC) == reasons.DISK_FULL


def test_run_with_a_damaged_spec_ends_with_a_sentence(gelora_home, capsys):
    folder = create_folder(SPEC)
    (folder / "spec.json").write_text("{")
    assert main([folder.name]) == 1
    info = run_info(folder.name)
    assert info.state.status == "failed" and info.state.reason.startswith("store: spec.json is damaged (This is not JSON")


def test_run_whose_stop_was_asked_for_before_it_began_does_not_begin(gelora_home, capsys):
    folder = create_folder(SPEC)
    write_json(folder / "stop.json", {"grace_seconds": 3.0})
    assert main([folder.name]) == 0
    info = run_info(folder.name)
    assert (info.state.status, info.state.reason) == ("stopped", "stopped before training began")


def test_full_disk_is_named_though_nothing_can_be_written(gelora_home, capsys, monkeypatch):
    folder = create_folder(SPEC)

    def full(*_):
        raise StoreError("Cannot write state.json: No space left on device.")

    def begin(*_):
        monkeypatch.setattr("gelora.runs.records.recorder.write_state", full)
        monkeypatch.setattr("gelora.runs.process.worker.write_state", full)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gelora.runs.process.worker.work", begin)
    assert main([folder.name]) == 1
    monkeypatch.setattr(processes, "find", lambda *_: None)  # as if this process had ended
    assert (run_info(folder.name).state.status, run_info(folder.name).state.reason) == ("failed", reasons.DISK_FULL)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small disk of its own can be mounted by root on Linux alone")
def test_really_full_disk_is_named_and_the_run_resumes_when_there_is_room(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("GELORA_HOME", str(disk))
        folder = create_folder(SPEC)
        filler = disk / "filler"

        def fill(*_):
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)

        monkeypatch.setattr("gelora.runs.process.worker.work", fill)
        assert main([folder.name]) == 1
        monkeypatch.setattr(processes, "find", lambda *_: None)
        assert run_info(folder.name).state.reason.startswith(reasons.DISK_FULL)
        filler.unlink()
        assert (run_info(folder.name).state.status, run_info(folder.name).can_resume) == ("failed", True)
        assert read_state(folder).reason == reasons.DISK_FULL
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(("visible", "seen", "slot"), [(None, "GPU-aaaa", "cuda:0"), ("1", "1", "cuda:1"), ("", "", "cpu")])
def test_run_sees_the_one_gpu_whose_turn_it_has(gelora_home, monkeypatch, capsys, visible, seen, slot):
    two = "GPU 0: NVIDIA H100 (UUID: GPU-aaaa)\nGPU 1: NVIDIA H100 (UUID: GPU-bbbb)\n"
    monkeypatch.setattr(devices, "_gpus", lambda: devices.parse_gpus(two))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    environment = {}

    def work(_spec, _recorder, _stop, _report_to):
        environment.update(os.environ)
        return "finished", None

    monkeypatch.setattr("gelora.runs.process.worker.work", work)
    folder = create_folder(SPEC)
    assert main([folder.name]) == 0
    assert environment["CUDA_VISIBLE_DEVICES"] == seen
    assert (run_info(folder.name).state.status, run_info(folder.name).state.slot) == ("finished", slot)
