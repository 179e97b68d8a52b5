"""Every page of a real dashboard with a real measurement and real runs, opened at both widths and in both themes.

Describes how a page is brought to where it has something to show; what is done there (pictures, an accessibility report) is
given by whoever asks. SCREENSHOT_HOME names the state folder of an earlier call, whose measurements and runs are used again.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.serving import launch, serve

PAGES = {
    "home": "GeLoRA Lab",
    "layers": "Layers",
    "ranks": "Ranks",
    "finetune": "Fine-tune",
    "runs": "Runs",
    "evidence": "Evidence",
    "estimators": "Calibration",
    "theory": "Theory",
    "teaching": "What happens on the way through the layers?",
}
WITHOUT_RUNS = {"ranks", "evidence", "estimators", "theory"}  # these measure for themselves, or nothing
CHOICES = {  # of the others: which run is shown
    "home": "",
    "layers": "&offset=2&layer=4&view=neighbors",
    "ranks": "&offset=2&n=500&estimators=twonn,mle",
    "evidence": "",
    "estimators": "",
    "theory": "",
    "teaching": "&teach=1&step=3&guesses=3:0&shown=3",
}
VIEWS = {"": (1280, 860, "light"), "-dark": (1280, 860, "dark"), "-phone": (390, 844, "light"), "-phone-dark": (390, 844, "dark")}


def visit(wanted: Sequence[str], each: Callable[[Page, str, str], None]) -> Path:
    """Call `each` with the page, its name (a key of PAGES) and the view (a key of VIEWS); returns the state folder.

    One measurement is made first, and runs where a wanted page shows them.
    """
    home = Path(os.environ.get("SCREENSHOT_HOME") or tempfile.mkdtemp(prefix="gelora-screenshots-"))
    os.environ |= {"GELORA_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    server, url = serve()
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            run_id = _newest_finished_run() or ""
            if not run_id and set(wanted) - WITHOUT_RUNS:
                run_id = _prepare(browser, url, with_runs=bool({"home", "finetune", "runs"} & set(wanted)))
            for view, (width, height, scheme) in VIEWS.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                for name in wanted:
                    _open(page, url, name, run_id)
                    each(page, name, view)
                page.close()
            browser.close()
    finally:
        server.kill()
    return home


def page_names(parser: argparse.ArgumentParser, named: Sequence[str]) -> list[str]:
    """The pages named on a command line, all of them when none is; an unknown one ends the command with a sentence."""
    if set(named) - set(PAGES):
        parser.error(f"there is no page {', '.join(sorted(set(named) - set(PAGES)))}")
    return list(named) or list(PAGES)


def _newest_finished_run() -> str | None:
    """The run to show, when SCREENSHOT_HOME is the state folder of an earlier call."""
    command = [sys.executable, "-m", "gelora", "runs", "--json"]
    runs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return next((run["id"] for run in runs if run["status"] == "finished" and run["method"] == "lora"), None)


def _prepare(browser: Browser, url: str, with_runs: bool) -> str:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{url}/?page=layers")
    expect(page.get_by_role("heading", level=1, name="Layers")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1000)
    invitation = page.get_by_role("button", name="Measure the curve")
    if invitation.count():
        invitation.click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=180_000)
    for asked in ("Measure at other scales", "Vary every choice"):  # the first curve first, then the slower estimators
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=400_000)
        if page.get_by_role("button", name=asked).count():
            page.get_by_role("button", name=asked).click()
            expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=400_000)
    run_id = _run_an_experiment(page, url) if with_runs else ""
    page.close()
    return run_id


def _run_an_experiment(page: Page, url: str) -> str:
    """Three methods on two seeds from one form; returns the first run of the rule's ranks when all have finished."""
    page.goto(f"{url}/?page=finetune")  # without a run in the address, so that none is shown yet
    methods = page.get_by_test_id("stButtonGroup")
    expect(methods.get_by_text("Head only")).to_be_visible(timeout=60_000)
    for what in ("Head only", "Uniform rank"):  # beside "These ranks", which are ticked at the start
        methods.get_by_text(what).click()
        page.wait_for_timeout(1000)
    for label, value in (("Rank", "1, 4"), ("Seeds", "0, 1"), ("Training rows", "1500")):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Tab")
        page.wait_for_timeout(1000)
    page.get_by_role("button", name="Start 8 runs").click()
    expect(page).to_have_url(re.compile("run="), timeout=120_000)
    run_id = re.search(r"run=([a-z0-9-]+)", page.url).group(1)  # type: ignore[union-attr]
    others = page.get_by_text("Also under way")
    expect(others).to_be_visible(timeout=120_000)  # seven of them wait; one after another they end
    expect(others).to_have_count(0, timeout=1_800_000)
    return run_id


def _open(page: Page, url: str, name: str, run_id: str) -> None:
    choices = CHOICES.get(name, f"&run={run_id}")
    page.goto(f"{url}/?page={name}{choices}")
    expect(page.get_by_role("heading", level=1, name=PAGES[name])).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=120_000)
    page.wait_for_timeout(3500)
    if name == "ranks":  # at a sample at which some rises show, and their uncertainty
        if page.get_by_role("button", name="Measure the curve").count():
            page.get_by_role("button", name="Measure the curve").click()
        expect(page.locator(".rank-allocation .shapelayer path").first).to_be_attached(timeout=180_000)
        page.wait_for_timeout(3500)
    if name == "estimators" and page.locator(".st-key-calibrate button").count():
        page.locator(".st-key-calibrate button").click()
        expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=180_000)
        page.wait_for_timeout(3500)
