"""Six processes at once on a data folder that is not there yet: they start runs, list, measure and plan, and none trips over another."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.faults import small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.kills import go_on
from benchmarks.faults.small_runs import uninterrupted

_TRY_SECONDS = 900.0
_WORK = """
import sys, time
from pathlib import Path
from gelora.cli import main

ready, begin = Path(sys.argv[1]), Path(sys.argv[2])
ready.touch()
while not begin.exists():
    time.sleep(0.001)
sys.exit(main(sys.argv[3:]))
"""


def attempt(found: Try) -> None:
    """Six commands begin in the same moment.

    Raises:
        Fault: one fails or shows a traceback, a run is lost or ends otherwise than alone, or two equal measurements differ.
    """
    from gelora.runs import list_runs

    small_runs.quiet()
    home = found.folder / "home"
    os.environ["GELORA_HOME"] = str(home)
    names = ("lora-0", "adalora-0")
    data = ("--model", str(found.material / "model"), "--dataset", str(found.material / "rows.jsonl"), "--n-samples", "60")
    commands = [("train", "--detach", "--json", "--spec", str(found.material / f"{name}.json")) for name in names]
    commands += [("runs", "--json"), ("doctor", "--json"), *(("measure", *data, "--device", "cpu", "--json", "-") for _ in range(2))]
    found.rng.shuffle(commands)
    found.case = "six processes on a fresh home"
    processes = []
    for i, words in enumerate(commands):
        line = [sys.executable, "-c", _WORK, str(found.folder / f"ready {i}"), str(found.folder / "begin"), *words]
        processes.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    small_runs.until(lambda: len(list(found.folder.glob("ready *"))) == len(commands), "six processes")
    (found.folder / "begin").touch()
    began = time.monotonic()
    ends = [(words, *process.communicate(), process.returncode) for words, process in zip(commands, processes, strict=True)]
    found.facts["seconds_until_all_answered"] = round(time.monotonic() - began, 2)
    for words, _, said, code in ends:
        require("Traceback" not in said, "traceback", f"gelora {words[0]}: {said[-500:]}")
        require(code == 0 or words[0] == "doctor", "wrong", f"gelora {words[0]} ends with {code}: {said[-300:]}")
    measured = [json.loads(out) for words, out, _, _ in ends if words[0] == "measure"]
    require(_without_times(measured[0]) == _without_times(measured[1]), "wrong", "two equal measurements differ")
    started = {json.loads(out)["id"]: words[-1] for words, out, _, _ in ends if words[0] == "train"}
    listed = {info.id for info in list_runs()}
    require(listed == set(started), "lost", f"started {sorted(started)}, listed {sorted(listed)}")
    for run_id, spec in started.items():
        go_on(found, run_id, uninterrupted(found.material, Path(spec).stem))


def _without_times(node: object) -> object:
    """A profile without how long its numbers took."""
    if isinstance(node, dict):
        return {name: _without_times(value) for name, value in node.items() if "seconds" not in name}
    return [_without_times(value) for value in node] if isinstance(node, list) else node


KINDS = (Kind("fresh-homes", small_runs.make, attempt, _TRY_SECONDS),)
