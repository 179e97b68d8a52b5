"""Pictures of every page, taken from a real dashboard with a real measurement and a real run: `make screenshots`.

Writes `assets/screenshots/<page>[-phone][-dark].png`; the README shows the light desktop ones. After a change to some pages,
`python -m docs.screenshots layers ranks` takes those alone; without Fine-tune and Runs among them no run is made.
"""

import argparse
import sys

from playwright.sync_api import Page

from benchmarks.serving import ROOT
from docs.open_pages import PAGES, page_names, visit

OUT = ROOT / "assets" / "screenshots"


def main() -> None:
    """Take the pictures of the pages that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(PAGES)}; all unless named")
    wanted = page_names(parser, parser.parse_args().pages)
    OUT.mkdir(parents=True, exist_ok=True)
    home = visit(wanted, _shoot)
    sys.stdout.write(f"Pictures are in {OUT}; state was in {home}\n")


def _shoot(page: Page, name: str, view: str) -> None:
    target = str(OUT / f"{name}{view}.png")
    page.screenshot(path=target)
    body = page.get_by_test_id("stMain")
    height = body.evaluate("e => e.scrollHeight")
    size = page.viewport_size
    if size and height > size["height"] and name != "teaching":  # which fills the screen and no more
        page.set_viewport_size({"width": size["width"], "height": min(height, 3200)})
        page.wait_for_timeout(1200)
        page.screenshot(path=target)
        page.set_viewport_size(size)


if __name__ == "__main__":
    main()
