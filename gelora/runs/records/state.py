"""The folder of a run and the records in it: what it is to do (spec), its process (launch), its progress and status (state).

Does not depend on processes or training. Each file has one writer, so that nothing is lost: the starter writes spec.json
and launch.json, the worker state.json, `stop_run` stop.json. Only when the worker is dead may another process write
state.json.
"""

import dataclasses
import functools
import math
import os
import re
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gelora.errors import InputError, RunError, StoreError
from gelora.home import made, reason_of, runs_dir, write_atomically
from gelora.records import RunSpec
from gelora.runs.records.notes import RunNotes, read_notes
from gelora.runs.records.record_file import Launch, read_record, write_json

LIVE = ("queued", "running")
STATUSES = (*LIVE, "finished", "failed", "stopped")
SILENT_SECONDS = 60.0  # a worker writes every few seconds; one that lives and writes nothing for so long hangs or was halted
_PATIENCE = 5.0  # times the longest pause that training made so far, such as an evaluation
_ID = re.compile(r"[a-z0-9][a-z0-9-]{2,79}")


@dataclass
class RunState:
    """Status and progress of a run, as its worker last wrote them; times are UTC in ISO 8601.

    status: queued, running, finished, failed or stopped, with `reason` where it needs one; stage: what the process is doing
    now, in words; metrics: the last finite value of each; main_metric: the name of the task's metric (`eval_accuracy`, say);
    slot: the device it holds (`cpu`, `cuda:0`), None while it waits; queue_place: 1 for the next one to start;
    attempts: 1, and 1 more for every time it was resumed; gpu_utilisation: from 0 to 1; heartbeat_at: when the process last
    wrote; progressed_at: when training last went on, with the usual seconds of a step and the longest pause so far.
    """

    status: str = "queued"
    reason: str | None = None
    stage: str = "starting"
    pid: int | None = None
    pid_create_time: float | None = None
    started_at: str | None = None
    ended_at: str | None = None
    heartbeat_at: str | None = None
    progressed_at: str | None = None
    step_seconds: float | None = None
    longest_pause_seconds: float = 0.0
    step: int = 0
    total_steps: int | None = None
    seconds_left: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_memory_total_bytes: int | None = None
    gpu_utilisation: float | None = None
    device: str | None = None
    slot: str | None = None
    queue_place: int | None = None
    attempts: int = 1
    task: str | None = None
    main_metric: str | None = None
    higher_is_better: bool = True
    majority_accuracy: float | None = None
    n_adapter_params: int | None = None
    n_head_params: int | None = None
    mlflow_run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunInfo:
    """One run as a person sees it.

    state: as its worker last wrote it, but for `started_at` (when the first attempt was started), `pid` (known before the
    worker first writes), and `status` and `reason` where spec.json is damaged or the process is silent;
    spec: None when its file is damaged; fingerprint: the spec's digest when the run was started; notes: what a person says of it.
    """

    id: str
    state: RunState
    spec: RunSpec | None
    folder: Path
    fingerprint: str | None = None
    notes: RunNotes = field(default_factory=RunNotes)

    @property
    def model(self) -> str:
        """The model's id or folder, "?" when the spec is damaged."""
        return self.spec.model if self.spec else "?"

    @property
    def dataset(self) -> str:
        """The dataset's name or path, "?" when the spec is damaged."""
        return self.spec.data.dataset if self.spec else "?"

    @property
    def method(self) -> str:
        """How it is trained: one of `gelora.records.METHODS`, or "race"; "?" when the spec is damaged."""
        if self.spec is None:
            return "?"
        return self.spec.training.method if self.spec.race is None else "race"

    @property
    def strategy(self) -> str | None:
        """The plan's strategy, of a race those of its arms; None for a method without a plan."""
        if self.spec is None or self.spec.plan is None:
            return None
        return self.spec.plan.strategy if self.spec.race is None else ", ".join(self.spec.race.plans)

    @property
    def is_live(self) -> bool:
        """Whether the run is queued or running."""
        return self.state.status in LIVE

    @property
    def can_resume(self) -> bool:
        """Whether `resume_run` takes it: it was stopped or failed, and its spec is readable."""
        return self.state.status in ("stopped", "failed") and self.spec is not None


def now() -> str:
    """The time as it is written in every record: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def create_folder(spec: RunSpec, launch: Launch | None = None) -> Path:
    """Make the folder of a new run, with spec.json (and launch.json) in it; its name is the run's id: time, model, data, a random end.

    Raises:
        StoreError: there is no room, or the folder of all runs is not writable.
    """
    parts = [_slug(spec.model.removesuffix("/")), _slug(Path(spec.data.dataset).stem)]
    root = made(runs_dir())
    for _ in range(100):
        run_id = "-".join([datetime.now(UTC).strftime("%Y%m%d-%H%M%S"), *parts, secrets.token_hex(2)])
        unfinished = root / f".new-{run_id}"
        try:
            unfinished.mkdir()
            write_atomically(unfinished / "spec.json", spec.to_json(indent=1).encode())
            if launch is not None:
                write_json(unfinished / "launch.json", dataclasses.asdict(launch))
            return unfinished.rename(root / run_id)  # a folder with an id is always one with a whole spec
        except FileExistsError:
            continue
        except (OSError, StoreError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            reason = reason_of(error) if isinstance(error, OSError) else error
            raise StoreError(f"Cannot create a run in {root}: {reason}.") from error
    raise StoreError(f"Cannot find a free name for a run in {root}.")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.rsplit("/", 1)[-1].lower()).strip("-")[:20].strip("-") or "local"


def run_folder(run_id: str) -> Path:
    """The folder of a run that exists.

    Raises:
        RunError: `run_id` is not an id, or no run has it.
    """
    if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
        raise RunError(f"{run_id!r} is not a run id; ids have only a-z, 0-9 and '-'. `gelora runs` lists the runs there are.")
    folder = runs_dir() / run_id
    if not folder.is_dir():
        raise RunError(f"There is no run {run_id!r} in {folder.parent}. `gelora runs` lists the runs there are.")
    return folder


def run_folders() -> list[Path]:
    """The folders of all runs, newest first; [] where there has been none.

    Raises:
        StoreError: the folder of all runs cannot be read.
    """
    root = runs_dir()
    try:
        with os.scandir(root) as entries:
            names = sorted((entry.name for entry in entries if _ID.fullmatch(entry.name) and entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{root} cannot be read: {reason_of(error)}, or set GELORA_HOME to another folder.") from error
    return [root / name for name in names]


def read_state(folder: Path) -> RunState | None:
    """What state.json says, None when the worker has not written it yet.

    Raises:
        StoreError: the file is damaged.
    """
    state = read_record(folder / "state.json", RunState)
    if state is not None and state.status not in STATUSES:
        raise StoreError(f"state.json is damaged (unknown status {state.status!r})")
    return state


def read_launch(folder: Path) -> Launch:
    """What launch.json says, an empty one when it is not written yet.

    Raises:
        StoreError: the file is damaged.
    """
    return read_record(folder / "launch.json", Launch) or Launch()


def write_state(folder: Path, state: RunState) -> None:
    """Write state.json; what is not finite is left out, since JSON cannot hold it."""
    data = dataclasses.asdict(state)
    data["metrics"] = {name: value for name, value in state.metrics.items() if math.isfinite(value)}
    write_json(folder / "state.json", data)


def read_spec(folder: Path) -> RunSpec:
    """The spec of the run.

    Raises:
        StoreError: spec.json is missing, damaged or cannot be read.
    """
    path = folder / "spec.json"
    try:
        stat = path.stat()
    except OSError as error:
        raise StoreError(f"spec.json cannot be read: {reason_of(error)}") from error
    return _spec_of(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=2048)
def _spec_of(path: Path, _mtime_ns: int, _size: int) -> RunSpec:
    try:
        return RunSpec.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"spec.json cannot be read: {reason_of(error)}") from error
    except (UnicodeDecodeError, InputError) as error:
        raise StoreError(f"spec.json is damaged ({error})") from error


def describe(folder: Path, state: RunState, launch: Launch) -> RunInfo:
    """The run as a person sees it, from its records; a damaged spec makes it a failed one that says so."""
    spec: RunSpec | None = None
    status, reason = state.status, state.reason
    try:
        spec = read_spec(folder)
    except StoreError as error:
        if status in LIVE:
            status, reason = "failed", str(error)
    silence = _silence(state) if status in LIVE else None
    seen = dataclasses.replace(
        state,
        status=status,
        reason=reason or silence,
        seconds_left=None if silence else state.seconds_left,
        started_at=launch.started_at or state.started_at,
        pid=state.pid or launch.pid,
        metrics=dict(state.metrics),
    )
    return RunInfo(folder.name, seen, spec, folder, launch.fingerprint, read_notes(folder))


def _silence(state: RunState) -> str | None:
    """What is to be said of a run that says nothing, or whose training does not go on; None where all is as usual."""
    since = _seconds_since(state.heartbeat_at)
    if since is not None and since > SILENT_SECONDS:
        return f"silent for {since:.0f} s: the process lives, but says nothing; wait, or stop it and resume"
    if since is not None and since < -SILENT_SECONDS:
        return f"its last heartbeat is dated {-since:.0f} s in the future: a clock was set, and whether it hangs is not known"
    still = _seconds_since(state.progressed_at) if state.status == "running" else None
    if still is not None and state.step_seconds is not None and still > max(SILENT_SECONDS, _PATIENCE * state.longest_pause_seconds):
        usual = f"usual {state.step_seconds:.2g} s"
        return f"no step for {still:.0f} s; {usual}: what training waits for (data, disk, GPU) may hang; wait, or stop it and resume"
    return None


def _seconds_since(moment: str | None) -> float | None:
    """None: it has not written yet."""
    return None if moment is None else (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
