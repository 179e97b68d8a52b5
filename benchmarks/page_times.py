"""How long a page takes to stand there, in a headless Chromium: `python -m benchmarks.page_times --json FILE`.

A warm server with a measured curve and `--runs` runs on disk. "open": from the address to the page's heading, as a new
tab has it. "switch": from the click on a page's name to its heading. Both are clocked in the browser, on the cores that
the server works on too. The page before has been drawn to its end each time.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks import record
from benchmarks.serving import ROOT, launch, serve
from docs.open_pages import PAGES

CHOICES = "n=200&length=32&estimators=twonn,mle"
TITLES = {name: title for name, title in PAGES.items() if name != "teaching"}  # which has no name to click on
# Milliseconds from the click on a page's name to the page's heading.
_SWITCH = """async ([href, title]) => {
  const link = document.querySelector(`[data-testid="stSidebarNav"] a[href$="/${href}"]`)
    ?? [...document.querySelectorAll('[data-testid="stSidebarNav"] a')].find(a => new URL(a.href).pathname === '/');
  const started = performance.now();
  return await new Promise((resolve, reject) => {
    const look = () => {
      if ([...document.querySelectorAll('h1')].some(h => h.innerText.trim() === title)) resolve(performance.now() - started);
      else if (performance.now() - started > 20000) reject(new Error(`no heading ${title}`));
      else setTimeout(look, 5);
    };
    link.click();
    look();
  });
}"""
_OPEN = """title => new Promise(resolve => {
  const look = () => [...document.querySelectorAll('h1')].some(h => h.innerText.trim() === title);
  if (look()) resolve(performance.now());
  else { const w = new MutationObserver(() => { if (look()) { w.disconnect(); resolve(performance.now()); } });
         w.observe(document, {childList: true, subtree: true, characterData: true}); }
})"""


# Resolves when the page's thread has been free for a second: what is drawn late would be counted to the next page.
_QUIET = """() => new Promise(resolve => {
  let last = performance.now(), since = last;
  const look = () => {
    const now = performance.now();
    if (now - last > 100) since = now;
    last = now;
    if (now - since > 1000) resolve(); else setTimeout(look, 20);
  };
  look();
})"""


def main() -> None:
    """Measure once, make the runs, then open and switch to every page several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="runs on disk (default 40)")
    parser.add_argument("--repeats", type=int, default=7, help="of each page (default 7)")
    parser.add_argument("--json")
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="gelora-page-times-")
    os.environ |= {"GELORA_HOME": home, "HF_HUB_OFFLINE": "1"}
    _make_runs(Path(home), options.runs)
    server, url = serve()
    try:
        with sync_playwright() as playwright:
            browser = launch(playwright)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{url}/?page=layers&{CHOICES}")
            page.get_by_role("button", name="Measure the curve").click(timeout=60_000)
            expect(page.locator(".js-plotly-plot .scatterlayer").first).to_be_visible(timeout=180_000)
            expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=180_000)
            page.evaluate(_QUIET)
            pages = _pages_there(page)
            rows = [_row(name, "open", [_opened(page, url, name) for _ in range(options.repeats)]) for name in pages]
            rows += [_row(name, "switch", [_switched(page, name, pages) for _ in range(options.repeats)]) for name in pages]
            browser.close()
    finally:
        server.kill()
    record.write("page_times", [row | {"runs_on_disk": options.runs} for row in rows], options.json)


def _pages_there(page: Page) -> list[str]:
    shown = page.get_by_test_id("stSidebarNav").inner_text()
    return [name for name, title in TITLES.items() if title in shown or (name == "home" and "Home" in shown)]


def _opened(page: Page, url: str, name: str) -> float:
    page.goto(f"{url}/?page={name}&{CHOICES}", wait_until="commit")
    milliseconds = float(page.evaluate(_OPEN, TITLES[name]))
    page.evaluate(_QUIET)
    return milliseconds


def _switched(page: Page, name: str, pages: list[str]) -> float:
    other = "runs" if name != "runs" else pages[0]
    page.evaluate(_SWITCH, [other, TITLES[other]])
    page.evaluate(_QUIET)
    milliseconds = float(page.evaluate(_SWITCH, [name, TITLES[name]]))
    page.evaluate(_QUIET)
    return milliseconds


def _row(name: str, what: str, milliseconds: list[float]) -> dict[str, Any]:
    return {"page": name, "case": what, "median_ms": round(statistics.median(milliseconds)), "max_ms": round(max(milliseconds))}


def _make_runs(home: Path, n: int) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from made_runs import write_run

    for i in range(n):
        write_run(home / "runs", f"20260301-{i:06d}-tiny-rows-{i:04x}", seed=i)


if __name__ == "__main__":
    main()
