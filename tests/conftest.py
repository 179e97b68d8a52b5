"""What every test shares: no network, a data folder of its own, the real data beside the checkout."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import filelock
import hypothesis
import pytest

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("gelora", deadline=None)
hypothesis.settings.load_profile("gelora")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores; more threads fight each other
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)
_HOME = tempfile.TemporaryDirectory(prefix="gelora-test-")
os.environ["GELORA_HOME"] = _HOME.name
sys.path.insert(0, str(Path(__file__).parent))

WORDS = ["river", "stone", "cloud", "paper", "music", "garden", "window", "letter", "bridge", "forest"]
WORDS += ["market", "winter", "summer", "orange", "silver", "copper", "table", "planet", "island", "thunder"]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that lie beside a development checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data sets in {SHARED_DATA}, which are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny random BERT and a labelled file of 120 distinct sentences."""
    from tiny_models import save_tiny_model

    folder = tmp_path_factory.mktemp("tiny")
    model = save_tiny_model("bert", folder / "model")
    a, b, c = (lambda i: WORDS[i % 20]), (lambda i: WORDS[(i * 7 + i // 20) % 20]), (lambda i: WORDS[(i * 3 + 1) % 20])
    rows = [{"text": f"the {a(i)} and the {b(i)} of {c(i)} {i}", "label": i % 2} for i in range(120)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(model), str(data)


@pytest.fixture(scope="session")
def bundled_sentences(tmp_path_factory) -> Path:
    """The bundled sentences as they are kept on disk, in this worker's data folder; read once for all workers (20 s)."""
    from gelora.sources.docstrings import read_docstrings

    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared
    kept = Path(_HOME.name) / "cache" / "docstrings"
    with filelock.FileLock(shared / "bundled.lock"):
        if (shared / "bundled").is_dir():
            shutil.copytree(shared / "bundled", kept, dirs_exist_ok=True)
        else:
            read_docstrings()
            shutil.copytree(kept, shared / "bundled")
    return kept


@pytest.fixture(scope="session")
def libraries_loaded():
    """Runs that this worker starts are forked off a process that has loaded the libraries once (10 s)."""
    from gelora.runs import keep_ready
    from gelora.runs.process import preloaded

    keep_ready()
    preloaded.wait_until_ready()


@pytest.fixture
def gelora_home(tmp_path, monkeypatch) -> Path:
    """A data folder for one test alone."""
    home = tmp_path / "gelora-home"
    monkeypatch.setenv("GELORA_HOME", str(home))
    return home
