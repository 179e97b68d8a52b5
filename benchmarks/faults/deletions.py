"""Whoever deletes a run is killed meanwhile: the run is whole or gone, others stand, and the next deletion frees what was left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.faults.attempt import Try, require
from benchmarks.faults.small_runs import end_of, folder_of_finished, uninterrupted, until

_N_FILES = 3000  # beside a run's own, so that a removal takes long enough to be hit
_DELETE = "import sys; from gelora.runs import delete_run; delete_run(sys.argv[1])"


def attempt_deletion(found: Try) -> None:
    """Kill a process that deletes a run, at a random moment of it, and look at what is left.

    Raises:
        Fault: half a run is listed, another run was touched, or the space is not freed by the next deletion.
    """
    from gelora.runs import delete_run, list_runs

    found.case = "deleter, deletion"
    runs = found.folder / "runs"
    doomed, other = (_copied(found.material, runs, f"20260101-000000-model-rows-000{i}") for i in (1, 2))
    for i in range(_N_FILES):
        (runs / doomed / "adapter" / f"{i}.txt").write_text("text")
    process = subprocess.Popen([sys.executable, "-c", _DELETE, doomed], stderr=subprocess.DEVNULL)
    before = found.rng.random() < 0.2
    if before:
        time.sleep(found.rng.uniform(0, 0.5))
    else:
        until(lambda: any(runs.glob(".deleted-*")) or process.poll() is not None, "the deletion", pause=0.0005)
        time.sleep(found.rng.choice((0.0, found.rng.uniform(0, 0.1))))
    process.send_signal(signal.SIGKILL)
    process.wait()
    listed = {info.id: info.state.status for info in list_runs()}
    found.facts["left"] = f"{len(os.listdir(runs / doomed / 'adapter')) if doomed in listed else 0} files of the run"  # noqa: PTH208
    found.facts["half_removed_folders"] = len(list(runs.glob(".deleted-*")))
    require(listed.get(other) == "finished", "lost", f"the other run is {listed.get(other)}")
    wanted = uninterrupted(found.material, "lora-0")
    if doomed in listed:
        require(listed[doomed] == "finished" and end_of(doomed) == wanted, "wrong", f"half a run is listed as {listed[doomed]}")
        delete_run(doomed)
    require(end_of(other) == wanted, "lost", "the other run is not what it was")
    delete_run(other)
    require(not list_runs() and not list(runs.glob("*deleted-*")), "wrong", f"deleted runs leave {sorted(p.name for p in runs.iterdir())}")


def _copied(material: Path, runs: Path, run_id: str) -> str:
    """A finished run of this id, the copy of one that ran."""
    shutil.copytree(folder_of_finished(material, "lora-0"), runs / run_id)
    return run_id
