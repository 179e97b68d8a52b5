"""A page in a real browser that remembers what went wrong on it: console errors, what overflows, what axe-core finds."""

from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from benchmarks.accessibility import RULES

VIEWS = {
    "desktop-light": (1280, 860, "light"),
    "desktop-dark": (1280, 860, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
SERIOUS = ("serious", "critical")
AXE_OPTIONS = {"resultTypes": ["violations"]} | RULES
_STYLED = """() => [...document.querySelectorAll("style")].some(s => s.textContent.includes("[data-testid=\\"stSliderThumbValue\\"]"))"""
# Drawn to its end: no run of the page under way, no element left from the run before, nothing fading between two colours.
_SETTLED = """() => document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning"
    && !document.querySelector("[data-stale=true]")
    && document.getAnimations().every(a => a.playState !== "running" || a.effect.getTiming().iterations === Infinity)"""
# What Streamlit itself draws and no application can reach, by axe's rule: a part of the failing element's HTML.
STREAMLITS_OWN: dict[str, tuple[str, ...]] = {}


@dataclass
class Watched:
    """A page under watch; `view` is a key of VIEWS."""

    page: Page
    view: str
    console: list[str] = field(default_factory=list)

    @property
    def is_phone(self) -> bool:
        return self.view.startswith("phone")

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wide = self.page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        return int(wide) - VIEWS[self.view][0]

    def accessibility(self) -> list[str]:
        """Serious and critical findings of axe-core, each as one line with the elements it is about."""
        found = []
        for violation in Axe().run(self.page, options=AXE_OPTIONS).response["violations"]:
            own = STREAMLITS_OWN.get(violation["id"], ())
            nodes = [node for node in violation["nodes"] if not any(part in node["html"] for part in own)]
            if violation["impact"] in SERIOUS and nodes:
                where = "; ".join(f"{node['target'][0]}: {node['html'][:160]}" for node in nodes[:4])
                found.append(f"{violation['id']} ({violation['impact']}, {len(nodes)} elements): {violation['help']}: {where}")
        return found

    def check(self) -> None:
        """Nothing was said on the console, nothing overflows, axe-core finds nothing serious."""
        self.page.mouse.move(0, 0)  # what the pointer is over may be fading between two colours
        self.page.wait_for_function(_STYLED, timeout=120_000)  # the page's own styles come in with its other parts
        expect(self.page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=120_000)
        self.page.wait_for_function(_SETTLED, timeout=120_000)
        assert not self.console, f"on the console: {self.console}"
        assert self.overflow() <= 0, f"{self.overflow()} pixels too wide"
        found = self.accessibility()
        assert not found, f"axe-core finds: {found}"


def watched(browser: Browser, view: str) -> Watched:
    """A new page of that view."""
    width, height, scheme = VIEWS[view]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(120_000)
    person = Watched(page, view)
    page.on("console", lambda message: person.console.append(f"{message.text} ({page.url})") if message.type == "error" else None)
    page.on("pageerror", lambda error: person.console.append(f"{error} ({page.url})"))
    return person
