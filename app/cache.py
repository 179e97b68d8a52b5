"""Long work of the dashboard, done once for all tabs: measurements in the background, kept in memory and on disk.

Knows when work must be done again and who waits for it; draws nothing.
"""

import contextlib
import hashlib
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import streamlit as st

from app.state import Measurement
from gelora.errors import Cancelled, GeloraError, InputError, StoreError
from gelora.geometry import estimate_profile
from gelora.home import cache_dir, write_atomically
from gelora.records import DataChoice, IdProfile, ModelStructure, Progress
from gelora.sources import BUNDLED_DATASET, DatasetInfo, describe_dataset, extract_hidden_states, load_sample, model_structure

ESTIMATORS = ("twonn", "twonn-mle", "mle")

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """One measurement under way: where it is, how long it still takes, and how it ended."""

    measurement: Measurement
    stage: str = "Starting"
    done: int = 0
    total: int = 0
    stage_started: float = field(default_factory=time.monotonic)
    started: float = field(default_factory=time.monotonic)
    error: str | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def progress(self, stage: str, done: int, total: int) -> None:
        """The library's progress callback; ends the work when somebody asked for that."""
        if self._cancelled.is_set():
            raise Cancelled("The measurement was cancelled; nothing half-written is left.")
        if stage != self.stage:
            self.stage_started = time.monotonic()
        self.stage, self.done, self.total = stage, done, total

    def cancel(self) -> None:
        """Ask the work to end at its next step."""
        self._cancelled.set()

    @property
    def is_over(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._over.is_set()

    def end(self) -> None:
        """Say that the work has ended."""
        self._over.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; returns whether it came."""
        return self._over.wait(timeout_seconds)

    @property
    def seconds_left(self) -> float | None:
        """Time left in the present stage, or None when nothing can be said yet."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self.stage_started) / self.done * (self.total - self.done)


class Measurements:
    """All profiles that this server knows and the jobs that make new ones; one job at a time, shared by all tabs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._profiles: dict[str, IdProfile] = {}
        self._jobs: dict[str, Job] = {}
        self._work = threading.Lock()

    def find(self, measurement: Measurement) -> IdProfile | None:
        """The finished profile, from memory or disk, or None."""
        key = _key(measurement)
        with self._lock:
            if key in self._profiles:
                return self._profiles[key]
        path = cache_dir("profiles") / f"{key}.json"
        if not path.is_file():
            return None
        try:
            profile = IdProfile.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, InputError) as error:
            logger.warning("The cached profile %s is damaged and will be measured again: %s", path, error)
            path.unlink(missing_ok=True)
            return None
        with self._lock:
            self._profiles[key] = profile
        return profile

    def job(self, measurement: Measurement) -> Job | None:
        """The job under way or ended for this measurement, or None."""
        with self._lock:
            return self._jobs.get(_key(measurement))

    def start(self, measurement: Measurement) -> Job:
        """Begin the measurement, or join the one that is under way."""
        key = _key(measurement)
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.is_over:
                return job
            job = self._jobs[key] = Job(measurement)
        threading.Thread(target=self._measure, args=(key, job), name=f"measure-{key}", daemon=True).start()
        return job

    def _measure(self, key: str, job: Job) -> None:
        try:
            with self._work:
                profile = _measure(job)
            with self._lock:
                self._profiles[key] = profile
            try:
                write_atomically(cache_dir("profiles") / f"{key}.json", profile.to_json().encode())
            except StoreError as error:
                logger.warning("The profile is shown but could not be kept on disk: %s", error)
        except GeloraError as error:
            job.error = str(error)
        except MemoryError:
            job.error = "This machine's memory is too small for it; choose fewer samples or a smaller model."
        except Exception as error:  # the thread's last resort: the page shows it, the log has the traceback
            logger.exception("A measurement failed")
            job.error = f"The measurement failed unexpectedly ({type(error).__name__}: {error}); the server's log has the details."
        finally:
            job.end()


def _measure(job: Job) -> IdProfile:
    wanted = job.measurement
    preparation().wait(job.progress, data_too=wanted.data.dataset == BUNDLED_DATASET)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=job.progress)
    states = extract_hidden_states(
        wanted.model, sample, pooling=wanted.pooling, max_length=wanted.max_length, device=device, progress=job.progress
    )
    profile = estimate_profile(states, ESTIMATORS, device=device, progress=job.progress)
    if device == "cuda":
        torch.cuda.empty_cache()  # a fine-tuning run may want the memory next
    return profile


def _key(measurement: Measurement) -> str:
    identity = [asdict(measurement), _state_of(measurement.data.dataset), _state_of(measurement.model), ESTIMATORS]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]


def _state_of(name: str) -> list[object]:
    """Size and time of a local file or of a local model's files, so that a changed one is measured again."""
    path = Path(name).expanduser()
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if path.is_dir() and (path / "config.json").is_file():
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(path.iterdir()) if file.is_file()]
    return []


@st.cache_resource(show_spinner=False)
def measurements() -> Measurements:
    """The server's one store of measurements."""
    return Measurements()


class Preparation:
    """What is made beside the page on the server's first visit: data and store by a process, the libraries by a thread."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "app.prepare"]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._thread = threading.Thread(target=_load_libraries, name="load-libraries", daemon=True)
        self._thread.start()

    def wait(self, progress: Progress, data_too: bool) -> None:
        """Wait for the libraries, and for the bundled data when asked; `progress` is told, so that a person can cancel.

        What failed is met again, as a sentence, by whoever needs it.
        """
        while self._thread.is_alive():
            progress("Loading the libraries", 0, 0)
            self._thread.join(0.1)
        while data_too and self._process.poll() is None:
            progress("Reading the bundled sentences, once", 0, 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)


def _load_libraries() -> None:
    time.sleep(0.5)  # until the server's first run of the page has ended, which changes sys.path (see app/main.py)
    import peft
    import transformers

    logger.debug("Loaded transformers %s, peft %s", transformers.__version__, peft.__version__)


@st.cache_resource(show_spinner=False)
def preparation() -> Preparation:
    """The server's one preparation, begun by the first page that has nothing to show: loading libraries makes pages slow."""
    return Preparation()


@st.cache_data(show_spinner="Reading the model's configuration ...", max_entries=32)
def structure(model: str) -> ModelStructure:
    """A model's structure from its configuration alone.

    Raises:
        GeloraError: the model is unknown or unreachable, or has no shape that can be adapted.
    """
    return model_structure(model)


@st.cache_data(show_spinner="Reading the columns ...", ttl=300, max_entries=16)
def dataset_info(choice_json: str) -> DatasetInfo:
    """What is in a dataset and what its columns are taken for; `choice_json` is a DataChoice's JSON.

    Raises:
        GeloraError: the data cannot be read.
    """
    return describe_dataset(DataChoice.from_json(choice_json))
