"""A layer opened in a real browser: a click on the curve's marker, then the nearest sentences, and the URL that brings them back."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LONG = 120_000


def test_a_click_on_a_marker_opens_the_layer_and_a_link_opens_its_neighbors(dashboard, browser, tiny):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(f"{dashboard.url}/?page=layers&model={tiny[0]}&data={tiny[1]}&n=60&estimators=twonn,mle")
    page.get_by_role("button", name="Measure the curve").click()
    expect(page.get_by_role("heading", name="One layer")).to_be_visible(timeout=LONG)
    expect(page.locator(".js-plotly-plot")).to_have_count(1, timeout=LONG)
    page.locator(".js-plotly-plot").first.locator(".scatterlayer .points path.point").last.click(force=True)
    expect(page.get_by_text("The slope is")).to_be_visible(timeout=LONG)
    expect(page).to_have_url(re.compile("layer=3.*view=twonn"), timeout=LONG)
    page.get_by_role("radio", name="Neighbors").or_(page.get_by_role("button", name="Neighbors", exact=True)).first.click()
    expect(page.get_by_test_id("stTable").get_by_role("row")).to_have_count(11, timeout=LONG)
    url, rows = page.url, page.get_by_test_id("stTable").inner_text()
    page.goto(url)
    expect(page.get_by_test_id("stTable").get_by_role("row")).to_have_count(11, timeout=LONG)
    assert page.get_by_test_id("stTable").inner_text() == rows
    page.close()
