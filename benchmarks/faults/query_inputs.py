"""Links with odd parameters, opened through Streamlit's own test runner: every page stands, and shows no traceback."""

import functools
import os
from pathlib import Path
from typing import Any

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.command_inputs import prepare

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
_PAGES = ("home", "layers", "ranks", "finetune", "runs", "evidence", "estimators", "theory")
_USUAL = {"estimators": "twonn,mle", "n": "100", "length": "32"}
_SECONDS = 60.0  # on a busy machine; of one page


def attempt(found: Try) -> None:
    """One page with one to five parameters that are odd, and others that are as a link has them.

    Raises:
        Fault: the page raised, or did not stand in time.
    """
    from streamlit.testing.v1 import AppTest

    from app.state import FIELDS

    rng = found.rng
    small_runs.quiet()
    page = rng.choice(_PAGES)
    choices = _USUAL | {"model": str(found.material / "model"), "data": str(found.material / "rows.jsonl")}
    names = rng.sample((*FIELDS, "page", "x", "model", "data", "run", "compare", "edits", "guesses", "match"), rng.randint(1, 5))
    for name in names:
        choices[name] = rng.choice((rng.choice(odd.TEXTS), str(rng.choice(odd.NUMBERS)), *_of_its_kind(found, name)))
    found.case, found.facts["parameters"] = page, {name: choices[name][:200].encode("utf-8", "replace").decode() for name in names}
    app = AppTest.from_file(str(MAIN), default_timeout=_SECONDS)
    for name, text in choices.items():
        app.query_params[name] = text
    try:
        app.switch_page(f"../pages/{page}.py").run()
    except RuntimeError as error:
        require("timed out" not in str(error), "wrong", str(error)[:300])
        raise
    require(not app.exception, "traceback", "; ".join(f"{shown.message}: {shown.stack_trace[-1:]}" for shown in app.exception)[:600])
    errors = [shown.value for shown in app.error]
    require(not any("Traceback" in text or "unexpected" in text.lower() for text in errors), "traceback", " ".join(errors)[:600])
    found.facts["answers"] = {"page": "a sentence" if errors else "a result"}


def _of_its_kind(found: Try, name: str) -> tuple[str, ...]:
    """Values that are legal or nearly so."""
    return {
        "run": ("20260101-000000-model-rows-0001",),
        "estimators": ("twonn", "mle,mle", "twonn,x", "all"),
        "edits": ("0:3", "1:99999", "-1:2", "a:b", "0:2,0:3"),
        "guesses": ("1:a", "6:z", "1"),
        "match": ("uniform:3", "params:1000", "mb:0.001", "uniform:-1"),
        "compare": ("model", "dataset", "run"),
        "teach": ("1", "true"),
        "text": ("text", "label"),
        "label": ("label", "text"),
    }.get(name, ("1",))


def prepare_pages(material: Path) -> None:
    """What commands need, and a page opened once, so that everything is loaded."""
    from streamlit.components.v2 import manifest_scanner
    from streamlit.testing.v1 import AppTest

    prepare(material)
    # Each AppTest reads the metadata of every installed package, for components; what is installed stays as it is meanwhile.
    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
    os.environ["GELORA_HOME"] = str(material / "home")
    app: Any = AppTest.from_file(str(MAIN), default_timeout=600)
    for page in _PAGES:
        app = app.switch_page(f"../pages/{page}.py").run()


KINDS = (Kind("queries", prepare_pages, attempt, 2 * _SECONDS),)
