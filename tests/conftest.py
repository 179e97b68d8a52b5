"""What every test shares: no network, a state folder of its own, the real data beside the checkout."""

import os
import sys
import tempfile
from pathlib import Path

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

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that lie beside a development checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data sets in {SHARED_DATA}, which are not here")
    return SHARED_DATA


@pytest.fixture
def gelora_home(tmp_path, monkeypatch) -> Path:
    """A state folder for one test alone."""
    home = tmp_path / "gelora-home"
    monkeypatch.setenv("GELORA_HOME", str(home))
    return home
