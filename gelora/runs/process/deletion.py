"""Delete runs that have ended, and what they left elsewhere; follows no link. Does not depend on how runs are started."""

import contextlib
import shutil
from pathlib import Path

from gelora.errors import RunError, StoreError
from gelora.home import home, reason_of
from gelora.runs.process import queue
from gelora.runs.process.status import current_run
from gelora.runs.records.state import run_folder


def delete_run(run_id: str) -> None:
    """Delete a run that has ended: its folder with log, values, checkpoints and adapter. What was reported to a tracker stays there.

    Raises:
        RunError: no run has this id, or it is still going.
        StoreError: the folder cannot be removed.
    """
    folder = run_folder(run_id)
    info = current_run(folder)
    if info.is_live:
        raise RunError(f"Run {run_id} is {info.state.status}; stop it first (`gelora stop {run_id}`), then delete it.")
    queue.drop(run_id)
    try:
        _remove_artifacts(info.state.mlflow_run_id)
        out_of_every_list = folder.rename(folder.with_name(f".deleted-{run_id}"))  # at once, however long the removal takes
        _remove(out_of_every_list)
    except FileNotFoundError:
        return  # another process deletes it at this moment
    except OSError as error:
        raise StoreError(f"The folder of {run_id} cannot be removed: {reason_of(error)}.") from error
    for cut_short in folder.parent.glob(".deleted-*"):
        with contextlib.suppress(OSError):  # the next deletion tries again
            _remove(cut_short)


def _remove(folder: Path) -> None:
    """Remove a run's folder; of one that is a symbolic link the link alone."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _remove_artifacts(mlflow_run_id: str | None) -> None:
    """The copy of the adapter that earlier versions made under GELORA_HOME/artifacts."""
    copies = home() / "artifacts" / str(mlflow_run_id)
    if mlflow_run_id is not None and mlflow_run_id.isalnum() and copies.is_dir() and not copies.is_symlink():
        shutil.rmtree(copies)
