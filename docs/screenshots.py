"""Pictures of every page, taken from a real dashboard with a real measurement and a real run: `make screenshots`.

Writes `assets/screenshots/<page>[-phone][-dark].png`; the README shows the light desktop ones. After a change to some pages,
`python -m docs.screenshots layers ranks` takes those alone; without Fine-tune and Runs among them no run is made.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "assets" / "screenshots"
PORT = 8571
PAGES = {
    "home": "GeLoRA Lab",
    "layers": "Layers",
    "ranks": "Ranks",
    "finetune": "Fine-tune",
    "runs": "Runs",
    "estimators": "Calibration",
    "theory": "Theory",
    "teaching": "What happens on the way through the layers?",
}
WITHOUT_RUNS = {"ranks", "estimators", "theory"}  # these measure for themselves, or nothing
CHOICES = {  # of the others: which run is shown
    "home": "",
    "layers": "&offset=2&layer=4&view=neighbors",
    "ranks": "&offset=2&n=500&estimators=twonn,mle",
    "estimators": "",
    "theory": "",
    "teaching": "&teach=1&step=3&guesses=3:0&shown=3",
}
VIEWS = {"": (1280, 860, "light"), "-dark": (1280, 860, "dark"), "-phone": (390, 844, "light"), "-phone-dark": (390, 844, "dark")}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Start a dashboard, make one measurement and two runs, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(PAGES)}; all unless named")
    wanted = parser.parse_args().pages or list(PAGES)
    if set(wanted) - set(PAGES):
        parser.error(f"there is no page {', '.join(set(wanted) - set(PAGES))}")
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("screenshots need a Chromium on the PATH (Debian: apt-get install chromium)")
    OUT.mkdir(parents=True, exist_ok=True)
    home = Path(os.environ.get("SCREENSHOT_HOME") or tempfile.mkdtemp(prefix="gelora-screenshots-"))
    environment = os.environ | {"GELORA_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py"), "--server.headless", "true"]
    server = subprocess.Popen([*command, "--server.port", str(PORT)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_server()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            run_id = _newest_finished_run(environment) or ""
            if not run_id and set(wanted) - WITHOUT_RUNS:
                run_id = _prepare(browser, with_runs=bool({"home", "finetune", "runs"} & set(wanted)))
            for suffix, (width, height, scheme) in VIEWS.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                for name in wanted:
                    _shoot(page, name, PAGES[name], run_id, OUT / f"{name}{suffix}.png")
                page.close()
            browser.close()
    finally:
        server.kill()
    sys.stdout.write(f"Pictures are in {OUT}; state was in {home}\n")


def _wait_for_server() -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    sys.exit("the dashboard did not start")


def _newest_finished_run(environment: dict[str, str]) -> str | None:
    """The run to show, when SCREENSHOT_HOME is the state folder of an earlier call."""
    command = [sys.executable, "-m", "gelora", "runs", "--json"]
    runs = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    return next((run["id"] for run in runs if run["status"] == "finished" and run["method"] == "lora"), None)


def _prepare(browser: Browser, with_runs: bool) -> str:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"http://127.0.0.1:{PORT}/?page=layers")
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
    run_id = _run_an_experiment(page) if with_runs else ""
    page.close()
    return run_id


def _run_an_experiment(page: Page) -> str:
    """Three methods on two seeds from one form; returns the first run of the rule's ranks when all have finished."""
    page.goto(f"http://127.0.0.1:{PORT}/?page=finetune")  # without a run in the address, so that none is shown yet
    methods = page.get_by_test_id("stButtonGroup")
    expect(methods.get_by_text("Head only")).to_be_visible(timeout=60_000)
    for what in ("Head only", "One rank everywhere"):  # beside "These ranks", which are ticked at the start
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


def _shoot(page: Page, name: str, title: str, run_id: str, target: Path) -> None:
    choices = CHOICES.get(name, f"&run={run_id}")
    page.goto(f"http://127.0.0.1:{PORT}/?page={name}{choices}")
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=120_000)
    page.wait_for_timeout(3500)
    if name == "ranks":  # at a sample at which some rises show, and their doubt
        if page.get_by_role("button", name="Measure the curve").count():
            page.get_by_role("button", name="Measure the curve").click()
        expect(page.locator(".rank-wall .shapelayer path").first).to_be_attached(timeout=180_000)
        page.wait_for_timeout(3500)
    if name == "estimators" and page.locator(".st-key-calibrate button").count():
        page.locator(".st-key-calibrate button").click()
        expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=180_000)
        page.wait_for_timeout(3500)
    page.screenshot(path=str(target))
    body = page.get_by_test_id("stMain")
    height = body.evaluate("e => e.scrollHeight")
    size = page.viewport_size
    if size and height > size["height"] and name != "teaching":  # which fills the screen and no more
        page.set_viewport_size({"width": size["width"], "height": min(height, 3200)})
        page.wait_for_timeout(1200)
        page.screenshot(path=str(target))
        page.set_viewport_size(size)


if __name__ == "__main__":
    main()
