"""What becomes of a plan: fine-tuning runs in processes of their own, their folder, their metrics.

The face of the wing. Importing it loads neither torch nor MLflow; each function loads what it needs when it is called.
"""

from gelora.runs.jobs import delete_run, resume_run, start_run, stop_run
from gelora.runs.looking import list_runs, run_info, wait_for
from gelora.runs.reading import examples, geometry, log_tail, provenance
from gelora.runs.state import RunInfo
from gelora.runs.tracking import ensure_store, history

__all__ = [
    "RunInfo",
    "delete_run",
    "ensure_store",
    "examples",
    "geometry",
    "history",
    "list_runs",
    "log_tail",
    "provenance",
    "resume_run",
    "run_info",
    "start_run",
    "stop_run",
    "wait_for",
]
