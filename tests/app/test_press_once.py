"""Start in a real browser: a double click starts one run and leads to it, and so does a second tab that starts the same."""

import re
import urllib.parse

import pytest
from playwright.sync_api import Page, expect
from test_journey import LONG, open_page, set_number
from test_six_journeys import unfold
from watched_page import Watched

from gelora.runs import list_runs

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

# Two presses before the server can have answered the first; what the button was in between, and whether the second was let through.
TWO_PRESSES = """button => {
    const heard = [];
    document.getElementById("root").addEventListener("click", () => heard.push(button.ariaDisabled), true);
    button.click();
    button.click();
    return [heard, button.ariaDisabled];
}"""


@pytest.fixture(scope="module")
def dashboard(own_dashboard):
    """Runs are counted here."""
    return own_dashboard


@pytest.fixture
def runs(home_of_dashboard):
    """runs() -> those of the dashboard."""
    return list_runs


def form(browser, dashboard, tiny, seeds: str) -> Page:
    """Fine-tune in a tab of its own, with a long run of the head alone filled in."""
    query = {"page": "finetune", "model": tiny[0], "data": tiny[1], "n": 100, "length": 32}
    page = open_page(browser, f"{dashboard.url}/?{urllib.parse.urlencode(query)}")
    unfold(Watched(page, "desktop-light"))
    pills = page.get_by_test_id("stButtonGroup")
    pills.get_by_text("Head only").click()
    pills.get_by_text("These ranks").click()
    expect(page.get_by_text("Trains the head alone")).to_be_visible()
    set_number(page, "Epochs", "1000")
    set_number(page, "Training rows", "80")
    set_number(page, "Held-out rows", "40")
    set_number(page, "Seeds", seeds)
    expect(page.get_by_text("80 rows to train, 40 held out")).to_be_visible()
    expect(page.get_by_test_id("stCode").first).to_contain_text("epochs=1000")
    return page


def start_button(page: Page):
    return page.locator(".st-key-start_run button")


def test_a_double_click_starts_one_run_and_leads_to_it(dashboard, browser, tiny, runs):
    page = form(browser, dashboard, tiny, "0")
    assert start_button(page).evaluate(TWO_PRESSES) == [["true"], "true"]  # disabled at the first, the second not let through
    expect(page).to_have_url(re.compile("run="), timeout=LONG)
    [run] = runs()
    assert run.id in page.url
    expect(page.get_by_role("heading", name=re.compile(run.id))).to_be_visible(timeout=LONG)

    # the form says that it is under way; a repeat has to be asked for
    page.get_by_text("A new run").click()
    expect(page.get_by_text(re.compile(f"Run {run.id} is (queued|running) and trains exactly this"))).to_be_visible()
    expect(start_button(page)).to_be_disabled()
    page.get_by_text("Repeat", exact=True).click()
    expect(start_button(page)).to_be_enabled()
    start_button(page).dblclick()
    expect(page).not_to_have_url(re.compile(run.id), timeout=LONG)
    assert len(runs()) == 2 and len({run.fingerprint for run in runs()}) == 1
    page.close()


def test_a_second_tab_that_starts_the_same_is_led_to_the_run(dashboard, browser, tiny, runs):
    first, second = (form(browser, dashboard, tiny, "5, 6") for _ in range(2))
    before = {run.id for run in runs()}
    start_button(first).click()
    expect(first).to_have_url(re.compile("run="), timeout=LONG)
    ours = {run.id for run in runs()} - before
    start_button(second).click()
    expect(second.get_by_text("so nothing was started a second time")).to_be_visible(timeout=LONG)
    expect(second).to_have_url(re.compile("|".join(ours)))
    assert len(ours) == 2 and {run.id for run in runs()} - before == ours
    first.close()
    second.close()


def test_a_double_click_in_the_tour_starts_one_run_and_it_is_in_the_address(dashboard, browser, tiny, runs):
    before = {run.id for run in runs()}
    query = {"teach": 1, "step": 2, "guesses": "2:2", "model": tiny[0], "data": tiny[1], "n": 100, "length": 32}
    page = open_page(browser, f"{dashboard.url}/?{urllib.parse.urlencode(query)}")
    page.get_by_role("button", name="Start the training").dblclick()
    expect(page).to_have_url(re.compile("tour_run="), timeout=LONG)
    [ours] = {run.id for run in runs()} - before
    assert ours in page.url
    page.close()
