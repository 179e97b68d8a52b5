"""Words of strangers in a real browser: they stand as typed, nothing of theirs can be clicked or seen, nothing is fetched."""

import json
import re
import urllib.parse

import pytest
from hostile_words import ALL, EACH, ELSEWHERE, as_shown
from made_runs import write_run
from playwright.sync_api import Locator, Page, TimeoutError as PlaywrightTimeout, expect
from test_journey import LONG

from app.state import FIELDS

HELP = 10_000  # ms in which a help opens

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

# What a stranger's word might have become; formulas and icons of our own stand elsewhere than where this is asked.
FOREIGN = "a[href^='javascript'], a[href^='mailto']"
for kind in ("a[href", "a[*|href", "img[src", "image[*|href"):
    FOREIGN += f", {kind}*='//elsewhere'], {kind}*='//www.elsewhere']"
MARKUP = f"{FOREIGN}, img, code, del, em em, h1 + ul, [role=img], .katex, .stMarkdownColoredText, [data-testid=stTooltipIcon]"
NAME = ALL.replace("http:", "")  # no web address, which no model or dataset is called; its links have the scheme of the page
LABEL = ALL.replace(" www", "\n\n# www")  # a label with a heading in it


class Guarded:
    """A page from which nothing goes elsewhere; what would have gone is noted."""

    def __init__(self, browser) -> None:
        self.gone: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 1400})
        self.page.set_default_timeout(LONG)
        self.page.route(lambda url: urllib.parse.urlsplit(url).hostname not in (None, "127.0.0.1", "localhost"), self._note)

    def _note(self, route) -> None:
        self.gone.append(route.request.url)
        route.abort()

    def check(self, *words: str) -> None:
        """The words stand on the page as typed (in a field, in text, in a figure); no element is theirs; nothing has gone."""
        expect(self.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=LONG)
        for word in words:
            self.page.wait_for_function(STANDS, arg=as_shown(word), timeout=LONG)
        assert self.page.locator(FOREIGN).evaluate_all("found => found.map(e => e.outerHTML.slice(0, 200))") == []
        assert self.gone == []

    def read_help(self, place: Locator, word: str) -> None:
        """Point at a place until its help shows the word: a part that is drawn anew meanwhile closes its help."""
        for _ in range(LONG // HELP):
            place.hover()
            try:
                self.page.wait_for_function(STANDS, arg=as_shown(word), timeout=HELP)
            except PlaywrightTimeout:
                self.page.mouse.move(0, 0)
            else:
                return
        pytest.fail(f"no help says {word!r}")


STANDS = """word => {
    const shown = text => text.replace(/\\s+/g, " ");
    return shown(document.body.textContent).includes(word) || [...document.querySelectorAll("input, textarea")].some(
        field => shown(field.value).includes(word));
}"""


@pytest.fixture
def guarded(browser):
    person = Guarded(browser)
    yield person
    person.page.close()


def test_nothing_that_takes_markdown_takes_a_word_for_markup(plain_words_page, guarded):
    page = guarded.page
    page.goto(plain_words_page.url)
    expect(page.get_by_role("heading", name="The end")).to_be_visible(timeout=LONG)
    for number, word in enumerate(EACH):
        drawn = page.locator(f".st-key-word{number}")
        places = drawn.locator("[data-testid=stMarkdownContainer], td")
        expect(places.nth(20)).to_be_attached(timeout=LONG)  # what shows Markdown is loaded when it is first needed
        texts = places.all_text_contents()
        assert [text for text in texts if as_shown(word) not in as_shown(text) and as_shown(text) not in ("Choice", "cell")] == []
        made = drawn.locator(MARKUP).evaluate_all("found => found.map(e => e.outerHTML)")
        assert [element for element in made if "stIconMaterial" not in element and "stAlert" not in element] == [], word
    guarded.check()


@pytest.fixture(scope="module")
def dashboard(own_dashboard):
    return own_dashboard


@pytest.fixture(scope="module")
def hostile_file(tmp_path_factory) -> str:
    """A file whose columns, texts and labels are hostile words."""
    path = tmp_path_factory.mktemp("hostile") / "rows.jsonl"
    rows = [{f"text {ALL}": f"{EACH[i % len(EACH)]} {i} {ALL}", f"label {ALL}": (LABEL, "other")[i % 2]} for i in range(120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def address(dashboard, **choices) -> str:
    return f"{dashboard.url}/?{urllib.parse.urlencode(choices)}"


@pytest.mark.parametrize("page", ["home", "layers", "ranks", "finetune", "runs", "evidence", "estimators", "theory"])
def test_a_link_shows_nothing_of_its_own(dashboard, guarded, page):
    """Every query parameter is a hostile word, known or not."""
    choices = dict.fromkeys([*FIELDS, "unknown"], ALL) | {"page": page}
    guarded.page.goto(address(dashboard, **choices))
    expect(guarded.page.get_by_role("heading", level=1)).to_be_visible(timeout=LONG)
    guarded.check(ALL)


def test_words_of_a_file_stand_as_they_are(dashboard, guarded, tiny, hostile_file):
    page, columns = guarded.page, {"text": f"text {ALL}", "label": f"label {ALL}"}
    choices = {"model": tiny[0], "data": hostile_file, "n": 100, "length": 32, "estimators": "twonn", **columns}
    page.goto(address(dashboard, page="layers", **choices))
    page.get_by_text("Data as read").click()
    guarded.check(*columns.values(), as_shown(LABEL))
    page.get_by_role("button", name="Measure the curve").click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=LONG)
    page.goto(address(dashboard, page="layers", view="neighbors", layer=1, sentence=len(EACH) - 1, **choices))
    expect(page.get_by_test_id("stTable").first).to_be_visible(timeout=LONG)
    guarded.check(as_shown(LABEL)[:39], ALL[:80])
    page.goto(address(dashboard, page="layers", view="map", layer=1, **choices))
    expect(page.locator(".st-key-plane_map .legendtext").first).to_be_visible(timeout=LONG)
    guarded.check(as_shown(LABEL))
    page.goto(address(dashboard, page="layers", compare="dataset", compare_to=hostile_file, **choices))
    guarded.check()
    page.goto(address(dashboard, page="finetune", **choices))
    expect(page.get_by_text(re.compile(r"\(2 classes\)")).first).to_be_visible(timeout=LONG)
    guarded.check(*columns.values())


def test_words_of_runs_stand_as_they_are(dashboard, guarded):
    runs = dashboard.home / "runs"
    metric = f"eval_{ALL}"
    reason = f"data: {LABEL}"
    state = {
        "status": "failed",
        "reason": reason,
        "main_metric": metric,
        "metrics": {metric: 0.5, "loss": 0.7},
        "device": ALL,
        "stage": ALL,
    }
    for seed in (0, 1):
        folder = write_run(runs, f"20260301-10000{seed}-hostile", model=NAME, data=NAME, seed=seed, state=state)
        (folder / "log.txt").write_text(f"{ALL}\n\n# heading\n")
        values = [{"step": step, metric: 0.5 + step / 100, "loss": 0.7} for step in range(1, 9)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in values))
        example = {"prediction": ALL, "truth": LABEL, "given": ALL, "right": True}
        (folder / "examples.json").write_text(json.dumps({"step": 8, "rows": [example]}))
        (folder / "provenance.json").write_text(json.dumps({"command": ALL, "data": {ALL: ALL}}))
    page = guarded.page
    page.goto(address(dashboard, page="finetune", run="20260301-100000-hostile"))
    expect(page.get_by_role("heading", name=re.compile("20260301-100000-hostile"))).to_be_visible(timeout=LONG)
    guarded.check(as_shown(reason), f"{NAME} · on {NAME}")
    page.goto(address(dashboard, page="home"))
    expect(page.get_by_role("heading", name="Last runs")).to_be_visible(timeout=LONG)
    guarded.check()
    guarded.read_help(page.get_by_text("hostile").or_(page.get_by_text("seed 0 ·")).first, f"{NAME} on {NAME}")
    guarded.check()
    page.goto(address(dashboard, page="runs"))
    expect(page.get_by_role("button", name="Tick all")).to_be_enabled(timeout=LONG)
    guarded.check()
    page.get_by_role("button", name="Tick all").click()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=LONG)
    guarded.check()


def test_words_of_an_adapter_stand_as_they_are(dashboard, guarded, tiny):
    config = {
        "peft_type": "LORA", "base_model_name_or_path": ALL, "r": 2, "lora_alpha": 4, "target_modules": ["query", ALL],
        "rank_pattern": {ALL: 3}, "modules_to_save": [ALL], "task_type": ALL,
    }  # fmt: skip
    page = guarded.page
    page.goto(address(dashboard, page="ranks", model=tiny[0], plan_only=1))
    page.get_by_text("Import a profile, a plan or an adapter").click()
    upload = page.locator("input[type=file]").first
    upload.set_input_files([{"name": "adapter_config.json", "mimeType": "application/json", "buffer": json.dumps(config).encode()}])
    expect(page.get_by_test_id("stAlert").filter(has_text="adapter").first).to_be_visible(timeout=LONG)
    guarded.check()


def test_a_page_loads_nothing_from_elsewhere_whoever_asks(dashboard, guarded, tiny):
    """A picture that no Markdown of ours could ask for is refused by the browser itself."""
    page = guarded.page
    page.goto(address(dashboard, page="ranks", model=tiny[0], plan_only=1))
    expect(page.get_by_test_id("stHeading").first).to_be_visible(timeout=LONG)
    expect(page.locator("meta[http-equiv=Content-Security-Policy]")).to_have_count(1)
    refused = page.evaluate(REFUSED, [f"{ELSEWHERE}/i.png", f"{dashboard.url}/favicon.png"])
    assert refused == {f"{ELSEWHERE}/i.png": "img-src"} and guarded.gone == []


# Asks for pictures; which of them the policy refuses, and by what.
REFUSED = """async addresses => {
    const refused = {};
    document.addEventListener("securitypolicyviolation", event => { refused[event.blockedURI] = event.effectiveDirective; });
    for (const address of addresses) await new Promise(done => {
        Object.assign(new Image(), { onload: done, onerror: done, src: address });
    });
    return refused;
}"""
