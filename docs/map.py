"""The map of the house, made from the first line of every module's docstring: `make reference` writes `docs/map.md`."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "map.md"
TOPS = ("gelora", "app", "pages", "benchmarks")


def main() -> None:
    """Write the page."""
    OUT.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{OUT} is written\n")


def page() -> str:
    """All folders, each with its files and what they are for, as Markdown."""
    parts = ["# Map", "Made from the first line of every module by `make reference`; do not edit."]
    files = sorted(path for top in TOPS for path in (ROOT / top).rglob("*.py"))
    for folder in sorted({path.parent for path in files}):
        own = [path for path in files if path.parent == folder and path.name != "__init__.py"]
        face = folder / "__init__.py"
        parts += [f"## {folder.relative_to(ROOT).as_posix()}/", _first_line(face) if face in files else ""]
        parts += ["\n".join(f"- `{path.name}` {_first_line(path)}" for path in own)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _first_line(path: Path) -> str:
    """What the module's docstring claims first."""
    found = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return found.split("\n\n")[0].replace("\n", " ") if found else ""


if __name__ == "__main__":
    main()
