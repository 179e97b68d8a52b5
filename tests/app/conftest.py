"""What the dashboard's tests share: a running dashboard, a real browser, a tiny model with a file of sentences."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # for made_profiles
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session", autouse=True)
def components_are_looked_for_once():
    """Each AppTest reads the metadata of every installed package, for components; what is installed stays as it is meanwhile."""
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


@dataclass
class Dashboard:
    """A dashboard process with a data folder of its own; script: what it serves."""

    home: Path
    port: int
    log: Path
    script: Path = ROOT / "app" / "main.py"
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        environment = os.environ | {"GELORA_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "streamlit", "run", str(self.script)]
        options = ["--server.headless", "true", "--server.port", str(self.port), "--browser.gatherUsageStats", "false"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options], cwd="/", env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        raise RuntimeError(f"The dashboard did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=120)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(folder: Path, script: Path = Dashboard.script) -> Iterator[Dashboard]:
    running = Dashboard(folder / "home", free_port(), folder / "server.log", script)
    running.start()
    yield running
    running.kill()


@contextlib.contextmanager
def started_with_sentences(folder: Path, sentences: Path) -> Iterator[Dashboard]:
    """A dashboard that has read the bundled sentences already."""
    shutil.copytree(sentences, folder / "home" / "cache" / "docstrings")
    with started(folder) as running:
        yield running


@pytest.fixture(scope="session")
def dashboard(tmp_path_factory, bundled_sentences):
    """The dashboard, started from `/`; tests that share it start no run, and measure samples that no other test measures."""
    with started_with_sentences(tmp_path_factory.mktemp("dashboard"), bundled_sentences) as running:
        yield running


@pytest.fixture(scope="module")
def own_dashboard(tmp_path_factory, bundled_sentences):
    """A dashboard for the tests of one file, which start runs."""
    with started_with_sentences(tmp_path_factory.mktemp("own"), bundled_sentences) as running:
        yield running


@pytest.fixture(scope="module")
def fresh_dashboard(tmp_path_factory):
    """A dashboard as a new user has it: nothing in its data folder."""
    with started(tmp_path_factory.mktemp("fresh")) as running:
        yield running


@pytest.fixture
def plain_words_page(tmp_path):
    """`plain_words_script.py` as Streamlit serves it."""
    with started(tmp_path, Path(__file__).with_name("plain_words_script.py")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by Playwright; skipped where there is none, unless GELORA_REQUIRE_BROWSER is set."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        reason = "needs a Chromium on the PATH (Debian: apt-get install chromium)"
        if os.environ.get("GELORA_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield running
        running.close()


@pytest.fixture
def home_of_dashboard(dashboard, monkeypatch):
    """The dashboard's data folder as this process's, with nothing left running afterwards."""
    monkeypatch.setenv("GELORA_HOME", str(dashboard.home))
    from gelora.runs import list_runs, stop_run

    yield dashboard.home
    for run in list_runs():
        if run.is_live:
            stop_run(run.id, grace_seconds=0)
