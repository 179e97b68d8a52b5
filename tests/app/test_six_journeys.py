"""The six journeys of a person at two widths and in both themes, in a real browser that is watched on the way.

Home's demonstration, comparing estimators, choosing the offset, training, comparing runs, the teaching tour. After each step
that shows something new: no error on the console, nothing wider than the window, nothing serious by axe-core.
"""

import re
import time
import urllib.parse

import pytest
from playwright.sync_api import expect
from watched_page import VIEWS, Watched, watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

LONG = 240_000
expect.set_options(timeout=120_000)


@pytest.fixture(scope="module")
def dashboard(own_dashboard):
    """Runs are counted here."""
    return own_dashboard


@pytest.fixture(params=VIEWS)
def person(browser, request):
    somebody = watched(browser, request.param)
    yield somebody
    somebody.page.close()


# Each width and each theme once: a journey takes half a minute and more in every view.
TWO_VIEWS = pytest.mark.parametrize("person", ["desktop-light", "phone-dark"], indirect=True)
OTHER_VIEWS = pytest.mark.parametrize("person", ["desktop-dark", "phone-light"], indirect=True)


def address(dashboard, tiny, **choices) -> str:
    model, data = tiny
    query = {"model": model, "data": data, "n": 100, "length": 32, "estimators": "twonn,mle", **choices}
    return f"{dashboard.url}/?{urllib.parse.urlencode(query)}"


def open_menu(person: Watched) -> None:
    if person.is_phone and not person.page.get_by_test_id("stSidebarNav").is_visible():
        person.page.get_by_test_id("stExpandSidebarButton").click()


def go_to(person: Watched, title: str) -> None:
    open_menu(person)
    person.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
    expect(person.page.get_by_role("heading", level=1, name=title)).to_be_visible()
    if person.is_phone and person.page.get_by_test_id("stSidebarCollapseButton").is_visible():
        person.page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()


def settled(person: Watched) -> None:
    """Nothing is being measured any more, and the page is drawn to its end."""
    expect(person.page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=LONG)
    expect(person.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=LONG)


def measure(person: Watched) -> None:
    """The curve of the chosen sample, measured unless an earlier view has done so."""
    page = person.page
    button, curve = page.get_by_role("button", name="Measure the curve"), page.get_by_test_id("stPlotlyChart").first
    expect(button.or_(curve).first).to_be_visible()
    if button.is_visible():
        button.click()
    expect(curve).to_be_visible(timeout=LONG)
    settled(person)


def no_exceptions(dashboard) -> None:
    assert "Traceback" not in dashboard.log.read_text()


@TWO_VIEWS
def test_home_demonstration(dashboard, person):
    page = person.page
    page.goto(f"{dashboard.url}/")
    expect(page.get_by_role("heading", level=1, name="GeLoRA Lab")).to_be_visible()
    expect(page.get_by_role("button", name="See the curve")).to_be_enabled()
    person.check()
    page.get_by_role("button", name="See the curve").click()
    expect(page.get_by_role("heading", level=1, name="Layers")).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=LONG)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=LONG)
    person.check()
    no_exceptions(dashboard)


@TWO_VIEWS
def test_comparing_estimators(dashboard, person, tiny):
    page = person.page
    page.goto(address(dashboard, tiny, page="layers"))
    measure(person)
    expect(page.get_by_text(re.compile(r"Sign of each rise \(2 estimators"))).to_be_visible()
    page.get_by_label("Estimators", exact=True).click()
    page.get_by_role("option", name="GRIDE", exact=True).click()
    expect(page.get_by_text(re.compile(r"Sign of each rise \(3 estimators"))).to_be_visible(timeout=LONG)
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("estimators=twonn%2Cmle%2Cgride"))
    page.get_by_role("radio", name="Neighbors", exact=True).or_(page.get_by_role("button", name="Neighbors", exact=True)).first.click()
    expect(page).to_have_url(re.compile("view=neighbors"))
    expect(page.get_by_test_id("stDataFrame").or_(page.get_by_test_id("stTable")).first).to_be_visible(timeout=LONG)
    person.check()
    no_exceptions(dashboard)


@TWO_VIEWS
def test_choosing_the_offset(dashboard, person, tiny):
    page = person.page
    page.goto(address(dashboard, tiny, page="ranks"))
    expect(page.get_by_role("heading", level=1, name="Ranks")).to_be_visible()
    measure_first = page.get_by_role("button", name="Measure the curve")
    line = page.locator(".rank-allocation-line")
    expect(measure_first.or_(line).first).to_be_visible()
    if measure_first.is_visible():
        measure_first.click()
    expect(line).to_contain_text("adapter parameters", timeout=LONG)
    settled(person)
    before = line.inner_text()
    slider = page.get_by_role("slider", name="Offset").first
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page).to_have_url(re.compile("offset=3"))
    expect(line).not_to_have_text(before)
    person.check()
    page.get_by_role("button", name="Use these ranks").click()
    expect(page.get_by_role("heading", level=1, name="Fine-tune")).to_be_visible()
    person.check()
    no_exceptions(dashboard)


def unfold(person: Watched) -> None:
    """The form of a new run, which is folded where a run is shown; an open form is left open, however slowly it is drawn."""
    form = person.page.locator("details").filter(has_text="A new run").first  # others stand inside it
    head_only = person.page.get_by_test_id("stButtonGroup").get_by_text("Head only")
    deadline = time.monotonic() + 240
    while not head_only.is_visible() and time.monotonic() < deadline:
        if form.count() and form.get_attribute("open") is None:
            form.locator("summary").first.click()
        person.page.wait_for_timeout(500)
    expect(head_only).to_be_visible()


@TWO_VIEWS
def test_training_and_comparing_the_runs(dashboard, person, tiny):
    """Two journeys in one, since the second needs the first one's runs."""
    page = person.page
    page.goto(address(dashboard, tiny, page="finetune"))
    pills = page.get_by_test_id("stButtonGroup")
    unfold(person)
    pills.get_by_text("Head only").click()
    pills.get_by_text("These ranks").click()
    expect(page.get_by_text("Trains the head alone")).to_be_visible()
    for label, value in (("Epochs", "3"), ("Training rows", "80"), ("Held-out rows", "40"), ("Seeds", "0, 1")):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")
    expect(page.get_by_text("80 rows to train, 40 held out")).to_be_visible()
    page.get_by_role("button", name="Start 2 runs").click()
    expect(page).to_have_url(re.compile("run="), timeout=LONG)
    expect(page.get_by_text(re.compile(r"Last loss \d"))).to_be_visible(timeout=LONG)
    expect(page.get_by_role("heading", name=re.compile("finished"))).to_be_visible(timeout=LONG)
    person.check()
    expect(page.get_by_text("Also under way")).to_have_count(0, timeout=LONG)

    go_to(person, "Runs")
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    expect(page.get_by_role("heading", name="Score against parameters")).to_be_visible(timeout=LONG)
    person.check()
    no_exceptions(dashboard)


@TWO_VIEWS
def test_the_teaching_tour(dashboard, person, tiny):
    page = person.page
    page.goto(address(dashboard, tiny, teach=1))
    for step in range(1, 7):
        expect(page.get_by_text(f"step {step} of 6", exact=True)).to_be_visible()
        expect(page.get_by_test_id("stSidebarNav")).not_to_be_visible()
        if step != 2:  # which would start a run
            page.get_by_role("radiogroup").first.locator("label").nth(1).click()
            page.get_by_role("button", name="Show", exact=True).click()
            expect(page.get_by_text(re.compile("The class said:"))).to_be_visible(timeout=LONG)
            expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible(timeout=LONG)
        person.check()
        if step < 6:
            page.get_by_role("button", name="Next").click()
    expect(page.get_by_text(re.compile("Recorded run"))).to_be_visible()  # no run was begun: the recorded one, labelled
    no_exceptions(dashboard)


@OTHER_VIEWS
@pytest.mark.parametrize("name", ["estimators", "theory", "runs"])
def test_pages_beside_the_journeys(dashboard, person, tiny, name):
    person.page.goto(address(dashboard, tiny, page=name))
    expect(person.page.get_by_role("heading", level=1)).to_be_visible()
    expect(person.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=LONG)
    person.check()
    no_exceptions(dashboard)
