"""Runs killed at random moments, and what becomes of them: `python -m benchmarks.kills [--kills 20] [--json FILE]`.

A dashboard starts two runs through the function behind the Start button and then reads the list of runs every second, as
the pages do; the second run waits for the device. Then run, dashboard or both are killed with signal 9 at a random moment
of the start, the queue, the loading or the training. Measured are the seconds until the pages' readers (`run_info`,
`list_runs`) say what is true; checked, that no process is left, no run is lost, the queue goes on by itself, and what was
killed goes on in its own record and finishes. A check that fails ends the script.

The dashboard is a Streamlit server with a page of its own, its button pressed in a headless Chromium; with --stand-in, or
without Chromium, a process that does the same without a page.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record

LIMIT_SECONDS = 10.0
PORT = 8574
MOMENTS = ("starting", "waiting", "loading", "training", "training")
VICTIMS = ("run", "dashboard", "both")
_PATIENCE_SECONDS = 300.0

# The same work twice: as a page of a Streamlit server, and as a process without one. Both get a file of specs and one for the ids.
PAGE = """
import json, sys
from pathlib import Path
import streamlit as st
from gelora.records import RunSpec
from gelora.runs import list_runs, start_run

if st.button("Start"):
    specs = [RunSpec.from_json(text) for text in json.loads(Path(sys.argv[1]).read_text())]
    Path(sys.argv[2]).write_text(json.dumps([start_run(spec) for spec in specs]))

@st.fragment(run_every=1.0)
def table():
    st.write({info.id: info.state.status for info in list_runs()})

table()
"""
STAND_IN = """
import json, sys, time
from pathlib import Path
from gelora.records import RunSpec
from gelora.runs import list_runs, start_run

specs = [RunSpec.from_json(text) for text in json.loads(Path(sys.argv[1]).read_text())]
Path(sys.argv[2]).write_text(json.dumps([start_run(spec) for spec in specs]))
while True:
    list_runs()
    time.sleep(1)
"""


class StandIn:
    """A process that starts the runs and looks at them."""

    name = "stand-in"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gelora-dashboard-"))
        self._ids = self._folder / "ids.json"

    def start(self, specs: Sequence[Any]) -> list[str]:
        """Start the runs; returns their ids."""
        (self._folder / "specs.json").write_text(json.dumps([spec.to_json() for spec in specs]))
        self.process = self._begin([str(self._folder / "specs.json"), str(self._ids)])
        _until(lambda: self._ids.is_file() and self._ids.read_text().endswith("]"), "the start of the runs")
        return list(json.loads(self._ids.read_text()))

    def _begin(self, arguments: list[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", STAND_IN, *arguments])

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Server(StandIn):
    """A Streamlit server whose page starts the runs when its button is pressed in a browser."""

    name = "streamlit server"

    def __init__(self, browser: Any) -> None:
        super().__init__()
        self._browser = browser

    def _begin(self, arguments: list[str]) -> "subprocess.Popen[bytes]":
        page = self._folder / "page.py"
        page.write_text(PAGE)
        options = ["--server.headless=true", f"--server.port={PORT}", "--server.address=127.0.0.1", "--browser.gatherUsageStats=false"]
        command = [sys.executable, "-m", "streamlit", "run", str(page), *options, "--", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _until(_answers, "the server")
        self._tab = self._browser.new_page()
        self._tab.goto(f"http://127.0.0.1:{PORT}")
        self._tab.get_by_role("button", name="Start").click(timeout=_PATIENCE_SECONDS * 1000)
        return process

    def end(self) -> None:
        """Leave nothing behind."""
        self._tab.close()
        super().end()


def main() -> None:
    """Kill, look, let go on; one row a kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--stand-in", action="store_true", help="a process without a page in the dashboard's place")
    parser.add_argument("--json")
    options = parser.parse_args()
    os.environ |= {"GELORA_HOME": tempfile.mkdtemp(prefix="gelora-kills-"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    specs = small_runs(options.model)
    rng = random.Random(options.seed)
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        browser = None if options.stand_in else _browser(stack)
        for number in range(options.kills):
            victim, moment = VICTIMS[number % len(VICTIMS)], rng.choice(MOMENTS)
            dashboard = Server(browser) if browser else StandIn()
            answer = kill_once(specs, victim, moment, rng, dashboard)
            case = {"case": f"{victim}, {moment}", "ours": answer.pop("seconds_until_true"), "limit": LIMIT_SECONDS, "unit": "s"}
            rows.append(case | {"dashboard": dashboard.name} | answer)
            print(number + 1, rows[-1], flush=True)
    worst = max(row["ours"] for row in rows)
    left, lost = sum(row["processes_left"] for row in rows), sum(row["runs_lost"] for row in rows)
    summary = {"case": f"all {len(rows)} kills, slowest", "ours": worst, "limit": LIMIT_SECONDS, "unit": "s"}
    rows.append(summary | {"processes_left": left, "runs_lost": lost, "all_finished": all(row["all_finished"] for row in rows)})
    record.write("kills", rows, options.json)


def small_runs(model: str) -> list[Any]:
    """Two runs of some seconds each, with a checkpoint every few steps."""
    from gelora.ranks import uniform_ranks
    from gelora.records import DataChoice, RunSpec, TrainingConfig
    from gelora.sources import model_structure

    training = TrainingConfig(
        n_train=480, n_eval=8, epochs=2.0, batch_size=4, max_length=16, eval_every=10, log_every=5, device="cpu", probe_size=0
    )
    plan = uniform_ranks(model_structure(model), 2)
    return [RunSpec(model, DataChoice("docstrings"), plan, training, seed) for seed in (0, 1)]


def kill_once(specs: Sequence[Any], victim: str, moment: str, rng: random.Random, dashboard: StandIn) -> dict[str, Any]:
    """Start the runs from a dashboard, kill at a moment, and see everything end well.

    Args:
        specs: what the runs do; the first begins, the others wait. One is enough unless `moment` is `waiting`.
        victim: `run`, `dashboard` or `both`.
        moment: `starting`, `waiting` (a run that waits for its turn is killed), `loading` or `training`.
        rng: chooses the moment within the moment.
        dashboard: starts the runs.

    Returns:
        seconds_until_true, processes_left, runs_lost, all_finished, and what was seen.

    Raises:
        AssertionError: the readers were wrong for longer than the limit, a process was left, or a run was lost or got stuck.
    """
    from gelora.runs import list_runs, resume_run, run_info
    from gelora.runs.process import processes

    before = {info.id for info in list_runs()}
    try:
        ids = dashboard.start(specs)
        doomed = ids[-1] if moment == "waiting" else ids[0]
        seen = _wait_for_the_moment(doomed, moment, rng)
        targets: list[Callable[[], None]] = []
        if victim in ("run", "both"):
            targets.append(lambda: _kill(run_info(doomed).state.pid))
        if victim in ("dashboard", "both"):
            targets.append(lambda: _kill(dashboard.process.pid))
        rng.shuffle(targets)
        for kill in targets:
            kill()
        killed_at = time.monotonic()
        try:
            seconds = _until(lambda: _is_true(doomed, victim, dashboard), "the truth", LIMIT_SECONDS) - killed_at
        except AssertionError as error:
            info = run_info(doomed)
            left = [process.pid for process in processes.of_run(doomed)]
            raise AssertionError(
                f"{error}: {victim} killed at {seen!r}; now {info.state.status}, {info.state.reason}, processes {left}"
            ) from error
        info = run_info(doomed)
        left = len(processes.of_run(doomed)) if victim != "dashboard" else 0
        assert left == 0, f"{left} processes of {doomed} are left"
        lost = (before | set(ids)) - {listed.id for listed in list_runs()}
        assert not lost, f"lost: {lost}"
        for run_id in ids:
            if run_id != doomed or victim == "dashboard":
                _until(lambda run_id=run_id: not run_info(run_id).is_live, f"the end of {run_id}")  # the queue goes on by itself
        was_killed = victim != "dashboard" and info.state.status == "failed"  # or it had finished a moment before
        if was_killed:
            resume_run(doomed)
            _until(lambda: not run_info(doomed).is_live, f"the end of {doomed}")
        ends = [run_info(run_id) for run_id in ids]
        assert [end.state.status for end in ends] == ["finished"] * len(ids), [(end.id, end.state.status, end.state.reason) for end in ends]
        assert all(end.state.step == end.state.total_steps for end in ends)
        assert run_info(doomed).state.attempts == (2 if was_killed else 1)
        _until(lambda: not any(processes.of_run(run_id) for run_id in ids), "the end of the processes", LIMIT_SECONDS)
    finally:
        dashboard.end()
    return {
        "seconds_until_true": round(seconds, 2), "processes_left": left, "runs_lost": len(lost), "all_finished": True,
        "killed_at": seen, "said": f"{info.state.status}: {info.state.reason}" if info.state.reason else info.state.status,
        "resumed": _how_resumed(info.folder) if was_killed else None,
    }  # fmt: skip


def _wait_for_the_moment(run_id: str, moment: str, rng: random.Random) -> str:
    from gelora.runs import run_info

    if moment == "starting":
        time.sleep(rng.uniform(0, 0.5))
    elif moment == "waiting":
        _until(lambda: run_info(run_id).state.queue_place is not None, "a place in the queue")
        time.sleep(rng.uniform(0, 1))
    elif moment == "loading":
        _until(lambda: run_info(run_id).state.stage.startswith("loading"), "loading")
        time.sleep(rng.uniform(0, 3))
    else:
        _until(lambda: run_info(run_id).state.total_steps is not None, "training")
        total = run_info(run_id).state.total_steps or 1
        step = rng.randint(0, int(total * 0.8))
        _until(lambda: run_info(run_id).state.step >= step, f"step {step}")
        time.sleep(rng.uniform(0, 0.2))
    info = run_info(run_id)
    return f"{info.state.status}, {info.state.stage}, step {info.state.step}"


def _is_true(run_id: str, victim: str, dashboard: StandIn) -> bool:
    """Whether the pages' readers say of a run what has become of it."""
    from gelora.runs import list_runs, run_info
    from gelora.runs.process import processes

    listed = {info.id: info for info in list_runs()}
    if run_id not in listed or listed[run_id].state.status != run_info(run_id).state.status:
        return False
    if victim == "dashboard":
        return dashboard.process.poll() is not None and listed[run_id].state.status in ("queued", "running", "finished")
    said = listed[run_id]
    true = (said.state.status == "failed" and bool(said.state.reason)) or (
        said.state.status == "finished" and _finished_by_itself(said.folder)
    )
    return true and not processes.of_run(run_id)


def _finished_by_itself(folder: Path) -> bool:
    """Whether the run's own last word, written before the kill, was that it had finished."""
    return (folder / "log.txt").read_text().rstrip().endswith("] finished")


def _browser(stack: contextlib.ExitStack) -> Any:
    """A headless Chromium, None when there is none here."""
    if shutil.which("chromium") is None:
        return None
    from playwright.sync_api import sync_playwright

    from benchmarks.serving import launch

    return launch(stack.enter_context(sync_playwright()))


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _until(condition: Callable[[], Any], what: str, seconds: float = _PATIENCE_SECONDS) -> float:
    """Wait for a condition; returns the moment at which it was seen to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.05)
    return time.monotonic()


def _kill(pid: int | None) -> None:
    assert pid is not None, "there is no process to kill"
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _how_resumed(folder: Path) -> str:
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if "resumed from" in line]
    return lines[-1].partition("resumed ")[2]


if __name__ == "__main__":
    main()
