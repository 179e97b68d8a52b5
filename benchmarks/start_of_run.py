"""From Start to the first loss: `python -m benchmarks.start_of_run [--repeats 3] [--json FILE]`.

A run of the bundled model on made-up rows, started as a command does (its process loads the libraries itself) and as the
dashboard does (forked off a process that has them). Seconds from the call of `start_run` to the first value of the loss in
the run's record, and until the run has ended.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.made_rows import write_rows

_PATIENCE_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gelora-start-") as folder:
        os.environ["GELORA_HOME"] = folder
        record.write("start_of_run", measure(Path(folder), options.repeats), options.json)


def measure(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """One row a run; a process that has the libraries is there for the second half of them."""
    from gelora.ranks import uniform_ranks
    from gelora.records import DataChoice, RunSpec, TrainingConfig
    from gelora.runs import keep_ready
    from gelora.runs.process import preloaded
    from gelora.sources import model_structure

    rows = write_rows(folder / "rows.jsonl", 200)
    model = "all-MiniLM-L6-v2"
    training = TrainingConfig(n_train=80, n_eval=20, epochs=1.0, batch_size=8, device="cpu")
    spec = RunSpec(model, DataChoice(str(rows)), uniform_ranks(model_structure(model), 2), training, 0)
    found = [once("its own process loads the libraries", spec) for _ in range(repeats)]
    keep_ready()
    if not preloaded.wait_until_ready():
        raise SystemExit("The libraries could not be loaded ahead.")
    return found + [once("forked off loaded libraries", spec) for _ in range(repeats)]


def once(how: str, spec: Any) -> dict[str, Any]:
    """Start one run and follow it to its end."""
    from gelora.runs import history, run_info, start_run

    began = time.perf_counter()
    run_id = start_run(spec)
    first: float | None = None
    while run_info(run_id).is_live and time.perf_counter() - began < _PATIENCE_SECONDS:
        if first is None and history(run_id).get("loss"):
            first = record.seconds_since(began)
        time.sleep(0.02)
    ended = run_info(run_id)
    assert ended.state.status == "finished", ended.state.reason
    return {"start": how, "first_loss_seconds": first, "end_seconds": record.seconds_since(began)}


if __name__ == "__main__":
    main()
