"""The offset chosen by eye on the real page in a real browser: drag, keys, units, page changes, the config that PEFT loads."""

import json
import re

import pytest
from allocation_reading import frames
from playwright.sync_api import Page, expect
from test_journey import go_to, open_page, parameters
from test_rank_allocation import click_unit, place_of

from gelora.records import RankPlan
from gelora.sources import model_structure

pytestmark = pytest.mark.browser

LONG = 120_000
PICTURE = """() => ({
  seen: [...document.querySelectorAll(".rank-allocation-plot .shapelayer path")].map((path) => path.getAttribute("d")).join("|"),
  offset: document.querySelector(".rank-allocation-slider").valueAsNumber,
})"""
UNIT = 4 * (32 + 32)  # one unit of rank of a block of the tiny model: q, k, v, o
N_BLOCKS = 3


@pytest.fixture(scope="module")
def address(dashboard, browser, tiny) -> str:
    """The page over a measured curve of the tiny model."""
    model, data = tiny
    url = f"{dashboard.url}/?page=ranks&model={model}&data={data}&n=100&length=32&estimators=twonn"
    page = open_page(browser, url)
    page.get_by_role("button", name="Measure the curve").click()
    expect(page.locator(".rank-allocation-line")).to_contain_text("adapter parameters", timeout=LONG)
    page.close()
    return url


@pytest.fixture
def page(browser, address):
    """The open page; at the end its console may hold no error."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(120_000)
    errors: list[str] = []
    # A reload at /ranks asks for files beside that path, which Streamlit answers with 404.
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" and "404" not in message.text else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(address)
    expect(opened.locator(".rank-allocation .barlayer .point").first).to_be_attached(timeout=LONG)
    yield opened
    assert errors == []
    opened.close()


def drawn(page: Page) -> dict:
    """What is on the screen after the next two frames: the outlines of units and gauge, and where the slider stands."""
    frames(page)
    return page.evaluate(PICTURE)


def rank_of(page: Page, block: int) -> int:
    """The units of a block that are in the plan."""
    return page.evaluate(
        """(block) => {
          const { customdata } = document.querySelector(".rank-allocation-plot").data.find((trace) => trace.name === "units");
          const own = customdata.filter((unit) => unit.block === block && ["offset", "rise"].includes(unit.kind));
          return Math.max(...own.map((unit) => unit.level));
        }""",
        block,
    )


def to_offset(page: Page, offset: int) -> None:
    page.mouse.move(*place_of(page, offset), steps=4)


def test_a_drag_redraws_allocation_and_gauge_before_release_and_arrow_keys_do_the_same(page):
    before = parameters(page)
    page.mouse.move(*place_of(page, 1))
    page.mouse.down()
    page.evaluate("() => { window.frameTimes = []; let last; const tick = (now) => { if (last) frameTimes.push(now - last); last = now;"
                  " if (window.frameTimes.length < 400) requestAnimationFrame(tick); }; requestAnimationFrame(tick); }")  # fmt: skip
    seen = {drawn(page)["seen"]}
    for offset in (2, 3, 4):
        to_offset(page, offset)
        picture = drawn(page)
        assert picture["offset"] == offset and picture["seen"] not in seen  # what is drawn of each offset: test_rank_allocation.py
        seen.add(picture["seen"])
        assert parameters(page) == before + (offset - 1) * N_BLOCKS * UNIT
        assert "offset=" not in page.url  # nothing has been said to the server
    times = sorted(page.evaluate("window.frameTimes"))
    print(f"a frame while dragging: median {times[len(times) // 2]:.0f} ms, longest {times[-1]:.0f} ms, {len(times)} frames")  # noqa: T201
    page.mouse.up()
    expect(page).to_have_url(re.compile("offset=4"))
    assert drawn(page)["offset"] == 4 and parameters(page) == before + 3 * N_BLOCKS * UNIT

    # the keyboard does the same, and a reload brings it back
    slider = page.get_by_role("slider", name="Offset")
    slider.focus()
    slider.press("ArrowRight")
    assert drawn(page)["offset"] == 5
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    expect(page).to_have_url(re.compile("offset=3"))
    page.reload()
    expect(page.locator(".rank-allocation-line")).to_contain_text(f"{before + 2 * N_BLOCKS * UNIT:,} adapter parameters", timeout=LONG)


def test_a_hand_edit_survives_a_page_change_can_be_undone_and_its_config_loads_in_peft(page, tiny, tmp_path):
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from transformers import AutoModel

    before = parameters(page)
    rank = rank_of(page, 3)
    click_unit(page, 3, rank + 1, rank)  # just above the top unit: one more
    expect(page.get_by_text("4 modules by hand.")).to_be_visible()
    expect(page).to_have_url(re.compile("edits=3"))
    assert parameters(page) == before + UNIT
    go_to(page, "Layers")
    go_to(page, "Ranks")
    expect(page.get_by_text("4 modules by hand.")).to_be_visible()
    expect(page.locator(".rank-allocation-line")).to_contain_text(f"{before + UNIT:,} adapter parameters")

    page.get_by_text("Export", exact=True).click()
    files = {}
    for button, name in (
        ("adapter_config.json", "adapter_config.json"),
        ("Plan as JSON", "rank_plan.json"),
        ("Plan as CSV", "rank_plan.csv"),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=False).click()
        files[name] = tmp_path / name
        download.value.save_as(files[name])
    plan = RankPlan.from_json(files["rank_plan.json"].read_text())
    assert plan.n_adapter_params == before + UNIT and len(plan.edits) == 4
    assert {m.name for m in plan.modules} == {m.name for m in model_structure(tiny[0]).modules if m.kind in "qkvo"}
    model = get_peft_model(AutoModel.from_pretrained(tiny[0]), LoraConfig.from_pretrained(str(tmp_path)))
    made = {
        name.removeprefix("base_model.model."): layer.r["default"] for name, layer in model.named_modules() if isinstance(layer, LoraLayer)
    }
    assert made == plan.ranks and model.get_nb_trainable_parameters()[0] == plan.n_adapter_params
    assert len(files["rank_plan.csv"].read_text().strip().splitlines()) == 1 + len(plan.modules)

    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".rank-allocation-line")).to_contain_text(f"{before:,} adapter parameters")

    # anybody's adapter lies over the allocation
    config = tmp_path / "theirs" / "adapter_config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"peft_type": "LORA", "r": 5, "lora_alpha": 10, "target_modules": ["query", "value"]}))
    page.get_by_text("Import a profile, a plan or an adapter").click()
    page.locator("input[type=file]").set_input_files(str(config))
    expect(page.get_by_text(re.compile("Imported: the adapter"))).to_be_visible()
    expect(page).to_have_url(re.compile("beside=[0-9a-f]{16}"))
    expect(page.locator(".rank-allocation").get_by_text("adapter", exact=False).first).to_be_attached()


def test_two_tabs_hold_their_own_offsets(page, browser, address):
    other = open_page(browser, f"{address}&offset=6")
    expect(other.locator(".rank-allocation-line")).to_contain_text("adapter parameters", timeout=LONG)
    slider = page.get_by_role("slider", name="Offset")
    slider.focus()
    slider.press("ArrowRight")
    expect(page).to_have_url(re.compile("offset=2"))
    assert other.get_by_role("slider", name="Offset").input_value() == "6" and "offset=6" in other.url
    other.close()


def test_a_phone_shows_the_allocation_before_the_choices_and_nothing_overflows(browser, address):
    phone = open_page(browser, address, width=390, height=844)
    allocation = phone.locator(".rank-allocation")
    expect(allocation).to_be_visible(timeout=LONG)
    assert allocation.bounding_box()["y"] < phone.get_by_role("combobox", name="Target modules").bounding_box()["y"]
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()
