"""What becomes of a plan: fine-tuning runs in processes of their own, their folder, their metrics.

The face of the wing. Importing it loads neither torch nor MLflow; each function loads what it needs when it is called.
"""

from gelora.runs.jobs import delete_run, list_runs, log_tail, run_info, start_run, stop_run, wait_for
from gelora.runs.state import RunInfo
from gelora.runs.tracking import ensure_store, history

__all__ = [
    "RunInfo",
    "delete_run",
    "ensure_store",
    "history",
    "list_runs",
    "log_tail",
    "run_info",
    "start_run",
    "stop_run",
    "wait_for",
]
