"""A dashboard of its own and a headless Chromium, for whatever times or pictures pages."""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / "app" / "main.py"
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def serve(port: int | None = None, script: Path = MAIN) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address; on any free port when none is given. It inherits the environment, and ends with us."""
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    flags = ["--server.headless", "true", "--server.address", "127.0.0.1", "--server.port", str(port), "--server.fileWatcherType", "none"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *flags, "--browser.gatherUsageStats", "false"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:  # it ends at once where another one has its port
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):
                return server, url
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    server.kill()
    sys.exit("the dashboard did not start")


def launch(playwright: Playwright) -> Browser:
    """The Chromium on the PATH; without one the command ends with a sentence."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("this needs a Chromium on the PATH (Debian: apt-get install chromium)")
    return playwright.chromium.launch(executable_path=chromium, args=_FLAGS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
