"""The bundled dataset: first paragraphs of the docstrings of six installed packages, labelled by package.

Reads source files as text with `ast` and imports none of them. Knows how a docstring becomes a sentence and which
sentences are copies of one template; knows nothing of drawing samples.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from gelora.errors import DataError, StoreError
from gelora.home import cache_dir, write_atomically
from gelora.records import Progress

# import name -> distribution, and the names by which a text could give its package away
PACKAGES = {
    "numpy": ("numpy", ("numpy", "np")),
    "scipy": ("scipy", ("scipy",)),
    "sklearn": ("scikit-learn", ("scikit-learn", "sklearn", "scikit")),
    "pandas": ("pandas", ("pandas", "pd")),
    "plotly": ("plotly", ("plotly", "py")),
    "streamlit": ("streamlit", ("streamlit", "st")),
}
MASK = "library"
SHORTEST, LONGEST = 30, 300  # characters
_TEMPLATE_WORDS = 6
_NOT_DOCUMENTATION = frozenset(["tests", "test", "testing", "_vendor", "externals"])
_FORMAT = 1  # raise it when the rules below change, so that an older cache is not used

_IDENTIFIER = re.compile(r"`+[^`]*`+|'[^']*'|\"[^\"]*\"|\S*[_.()\[\]=/\\<>]\S*\w\S*|\b\w*[a-z][A-Z]\w*\b")
_LETTERS = re.compile(r"[a-z]{3}", re.IGNORECASE)

logger = logging.getLogger(__name__)


def docstring_rows(progress: Progress | None = None) -> tuple[list[dict[str, str]], str]:
    """All sentences with their package, and a digest of what they were read from.

    The scan takes some ten seconds once; its result is kept under GELORA_HOME for these versions of the packages.

    Returns:
        rows {"text", "label"} in a fixed order; 16 hex digits that change with the packages' versions.

    Raises:
        DataError: none of the packages is installed with its source.
    """
    versions = {name: _version(distribution) for name, (distribution, _) in PACKAGES.items()}
    revision = hashlib.sha256(json.dumps([_FORMAT, versions]).encode()).hexdigest()[:16]
    path = cache_dir("docstrings") / f"{revision}.json"
    if path.is_file():
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(rows, list) and rows and all(set(row) == {"text", "label"} for row in rows):
                return rows, revision
        except (OSError, ValueError, TypeError) as error:
            logger.warning("The cached scan %s is damaged (%s); reading the packages again.", path, error)
    rows = _scan(progress)
    if not rows:
        raise DataError(f"None of {', '.join(PACKAGES)} is installed with its source, so there are no docstrings to read.")
    try:
        write_atomically(path, json.dumps(rows, ensure_ascii=False).encode())
    except StoreError as error:
        logger.warning("The scan is used but could not be kept: %s", error)
    return rows, revision


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _scan(progress: Progress | None) -> list[dict[str, str]]:
    files = [(name, file) for name in PACKAGES for file in _source_files(name)]
    rows: list[dict[str, str]] = []
    texts: set[str] = set()
    templates: set[str] = set()
    for i, (name, file) in enumerate(files):
        if progress is not None and i % 50 == 0:
            progress("Reading docstrings", i, len(files))
        for docstring in _docstrings(file):
            text = sentence(docstring, name)
            if text is None or text.lower() in texts or template(text) in templates:
                continue
            texts.add(text.lower())
            templates.add(template(text))
            rows.append({"text": text, "label": name})
    if progress is not None:
        progress("Reading docstrings", len(files), len(files))
    return rows


def _source_files(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)  # of a top-level name: finds the folder, imports nothing
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = ((file, file.relative_to(folder)) for folder in folders for file in Path(folder).rglob("*.py"))
    return sorted(file for file, inside in files if not _NOT_DOCUMENTATION.intersection(inside.parts))


def _docstrings(file: Path) -> Iterator[str]:
    try:
        source = file.read_text(encoding="utf-8")
        if '"""' not in source and "'''" not in source:
            return
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return  # a file for another Python, or a template: it has no docstrings for us
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield inspect.cleandoc(docstring)


def sentence(docstring: str, package: str) -> str | None:
    """The first paragraph as one line with the package's own names masked; None when it is no plain text of 30 to 300 characters."""
    text = " ".join(docstring.split("\n\n", 1)[0].split())
    if not SHORTEST <= len(text) <= LONGEST or text.startswith((".. ", ">>>", "---", "===", "@", "#", "|", "[object")) or ">>>" in text:
        return None
    if len(_LETTERS.findall(text)) < 4:
        return None
    names = "|".join(re.escape(alias) for alias in PACKAGES[package][1])
    return re.sub(rf"(?<![\w-])({names})(?![\w-])", MASK, text, flags=re.IGNORECASE)


def template(text: str) -> str:
    """What a text shares with others of its kind: its first six words, identifiers and digits masked, in lower case."""
    masked = re.sub(r"\d+", "0", _IDENTIFIER.sub("x", text).lower())
    return " ".join(masked.split()[:_TEMPLATE_WORDS])
