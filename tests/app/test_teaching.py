"""Teaching mode in a real browser: six steps without sidebar, a prediction before every figure, one run, a reset."""

import re
import urllib.parse

import pytest
from playwright.sync_api import Page, expect

from app.teaching.recorded_run import recorded
from gelora.runs import list_runs

pytestmark = pytest.mark.browser

LONG = 240_000
expect.set_options(timeout=120_000)


@pytest.fixture(scope="module")
def dashboard(own_dashboard):
    """Runs are counted here."""
    return own_dashboard


def open_tour(browser, dashboard, tiny, more: str = "", width: int = 1280, height: int = 720) -> Page:
    model, data = tiny
    query = urllib.parse.urlencode({"teach": 1, "model": model, "data": data, "n": 100, "length": 32, "estimators": "twonn,mle"})
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(120_000)
    page.goto(f"{dashboard.url}/?{query}{more}")
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=120_000)
    return page


def predict(page: Page, step: int, answer: int) -> None:
    expect(page.get_by_text(f"step {step} of 6", exact=True)).to_be_visible()
    page.get_by_role("radiogroup").locator("label").nth(answer).click()
    expect(page).to_have_url(re.compile(rf"guesses=[^&]*{step}%3A{answer}"))


def show(page: Page, button: str = "Show") -> None:
    expect(page.get_by_role("button", name=button, exact=True)).to_be_enabled()
    page.get_by_role("button", name=button, exact=True).click()


def go_on(page: Page, step: int) -> None:
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.get_by_text(f"step {step} of 6", exact=True)).to_be_visible()


def small_type(page: Page) -> list[str]:
    """What is visible and under 20 pixels."""
    return page.evaluate(
        """() => [...document.querySelectorAll('[data-testid=stMain] *')].filter(e => {
            const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            const box = e.getBoundingClientRect();
            const seen = box.width > 1 && box.height > 1 && e.checkVisibility({opacityProperty: true, visibilityProperty: true});
            return text && seen && !e.closest('.modebar, style') && parseFloat(getComputedStyle(e).fontSize) < 20;
        }).map(e => e.tagName + ': ' + e.textContent.slice(0, 40) + ' ' + getComputedStyle(e).fontSize)"""
    )


def runs_of(dashboard, monkeypatch) -> list:
    monkeypatch.setenv("GELORA_HOME", str(dashboard.home))
    return list_runs()


def test_the_tour(dashboard, browser, tiny, monkeypatch):
    page = open_tour(browser, dashboard, tiny)
    expect(page.get_by_test_id("stSidebar")).not_to_be_visible()
    expect(page.get_by_test_id("stSidebarNav")).not_to_be_visible()

    # nothing is shown before a prediction; the work has progress, then the figure stands
    expect(page.get_by_role("button", name="Show", exact=True)).to_be_disabled()
    expect(page.locator(".js-plotly-plot")).to_have_count(0)
    predict(page, 1, 1)
    show(page)
    expect(page.locator(".js-plotly-plot")).to_have_count(1, timeout=LONG)
    expect(page.get_by_text(re.compile("The class said: 6 to 15"))).to_be_visible()
    assert small_type(page) == []

    # a reload keeps the step and what was said
    go_on(page, 2)
    predict(page, 2, 2)
    page.reload()
    expect(page.get_by_text("step 2 of 6", exact=True)).to_be_visible()
    show(page, "Start the training")
    expect(page).to_have_url(re.compile("tour_run="), timeout=LONG)
    expect(page.get_by_text(re.compile("adapter parameters learn"))).to_be_visible(timeout=LONG)
    page.reload()
    expect(page.get_by_text(re.compile("adapter parameters learn"))).to_be_visible(timeout=LONG)
    assert len(runs_of(dashboard, monkeypatch)) == 1

    for step, answer, said in ((3, 2, "it stays level"), (4, 1, "other numbers"), (5, 0, "nothing")):
        go_on(page, step)
        expect(page.locator(".js-plotly-plot")).to_have_count(0)
        predict(page, step, answer)
        show(page)
        expect(page.locator(".js-plotly-plot")).to_have_count(1, timeout=LONG)
        expect(page.get_by_text(re.compile(f"The class said: {said}"))).to_be_visible()
        assert small_type(page) == []

    # step 5's offset lifts every block, and is in the address
    page.get_by_role("radio", name="4", exact=True).click()
    expect(page).to_have_url(re.compile("offset=4"))
    expect(page.get_by_text(re.compile("offset 4:"))).to_be_visible()

    # Back, then the run that step 2 began is harvested when it has finished
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.get_by_text("step 4 of 6", exact=True)).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    page.keyboard.press("PageDown")
    expect(page.get_by_text("step 5 of 6", exact=True)).to_be_visible()
    go_on(page, 6)
    predict(page, 6, 1)
    show(page)
    expect(page.get_by_text(re.compile("The class said: it stayed"))).to_be_visible()  # of the recorded run or, if it has ended, ours
    expect(page.get_by_text(re.compile("ecorded run of"))).to_have_count(0, timeout=LONG)
    expect(page.get_by_text(re.compile(r"on rows held out"))).to_be_visible(timeout=LONG)
    (run,) = runs_of(dashboard, monkeypatch)
    assert run.state.status == "finished"
    shown = page.get_by_text(re.compile(r"on rows held out")).inner_text()
    assert f"{run.state.metrics['eval_accuracy']:.2f} on rows held out" in shown

    # Reset asks, forgets what was said, keeps the run
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Keep going").click()
    expect(page.get_by_text("step 6 of 6", exact=True)).to_be_visible()
    page.get_by_role("button", name="Reset", exact=True).click()
    page.get_by_role("button", name="Begin again").first.click()
    expect(page.get_by_text("step 1 of 6", exact=True)).to_be_visible()
    expect(page).not_to_have_url(re.compile("guesses="))
    expect(page.get_by_role("button", name="Show", exact=True)).to_be_disabled()
    assert len(runs_of(dashboard, monkeypatch)) == 1

    # Leave gives the pages back, the switch leads in again
    page.get_by_role("button", name="Leave", exact=True).click()
    expect(page.get_by_test_id("stSidebarNav")).to_be_visible()
    page.get_by_text("Teaching", exact=True).click()
    expect(page.get_by_text("step 1 of 6", exact=True)).to_be_visible()
    page.close()


def test_without_a_finished_run_step_6_shows_the_recorded_one_and_says_so(dashboard, browser, tiny):
    page = open_tour(browser, dashboard, tiny, "&step=6&guesses=2:2;6:2&shown=6")
    kept = recorded()
    expect(page.get_by_text(re.compile(f"ecorded run of {kept.date[:10]}"))).to_be_visible()
    expect(page.get_by_text(kept.label())).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    assert small_type(page) == []
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") <= 720
    page.close()


@pytest.mark.parametrize("step", range(1, 7))
def test_nothing_overflows_on_a_phone(dashboard, browser, tiny, step):
    guesses = ";".join(f"{i}:0" for i in range(1, 7))
    page = open_tour(browser, dashboard, tiny, f"&step={step}&guesses={guesses}&shown=1,3,4,5,6", width=390, height=844)
    expect(page.get_by_text(f"step {step} of 6", exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
