"""The run of teaching mode's step 2, made for real and kept as `assets/recorded_run.json`: `python -m benchmarks.recorded_run`.

Measures the bundled sample, trains the head alone and then the rule's ranks, through the function that the page calls,
and writes down what the page shows in place of a class's run that is not finished. Some minutes on two cores.
"""

import dataclasses
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.teaching.recorded_run import ESTIMATOR, RECORDED, tour_spec
from benchmarks import record
from gelora.geometry import estimate_profile
from gelora.records import DataChoice, RunSpec
from gelora.runs import RunInfo, geometry, history, provenance, start_run, wait_for
from gelora.sources import BUNDLED_DATASET, bundled_models, extract_hidden_states, load_sample

N_SAMPLES, SEED = 1000, 0
KEPT = ("loss", "eval_loss", "eval_accuracy")


def main() -> None:
    """Measure, train twice, write the file."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    model = bundled_models()[0].model_id
    sample = load_sample(BUNDLED_DATASET, N_SAMPLES, SEED)
    profile = estimate_profile(extract_hidden_states(model, sample), (ESTIMATOR,))
    spec = tour_spec(profile, model, DataChoice(BUNDLED_DATASET))
    head = finished(dataclasses.replace(spec, plan=None, training=dataclasses.replace(spec.training, method="head")))
    run = finished(spec)
    metric = run.state.main_metric or "eval_accuracy"
    references = {"head only": head.state.metrics[metric], "majority class": run.state.majority_accuracy}
    made = provenance(run.id)
    kept: dict[str, Any] = {
        "what": "The run that step 2 of teaching mode starts, recorded once.",
        "command": "python -m benchmarks.recorded_run",
        "date": run.state.ended_at or datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{made['device_name']}, {made['n_processors']} cores",
        "versions": record.versions(),
        "seconds": seconds_of(run),
        "spec": json.loads(spec.to_json()),
        "curve": [round(float(d), 4) for d in profile.dimensions(ESTIMATOR)],
        "metric": metric,
        "references": references,
        "series": {name: points for name, points in history(run.id).items() if name in KEPT},
        "geometry": [dataclasses.asdict(found) for found in geometry(run.id)],
        "n_adapter_params": run.state.n_adapter_params,
        "total_steps": run.state.total_steps,
    }
    RECORDED.write_text(json.dumps(kept, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{RECORDED.relative_to(Path.cwd())}: {metric} {run.state.metrics[metric]:.3f}, {references}, {kept['seconds']:.0f} s")


def finished(spec: RunSpec) -> RunInfo:
    """The run, when it has finished; the script ends where it did not."""
    run = wait_for(start_run(spec))
    if run.state.status != "finished":
        sys.exit(f"Run {run.id} {run.state.status}: {run.state.reason}")
    return run


def seconds_of(run: RunInfo) -> float:
    """From its start to its end, the loading of libraries included."""
    started, ended = (datetime.fromisoformat(str(time)) for time in (run.state.started_at, run.state.ended_at))
    return (ended - started).total_seconds()


if __name__ == "__main__":
    main()
