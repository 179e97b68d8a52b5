"""What is made ready before the first measurement: bundled data by a process, libraries by a thread.

What the process does is in `gelora.measurements.prepare`.
"""

import contextlib
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from gelora.records import Progress

logger = logging.getLogger(__name__)


class WarmUp:
    """What is made beside a server's first page: bundled data by a process, the libraries by a thread."""

    def __init__(self) -> None:
        command, root = [sys.executable, "-m", "gelora.measurements.prepare"], Path(__file__).parents[2]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._thread = threading.Thread(target=_load_libraries, name="load-libraries", daemon=True)
        self._thread.start()

    def wait(self, progress: Progress, data_too: bool) -> None:
        """Wait for the libraries, and for the bundled data when asked; `progress` is called meanwhile, so that a person can cancel.

        A failure is raised again, as a sentence, where the thing is used.
        """
        while self._thread.is_alive():
            progress("Loading the libraries", 0, 0)
            self._thread.join(0.1)
        while data_too and self._process.poll() is None:
            progress("Reading the bundled sentences, once", 0, 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)

    def is_at(self, what: str) -> bool:
        """Whether the `data` or the `libraries` are still being made ready."""
        return self._process.poll() is None if what == "data" else self._thread.is_alive()


def _load_libraries() -> None:
    time.sleep(0.5)  # until the server's first run of the page has ended, which changes sys.path (see app/main.py)
    import peft
    import transformers

    logger.debug("Loaded transformers %s, peft %s", transformers.__version__, peft.__version__)


_begun: list[WarmUp] = []
_lock = threading.Lock()


def warm_up() -> WarmUp:
    """This process's one warm-up, started at the first call: loading libraries makes pages slow."""
    with _lock:
        if not _begun:
            _begun.append(WarmUp())
        return _begun[0]


def is_warming_up(what: str) -> bool:
    """Whether it was started and is still at the `data` or the `libraries`; starts nothing."""
    return any(begun.is_at(what) for begun in _begun)
