"""Fine-tuning runs: each in a process of its own, with its folder and its metrics.

The face of the wing. Importing it loads no torch; each function loads what it needs when it is called.
"""

from gelora.runs.process.deletion import delete_run
from gelora.runs.process.jobs import equal_runs, keep_ready, resume_run, run_under_way, start_run, stop_run
from gelora.runs.process.status import list_runs, run_info, wait_for
from gelora.runs.racing.export import export_arm
from gelora.runs.racing.race import race
from gelora.runs.racing.waves import arms_bytes
from gelora.runs.records.experiments import (
    METHOD_WORDS,
    RunGroup,
    describe_method,
    differences,
    is_significant,
    pareto_front,
    settings_of,
    summarise,
    variants,
)
from gelora.runs.records.geometry_log import GeometryMeasurement
from gelora.runs.records.metrics_file import history
from gelora.runs.records.notes import RunNotes
from gelora.runs.records.race_result import Arm, Difference, RaceResult, holm
from gelora.runs.records.reading import examples, geometry, log_tail, provenance, race_result, set_notes
from gelora.runs.records.state import RunInfo
from gelora.runs.records.study_store import check_study_name, read_study, study_files, write_study
from gelora.runs.records.trackers import installed_trackers
from gelora.runs.training.evaluation import score_adapters

__all__ = [
    "METHOD_WORDS",
    "Arm",
    "Difference",
    "GeometryMeasurement",
    "RaceResult",
    "RunGroup",
    "RunInfo",
    "RunNotes",
    "arms_bytes",
    "check_study_name",
    "delete_run",
    "describe_method",
    "differences",
    "equal_runs",
    "examples",
    "export_arm",
    "geometry",
    "history",
    "holm",
    "installed_trackers",
    "is_significant",
    "keep_ready",
    "list_runs",
    "log_tail",
    "pareto_front",
    "provenance",
    "race",
    "race_result",
    "read_study",
    "resume_run",
    "run_info",
    "run_under_way",
    "score_adapters",
    "set_notes",
    "settings_of",
    "start_run",
    "stop_run",
    "study_files",
    "summarise",
    "variants",
    "wait_for",
    "write_study",
]
