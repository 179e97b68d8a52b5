"""The default journey as a person has it, in a headless Chromium: `python -m benchmarks.default_journey --json FILE`.

Seconds from the click to the curve with nothing cached, the same again after a reload and after a restart of the
server, then the two runs at default settings: the head alone, and the adapter of the measured plan.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks import record
from benchmarks.record import seconds_since
from benchmarks.serving import launch, serve

PORT = 8572  # the same after a restart, so that an open tab finds its server again
URL = f"http://127.0.0.1:{PORT}"


def main() -> None:
    """Time the journey on a fresh state folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-runs", action="store_true", help="stop after the curve")
    parser.add_argument("--json")
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="gelora-journey-")
    os.environ |= {"GELORA_HOME": home, "HF_HUB_OFFLINE": "1"}
    rows: list[dict[str, Any]] = []
    server, _ = serve(PORT)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(f"{URL}/?page=layers")
        expect(page.get_by_role("button", name="Measure the curve")).to_be_visible(timeout=60_000)
        rows.append({"case": "first paint of a fresh server", "seconds": seconds_since(started)})
        started = time.perf_counter()
        page.get_by_role("button", name="Measure the curve").click()
        wait_for_curve(page)
        rows.append({"case": "click to curve, 1000 texts, nothing cached", "seconds": seconds_since(started)})
        rows.append({"case": "reload to curve", "seconds": open_and_wait(page)})
        server.kill()
        server.wait()
        server, _ = serve(PORT)
        rows.append({"case": "restarted server, open to curve", "seconds": open_and_wait(page)})
        rows.append({"case": "same server, new tab, open to curve", "seconds": open_and_wait(new_tab(browser))})
        for what in () if options.no_runs else ("Head only", "These ranks"):
            rows.append(run_row(page, what))
        browser.close()
    server.kill()
    record.write("default_journey", rows, options.json)


def wait_for_curve(page: Page) -> None:
    """Until the chart is on the page."""
    expect(page.locator(".js-plotly-plot .scatterlayer").first).to_be_visible(timeout=180_000)


def open_and_wait(page: Page) -> float:
    """Seconds from opening the address to the curve."""
    started = time.perf_counter()
    page.goto(f"{URL}/?page=layers")
    wait_for_curve(page)
    return seconds_since(started)


def new_tab(browser: Browser) -> Page:
    """Another person's tab."""
    return browser.new_page(viewport={"width": 1280, "height": 900})


def run_row(page: Page, what: str) -> dict[str, Any]:
    """Start a run at default settings from the page and follow it to its end."""
    from gelora.runs import run_info

    page.goto(f"{URL}/?page=finetune")
    header = page.get_by_text("A new run", exact=True)
    expect(header).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=60_000)
    page.wait_for_timeout(2000)
    if page.locator("details", has=header).get_attribute("open") is None:
        header.click()
    expect(page.get_by_test_id("stButtonGroup").get_by_text("Head only")).to_be_visible()
    if what != "These ranks":  # those are ticked at the start
        for method in (what, "These ranks"):
            page.get_by_test_id("stButtonGroup").get_by_text(method).click()
            page.wait_for_timeout(1500)
    started = time.perf_counter()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text(re.compile(r"Last loss \d"))).to_be_visible(timeout=120_000)
    first = seconds_since(started)
    found = re.search(r"run=([a-z0-9-]+)", page.url)
    run_id = found.group(1) if found else ""
    lags = lags_of_losses(page, run_id)
    expect(page.get_by_role("heading", name=re.compile("finished|failed"))).to_be_visible(timeout=60_000)
    info = run_info(run_id)
    return {
        "case": f"run at default settings: {what}",
        "seconds": seconds_since(started),
        "first_loss_on_page_seconds": first,
        "loss_to_page_seconds_median": round(statistics.median(lags), 2),
        "loss_to_page_seconds_max": round(max(lags), 2),
        "status": info.state.status,
        "accuracy": info.state.metrics.get("eval_accuracy"),
        "majority_accuracy": info.state.majority_accuracy,
        "n_adapter_params": info.state.n_adapter_params,
        "examples_per_second": info.state.metrics.get("examples_per_second"),
    }


def lags_of_losses(page: Page, run_id: str) -> list[float]:
    """For every loss that the page showed while the run was going: seconds from the run's own record of it to the page."""
    from gelora.runs import run_info

    recorded: dict[int, float] = {}
    shown: dict[int, float] = {}
    while (info := run_info(run_id)).is_live:
        if "loss" in info.state.metrics and info.state.step not in recorded:
            recorded[info.state.step] = time.perf_counter()
        text = re.search(r"Last loss \S+ at step (\d+)", str(page.evaluate("document.body.innerText")))
        if text and int(text.group(1)) not in shown:
            shown[int(text.group(1))] = time.perf_counter()
        time.sleep(0.03)
    first = min(shown, default=0)  # the loss that was there when watching began has no start
    return [shown[step] - recorded[step] for step in shown if step in recorded and step != first] or [float("nan")]


if __name__ == "__main__":
    main()
