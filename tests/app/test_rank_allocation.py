"""The rank allocation in a real browser: it redraws while the slider moves, Python is told the release, and what is drawn is the rule."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from allocation_reading import contrast, drawn, frames, holds_the_rule, is_at_rest, luminance
from made_allocation import made_allocation
from playwright.sync_api import Page, expect

from app.charts.look import OFFSET_COLOUR, RISE_COLOUR

SCRIPT = Path(__file__).with_name("allocation_script.py")
expect.set_options(timeout=120_000)


class PageServer:
    """`allocation_script.py` as Streamlit serves it, started from `/`."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.log = log

    def start(self) -> None:
        flags = {"headless": "true", "address": "127.0.0.1", "port": self.url.rsplit(":", 1)[1], "fileWatcherType": "none"}
        options = [word for name, value in flags.items() for word in (f"--server.{name}", value)]
        command = [sys.executable, "-m", "streamlit", "run", str(SCRIPT), *options, "--browser.gatherUsageStats", "false"]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd="/", env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise RuntimeError(f"The page did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=120)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = PageServer(tmp_path_factory.mktemp("allocation") / "server.log")
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def tab(server, browser):
    """One tab for all tests that can share it: loading the page costs more than what they look at."""
    context = browser.new_context(has_touch=True)
    page = context.new_page()
    page.set_default_timeout(120_000)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    yield page, errors
    context.close()


@pytest.fixture
def allocation(tab, request):
    """Shows a new allocation; at the end the page may not have written an error to its console."""
    page, errors = tab

    def show(query: str, width: int = 1280) -> Page:
        page.set_viewport_size({"width": 1280, "height": 900})
        case = f"{query}&test={request.node.name}"
        page.get_by_label("Case").fill(case)
        page.get_by_label("Case").press("Enter")
        expect(page.get_by_text(f"case {case}", exact=True)).to_be_attached()
        expect(page.locator(".rank-allocation .barlayer .point").first).to_be_attached()
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".rank-allocation-narrow")).to_have_count(1 if width < 640 else 0)
        frames(page)
        return page

    yield show
    assert errors == []


def move_to(page: Page, offset: int) -> None:
    """Where the slider stands for `offset`, without releasing anything."""
    page.mouse.move(*place_of(page, offset), steps=4)


def place_of(page: Page, offset: int) -> tuple[float, float]:
    slider = page.get_by_role("slider", name="Offset")
    slider.scroll_into_view_if_needed()
    box, thumb = slider.bounding_box(), 18
    return box["x"] + thumb / 2 + offset / 8 * (box["width"] - thumb), box["y"] + box["height"] / 2


def heard(page: Page) -> str:
    return page.get_by_text(re.compile(r"^heard \[")).inner_text()


def expect_heard(page: Page, words: str | re.Pattern) -> None:
    expect(page.get_by_text(re.compile(r"^heard \["))).to_contain_text(words)


def click_unit(page: Page, block: int, level: int, rank: int) -> None:
    """A click in the middle of one unit of a block, wherever the axes put it, once the picture is what Python last answered."""
    page.wait_for_function(
        """([block, rank]) => {
          const units = document.querySelector(".rank-allocation-plot").data.find((each) => each.name === "units").customdata;
          return units.filter((each) => each.block === block && (each.kind === "offset" || each.kind === "rise")).length === rank;
        }""",
        arg=[block, rank],
    )
    x, y = page.evaluate(
        """([block, level]) => {
          const { _fullLayout: full } = document.querySelector(".rank-allocation-plot");
          const box = document.querySelector(".rank-allocation-plot .nsewdrag[data-subplot=xy2]").getBoundingClientRect();
          return [box.x + full.xaxis.c2p(block), box.y + full.yaxis2.c2p(level - 0.5)];
        }""",
        [block, level],
    )
    page.mouse.move(x, y, steps=2)
    frames(page)
    page.mouse.click(x, y)


@pytest.mark.browser
def test_dragging_redraws_before_release_and_python_is_told_the_release_once(allocation):
    page = allocation("offset=1")
    data = made_allocation(6, 1)
    first = drawn(page)
    holds_the_rule(first, data, 1)
    page.mouse.move(*place_of(page, 1))
    page.mouse.down()
    for offset in (2, 3, 4):
        move_to(page, offset)
        picture = drawn(page)
        holds_the_rule(picture, data, offset)
        assert picture["axis"] == first["axis"]  # the rank axis stands still under the moving allocation
        assert heard(page).startswith("heard [] ")
    page.mouse.up()
    expect_heard(page, "heard [4] edits [] answer 4")
    is_at_rest(drawn(page), made_allocation(6, 4), 4)


@pytest.mark.browser
def test_arrow_keys_do_the_same(allocation):
    page = allocation("offset=1")
    slider = page.get_by_role("slider", name="Offset")
    slider.focus()
    page.keyboard.down("ArrowRight")
    page.keyboard.down("ArrowRight")  # held: repeats
    page.keyboard.down("ArrowRight")
    holds_the_rule(drawn(page), made_allocation(6, 1), 4)
    assert heard(page).startswith("heard [] ")
    page.keyboard.up("ArrowRight")
    expect_heard(page, "heard [4] ")
    slider.press("ArrowLeft")
    expect_heard(page, "heard [4, 3] ")
    is_at_rest(drawn(page), made_allocation(6, 3), 3)


@pytest.mark.browser
def test_news_from_the_server_leave_a_drag_alone_and_a_budget_match_moves_the_slider(allocation):
    page = allocation("offset=1")
    page.mouse.move(*place_of(page, 1))
    page.mouse.down()
    move_to(page, 4)
    click = "(name) => [...document.querySelectorAll('button')].find((b) => b.innerText === name).click()"
    page.evaluate(click, "Tell news")
    expect(page.locator(".rank-allocation-line")).to_contain_text("news 1")
    assert drawn(page)["offset"] == 4
    page.evaluate(click, "Match a budget")
    expect(page.get_by_text(re.compile("answer 2"))).to_be_visible()
    assert drawn(page)["offset"] == 4
    page.mouse.up()
    expect_heard(page, "heard [4] ")
    page.get_by_role("button", name="Match a budget").click()
    expect_heard(page, "answer 2")
    expect(page.get_by_role("slider", name="Offset")).to_have_value("2")
    holds_the_rule(drawn(page), made_allocation(6, 2), 2)
    page.mouse.move(*place_of(page, 2))  # the same offset as before is news again
    page.mouse.down()
    move_to(page, 4)
    page.mouse.up()
    expect_heard(page, "heard [4, 4] ")


@pytest.mark.browser
def test_an_offset_that_the_page_refuses_goes_back(allocation):
    page = allocation("offset=1&refuse_above=3")
    page.get_by_role("slider", name="Offset").press("End")
    expect_heard(page, "heard [8] ")
    expect(page.get_by_role("slider", name="Offset")).to_have_value("3")


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["limits", "compared"])
def test_every_offset_is_the_rule(allocation, kind):
    page = allocation(f"offset=2&blocks=9&kind={kind}")
    data = made_allocation(9, 2, kind=kind)
    for offset in range(9):
        page.evaluate(
            "(v) => { const s = document.querySelector('.rank-allocation-slider'); s.value = v; s.dispatchEvent(new Event('input')); }",
            offset,
        )
        holds_the_rule(drawn(page), data, offset)
    page.get_by_role("slider", name="Offset").press("Home")
    expect_heard(page, "heard [0] ")
    is_at_rest(drawn(page), made_allocation(9, 0, kind=kind), 0)


@pytest.mark.browser
def test_uncertainty_is_seen_and_said(allocation):
    picture = drawn(allocation("offset=1&blocks=9"))
    seen = {(round(block), level): name for name, block, level in picture["seen"]}
    assert (seen[5, 1], seen[5, 2], seen[5, 4], seen[2, 3]) == ("offset", "rise 1", "rise 0.55", "ghost")
    red, green, blue = (int(RISE_COLOUR[i : i + 2], 16) for i in (1, 3, 5))
    looks = picture["looks"]
    assert looks["rise 0.55"]["fill"].replace(" ", "") == f"rgba({red},{green},{blue},{0.25 + 0.75 * 0.55:.3f})"
    assert looks["rise 0.55"]["edge"] == looks["offset"]["edge"] > 1  # in the plan: a whole outline
    assert looks["ghost"] == {"fill": None, "edge": "2px,3px"}
    assert tuple(int(OFFSET_COLOUR[i : i + 2], 16) for i in (1, 3, 5)) == tuple(map(int, re.findall(r"\d+", looks["offset"]["fill"])))
    said = {(bar["block"], bar["level"]): bar for bar in picture["bars"]}
    ground, uncertain, ghost = said[5, 1], said[5, 4], said[2, 3]
    assert ground["said"].startswith("Block 5, 1st rank unit: from the offset; 3,072 parameters.")
    assert uncertain["said"].startswith("Block 5, 4th rank unit: supported by 55 % of resamples; 3,072 parameters.")
    assert ghost["said"].startswith("Block 2, 3rd rank unit: supported by 30 % of resamples, not in the plan; 3,072 parameters.")
    assert uncertain["lines"][1:] == ["Rise of this block: +2.60 [+1.90, +3.30]."]
    assert "The embedding output has 28 distinct vectors of 2000." in said[1, 1]["lines"]
    assert picture["curve"][0] is None  # an undefined end is a gap


@pytest.mark.browser
def test_a_click_on_the_top_unit_or_above_it_asks_for_an_edit(allocation):
    page = allocation("offset=1")
    click_unit(page, 5, 4, rank=4)  # the top unit
    expect_heard(page, "edits [[5, 3]] answer 1 3")
    expect(page.locator(".rank-allocation-key")).to_contain_text("set by hand")
    picture = drawn(page)
    holds_the_rule(picture, made_allocation(6, 1, fixed={5: 3}), 1)
    assert picture["marks"] == [[5, "by hand"]]
    click_unit(page, 5, 4, rank=3)  # now a ghost
    expect_heard(page, "edits [[5, 3], [5, 4]] ")
    click_unit(page, 5, 5, rank=4)  # an empty place
    expect_heard(page, "edits [[5, 3], [5, 4], [5, 5]] ")
    click_unit(page, 5, 2, rank=5)  # not the top: nothing
    click_unit(page, 1, 1, rank=1)
    expect_heard(page, "edits [[5, 3], [5, 4], [5, 5], [1, 0]] ")
    assert [1, "by hand"] in drawn(page)["marks"]


@pytest.mark.browser
def test_without_any_rank_the_picture_says_so(allocation):
    page = allocation("offset=0&kind=flat")
    picture = drawn(page)
    holds_the_rule(picture, made_allocation(6, 0, kind="flat"), 0)
    assert picture["marks"] == [[block, "skipped"] for block in range(1, 7)]
    expect(page.locator(".rank-allocation-plot").get_by_text("No adapter at this offset")).to_be_visible()
    page.get_by_role("slider", name="Offset").press("ArrowRight")
    expect(page.locator(".rank-allocation-plot").get_by_text("No adapter at this offset")).to_be_hidden()


@pytest.mark.browser
def test_one_block_without_a_curve_and_eighty_with_one(allocation):
    alone = drawn(allocation("offset=3&blocks=1&kind=plain"))
    holds_the_rule(alone, made_allocation(1, 3, kind="plain"), 3)
    assert alone["curve"] is None
    holds_the_rule(drawn(allocation("offset=3&blocks=80")), made_allocation(80, 3), 3)


@pytest.mark.browser
def test_plotly_is_sent_once_a_tab_and_comes_from_nowhere_else(server, browser):
    page = browser.new_page()
    received, asked = [], []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/?offset=1")
    expect(page.locator(".rank-allocation .barlayer .point").first).to_be_attached()
    assert sum(received) > 1_000_000
    received.clear()
    for news in (1, 2, 3, 4):
        page.get_by_role("button", name="Tell news").click()
        expect(page.locator(".rank-allocation-line")).to_contain_text(f"news {news}")
    assert 0 < sum(received) < 400_000
    assert {url for url in asked if not url.startswith((server.url, "blob:", "data:"))} == set()
    page.close()


@pytest.mark.browser
def test_zoom_survives_an_echo_and_a_page_change_leaves_nothing_behind(allocation):
    page = allocation("offset=1")
    page.locator(".rank-allocation .modebar-btn[data-title='Zoom in']").click()
    zoomed = drawn(page)["zoom"]
    page.get_by_role("slider", name="Offset").press("ArrowRight")
    expect_heard(page, "heard [2] ")
    picture = drawn(page)
    holds_the_rule(picture, made_allocation(6, 2), 2)
    assert picture["zoom"] == zoomed
    assert zoomed[1] - zoomed[0] < 6
    for _ in range(2):
        page.get_by_text("Other", exact=True).click()
        expect(page.get_by_text("The other page")).to_be_visible()
        expect(page.locator(".rank-allocation, .js-plotly-plot")).to_have_count(0)
        page.get_by_text("Allocation", exact=True).click()
        expect(page.locator(".rank-allocation .barlayer .point").first).to_be_attached()
    holds_the_rule(drawn(page), made_allocation(6, 2), 2)
    page.get_by_role("slider", name="Offset").press("ArrowRight")
    expect_heard(page, "heard [2, 3] ")


@pytest.mark.browser
def test_pictures_are_made_by_the_browser(allocation):
    page = allocation("offset=1")
    for form in ("PNG", "SVG"):
        with page.expect_download() as download:
            page.locator(f".rank-allocation .modebar-btn[data-title='Download picture ({form})']").click()
        content = Path(download.value.path()).read_bytes()
        assert download.value.suggested_filename == f"rank_allocation.{form.lower()}"
        assert content.startswith(b"\x89PNG") if form == "PNG" else b"Offset 1: 30,720 adapter parameters" in content


@pytest.mark.browser
def test_words_can_be_read_on_both_themes_and_the_allocation_follows_a_change(allocation):
    page = allocation("offset=1&kind=compared")
    light = colours_of_words(page)
    assert luminance(light["page"]) > 0.8
    page.emulate_media(color_scheme="dark")
    expect(page.locator(".rank-allocation .xtick text").first).not_to_have_css("fill", light["words"][0])
    dark = colours_of_words(page)
    assert luminance(dark["page"]) < 0.1
    for colours in (light, dark):
        assert len(colours["words"]) > 20
        assert min(contrast(colour, colours["page"]) for colour in colours["words"]) >= 4.5
    page.emulate_media(color_scheme="light")


def colours_of_words(page: Page) -> dict:
    """The colours of all words of the allocation, and the colour under them."""
    frames(page)
    return page.evaluate(
        """() => {
          const root = document.querySelector(".rank-allocation");
          const found = (selector, property) => [...root.querySelectorAll(selector)].map((each) => getComputedStyle(each)[property]);
          const words = found(".xtick text, .ytick text, .xtitle, .ytitle, .y2title, .x2title, .annotation-text", "fill");
          return { words: [...words, ...found("p, span, output, b", "color")], page: found(".rank-allocation-head", "backgroundColor")[0] };
        }"""
    )


@pytest.mark.browser
def test_on_a_phone_nothing_overflows_the_slider_sticks_and_a_touch_reads_before_it_edits(allocation):
    page = allocation("offset=1&lines=60", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inside = (
        """(s) => [...document.querySelectorAll(s)].map((e) => e.getBoundingClientRect()).every((b) => b.left >= 0 && b.right <= 390)"""
    )
    assert page.evaluate(
        inside,
        ".rank-allocation, .rank-allocation-tick, .rank-allocation .annotation, .rank-allocation .xtick text, .rank-allocation .modebar",
    )
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop = 320")
    header = page.get_by_test_id("stHeader").bounding_box()
    slider = page.get_by_role("slider", name="Offset").bounding_box()
    assert header["y"] + header["height"] <= slider["y"] < 150
    ghost = page.locator(".rank-allocation .barlayer .bars").first.locator("path").nth(4).bounding_box()
    page.touchscreen.tap(ghost["x"] + ghost["width"] / 2, ghost["y"] + ghost["height"] / 2)
    expect(page.locator(".rank-allocation-said")).to_contain_text("Block 2, 3rd rank unit: supported by 30 % of resamples")
    assert "edits []" in heard(page)
    page.get_by_role("button", name="Add this unit").click()
    expect_heard(page, "edits [[2, 3]] ")


@pytest.mark.browser
def test_an_open_tab_finds_a_restarted_server_again(server, browser):
    page = browser.new_page()
    page.goto(f"{server.url}/?offset=2")
    slider = page.get_by_role("slider", name="Offset")
    expect(page.locator(".rank-allocation .barlayer .point").first).to_be_attached()
    slider.press("ArrowRight")
    expect_heard(page, "heard [3] ")
    with page.expect_event("websocket", timeout=120_000):
        server.kill()
        server.start()
    expect(page.get_by_test_id("stConnectionStatus")).to_have_count(0)
    page.get_by_role("button", name="Tell news").click()
    # A new session: it begins at the address, or at the slider's 3 if the tab told it with the press.
    expect_heard(page, re.compile(r"answer [23] "))
    page.wait_for_function("""() => {
      const slider = document.querySelector(".rank-allocation input[type=range]");
      return document.body.innerText.includes(`answer ${slider.value} `);
    }""")
    offset = int(slider.input_value())
    slider.press("ArrowRight")
    expect_heard(page, f"answer {offset + 1} ")
    holds_the_rule(drawn(page), made_allocation(6, offset + 1), offset + 1)
    page.close()
