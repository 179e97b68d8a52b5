"""In a real browser: nothing runs out of the page, words in figures hold on both themes, the main path is reached by keyboard alone,
and a figure can be taken along as numbers and as pictures."""

import csv
import io
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect
from test_contrast import THEMES, contrast

SIZES = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
TITLES = {"layers": "Layers", "ranks": "Ranks", "finetune": "Fine-tune", "runs": "Runs", "estimators": "Calibration"}
RING = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return [(e.ariaLabel || e.textContent).trim(), outlined || style.boxShadow !== "none"];
}"""
WIDER = """() => ["html", "[data-testid=stMain]"].map((what) => document.querySelector(what))
  .filter((e) => e && e.scrollWidth > e.clientWidth + 1).map((e) => `${e.tagName} ${e.scrollWidth} > ${e.clientWidth}`)"""
INKS = """() => [...document.querySelectorAll(".js-plotly-plot svg.main-svg text")]
  .filter((e) => e.getBoundingClientRect().width && !e.closest(".hm")).map((e) => [e.textContent, getComputedStyle(e).fill])"""


@pytest.fixture
def opened(dashboard, browser: Browser, tiny):
    """A page of the dashboard with ranks from the configuration alone, at a size and in a theme; no error may reach the console."""
    pages: list[Page] = []

    def go(name: str, size: str = "desk", theme: str = "light") -> Page:
        page = browser.new_page(viewport=SIZES[size], color_scheme=theme)
        pages.append(page)
        page.errors = []
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{dashboard.url}/?{urlencode({'page': name, 'model': tiny[0], 'data': tiny[1], 'n': 100, 'plan_only': 1, 'offset': 2})}")
        expect(page.get_by_role("heading", level=1, name=TITLES[name])).to_be_visible(timeout=120_000)
        expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=120_000)  # nothing is running any more
        return page

    yield go
    for page in pages:
        page.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TITLES)
def test_nothing_runs_out_of_a_page(opened, name, size):
    page = opened(name, size, "dark" if size == "phone" else "light")
    assert page.evaluate(WIDER) == []
    assert page.errors == []


@pytest.mark.parametrize("theme", THEMES)
def test_words_of_figures_have_the_themes_ink_and_follow_its_change(opened, theme):
    page = opened("ranks", theme=theme)
    expect(page.locator(".st-key-strategies_chart .js-plotly-plot")).to_be_visible(timeout=120_000)
    expect(page.locator(".rank-allocation .xtick").first).to_be_attached(timeout=120_000)
    hold_contrast(page, theme)
    other = next(name for name in THEMES if name != theme)
    page.emulate_media(color_scheme=other)
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", rgb(THEMES[other]["backgroundColor"]))
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=120_000)
    hold_contrast(page, other)


def hold_contrast(page: Page, theme: str) -> None:
    words = page.evaluate(INKS)
    assert {"GeLoRA", "block", "LoRA rank r"} & {text.strip("■ ") for text, _ in words}
    for text, fill in words:
        red, green, blue = (int(v) for v in fill.removeprefix("rgb(").removesuffix(")").split(","))
        assert contrast(f"#{red:02x}{green:02x}{blue:02x}", THEMES[theme]["backgroundColor"]) >= 4.5, text


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_the_keyboard_reaches_the_main_path_and_shows_where_it_is(opened):
    page = opened("ranks")
    expect(page.locator(".rank-allocation .xtick").first).to_be_attached(timeout=120_000)
    wanted = ["Layers", "Ranks", "Fine-tune", "Measure", "Offset", "Numbers of the rank allocation as CSV", "Use these ranks"]
    missing = list(wanted)
    for _ in range(150):  # two times round: what is inert during a redraw is reached in the second
        page.keyboard.press("Tab")
        name, has_ring = page.evaluate(RING)
        if missing and name.endswith(missing[0]):  # an icon's name stands before some
            assert has_ring, f"{name} has the focus and does not show it"
            missing.pop(0)
        if not missing:
            break
    assert not missing
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Fine-tune")).to_be_visible(timeout=120_000)


def test_a_figure_goes_along_as_numbers_and_as_both_pictures(opened):
    page = opened("ranks")
    figure = page.locator(".st-key-strategies_chart .js-plotly-plot")
    expect(figure).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Picture as PNG")).to_have_count(2, timeout=120_000)  # of the allocation and of the strategies
    with page.expect_download() as download:
        page.locator(".st-key-strategies_chart_csv button").first.click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert {row["series"] for row in rows} >= {"Uniform"} and all(row["says"] for row in rows)
    for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with page.expect_download() as download:
            page.locator(".pictures").get_by_role("button", name=f"Picture as {kind}").click()
        assert download.value.suggested_filename == f"strategies_chart.{kind.lower()}"
        assert download.value.path().read_bytes().startswith(begins)
    with page.expect_download() as download:
        page.locator(".rank-allocation").get_by_role("button", name="Numbers of the rank allocation as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["rank"] for row in rows] == ["2"] * len(rows) and rows[0]["block"] == "1"
