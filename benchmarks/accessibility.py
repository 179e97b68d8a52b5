"""What axe-core finds on every page, at both widths and in both themes: `python -m benchmarks.accessibility --json FILE`.

One row a page and view: how many rules were passed, and every violation with its impact and the number of its elements.
Pages are those of `docs.open_pages`, with a measurement and finished runs on them.
"""

import argparse
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from benchmarks import record
from docs.open_pages import PAGES, page_names, visit

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


def main() -> None:
    """Visit the pages, look, write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"of {', '.join(PAGES)}; all unless named")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    visit(page_names(parser, options.pages), lambda page, name, view: rows.append(_row(page, name, view)))
    record.write("accessibility", rows, options.json)


def _row(page: Page, name: str, view: str) -> dict[str, Any]:
    page.mouse.move(0, 0)
    found = Axe().run(page, options=RULES).response
    violations = [
        {
            "rule": violation["id"],
            "impact": violation["impact"],
            "elements": len(violation["nodes"]),
            "first": violation["nodes"][0]["target"],
        }
        for violation in found["violations"]
    ]
    return {"page": name, "view": view.strip("-") or "desktop", "rules_passed": len(found["passes"]), "violations": violations}


if __name__ == "__main__":
    main()
