"""The bundled data: first paragraphs of the docstrings of six installed packages, each labelled with its package.

Reads source files with `ast` and never imports them; keeps the result under GELORA_HOME. Does not depend on how samples are drawn.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gelora.errors import DataError, StoreError
from gelora.home import cache_dir, made, write_atomically
from gelora.records import Progress

STAGE = "Reading docstrings"
MIN_CHARACTERS, MAX_CHARACTERS = 30, 300

_FORMAT = 2  # raise it when the same packages would now give other rows
_REPORT_EVERY = 20

# Import name -> distribution and the name's other spellings, all of which would give the label away.
_PACKAGES = {
    "numpy": ("numpy", r"numpy|\bnp(?=\.)"),
    "scipy": ("scipy", r"scipy"),
    "sklearn": ("scikit-learn", r"scikit-learn|sklearn"),
    "pandas": ("pandas", r"pandas|\bpd(?=\.)"),
    "plotly": ("plotly", r"plotly|\b(?:px|go)(?=\.)"),
    "streamlit": ("streamlit", r"streamlit|\bst(?=\.)"),
}
_MASK = "package"

# Not prose: doctests, directives, field lists, section underlines, templates to be filled in.
_NOISE = re.compile(r">>>|^\w+\(|\.\. \w+::|^[:@%.*]|%\(|-{4}|={4}|~{4}|\{\w*\}|\b(Returns|Examples?|Notes) -{3}")
_WORD = re.compile(r"[A-Za-z]{2,}")
_MIN_WORDS = 4
_MIN_PROSE = 0.75  # share of letters and spaces; below it the text is a formula or a signature
# What stands for a name of code: quoted, dotted or underscored, in CamelCase, with a digit, or capitalised past the first word.
_IDENTIFIER = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\w*[_.]\w[\w.()]*|\b\w*[a-z]\w*[A-Z]\w*|\b\w*\d\w*|(?<=\s)[A-Z]\w*")
_TEMPLATE_WORDS = 6

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Docstrings:
    """Distinct first paragraphs, and for each the place of its package in `packages`; `revision` is a digest of both."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    packages: tuple[str, ...]
    revision: str


def read_docstrings(progress: Progress | None = None) -> Docstrings:
    """The docstrings of the installed packages: read once (some ten seconds), then kept until a package changes.

    Args:
        progress: called with ("Reading docstrings", files done, files) while files are read; may raise `Cancelled`.

    Raises:
        DataError: one of the packages is not installed as source files.
    """
    versions, key = _identity()
    kept = _read_kept(key)
    if kept is not None:
        return kept
    found = _scan(progress or (lambda stage, done, total: None))
    try:
        content = {"revision": found.revision, "versions": versions, "texts": found.texts, "labels": found.labels}
        path = _path(key)
        made(path.parent)
        write_atomically(path, json.dumps(content).encode())
    except StoreError as error:
        _log.warning("The docstrings were not kept for the next time: %s", error)
    return found


def is_kept() -> bool:
    """Whether they have been read and kept, so that `read_docstrings` gives them at once.

    Raises:
        DataError: one of the packages is not installed.
    """
    return _path(_identity()[1]).is_file()


def _identity() -> tuple[dict[str, str], str]:
    versions = {name: _version(name) for name in _PACKAGES}
    return versions, hashlib.sha256(json.dumps([_FORMAT, versions]).encode()).hexdigest()[:16]


def first_paragraph(docstring: str, package: str) -> str | None:
    """The first paragraph as one line with the package's name masked, or None where it is no sentence of fitting length."""
    paragraph = " ".join(re.split(r"\n[ \t]*\n", docstring.strip(), maxsplit=1)[0].split())
    if len(paragraph) > 2 * MAX_CHARACTERS or _NOISE.search(paragraph):
        return None
    text = re.sub(_PACKAGES[package][1], _MASK, paragraph, flags=re.IGNORECASE)
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS or len(_WORD.findall(text)) < _MIN_WORDS:
        return None
    prose = sum(character.isalpha() or character == " " for character in text)
    return text if prose >= _MIN_PROSE * len(text) else None


def template_of(text: str) -> str:
    """The first six words, lower-cased, with identifiers and numbers masked: "Sets the color of `x`" is one with "... of `y`"."""
    masked = _IDENTIFIER.sub(" # ", text).lower()
    return " ".join(re.findall(r"[^\W_]+|#", masked)[:_TEMPLATE_WORDS])


def _scan(progress: Progress) -> Docstrings:
    started = time.perf_counter()
    packages = tuple(_PACKAGES)
    files = [(package, path) for package in packages for path in _source_files(package)]
    texts: list[str] = []
    labels: list[int] = []
    seen: set[str] = set()
    read: set[str] = set()  # generated classes repeat whole docstrings; told apart before any work on them
    for done, (package, path) in enumerate(files):
        if done % _REPORT_EVERY == 0:
            progress(STAGE, done, len(files))
        for docstring in _docstrings_of(path):
            text = None if docstring in read else first_paragraph(docstring, package)
            read.add(docstring)
            if text is None:
                continue
            template = template_of(text)
            if template not in seen:
                seen.add(template)
                texts.append(text)
                labels.append(packages.index(package))
    progress(STAGE, len(files), len(files))
    if not texts:
        raise DataError(f"No docstrings were found in {', '.join(packages)}; reinstall them with their .py files, or choose a data file.")
    _log.info("Read %d docstrings from %d files in %.1f s", len(texts), len(files), time.perf_counter() - started)
    return Docstrings(tuple(texts), tuple(labels), packages, _revision(texts, labels))


@functools.cache  # a page asks at every run; what is imported stays as it is for the process's life
def _installed_version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


def _version(package: str) -> str:
    try:
        return _installed_version(_PACKAGES[package][0])
    except importlib.metadata.PackageNotFoundError as error:
        distribution = _PACKAGES[package][0]
        message = f"The docstrings data needs {distribution}, which is not installed; pip install {distribution}, or choose a data file."
        raise DataError(message) from error


def _source_files(package: str) -> list[Path]:
    """The package's own modules in a fixed order, tests left out; the package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"The docstrings data needs the source files of {package}, which were not found; reinstall {package}.")
    root = Path(next(iter(spec.submodule_search_locations)))
    relative = [path.relative_to(root) for path in root.rglob("*.py")]
    chosen = [path for path in relative if "tests" not in path.parts and path.name != "conftest.py"]
    return [root / path for path in sorted(chosen, key=lambda path: path.as_posix())]


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        source = path.read_bytes()
        if b'"""' not in source and b"'''" not in source:  # saves parsing the many files of plain imports
            return
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        _log.debug("%s is left out: %s", path, error)  # packages ship a few files that are templates, not Python
        return
    scopes: list[ast.stmt | ast.Module] = [tree]
    while scopes:
        scope = scopes.pop()
        body: list[ast.stmt] = getattr(scope, "body", [])
        if not isinstance(scope, ast.If | ast.Try) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            docstring = body[0].value.value
            if isinstance(docstring, str):
                yield docstring
        inner = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.Try)
        scopes.extend(statement for statement in reversed(body) if isinstance(statement, inner))


def _revision(texts: list[str], labels: list[int]) -> str:
    return hashlib.sha256(json.dumps([texts, labels]).encode()).hexdigest()[:16]


def _path(key: str) -> Path:
    return cache_dir("docstrings") / f"{key}.json"


def _read_kept(key: str) -> Docstrings | None:
    try:
        path = _path(key)
        content = json.loads(path.read_bytes())
        texts, labels, revision = content["texts"], content["labels"], content["revision"]
        if len(texts) == len(labels) > 0 and _revision(texts, labels) == revision:
            return Docstrings(tuple(texts), tuple(labels), tuple(_PACKAGES), revision)
        reason: object = "its digest is wrong"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, StoreError) as error:
        reason = error
    _log.warning("The kept docstrings cannot be read (%s); they are read from the packages again.", reason)
    return None
