"""Two hundred runs, one of them with 100,000 logged points: how long the Runs page and the command line take over them."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.query_inputs import MAIN, prepare_pages

N_RUNS = 200
N_POINTS = 100_000
LIMIT_SECONDS = 20.0  # of one answer
_TRY_SECONDS = 900.0


def attempt(found: Try, n_runs: int = N_RUNS, n_points: int = N_POINTS) -> None:
    """The table of all runs, the long one beside another, the long one's own page, and what the command line prints of it.

    Args:
        found: the try.
        n_runs: how many there are.
        n_points: how many values of the loss the long one has logged.

    Raises:
        Fault: a run is missing, a page raised, or an answer took longer than the limit.
    """
    from streamlit.testing.v1 import AppTest

    small_runs.quiet()
    ids = make_runs(found, n_runs, n_points)
    found.case = f"{n_runs} runs, one of {n_points:,} points"
    app, beside = (AppTest.from_file(str(MAIN), default_timeout=_TRY_SECONDS) for _ in range(2))
    pages: dict[str, Callable[[], Any]] = {
        "Runs, first time": lambda: app.switch_page("../pages/runs.py").run(),
        "Runs, again": lambda: app.run(),
        "Runs, the long one ticked with another": lambda: _ticked(beside, ids[-2:]).switch_page("../pages/runs.py").run(),
        "Fine-tune, the long one followed": lambda: _followed(app, ids[-1]).switch_page("../pages/finetune.py").run(),
    }
    seconds = {}
    for name, act in pages.items():
        began = time.perf_counter()
        act()
        seconds[name] = round(time.perf_counter() - began, 2)
        raised = [shown.message for shown in (*app.exception, *beside.exception)]
        require(not raised, "traceback", f"{name}: {'; '.join(raised)[:300]}")
        if name == "Runs, first time":
            require(any(len(table.value) == n_runs for table in app.dataframe), "lost", "the table has not all runs")
    for words in (("runs",), ("runs", "--json"), ("runs", ids[-1], "--csv", "-")):
        began = time.perf_counter()
        said = odd.command(*words)
        seconds[f"gelora {' '.join(words).replace(ids[-1], 'ID')}"] = round(time.perf_counter() - began, 2)
        require(said.startswith("exit status 0"), "wrong", said[:300])
        require(words != ("runs", "--json") or len(json.loads(said.partition(": ")[2])) == n_runs, "lost", "the list has not all runs")
    found.facts["seconds_of_answers"] = seconds
    slowest = max(seconds, key=lambda name: seconds[name])
    require(seconds[slowest] <= LIMIT_SECONDS, "wrong", f"{slowest} took {seconds[slowest]} s")


def make_runs(found: Try, n_runs: int, n_points: int) -> list[str]:
    """Runs that are copies of finished ones in the try's home; the last has a long history. Returns their ids."""
    runs, ids = found.folder / "runs", []
    for i in range(n_runs):
        source = small_runs.folder_of_finished(found.material, found.rng.choice(small_runs.made(found.material)))
        ids.append(f"20260101-{i // 60:04d}{i % 60:02d}-model-rows-{i:04x}")
        shutil.copytree(source, runs / ids[-1], ignore=shutil.ignore_patterns("checkpoints", "adapter"))
    lines = (json.dumps({"step": step, "loss": 1 / (1 + step), "learning_rate": 1e-3}) for step in range(n_points // 2))
    (runs / ids[-1] / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    state = json.loads((runs / ids[-1] / "state.json").read_text())
    (runs / ids[-1] / "state.json").write_text(json.dumps(state | {"step": n_points // 2, "total_steps": n_points // 2}))
    return ids


def _ticked(app: Any, ids: list[str]) -> Any:
    app.session_state["_ticked"] = ids
    return app


def _followed(app: Any, run_id: str) -> Any:
    app.session_state["run"] = run_id
    return app


def prepare(material: Path) -> None:
    """Runs to copy, and the pages loaded once."""
    prepare_pages(material)
    os.environ["GELORA_HOME"] = str(material / "home")


KINDS = (Kind("many-runs", prepare, attempt, _TRY_SECONDS),)
