"""A run's values in metrics.jsonl against MLflow's SQLite store: `python -m benchmarks.run_store --json FILE`.

Both get the same runs of 400 events of 8 values and give it back equal, then are timed in turn, in one process, the
median of three: "write" an event, MLflow in one `log_batch` for every 50 events, as a recorder that writes about once a
second sends them (the peer as its users tune it), metrics.jsonl a line at once; "read" the whole history; "compare" the
histories of 5 runs. "begin" is a fresh process until the first value is kept, imports and the store's making among it.
"installed" counts the bytes of the packages that only the store needs.
"""

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import record
from gelora.runs.records.metrics_file import MetricsFile, read_history

N_EVENTS, N_RUNS, A_BATCH, REPEATS = 400, 5, 50, 3
NAMES = ("loss", "learning_rate", "grad_norm", "examples_per_second", "tokens_per_second", "gpu_memory_bytes", "eval_loss", "eval_accuracy")
_ONLY_FOR_MLFLOW = ("mlflow-skinny", "sqlalchemy", "alembic", "mako", "databricks-sdk", "opentelemetry-api", "opentelemetry-sdk",
                    "opentelemetry-proto", "opentelemetry-semantic-conventions", "sqlparse", "cloudpickle", "greenlet")  # fmt: skip
_FIRST = {
    "ours": "from pathlib import Path; from gelora.runs.records.metrics_file import MetricsFile; "
    "MetricsFile(Path({folder!r})).append(1, {{'loss': 0.5}})",
    "peer": "from mlflow.tracking import MlflowClient; c = MlflowClient('sqlite:///' + {folder!r} + '/first.db'); "
    "c.log_metric(c.create_run(c.create_experiment('gelora')).info.run_id, 'loss', 0.5, step=1)",
}


def main() -> None:
    """Check that both give back what they were given, then time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    options = parser.parse_args()
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryDirectory() as folder:
        record.write("run_store", list(measure(Path(folder))), options.json)


def measure(folder: Path) -> list[dict[str, Any]]:
    """One row a question."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    events = [(step, {name: (step + 1) / (3 + i) for i, name in enumerate(NAMES)}) for step in range(N_EVENTS)]
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("gelora")

    def write_ours(run: Path) -> None:
        run.mkdir()
        file = MetricsFile(run)
        for step, values in events:
            file.append(step, values)
        file.close()

    def write_peer(run: str) -> None:
        for start in range(0, N_EVENTS, A_BATCH):
            now = int(time.time() * 1000)
            batch = [Metric(name, value, now, step) for step, values in events[start : start + A_BATCH] for name, value in values.items()]
            client.log_batch(run, metrics=batch)

    def read_peer(run: str) -> dict[str, list[tuple[int, float]]]:
        return {name: sorted((m.step, m.value) for m in client.get_metric_history(run, name)) for name in sorted(NAMES)}

    ours, peers = [folder / f"run-{i}" for i in range(N_RUNS)], [client.create_run(experiment).info.run_id for _ in range(N_RUNS)]
    writes = [(_seconds(lambda i=i: write_ours(ours[i])), _seconds(lambda i=i: write_peer(peers[i]))) for i in range(N_RUNS)]  # type: ignore[misc]
    wanted = {name: [(step, values[name]) for step, values in events] for name in sorted(NAMES)}
    for run, peer in zip(ours, peers, strict=True):
        if read_history(run) != wanted or read_peer(peer) != wanted:
            sys.exit("a store gave back other values than it was given")
    size_ours, size_peer = sum(f.stat().st_size for f in folder.glob("run-*/*")), (folder / "mlflow.db").stat().st_size
    return [
        _row("begin: a fresh process until its first value is kept", *_first(folder), "s"),
        _row("write an event of 8 values", *(median(pair[i] for pair in writes) / N_EVENTS * 1e6 for i in (0, 1)), "microseconds"),
        _row("read a history of 400 events", _often(lambda: read_history(ours[0])), _often(lambda: read_peer(peers[0])), "s"),
        _row("compare 5 runs", _often(lambda: [read_history(r) for r in ours]), _often(lambda: [read_peer(r) for r in peers]), "s"),
        _row("size of 5 runs", size_ours / 1e6, size_peer / 1e6, "MB"),
        _row("installed for the store alone", 0.0, sum(map(_installed, _ONLY_FOR_MLFLOW)) / 1e6, "MB"),
    ]


def _first(folder: Path) -> tuple[float, float]:
    found: dict[str, list[float]] = {"ours": [], "peer": []}
    for i in range(REPEATS):
        for name, code in _FIRST.items():
            (place := folder / f"{name}{i}").mkdir()
            found[name].append(
                _seconds(
                    lambda p=place, c=code: subprocess.run([sys.executable, "-c", c.format(folder=str(p))], check=True, capture_output=True)
                )
            )  # type: ignore[misc]
    return median(found["ours"]), median(found["peer"])


def _row(case: str, ours: float, peer: float, unit: str) -> dict[str, Any]:
    ratio = round(peer / ours, 1) if ours else None
    return {"case": case, "ours": round(ours, 4), "peer": round(peer, 4), "peer_name": "MLflow, SQLite", "ratio": ratio, "unit": unit}


def _often(action: Callable[[], Any]) -> float:
    return median(_seconds(action) for _ in range(REPEATS))


def _seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _installed(name: str) -> int:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file())


if __name__ == "__main__":
    main()
