"""Before a class: makes everything that the six steps of teaching mode show, then opens them: `python -m app.teaching.rehearse`.

Says what it does and how long each part took. What is there already is not made again, so that a second call is quick.
Holds the order of the work; how each part is done is in `app.shared.cache`, `app.teaching.ratios` and `gelora.runs`.
"""

import argparse
import functools
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.logger import set_log_level

from app.state import FIELDS, measurement_of
from gelora.errors import GeloraError
from gelora.home import home
from gelora.measurements import Job, MeasurementSpec, Quantity

MAIN = Path(__file__).parents[1] / "main.py"
PORT = 8501


def main() -> int:
    """Prepare, then open the dashboard at its first step; 2 when something could not be made."""
    parser = argparse.ArgumentParser(prog="python -m app.teaching.rehearse", description=__doc__)
    parser.add_argument("--only-prepare", action="store_true", help="do not open the dashboard")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the dashboard ({PORT} unless given)")
    parser.add_argument("--browser", action="store_true", help="open a browser at the first step")
    options = parser.parse_args()
    set_log_level("error")  # Streamlit's caches work without a server, and say so at every call
    try:
        prepare(measurement_of({key: field.default for key, field in FIELDS.items()}))
    except GeloraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.only_prepare:
        return 0
    address = f"http://localhost:{options.port}/?teach=1"
    _say(f"Open {address} (end it with Ctrl+C)")
    if options.browser:
        webbrowser.open(address)
    command = [sys.executable, "-m", "streamlit", "run", str(MAIN), "--server.headless", "true", "--server.port", str(options.port)]
    return subprocess.call(command)


def prepare(wanted: MeasurementSpec) -> None:
    """All that the six steps need for one measurement, each part said with its seconds.

    Raises:
        GeloraError: data, model or the recorded run cannot be read.
    """
    from app.shared.cache import measurements  # after Streamlit was asked to be quiet: what it caches with says a word when loaded
    from app.teaching import ratios
    from app.teaching.recorded_run import recorded

    _say(f"State is in {home()}")
    _timed("The recorded run of step 6", recorded)
    _timed("The distances of step 1 (reads the sentences and runs the model, once)", lambda: _finished(ratios.start(wanted)))
    chosen: list[str] = FIELDS["estimators"].default  # type: ignore[assignment]  # a field's default is of its own kind
    for name in chosen:
        curve = functools.partial(measurements().start, wanted, Quantity("estimators", (name,)))
        _timed(f"The curve of {name}", lambda curve=curve: _finished(curve()))  # type: ignore[misc]


def _finished(job: Job | None) -> None:
    """Wait for a job; None: it was there already."""
    if job is None:
        return
    while not job.wait(0.5):
        pass
    if job.error:
        raise GeloraError(job.error)


def _timed(what: str, work: Callable[[], Any]) -> None:
    started = time.perf_counter()
    work()
    _say(f"{time.perf_counter() - started:6.1f} s  {what}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
