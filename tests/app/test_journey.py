"""The main job in a real browser: curve, offset, run, live metrics, reload, restart, comparison."""

import json
import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

LONG = 120_000
expect.set_options(timeout=120_000)  # the default of 5 s is short for a page switch while another test holds the cores


def open_page(browser, url: str, width: int = 1280, height: int = 900) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(120_000)
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def go_to(page: Page, title: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()


def parameters(page: Page) -> int:
    """What the line over the allocation says."""
    expect(page.locator(".rank-allocation-line")).to_have_count(
        1
    )  # a page that is being drawn anew may hold the old allocation beside the new one
    return int(page.locator(".rank-allocation-line").inner_text().split(" adapter parameters")[0].replace(",", ""))


def set_number(page: Page, label: str, value: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Enter")


@pytest.fixture(scope="module")
def dashboard(fresh_dashboard):
    """The whole way is gone from an empty data folder."""
    return fresh_dashboard


def test_from_curve_to_offset_to_run_to_comparison(dashboard, browser):
    page = open_page(browser, f"{dashboard.url}/?page=layers&n=200&length=32")

    # Layers: measure, and see the curve of seven layers
    page.get_by_role("button", name="Measure the curve").click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=LONG)
    expect(page.get_by_text("TwoNN", exact=True).first).to_be_visible()

    # Ranks: offset 1 -> 3 with the keyboard; the budget follows
    go_to(page, "Ranks")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    line = page.locator(".rank-allocation-line")
    expect(line).to_contain_text("adapter parameters")
    before = parameters(page)
    slider = page.get_by_role("slider", name="Offset")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page).to_have_url(re.compile("offset=3"))
    after = parameters(page)
    assert after - before == 2 * 6 * 4 * (384 + 384)

    # the choice survives a page change and a reload
    go_to(page, "Layers")
    go_to(page, "Ranks")
    expect(line).to_contain_text(f"{after:,} adapter parameters")
    page.reload()
    expect(line).to_contain_text(f"{after:,} adapter parameters")

    # Fine-tune: start; a first loss is on the page while the run is still going
    page.get_by_role("button", name="Use these ranks").click()
    expect(page.get_by_role("heading", level=1, name="Fine-tune")).to_be_visible()
    set_number(page, "Training rows", "600")
    set_number(page, "Held-out rows", "200")
    set_number(page, "Epochs", "1")
    expect(page.get_by_text("600 rows to train, 200 held out")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text(re.compile(r"Last loss \d"))).to_be_visible(timeout=LONG)
    expect(page.get_by_role("heading", name=re.compile("running"))).to_be_visible()
    run_id = re.search(r"run=([a-z0-9-]+)", page.url).group(1)

    # a reload, then a restarted server, find the run again
    page.reload()
    expect(page.get_by_role("heading", name=re.compile(run_id))).to_be_visible()
    dashboard.kill()
    dashboard.start()
    page.goto(f"{dashboard.url}/?page=finetune&run={run_id}")  # by now it may have ended
    expect(page.get_by_role("heading", name=re.compile(run_id))).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("finished"))).to_be_visible(timeout=LONG)

    # what the page says equals metrics.jsonl and the log, to the last digit
    answer = subprocess.run(
        [sys.executable, "-m", "gelora", "runs", run_id, "--json"],
        env={**os.environ, "GELORA_HOME": str(dashboard.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    step, loss = json.loads(answer.stdout)["history"]["loss"][-1]
    expect(page.get_by_text(f"Last loss {loss!r} at step {step};")).to_be_visible()  # the heading is drawn first, the curves after it
    assert repr(loss) in (dashboard.home / "runs" / run_id / "log.txt").read_text()

    # Runs lists it
    go_to(page, "Runs")
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    listed = json.loads(
        subprocess.run(
            [sys.executable, "-m", "gelora", "runs", "--json"],
            env={**os.environ, "GELORA_HOME": str(dashboard.home)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert [(run["id"], run["status"]) for run in listed] == [(run_id, "finished")]
    page.close()


def test_a_click_on_a_marker_chooses_the_layer_whose_scales_are_drawn(dashboard, browser):
    page = open_page(browser, f"{dashboard.url}/?page=layers&n=100&length=32&estimators=twonn,mle&view=scale")
    page.get_by_role("button", name="Measure the curve").click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Measure at other scales").click()
    expect(page.locator(".js-plotly-plot")).to_have_count(3, timeout=LONG)
    expect(page.get_by_text("Fewer rows: block 1")).to_be_visible()
    page.locator(".js-plotly-plot").first.locator(".scatterlayer .points path.point").last.click(force=True)
    expect(page.get_by_text("Fewer rows: block 6")).to_be_visible()
    expect(page).to_have_url(re.compile("layer=6"))
    page.close()


def test_an_unknown_hub_id_is_one_sentence(dashboard, browser):
    page = open_page(browser, f"{dashboard.url}/?page=layers&model=nobody/nothing&n=100")
    page.get_by_role("button", name="Measure", exact=True).click()
    expect(page.get_by_test_id("stAlert").filter(has_text="nobody/nothing").first).to_be_visible(timeout=LONG)
    expect(page.get_by_text("Traceback")).to_have_count(0)
    page.close()
