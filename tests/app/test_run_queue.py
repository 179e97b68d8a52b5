"""The life of two runs in a real browser: one runs while the other waits; stopped, resumed and compared."""

import json
import re
import time

import pytest
from playwright.sync_api import Page, expect
from test_journey import go_to, open_page, set_number

from gelora.runs import list_runs

pytestmark = pytest.mark.browser

LONG = 120_000


@pytest.fixture(scope="module")
def dashboard(own_dashboard):
    """Runs are counted here."""
    return own_dashboard


def status_of(page: Page, run_id: str, status: str):
    return page.get_by_role("heading", name=re.compile(f"{run_id}: {status}"))


def stop(page: Page, run_id: str) -> None:
    page.locator(".st-key-stop_run button").click()  # Streamlit has a Stop of its own while it draws
    page.get_by_role("button", name="Stop it").click()
    expect(status_of(page, run_id, "stopped")).to_be_visible(timeout=LONG)


def wait_for_step(page: Page, run_id: str, step: int) -> None:
    deadline = time.monotonic() + LONG / 1000
    while next(run.state.step for run in list_runs() if run.id == run_id) < step:
        assert time.monotonic() < deadline, f"{run_id} did not reach step {step}"
        page.wait_for_timeout(200)


def look_at(page: Page, run_id: str) -> None:
    """Through the list of the other runs under way."""
    page.locator(f".st-key-open_{run_id} button").first.click()
    expect(page.get_by_role("heading", name=re.compile(run_id))).to_be_visible()
    expect(page).to_have_url(re.compile(f"run={run_id}"))


def test_the_second_run_waits_and_the_first_is_stopped_resumed_and_compared(dashboard, browser, tiny, home_of_dashboard):
    model, data = tiny
    page = open_page(browser, f"{dashboard.url}/?page=finetune&model={model}&data={data}&n=100&length=32")

    # one form, two runs: the first starts, the second waits
    pills = page.get_by_test_id("stButtonGroup")
    pills.get_by_text("Head only").click()
    pills.get_by_text("These ranks").click()
    expect(page.get_by_text("Trains the head alone")).to_be_visible()
    set_number(page, "Epochs", "1000")
    set_number(page, "Training rows", "80")
    set_number(page, "Held-out rows", "40")
    set_number(page, "Seeds", "0, 1")
    expect(page.get_by_text("80 rows to train, 40 held out")).to_be_visible()
    page.get_by_role("button", name="Start 2 runs").click()
    expect(page).to_have_url(re.compile("run="), timeout=LONG)
    first = re.search(r"run=([a-z0-9-]+)", page.url).group(1)
    expect(status_of(page, first, "running")).to_be_visible(timeout=LONG)
    second = next(run.id for run in list_runs() if run.id != first)
    expect(page.get_by_text(re.compile(r"Last loss \d"))).to_be_visible(timeout=LONG)
    look_at(page, second)
    expect(page.get_by_text("place 1 in the queue; waits for 1 run")).to_be_visible()

    # a reload shows the same
    page.reload()
    expect(status_of(page, second, "queued")).to_be_visible()
    expect(page.get_by_text("place 1 in the queue; waits for 1 run")).to_be_visible()

    # the first is stopped, so the second starts by itself
    look_at(page, first)
    stop(page, first)
    expect(page.get_by_test_id("stAlert").filter(has_text="stopped at step")).to_be_visible()
    look_at(page, second)
    expect(status_of(page, second, "running")).to_be_visible(timeout=LONG)
    expect(page.get_by_text(re.compile(r"Last loss \d"))).to_be_visible(timeout=LONG)

    # the first is resumed: it waits for the second, then goes on in the same record
    page.goto(f"{dashboard.url}/?page=finetune&run={first}")
    expect(status_of(page, first, "stopped")).to_be_visible()
    step = next(run.state.step for run in list_runs() if run.id == first)
    page.get_by_role("button", name="Resume").click()
    expect(status_of(page, first, "queued")).to_be_visible(timeout=LONG)
    look_at(page, second)
    stop(page, second)
    look_at(page, first)
    expect(status_of(page, first, "running")).to_be_visible(timeout=LONG)
    expect(page.get_by_text(re.compile("head only.*attempt 2"))).to_be_visible()
    wait_for_step(page, first, step + 1)
    stop(page, first)
    ended = {run.id: run for run in list_runs()}
    assert ended[first].state.attempts == 2 and ended[first].state.step > step > 0

    # both on Runs: one figure, and the seed is all that differs
    go_to(page, "Runs")
    page.get_by_role("button", name="Tick all").click()
    expect(page.get_by_text("2 runs shown, 2 ticked")).to_be_visible()
    overlay = page.locator(".js-plotly-plot").first
    expect(overlay).to_be_visible()
    page.wait_for_function("() => document.querySelector('.js-plotly-plot').data.length === 2")  # the words stand before the figure
    names = overlay.evaluate("figure => figure.data.map(trace => trace.name)")
    assert sorted(names) == sorted(f"head only, seed {ended[i].spec.seed} · {i[-4:]}" for i in (first, second))
    expect(page.get_by_role("heading", name="Settings that differ")).to_be_visible()
    assert json.loads((home_of_dashboard / "runs" / first / "state.json").read_text())["status"] == "stopped"
    page.close()
