"""Why a run failed, as a sentence that begins with the kind of failure: from an exception, or from how its process died.

Does not depend on files, processes or training.
"""

import errno
import signal
from collections.abc import Iterator

from gelora.errors import ChecksumError, DataError, GeloraError, HubError, InputError, ModelError, StoreError
from gelora.masking import without_secrets
from gelora.records import RunSpec

LOST = "killed or lost: the process ended without a word; see the log"
DISK_FULL = "disk full: free some space or set GELORA_HOME to another disk, then resume the run"
EXIT_UNRECORDED = 74
"""Exit status of a worker that could write its end nowhere (EX_IOERR)."""

_KINDS: dict[type[GeloraError], str] = {
    DataError: "data",
    InputError: "input",
    ModelError: "model",
    HubError: "hub",
    ChecksumError: "checksum",
    StoreError: "store",
}
_MEMORY = ("out of memory", "not enough memory", "cannot allocate memory", "cublas_status_alloc_failed", "defaultcpuallocator")
# the last two: what torch.save says where a disk fills up under it
_DISK = ("no space left", "disk is full", "os error 28", "disk quota exceeded", "unexpected pos", "iostream error")


def of_error(error: BaseException, spec: RunSpec | None) -> str:
    """Why a run failed that ended with `error`."""
    causes = list(_causes(error))
    if any(_is_disk(cause) for cause in causes):
        return DISK_FULL
    if any(isinstance(cause, MemoryError) or _says(cause, _MEMORY) for cause in causes if not isinstance(cause, GeloraError)):
        batch = f" (batch_size is {spec.training.batch_size}, max_length {spec.training.max_length})" if spec else ""
        return f"out of memory: lower batch_size or max_length, set auto_batch or gradient_checkpointing, or choose a smaller model{batch}"
    text = without_secrets(str(error).strip())
    if isinstance(error, GeloraError):
        kind = _KINDS.get(type(error))
        return f"{kind}: {text}" if kind else text
    last = text.splitlines()[-1] if text else "no message"
    return f"error: {type(error).__name__}: {last[:300]}; the log has the traceback"


def of_death(returncode: int | None) -> str:
    """Why a run failed whose process wrote no end. returncode: as `subprocess` has it, None when it is unknown."""
    if returncode is None or returncode == 0:
        return LOST
    if returncode == EXIT_UNRECORDED:
        return DISK_FULL
    if returncode == -signal.SIGKILL:
        return "killed (signal 9), perhaps by the system for lack of memory; see the log"
    if returncode < 0:
        return f"killed ({_signal_name(-returncode)}): the process ended without a word; see the log"
    return f"lost: the process ended with status {returncode} without a word; see the log"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return _says(error, _DISK)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)
