"""The reference of the Python library, made from its docstrings: `make reference` writes `docs/reference.md`.

Reads the sources with griffe and runs none of them. A wing's reference is what its face (`gelora/<wing>/__init__.py`) gives;
functions and records of the facade come first.
"""

import ast
import logging
import re
import sys
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "reference.md"
FACES = {
    "gelora": "The short way",
    "gelora.records": "Records",
    "gelora.sources": "Sources: models, data, hidden states",
    "gelora.geometry": "Geometry: estimators, profiles, manifolds",
    "gelora.ranks": "Ranks: plans, strategies, budgets, PEFT",
    "gelora.tasks": "Tasks: what a run learns",
    "gelora.runs": "Runs: start, watch, compare",
    "gelora.measurements": "Measurements: specs, store, work in the background",
    "gelora.block_predictors": "Predictors of what rank is worth in a block",
    "gelora.errors": "Errors",
}


def main() -> None:
    """Write the page."""
    OUT.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{OUT} is written\n")


def page() -> str:
    """The whole reference as Markdown."""
    logging.getLogger("griffe").setLevel(logging.ERROR)  # it asks for one entry a parameter; "config, split" share one here
    package = griffe.load("gelora", search_paths=[ROOT], docstring_parser="google", resolve_aliases=False)
    parts = [
        "# Reference",
        "Made from the docstrings by `make reference`; do not edit. Import from the face that heads each section "
        "(`from gelora.geometry import TwoNN`), never from a file inside it. The command line: `gelora --help`, "
        "`gelora COMMAND --help`. What each estimator measures: [estimators.md](estimators.md).",
    ]
    for face, title in FACES.items():
        module = package if face == "gelora" else package[face.removeprefix("gelora.")]
        found = {name: home for name, home in _names(face).items() if not name.startswith("_")}
        parts += [f"## {title}", f"`{face}`", _first_paragraph(module)]
        for name, home in sorted(found.items(), key=lambda item: item[0].lower()):
            thing = package[home.removeprefix("gelora.")][name]
            parts += _entry(name, thing)
    return "\n\n".join(part for part in parts if part) + "\n"


def _names(face: str) -> dict[str, str]:
    """Each public name of a face and the module that defines it, from the face's imports and its own definitions."""
    path = ROOT.joinpath(*face.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gelora"):
            found |= {(alias.asname or alias.name): str(node.module) for alias in node.names}
        elif not path.is_dir() and isinstance(node, ast.ClassDef):
            found[node.name] = face
    return {name: _home(name, module) for name, module in found.items() if not (ROOT.joinpath(*module.split("."), f"{name}.py")).exists()}


def _home(name: str, module: str) -> str:
    """Where a name is defined, through faces that hand it on."""
    path = ROOT.joinpath(*module.split("."))
    return _names(module).get(name, module) if path.is_dir() else module


def _entry(name: str, thing: griffe.Object | griffe.Alias) -> list[str]:
    if thing.kind is griffe.Kind.ATTRIBUTE:
        said = _first_paragraph(thing)
        return [f"### {name}", said] if said else []
    lines = [f"### {name}", f"```python\n{_signature(name, thing)}\n```", *_sections(thing)]
    if thing.kind is griffe.Kind.CLASS:
        for member in thing.members.values():
            if member.name.startswith("_") or member.is_alias or not member.docstring:
                continue
            if member.kind is griffe.Kind.FUNCTION:
                lines += [f"#### {name}.{member.name}", f"```python\n{_signature(member.name, member)}\n```", *_sections(member)]
            elif "property" in member.labels:
                lines.append(f"- `{member.name}`: {_first_paragraph(member)}")
    return lines


def _signature(name: str, thing: griffe.Object | griffe.Alias) -> str:
    function = thing.members.get("__init__") if thing.kind is griffe.Kind.CLASS else thing
    fields = _fields(thing) if thing.kind is griffe.Kind.CLASS and function is None else []
    if fields:
        return f"{name}(" + ", ".join(fields) + ")" if len(fields) < 4 else f"{name}(\n    " + ",\n    ".join(fields) + ",\n)"
    if function is None or not hasattr(function, "parameters"):
        return name
    parameters, star = [], False
    for p in function.parameters:
        if p.name in ("self", "cls"):
            continue
        if p.kind is griffe.ParameterKind.keyword_only and not star:
            parameters.append("*")
            star = True
        star = star or p.kind is griffe.ParameterKind.var_positional
        mark = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(p.kind, "")
        annotation = f": {p.annotation}" if p.annotation is not None else ""
        default = f" = {p.default}" if p.default is not None and not mark else ""
        parameters.append(f"{mark}{p.name}{annotation}{default}")
    returns = f" -> {function.returns}" if getattr(function, "returns", None) is not None and thing.kind is griffe.Kind.FUNCTION else ""
    short = f"{name}({', '.join(parameters)}){returns}"
    return short if len(short) <= 100 else f"{name}(\n    " + ",\n    ".join(parameters) + f",\n){returns}"


def _fields(thing: griffe.Object | griffe.Alias) -> list[str]:
    """The fields of a dataclass."""
    if not any("dataclass" in str(d.value) for d in getattr(thing, "decorators", [])):
        return []
    members = [m for m in thing.members.values() if m.kind is griffe.Kind.ATTRIBUTE and "instance-attribute" in m.labels]
    own = [m for m in members if not m.name.startswith("_") and "ClassVar" not in str(m.annotation)]
    return [f"{m.name}: {m.annotation}" + (f" = {m.value}" if m.value is not None else "") for m in own]


def _sections(thing: griffe.Object | griffe.Alias) -> list[str]:
    lines: list[str] = []
    docs = [thing.docstring]
    if thing.kind is griffe.Kind.CLASS and (start := thing.members.get("__init__")) is not None:
        docs.append(start.docstring)
    for doc in docs:
        for section in doc.parsed if doc else []:
            if section.kind is griffe.DocstringSectionKind.text:
                lines.append(_plain(section.value))
            elif section.kind in _LISTED:
                listed = [f"- {_item(section.kind, item)}{_plain(item.description)}" for item in section.value]
                lines.append(f"**{_LISTED[section.kind]}**\n\n" + "\n".join(listed))
            elif section.kind is griffe.DocstringSectionKind.admonition:
                lines.append(f"**{section.title}** {_plain(section.value.description)}")
    return lines


_LISTED = {
    griffe.DocstringSectionKind.parameters: "Arguments",
    griffe.DocstringSectionKind.attributes: "Attributes",
    griffe.DocstringSectionKind.returns: "Returns",
    griffe.DocstringSectionKind.yields: "Yields",
    griffe.DocstringSectionKind.raises: "Raises",
}


def _item(kind: griffe.DocstringSectionKind, item: object) -> str:
    if kind is griffe.DocstringSectionKind.raises:
        return f"`{item.annotation}`: "  # type: ignore[attr-defined]
    return f"`{item.name}`: " if getattr(item, "name", "") else ""


def _first_paragraph(thing: griffe.Object | griffe.Alias) -> str:
    return _plain(thing.docstring.value.split("\n\n")[0]) if thing.docstring else ""


def _plain(text: str) -> str:
    """A docstring's paragraphs without their line breaks; indented code stays as it is."""
    kept = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        is_code = paragraph.startswith("    ") or "\n    " in paragraph
        kept.append(paragraph if is_code else " ".join(line.strip() for line in paragraph.splitlines()))
    return "\n\n".join(kept)


if __name__ == "__main__":
    main()
