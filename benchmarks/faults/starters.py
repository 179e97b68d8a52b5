"""Who starts runs and can be killed: this process, a process that looks at runs, `gelora train` in the foreground, a Streamlit server.

Each gets specs and is asked which runs have come of it. Does not depend on what is killed or when.
"""

import contextlib
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.small_runs import PATIENCE_SECONDS

# What a dashboard does, as a page of a Streamlit server and as a process without one; each gets a file of specs.
PAGE = """
import json
from pathlib import Path
import streamlit as st
from gelora.records import RunSpec
from gelora.runs import list_runs, start_run

if st.button("Start"):
    for text in json.loads(Path(__file__).with_name("specs.json").read_text()):
        start_run(RunSpec.from_json(text))

@st.fragment(run_every=1.0)
def table():
    st.write({info.id: info.state.status for info in list_runs()})

table()
"""
STAND_IN = """
import json, sys, time
from pathlib import Path
from gelora.records import RunSpec
from gelora.runs import list_runs, resume_run, start_run

for text in json.loads(Path(sys.argv[1]).read_text()):
    start_run(RunSpec.from_json(text)) if text.startswith("{") else resume_run(text)
while True:
    list_runs()
    time.sleep(1)
"""


class Starter:
    """A process that starts or resumes runs and then looks at them, as a dashboard does."""

    name = "process"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gelora-starter-"))
        self._specs = self._folder / "specs.json"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, specs: Sequence[Any]) -> None:
        """Begin to start runs; a text in a spec's place is the id of one to resume. Returns at once."""
        self._specs.write_text(json.dumps([spec if isinstance(spec, str) else spec.to_json() for spec in specs]))
        self._begin()

    def _begin(self) -> None:
        self._run([sys.executable, "-c", STAND_IN, str(self._specs)])

    def _run(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Foreground(Starter):
    """`gelora train --spec FILE` (or `gelora resume ID`), followed in a shell's foreground; of one run."""

    name = "gelora train"

    def _begin(self) -> None:
        (asked,) = json.loads(self._specs.read_text())
        spec = self._folder / "spec.json"
        spec.write_text(asked)
        self._run([sys.executable, "-m", "gelora", *(["train", "--spec", str(spec)] if asked.startswith("{") else ["resume", asked])])


class ThisProcess(Starter):
    """The process of the try itself, which has the libraries ready; for runs that are killed without their starter."""

    name = "this process"

    def _begin(self) -> None:
        from gelora.records import RunSpec
        from gelora.runs import resume_run, start_run

        for text in json.loads(self._specs.read_text()):
            _ = start_run(RunSpec.from_json(text)) if text.startswith("{") else resume_run(text)


class Server(Starter):
    """A Streamlit server whose page starts the runs when its button is pressed in a headless Chromium."""

    name = "streamlit server"

    def _begin(self) -> None:
        from benchmarks.serving import serve

        page = self._folder / "page.py"
        page.write_text(PAGE)
        self.process, address = serve(script=page)
        self._tab = browser().new_page()
        self._tab.goto(address)
        self._tab.get_by_role("button", name="Start").click(timeout=PATIENCE_SECONDS * 1000)

    def end(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(AttributeError):  # it never got as far as a tab
            self._tab.close()
        super().end()


@functools.cache
def browser() -> Any:
    """A headless Chromium for all tries of this process."""
    from playwright.sync_api import sync_playwright

    from benchmarks.serving import launch

    return launch(sync_playwright().start())
