"""What a run process does: `python -m gelora.runs.worker RUN_ID`.

SIGTERM asks it to stop: at once while it is setting up, after the step when it trains. Every end is a sentence in the
run's record. What the run does meanwhile is `work`'s.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from gelora.errors import ChecksumError, DataError, GeloraError, HubError, InputError, ModelError, StoreError
from gelora.records import RunSpec
from gelora.runs.recorder import Recorder
from gelora.runs.state import LIVE, read_json, read_spec, read_state, run_folder
from gelora.runs.work import work

_KINDS: dict[type[GeloraError], str] = {
    DataError: "data",
    InputError: "input",
    ModelError: "model",
    HubError: "hub",
    ChecksumError: "checksum",
    StoreError: "store",
}


class StopRequested(BaseException):
    """Raised by SIGTERM while nothing is worth saving; not an Exception, so that no library swallows it."""


class StopSwitch:
    """SIGTERM, as a question that training asks and as an exception while `raises` is set."""

    def __init__(self) -> None:
        self.requested = False
        self.raises = True

    def __call__(self) -> bool:
        return self.requested

    def install(self) -> None:
        """Take over SIGTERM."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def arm(self, raises: bool) -> None:
        """Set whether the next SIGTERM raises; raises now if one has come already."""
        self.raises = raises
        if self.requested:
            raise StopRequested

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self.requested = True
        if self.raises:
            raise StopRequested


def _reason(error: Exception, spec: RunSpec | None) -> str:
    """Why a run failed, in words that begin with the kind of failure."""
    text = str(error).strip()
    if isinstance(error, GeloraError):
        kind = _KINDS.get(type(error))
        return f"{kind}: {text}" if kind else text
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "not enough memory" in text.lower():
        batch = f" (batch_size is {spec.training.batch_size}, max_length {spec.training.max_length})" if spec else ""
        return f"out of memory: lower batch_size or max_length, or choose a smaller model{batch}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk full: free some space or set GELORA_HOME to another disk"
    last = text.splitlines()[-1] if text else "no message"
    return f"error: {type(error).__name__}: {last[:300]}; the log has the traceback"


def _one_gpu() -> None:
    """The Trainer would spread over every GPU it sees; a run here is one process on one GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the run of the given id to its end; returns 0 when it finished or was stopped, 1 when it failed, 2 for a bad call."""
    stop = StopSwitch()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if len(given) != 1:
            raise InputError("Usage: python -m gelora.runs.worker RUN_ID")
        folder = run_folder(given[0])
        before = read_state(folder)
        if before is not None and before.status not in LIVE:
            raise InputError(f"Run {given[0]} is already {before.status}; start a new one.")
        stop.install()
        recorder = Recorder(folder)
    except GeloraError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except StopRequested:
        return 0  # who asked finds stop.json and writes the end
    spec: RunSpec | None = None
    try:
        if read_json(folder / "stop.json") is not None:
            raise StopRequested
        _one_gpu()
        spec = read_spec(folder)
        status, reason = work(spec, recorder, stop)
    except StopRequested:
        status, reason = "stopped", "stopped before training began"
    except Exception as error:  # noqa: BLE001  (every failure of a run ends as a sentence in its record)
        stop.raises = False
        if not isinstance(error, GeloraError):
            traceback.print_exc()
        status, reason = "failed", _reason(error, spec)
    stop.raises = False
    recorder.end(status, reason)
    return 1 if status == "failed" else 0


if __name__ == "__main__":
    sys.exit(main())
