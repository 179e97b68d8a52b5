"""The house keeps its order: imports follow the path and never turn back; the public face is light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

VOCABULARY = {"gelora.csv_text", "gelora.errors", "gelora.home", "gelora.masking", "gelora.record_json", "gelora.records"}
WINGS = {"gelora.sources", "gelora.geometry", "gelora.ranks", "gelora.tasks", "gelora.runs"}

DASHBOARD = VOCABULARY | WINGS | {
    "app", "gelora.block_predictors", "gelora.doctor", "gelora.measurements", "gelora.opened_layer", "gelora.sensitivity",
    "gelora.study_findings",
}  # fmt: skip

# What the files under each place may import of ours. One row a place; nothing else is legal.
MAY_IMPORT = {
    "gelora/errors.py": {"gelora.masking"},
    "gelora/masking.py": set(),
    "gelora/csv_text.py": set(),
    "gelora/home.py": {"gelora.errors"},
    "gelora/record_json.py": {"gelora.errors"},
    "gelora/records": {"gelora.errors", "gelora.record_json", "gelora.records", "gelora.ranks"},  # facade: RankPlan.to_lora_config
    "gelora/lazy_modules.py": set(),
    "gelora/__init__.py": {"gelora.lazy_modules", "gelora.opened_layer", "gelora.sources", "gelora.geometry", "gelora.ranks"},  # facade
    "gelora/sources": VOCABULARY | {"gelora.sources"},
    "gelora/geometry": VOCABULARY | {"gelora.geometry"},
    "gelora/ranks": VOCABULARY | {"gelora.sources", "gelora.geometry", "gelora.ranks"},
    "gelora/tasks": VOCABULARY | {"gelora.sources", "gelora.tasks"},
    "gelora/runs": VOCABULARY | WINGS,
    "gelora/terminal.py": VOCABULARY,
    "gelora/doctor.py": VOCABULARY | WINGS,
    "gelora/opened_layer.py": VOCABULARY | {"gelora.sources", "gelora.geometry"},
    "gelora/sensitivity.py": VOCABULARY | {"gelora.sources", "gelora.geometry"},
    "gelora/block_predictors.py": VOCABULARY | {"gelora.geometry", "gelora.runs"},
    "gelora/study_findings.py": VOCABULARY | {"gelora.block_predictors"},
    "gelora/measurements": VOCABULARY | {"gelora.sources", "gelora.geometry", "gelora.sensitivity", "gelora.measurements", "gelora.runs"},
    "gelora/commands": VOCABULARY
    | WINGS
    | {
        "gelora.block_predictors",
        "gelora.commands",
        "gelora.doctor",
        "gelora.measurements",
        "gelora.opened_layer",
        "gelora.sensitivity",
        "gelora.terminal",
    },
    "gelora/cli_options.py": VOCABULARY,
    "gelora/cli.py": VOCABULARY | {"gelora.cli_options", "gelora.commands"},
    "gelora/__main__.py": {"gelora.cli"},
    "app": DASHBOARD,
    "pages": DASHBOARD,
}


def python_files() -> list[Path]:
    return sorted(p.relative_to(ROOT) for top in ("gelora", "app", "pages") for p in (ROOT / top).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Dotted modules that the file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names if node.module in ("gelora", "app", *WINGS)}
    return found


def place_of(path: Path) -> str:
    return max((place for place in MAY_IMPORT if path.as_posix() == place or path.as_posix().startswith(place + "/")), key=len)


def as_module(dotted: str) -> str | None:
    """The module of ours that a dotted name reaches (`gelora.records.Sample` -> `gelora.records`), or None."""
    parts = dotted.split(".")
    if parts[0] not in ("gelora", "app", "pages"):
        return None
    while parts:
        base = ROOT.joinpath(*parts)
        if base.with_suffix(".py").is_file() or (base / "__init__.py").is_file():
            return ".".join(parts)
        parts.pop()
    return None


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_imports_follow_the_path(path):
    place = place_of(path)
    own_wing = place.replace("/", ".") if (ROOT / place).is_dir() else None
    for module in {as_module(name) for name in imports_of(path)} - {None}:
        wing = ".".join(module.split(".")[:2]) if module.startswith("gelora.") else module.split(".")[0]
        if wing == "gelora" and place.startswith("gelora/"):
            pytest.fail(f"{path} imports the package's own face")
        assert wing in MAY_IMPORT[place], f"{path} imports {module}"
        if wing in WINGS and wing != own_wing:
            assert module == wing, f"{path} reaches past the face of {wing}, into {module}"


# What the parts of a wing may import of each other: imports flow one way inside it too.
PARTS = {
    "gelora/ranks": {"rule": {"rule"}, "scores": {"scores"}, "peft": {"rule", "peft"}},
    "gelora/runs": {
        "records": {"records"},
        "training": {"records", "training"},
        "racing": {"records", "training", "racing"},
        "process": {"records", "training", "racing", "process"},
    },
}


@pytest.mark.parametrize("path", [path for path in python_files() if path.parents[1].as_posix() in PARTS], ids=str)
def test_inside_a_wing_imports_flow_one_way(path):
    """The rule depends on neither scores nor PEFT, what is kept of a run not on the loop; no part goes by its wing's own face."""
    wing = path.parents[1].as_posix()
    for module in sorted({as_module(name) for name in imports_of(path)} - {None}):
        if module.startswith(wing.replace("/", ".")):
            part = module.split(".")[2] if module.count(".") > 1 else "the wing's own face"
            assert part in PARTS[wing][path.parts[2]], f"{path} imports {module}"


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT) for top in ("benchmarks", "docs") for p in (ROOT / top).glob("*.py")), ids=str)
def test_what_no_other_test_runs_imports_what_is_there(path):
    """Benchmarks and the makers of docs run by hand only; a name that went from the library must not go unnoticed there."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        module = as_module(node.module or "") if isinstance(node, ast.ImportFrom) else None
        if module:
            base = ROOT.joinpath(*module.split("."))
            source = (base / "__init__.py" if base.is_dir() else base.with_suffix(".py")).read_text()
            lost = [a.name for a in node.names if not re.search(rf"\b{a.name}\b", source) and as_module(f"{module}.{a.name}") == module]
            assert module == node.module and not lost, f"{path} imports {', '.join(lost)} from {node.module}"


def test_streamlit_is_only_in_app_and_pages():
    for path in python_files():
        if any(name.split(".")[0] == "streamlit" for name in imports_of(path)):
            assert path.parts[0] in ("app", "pages"), path


PAGES = {
    "home": "home",
    "layers": "layers",
    "ranks": "ranks",
    "finetune": "finetune",
    "runs": "runs",
    "evidence": "evidence",
    "estimators": "calibration",
    "theory": "theory",
}
"""The entry file of each page under pages/, and the folder of its parts under app/; teaching has a folder and no entry."""


def app_part(module: str) -> str:
    """The folder or file of app/ that a dotted module of it lies in: shared, charts, state, home, ..."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", [path for path in python_files() if path.parts[0] in ("app", "pages")], ids=str)
def test_pages_do_not_know_each_other(path):
    """A page's folder uses shared parts, charts and the choices, never another page's; what is shared knows no page."""
    folders = {*PAGES.values(), "teaching"}
    in_app = path.parts[1] if len(path.parts) > 2 else path.stem
    own = PAGES.get(path.stem, "") if path.parts[0] == "pages" else in_app
    may = {"shared", "charts", "state", own} if own in folders or path.parts[0] == "pages" else {
        "shared": {"shared", "charts", "state"}, "charts": {"charts"}, "state": {"shared"}, "frame": {"shared", "state"},
        "main": {"shared", "state", "frame", *folders}, "__init__": set(),
    }[own]  # fmt: skip
    for module in sorted({as_module(name) for name in imports_of(path)} - {None}):
        if module.startswith("app."):
            assert app_part(module) in may, f"{path} imports {module}"


def test_charts_are_pure():
    pure = [path for path in python_files() if path.parts[:2] == ("app", "charts") or path == Path("app/calibration/choices.py")]
    assert len(pure) > 9
    for path in pure:
        assert not any(name.split(".")[0] == "streamlit" for name in imports_of(path)), path


def test_there_is_one_way_to_poll():
    assert [str(path) for path in python_files() if "run_every" in (ROOT / path).read_text()] == ["app/shared/redraw.py"]


# What Streamlit takes for Markdown: these functions' first arguments, and these arguments of any function.
MARKDOWN = {
    "button", "caption", "checkbox", "download_button", "error", "expander", "header", "info", "link_button", "markdown",
    "metric", "multiselect", "number_input", "pills", "popover", "radio", "segmented_control", "select_slider", "selectbox", "slider",
    "spinner", "status", "subheader", "success", "text_area", "text_input", "title", "toast", "toggle", "warning",
}  # fmt: skip
MARKDOWN_ARGUMENTS = {"help", "text", "label", "body"}
NUMERIC = re.compile(r"[+]?[,]?(\.\d+)?[dfgeE%,]")


def markdown_arguments(call: ast.Call) -> list[ast.expr]:
    """What a call gives to Streamlit as Markdown; also of `(st.error if bad else st.info)(...)`."""
    function = call.func.body if isinstance(call.func, ast.IfExp) else call.func
    if not isinstance(function, ast.Attribute) or function.attr not in MARKDOWN | {"progress", "page_link"}:
        return []
    if function.attr == "metric" and ast.unparse(function.value) != "st":  # a method of a result
        return []
    first = call.args[: 3 if function.attr == "metric" else 1] if function.attr in MARKDOWN else []
    return first + [keyword.value for keyword in call.keywords if keyword.arg in MARKDOWN_ARGUMENTS]


def is_our_own(text: ast.expr) -> bool:
    """A constant (in place, or by its NAME), numbers written into one, or what `app.shared.markdown` made."""
    match text:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lstrip("_").isupper()
        case ast.Subscript(value=table) | ast.Call(func=ast.Attribute(value=table, attr="get")):
            return is_our_own(table)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, op=ast.Add(), right=other):
            return is_our_own(one) and is_our_own(other)
        case ast.JoinedStr(values=parts):
            return all(isinstance(part, ast.Constant) or is_number(part) for part in parts)
        case ast.Call(func=ast.Name(id="plain" | "bold")):
            return True
        case ast.Call(func=ast.Name(id="md" | "Markdown"), args=[template, *_]):
            return is_our_own(template)
    return False


def is_number(part: ast.expr) -> bool:
    """{value:.2f} and the like: no text can be written so."""
    return isinstance(part, ast.FormattedValue) and bool(part.format_spec) and bool(NUMERIC.fullmatch(ast.unparse(part.format_spec)[2:-1]))


def test_inserted_words_come_to_streamlit_as_plain_text():
    """Never a link, a picture or a colour out of a file, an address or a log: `plain`, `bold` and `md` of app/shared/markdown.py."""
    found, tables, charts = [], [], []
    cards = "app/theory/card.py"  # whose words are constants of app/theory/texts.py, data alone
    for path in [path for path in python_files() if path.parts[0] != "gelora" and path.name != "markdown.py"]:
        text = (ROOT / path).read_text()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            made = [node] if isinstance(node.func, ast.Name) and node.func.id in ("md", "Markdown") else []
            foreign = [ast.unparse(text) for text in [*markdown_arguments(node), *made] if not is_our_own(text)]
            found += [f"{path}:{node.lineno}: {text}" for text in foreign if path != Path(cards) or "Markdown(words." not in text]
        tables += [path.as_posix()] * text.count("st.table(")
        charts += [path.as_posix()] * text.count("st.plotly_chart(")
        assert "unsafe_allow_html" not in text and "st.write(" not in text, path
    assert not found, "\n".join(found)
    assert tables == ["app/layers/texts.py"]  # whose cells are Markdown
    assert set(charts) == {"app/layers/paper.py", "app/shared/figures.py"}  # Plotly's words pass app/charts/words.py there
    assert imports_of(Path("app/theory/texts.py")) == {"app.theory.card"}


def test_the_search_for_inserted_words_sees_them():
    seen = {
        'st.markdown(f"**{name}**")', "st.error(str(error))", 'st.caption("a" + name)', "st.button(words)", 'st.info(md(f"{name}"))',
        'st.toggle("x", help=name)', '(st.error if bad else st.info)(reason)', 'st.caption(f"{name:>5}")', 'st.metric("Loss", value)',
    }  # fmt: skip
    passed = {
        'st.markdown(md("**{}**", name))', "st.error(plain(error))", 'st.caption(f"{n:,} of {share:.1%}")', "st.info(HELP[name])",
        'st.toggle("x", help=_HELP.get(name))', "st.caption(plain(a) if a else 'none')",
    }  # fmt: skip
    for code in seen | passed:
        arguments = markdown_arguments(ast.parse(code, mode="eval").body)
        assert arguments and all(map(is_our_own, arguments)) == (code in passed), code


def test_there_is_one_way_to_csv():
    """`gelora.csv_text`, which keeps a spreadsheet from running a cell."""
    writes = re.compile(r"\.to_csv\(|csv\.(writer|DictWriter)\(")
    assert [path for path in python_files() if writes.search((ROOT / path).read_text())] == []


def test_importing_gelora_loads_nothing_heavy():
    heavy = ["torch", "streamlit", "transformers", "mlflow", "datasets", "peft", "pandas", "sklearn"]
    code = f"import gelora, gelora.cli, sys; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_grab_bag_files():
    assert [p for p in python_files() if p.stem in ("utils", "common", "helpers", "misc")] == []
