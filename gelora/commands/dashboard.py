"""`gelora dashboard`: the dashboard's server, started where its files lie: inside the installed package, or in a checkout."""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from gelora.errors import InputError
from gelora.records import check_whole

_PACKAGE = Path(__file__).resolve().parents[1]


def dashboard(options: argparse.Namespace) -> int:
    """Run the server until it is interrupted; its exit status is the command's.

    Raises:
        InputError: Streamlit is not installed, or the dashboard's files are not there.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise InputError("The dashboard needs Streamlit, which is not installed; install it with: pip install 'gelora-lab[dashboard]'.")
    root = dashboard_root()
    command = [sys.executable, "-m", "streamlit", "run", str(root / "app" / "main.py")]
    command += [] if options.port is None else ["--server.port", str(check_whole("--port", options.port, 0, 65535))]
    command += ["--server.headless", "true"] if options.no_browser else []
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # who ends the command means the server
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the server has it too, and ends by itself
            continue


def dashboard_root() -> Path:
    """The folder that holds `app/`, `pages/` and `assets/`.

    Raises:
        InputError: it is not there.
    """
    for root in (_PACKAGE / "dashboard", _PACKAGE.parent):
        if (root / "app" / "main.py").is_file():
            return root
    raise InputError(f"The dashboard's files are neither in {_PACKAGE / 'dashboard'} nor in {_PACKAGE.parent}; install gelora-lab again.")
