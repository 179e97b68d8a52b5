"""How long the steps of teaching mode take, in a headless Chromium: `python -m benchmarks.tour_times --json FILE`.

Prepares as `make teach` does on a fresh state folder, and times that; then goes through the tour twice at its default
choices: before a run, and beside the run that step 2 starts. Each step twice: from the click that leads there to its
question, and from the click that shows to the figure. Without a network, on Linux:
`unshare --net --map-root-user sh -c 'ip link set lo up; python -m benchmarks.tour_times --json FILE'`; the record says
which network there was.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks import record
from benchmarks.record import seconds_since
from benchmarks.serving import ROOT, launch, serve

SIZE: Any = {"width": 1280, "height": 800}
N_STEPS, STARTS_RUN = 6, 2
LIMIT = 300_000  # milliseconds that nothing should need


def main() -> None:
    """Prepare, serve, go through the tour twice, write the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    options = parser.parse_args()
    os.environ |= {"GELORA_HOME": tempfile.mkdtemp(prefix="gelora-tour-times-"), "HF_HUB_OFFLINE": "1"}
    rows: list[dict[str, Any]] = [{"case": "network", "interfaces": ", ".join(name for _, name in socket.if_nameindex())}]
    for case in ("make teach prepares", "make teach prepares, again"):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "app.teaching.rehearse", "--only-prepare"], check=True, cwd=ROOT)
        rows.append({"case": case, "seconds": seconds_since(started)})
    server, url = serve()
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            rows += tour(browser.new_page(viewport=SIZE), url, "before a run", with_run=False)
            rows += tour(browser.new_page(viewport=SIZE), url, "beside the run", with_run=True)
            browser.close()
    finally:
        server.terminate()
        server.wait()
        stop_runs()
    record.write("tour_times", rows, options.json)


def tour(page: Page, url: str, case: str, with_run: bool) -> list[dict[str, Any]]:
    """All steps in order, as a class has them; without a run the second one shows its question only."""
    rows = []
    started = time.perf_counter()
    page.goto(f"{url}/?teach=1", wait_until="commit")
    for step in range(1, N_STEPS + 1):
        if step > 1:
            started = time.perf_counter()
            page.get_by_role("button", name="Next").click()
        expect(page.get_by_text(f"step {step} of {N_STEPS}", exact=True)).to_be_visible(timeout=LIMIT)
        answer = page.get_by_role("radiogroup").first.locator("label").nth(1)
        expect(answer).to_be_visible(timeout=LIMIT)
        row = {"case": case, "step": step, "question_seconds": seconds_since(started)}
        if step != STARTS_RUN or with_run:
            answer.click()
            show = page.locator(".st-key-teach_show button")
            expect(show).to_be_enabled(timeout=LIMIT)
            page.wait_for_timeout(2000)  # the class thinks
            started = time.perf_counter()
            show.click()
            expect(page.get_by_text(re.compile("The class said:"))).to_be_visible(timeout=LIMIT)
            expect(page.locator(f".st-key-teach_figure_{step} .js-plotly-plot .main-svg").first).to_be_visible(timeout=LIMIT)
            row["answer_seconds"] = seconds_since(started)
            page.wait_for_timeout(2000)
        rows.append(row)
    return rows


def stop_runs() -> None:
    """End what step 2 has begun."""
    from gelora.runs import list_runs, stop_run

    for run in list_runs():
        if run.is_live:
            stop_run(run.id)


if __name__ == "__main__":
    main()
