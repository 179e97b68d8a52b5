"""Twenty browser sessions on one server for some minutes: the slowest answer, and the server's memory at start and end.

Needs Streamlit and a Chromium; `$GELORA_FAULTS_MINUTES` says how long (2 unless set).
"""

import os
import time
from typing import Any

import psutil

from benchmarks.faults import small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.many_runs import make_runs
from benchmarks.faults.starters import browser

N_SESSIONS = 20
LIMIT_SECONDS = 120.0  # of one answer
_PAGES = {"home": "GeLoRA Lab", "layers": "Layers", "ranks": "Ranks", "finetune": "Fine-tune", "runs": "Runs", "evidence": "Evidence",
          "estimators": "Calibration", "theory": "Theory"}  # fmt: skip
_N_RUNS = 20
_TRY_SECONDS = 3600.0


def attempt(found: Try, n_sessions: int = N_SESSIONS, minutes: float | None = None) -> None:
    """All sessions open a page at the same time, then another, until the time is over.

    Args:
        found: the try.
        n_sessions: tabs, each a session of its own.
        minutes: how long.

    Raises:
        Fault: a page did not stand within the limit, or shows a traceback.
    """
    from benchmarks.serving import serve

    small_runs.quiet()
    minutes = float(os.environ.get("GELORA_FAULTS_MINUTES", "2")) if minutes is None else minutes
    found.case = f"{n_sessions} sessions, {minutes:g} minutes"
    make_runs(found, _N_RUNS, 1000)
    server, address = serve()
    tabs = [browser().new_context().new_page() for _ in range(n_sessions)]
    process, answers = psutil.Process(server.pid), []
    try:
        for tab in tabs:
            answers += _open(found, [tab], address)
        start = _mib(process)
        deadline = time.monotonic() + minutes * 60
        while time.monotonic() < deadline:
            answers += _open(found, tabs, address)
        end = _mib(process)
    finally:
        for tab in tabs:
            tab.context.close()
        server.kill()
        server.wait()
    answers.sort()
    found.facts |= {
        "answers_given": len(answers), "slowest_answer_seconds": answers[-1], "median_answer_seconds": answers[len(answers) // 2],
        "server_mib_at_start": start, "server_mib_at_end": end,
    }  # fmt: skip


def _open(found: Try, tabs: list[Any], address: str) -> list[float]:
    """Every tab goes to a page of its own at once; returns the seconds until each stands."""
    wanted = []
    for tab in tabs:
        page = found.rng.choice(tuple(_PAGES))
        tab.goto(f"{address}/?page={page}&model={found.material / 'model'}&data={found.material / 'rows.jsonl'}", wait_until="commit")
        wanted.append((tab, _PAGES[page], time.monotonic()))
    seconds = []
    for tab, title, began in wanted:
        title_shown = tab.get_by_role("heading", name=title, exact=True, level=1)
        running = tab.locator('[data-testid="stApp"][data-test-script-state="running"]')
        title_shown.wait_for(timeout=LIMIT_SECONDS * 1000)
        running.wait_for(state="hidden", timeout=LIMIT_SECONDS * 1000)
        seconds.append(round(time.monotonic() - began, 2))
        require(tab.get_by_test_id("stException").count() == 0, "traceback", f"{title} shows a traceback")
    return seconds


def _mib(process: psutil.Process) -> int:
    """Memory of the server alone, without the process that has the libraries ready for runs."""
    return int(process.memory_info().rss >> 20)


KINDS = (Kind("sessions", small_runs.make, attempt, _TRY_SECONDS),)
