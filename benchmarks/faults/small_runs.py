"""Runs of a second or two on a made model and made rows, their uninterrupted ends, and what there is to see of a run.

Used by every kind that starts runs. Needs no network and no GPU.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.attempt import Fault, require
from benchmarks.made_rows import write_rows

EVAL_EVERY = 15
REALLOCATED = (0.3, 0.6)
PATIENCE_SECONDS = 200.0
METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "reallocated": {"reallocate_at": REALLOCATED, "probe_size": 32},
    "adalora": {"method": "adalora"},
}


def make(material: Path, methods: Sequence[str] = tuple(METHODS), seeds: Sequence[int] = (0, 1)) -> None:
    """Model, rows, specs (`METHOD-SEED.json`) and what each ends with uninterrupted (`ends.json`), where they are not there yet."""
    if (material / "ends.json").is_file():
        return
    from gelora.ranks import uniform_ranks
    from gelora.records import DataChoice, RunSpec, TrainingConfig
    from gelora.runs import keep_ready, start_run
    from gelora.runs.process import preloaded
    from gelora.sources import model_structure

    sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
    from tiny_models import save_tiny_model

    quiet()
    os.environ["GELORA_HOME"] = str(material / "home")
    keep_ready()
    model = str(save_tiny_model("bert", material / "model"))
    rows = DataChoice(str(write_rows(material / "rows.jsonl", 160)))
    plan = uniform_ranks(model_structure(model), 3)
    specs = {}
    for name in methods:
        for seed in seeds:
            options = {"probe_size": 0, "n_train": 96, "n_eval": 48, "epochs": 5.0, "batch_size": 4, "max_length": 32} | METHODS[name]
            training = TrainingConfig(**options, eval_every=EVAL_EVERY, log_every=1, device="cpu", learning_rate=2e-3, lora_dropout=0.1)
            specs[f"{name}-{seed}"] = RunSpec(model, rows, plan, training, seed)
    preloaded.wait_until_ready()
    ids = {name: start_run(spec) for name, spec in specs.items()}
    for name, spec in specs.items():
        until(lambda name=name: not info_of(ids[name]).is_live, f"the end of {name}")
        require(info_of(ids[name]).state.status == "finished", "wrong", f"{name}: {info_of(ids[name]).state.reason}")
        (material / f"{name}.json").write_text(spec.to_json())
    (material / "ends.json").write_text(json.dumps({name: [run_id, end_of(run_id)] for name, run_id in ids.items()}))


def quiet() -> None:
    """An environment in which nothing asks the network, and every process computes on one core."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def ready() -> None:
    """Have the libraries loaded for the runs that this process starts, once and for all its tries."""
    from gelora.runs import keep_ready
    from gelora.runs.process import preloaded

    quiet()
    keep_ready()
    require(preloaded.wait_until_ready(), "wrong", "the libraries could not be loaded ahead")


def spec_named(material: Path, name: str) -> Any:
    """The run of this name (`lora-0`)."""
    from gelora.records import RunSpec

    return RunSpec.from_json((material / f"{name}.json").read_text())


def uninterrupted(material: Path, name: str) -> dict[str, Any]:
    """What the run of this name ends with when nothing happens to it."""
    return dict(json.loads((material / "ends.json").read_text())[name][1])


def made(material: Path) -> list[str]:
    """The names of the runs that were made."""
    return list(json.loads((material / "ends.json").read_text()))


def folder_of_finished(material: Path, name: str) -> Path:
    """The folder of the run of this name to which nothing has happened."""
    return material / "home" / "runs" / str(json.loads((material / "ends.json").read_text())[name][0])


def end_of(run_id: str) -> dict[str, Any]:
    """What a finished run has to show for itself: the digest of its weights, its losses and its scores, to the last bit."""
    from gelora.runs import history

    series = history(run_id)
    folder = info_of(run_id).folder
    return {
        "weights": weights_digest(folder / "adapter"),
        "losses": hashlib.sha256(repr(series["loss"]).encode()).hexdigest(),
        "scores": hashlib.sha256(repr(series["eval_accuracy"]).encode()).hexdigest(),
    }


def weights_digest(adapter: Path) -> str:
    """SHA-256 of the weights that a run saved."""
    files = sorted(adapter.glob("*.safetensors"))
    require(files, "lost", f"there are no weights in {adapter}")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def info_of(run_id: str) -> Any:
    """The run as its readers see it."""
    from gelora.runs import run_info

    return run_info(run_id)


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.05) -> float:
    """Wait for a condition; returns the moment at which it was seen to hold.

    Raises:
        Fault: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Fault("wrong", f"{what} did not come within {seconds:g} s")
        time.sleep(pause)
    return time.monotonic()
