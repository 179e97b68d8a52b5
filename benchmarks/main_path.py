"""The whole path on CPU and on a CUDA device, checked first and then timed: `python -m benchmarks.main_path`.

For each device: hidden states, the neighbor graphs, the profile, then a run through the same function that the page's
Start button calls, read back through the page's own readers while it is going. A check that fails ends the script.
"""

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks import record
from gelora.geometry import estimate_profile, neighbor_graph
from gelora.ranks import allocate_ranks, plan_budget
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import history, log_tail, run_info, start_run
from gelora.sources import extract_hidden_states, load_sample

EXTRA = ("twonn", "twonn-mle", "mle")


def main() -> None:
    """Check, then time, each device that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--dataset", default="docstrings")
    parser.add_argument("--n-samples", type=int, default=2000)
    parser.add_argument("--no-cpu-run", action="store_true", help="leave out the run on the CPU")
    parser.add_argument("--json")
    options = parser.parse_args()
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    sample = load_sample(options.dataset, options.n_samples, seed=0)

    states, rows = {}, []
    for device in devices:
        extract_hidden_states(options.model, sample, device=device, cache=False)  # warm
        seconds, states[device] = timed(lambda device=device: extract_hidden_states(options.model, sample, device=device, cache=False))
        rows.append({"case": f"hidden states of {len(sample)} texts", "device": device, "seconds": round(seconds, 3)})
    if "cuda" in devices:
        check_devices_agree(states)
    profiles = {}
    for device in devices:
        estimate_profile(states[device], EXTRA, device=device, n_subsamples=2)
        seconds, profiles[device] = timed(lambda device=device: estimate_profile(states[device], EXTRA, device=device))
        curve = [round(float(d), 2) for d in profiles[device].dimensions("twonn")]
        rows.append(
            {"case": f"profile of {len(curve)} layers, 20 half-samples", "device": device, "seconds": round(seconds, 3), "twonn": curve}
        )

    plan = allocate_ranks(profiles["cpu"], "attention", offset=2)
    for device in devices:
        if device == "cpu" and options.no_cpu_run:
            continue
        rows.append(run_row(options, plan, device))
    record.write("main_path", rows, options.json)


def timed(work: Any) -> tuple[float, Any]:
    """Seconds and answer of one call, the device's queue emptied."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    answer = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, answer


def check_devices_agree(states: dict[str, Any]) -> None:
    """Same states to float32 rounding; on the same points, the same graph to the last bits."""
    difference = np.abs(states["cuda"].values - states["cpu"].values).max() / np.abs(states["cpu"].values).max()
    require(difference < 1e-4, f"hidden states differ between devices by {difference:.2e}")
    for layer in (0, len(states["cpu"].layer_names) - 1):
        one, other = (neighbor_graph(states["cpu"].values[layer], 20, device=device) for device in ("cpu", "cuda"))
        require(np.array_equal(one.indices, other.indices), f"layer {layer}: other neighbors on the GPU")
        error = np.abs(one.distances / other.distances - 1).max()
        require(error < 1e-13, f"layer {layer}: distances differ by {error:.2e}")


def run_row(options: argparse.Namespace, plan: Any, device: str) -> dict[str, Any]:
    """Start a run as the page does, read it as the page does, check what it left."""
    training = TrainingConfig(device=device)
    started = time.perf_counter()
    run_id = start_run(RunSpec(options.model, DataChoice(options.dataset), plan, training, seed=0))
    seen_live, first_loss_seconds = 0, None
    while run_info(run_id).is_live:
        losses = history(run_id).get("loss", [])
        if losses and run_info(run_id).is_live:
            seen_live = len(losses)
            first_loss_seconds = first_loss_seconds or time.perf_counter() - started
        time.sleep(0.2)
    seconds, info = time.perf_counter() - started, run_info(run_id)
    require(info.state.status == "finished", f"the run on {device} {info.state.status}: {info.state.reason}\n{log_tail(run_id)}")
    require(str(info.state.device).startswith(device), f"asked for {device}, trained on {info.state.device}")
    require(seen_live > 0, "no loss was seen while the run was going")
    require(info.state.n_adapter_params == plan_budget(plan).n_adapter_params, "the budget is not what was trained")
    log = (info.folder / "log.txt").read_text()
    require(all(repr(loss) in log for _, loss in history(run_id)["loss"]), "a loss of the store is not in the log")
    return {
        "case": f"run: {training.n_train} rows, {training.epochs:g} epochs, r = {list(plan.block_ranks().values())}",
        "device": str(info.state.device),
        "seconds": round(seconds, 1),
        "first_loss_seconds": round(first_loss_seconds or 0.0, 1),
        "losses_seen_while_running": seen_live,
        "examples_per_second": round(info.state.metrics["examples_per_second"], 1),
        str(info.state.main_metric): round(info.state.metrics[str(info.state.main_metric)], 4),
        "majority_accuracy": info.state.majority_accuracy,
    }


def require(holds: bool, otherwise: str) -> None:
    """End the script when a check fails."""
    if not holds:
        sys.exit(f"WRONG: {otherwise}")


if __name__ == "__main__":
    main()
