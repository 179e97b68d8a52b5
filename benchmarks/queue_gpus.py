"""Eight short runs over all GPUs of one machine: `python -m benchmarks.queue_gpus [--model FOLDER] [--json FILE]`.

First correctness, at every look (20 a second): a GPU never has more than one run, runs get a GPU in the order in which they
were started, all finish, and the losses of all are those of the first (same spec, so a GPU makes no difference). Then the
times: how long all took against the sum of their times on a GPU, the share of that in which each GPU had a run, and the
longest that a GPU had none while a run waited. Once with runs that load their libraries themselves, once with runs forked
off loaded libraries.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.made_rows import write_rows

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 240.0


def main() -> None:
    """Check, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    import torch

    n_gpus = torch.cuda.device_count()
    if n_gpus < 2:
        raise SystemExit(f"This needs two GPUs or more; there is {n_gpus}.")
    with tempfile.TemporaryDirectory(prefix="gelora-queue-") as folder:
        os.environ["GELORA_HOME"] = folder
        record.write("queue_gpus", measure(Path(folder), options, n_gpus), options.json)


def measure(folder: Path, options: argparse.Namespace, n_gpus: int) -> list[dict[str, Any]]:
    """One row a way to start."""
    from gelora.ranks import uniform_ranks
    from gelora.records import DataChoice, RunSpec, TrainingConfig
    from gelora.runs import keep_ready
    from gelora.runs.process import preloaded
    from gelora.sources import model_structure

    rows = write_rows(folder / "rows.jsonl", 600)
    training = TrainingConfig(n_train=480, n_eval=100, epochs=options.epochs, batch_size=8, device="cuda", probe_size=0)
    spec = RunSpec(options.model, DataChoice(str(rows)), uniform_ranks(model_structure(options.model), 2), training)
    found = [queued("runs load their libraries", spec, options.runs, n_gpus)]
    keep_ready()
    if not preloaded.wait_until_ready():
        raise SystemExit("The libraries could not be loaded ahead.")
    return [*found, queued("runs forked off loaded libraries", spec, options.runs, n_gpus)]


def queued(how: str, spec: Any, n_runs: int, n_gpus: int) -> dict[str, Any]:
    """Start all at once and follow them to their end."""
    from gelora.runs import history, run_info, start_run

    began = time.perf_counter()
    ids = [start_run(spec, repeat=True) for _ in range(n_runs)]
    on_gpu: dict[str, tuple[float, str]] = {}  # when a run was first seen with a GPU, and which
    left: dict[str, float] = {}
    free_since = {f"cuda:{i}": time.perf_counter() for i in range(n_gpus)}
    longest_free, busy = 0.0, dict.fromkeys(free_since, 0.0)
    last = time.perf_counter()
    while len(left) < n_runs:
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            raise SystemExit(f"not done after {_PATIENCE_SECONDS:.0f} s: {[run_info(i).state.status for i in ids]}")
        states, now = {run_id: run_info(run_id).state for run_id in ids}, time.perf_counter()
        holders = {slot: [i for i, s in states.items() if s.status == "running" and s.slot == slot] for slot in busy}
        for slot, holding in holders.items():
            if len(holding) > 1:
                raise SystemExit(f"{slot} has {len(holding)} runs at once")
            busy[slot] += (now - last) * len(holding)
            if holding:
                on_gpu.setdefault(holding[0], (now, slot))
                free_since[slot] = now
            elif any(state.queue_place is not None for state in states.values()):
                longest_free = max(longest_free, now - free_since[slot])
        left |= {i: now for i, s in states.items() if i not in left and s.status not in ("queued", "running")}
        last = now
        time.sleep(_LOOK_SECONDS)
    wall = time.perf_counter() - began
    ended = {run_id: run_info(run_id).state for run_id in ids}
    if any(state.status != "finished" for state in ended.values()):
        raise SystemExit(f"not all finished: {[(s.status, s.reason) for s in ended.values()]}")
    if sorted(ids, key=lambda run_id: on_gpu[run_id][0]) != ids:
        raise SystemExit("a run overtook an earlier one")
    losses = [history(run_id)["loss"] for run_id in ids]
    if any(loss != losses[0] for loss in losses):
        raise SystemExit("the same run has other losses on another GPU or beside another run")
    alone = sum(left[run_id] - on_gpu[run_id][0] for run_id in ids)
    return {
        "case": f"{n_runs} runs on {n_gpus} GPUs, {how}", "ours": round(wall, 2), "peer": round(alone, 2),
        "peer_name": "one GPU: the sum of the runs' times", "ratio": round(alone / wall, 2), "floor": n_gpus, "unit": "s",
        "busy_share": {slot: round(seconds / wall, 3) for slot, seconds in busy.items()},
        "runs_by_gpu": {slot: sum(s == slot for _, s in on_gpu.values()) for slot in busy},
        "longest_free_seconds_while_a_run_waited": round(longest_free, 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
