"""The neighbor graph on a CUDA device, checked first and then timed: `python -m benchmarks.neighbors_gpu`.

Checks: up to 20,000 points the graph equals the CPU's own (same indices, distances to the last bits); beyond, 500 rows
equal what plain float64 differences to all rows say. A check that fails ends the script. Then for each size: seconds in
all, of them for preparation (copies, duplicates) and for the search, peak GPU memory; beside it the plain way, float64
`torch.cdist` and `topk` in blocks, and as the floor the float32 product alone. `--device cpu --sizes 2000` runs anywhere.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import record
from gelora.geometry import PointCloud, neighbor_graph, synthetic
from gelora.geometry.neighbors import distinct_points, search
from gelora.records import NeighborGraph

CPU_LIMIT = 20_000
SAMPLED_ROWS = 500
PEER_BLOCK_BYTES = 2**30
TOLERANCE = 1e-12


def main() -> None:
    """Check, then time, each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--n-neighbors", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = [row for n in options.sizes for row in measure(n, options)]
    record.write("neighbors_gpu", rows, options.json)


def measure(n: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one size: ordinary points, then points with outlier dimensions and an offset, as hidden states have."""
    device, k = options.device, options.n_neighbors
    ordinary = synthetic.gaussian(n, 20, options.width, seed=0, noise=0.01).astype(np.float32)
    hard = ordinary + np.float32(3)
    hard[:, :3] *= np.float32(1000)
    rows = []
    for name, X in (("20-dimensional Gaussian", ordinary), ("the same, offset 3, three dimensions x 1000", hard)):
        graph = neighbor_graph(X, k, device=device)  # warm
        checked = check(X, graph, options)
        prepare, points = best(lambda X=X: distinct_points(X), options.repeats, device)
        seconds_search, _ = best(lambda points=points: search(points, k, device), options.repeats, device)
        reset_peak(device)
        seconds, graph = best(lambda X=X: neighbor_graph(X, k, device=device), options.repeats, device)
        row = {
            "case": f"k = {k} graph, N {n}, D {options.width}: {name}",
            "device": device,
            "unit": "s",
            "ours": round(seconds, 3),
            "prepare": round(prepare, 3),
            "search": round(seconds_search, 3),
            "peak_gpu_mib": peak_mib(device),
            **checked,
        }
        on_device = torch.from_numpy(X).to(device)
        reset_peak(device)
        seconds_peer, (distances, _) = best(lambda x=on_device: plain_search(x.double(), k), options.repeats, device)
        row |= {
            "peer_name": "torch float64 cdist + topk in blocks, points already on the device",
            "peer": round(seconds_peer, 3),
            "ratio": round(seconds / seconds_peer, 3),
            "ratio_of_search": round(seconds_search / seconds_peer, 3),
            "peer_peak_gpu_mib": peak_mib(device),
            "peer_largest_relative_error": float(np.abs(distances / graph.distances - 1).max()),
        }
        row["floor"] = round(best(lambda x=on_device: product_alone(x), options.repeats, device)[0], 3)
        row["floor_name"] = "float32 product alone"
        rows.append(row)
        del on_device
    rows.append(scales_row(ordinary, options))
    return rows


def check(X: np.ndarray, graph: NeighborGraph, options: argparse.Namespace) -> dict[str, Any]:
    """What the graph was compared with; ends the script where it differs."""
    n = len(X)
    require(graph.n_points == n, f"{n - graph.n_points} of {n} random points are said to be copies")
    if n <= CPU_LIMIT:
        started = time.perf_counter()
        other = neighbor_graph(X, options.n_neighbors)
        cpu_seconds = time.perf_counter() - started
        distances, indices, of = other.distances, other.indices, slice(None)
        found: dict[str, Any] = {"checked_against": "the graph by the CPU, all rows", "cpu": round(cpu_seconds, 3)}
    else:
        of = np.sort(np.random.default_rng(1).permutation(n)[:SAMPLED_ROWS])
        distances, indices = by_differences(torch.from_numpy(X).to(options.device).double(), of, options.n_neighbors)
        found = {"checked_against": f"float64 differences to all rows, {SAMPLED_ROWS} rows"}
    require(np.array_equal(graph.indices[of], indices), f"N {n}: other neighbors than {found['checked_against']}")
    absolute, relative = np.abs(graph.distances[of] - distances).max(), np.abs(graph.distances[of] / distances - 1).max()
    require(relative < TOLERANCE, f"N {n}: distances differ by {relative:.2e} from {found['checked_against']}")
    return found | {"largest_difference": float(absolute), "largest_relative_difference": float(relative)}


def by_differences(x: torch.Tensor, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the nearest rows, the plain way."""
    distances, indices = [], []
    for i in rows.tolist():
        squared = torch.cat([(chunk - x[i]).square().sum(dim=1) for chunk in x.split(20_000)])
        squared[i] = torch.inf
        nearest = squared.topk(k, largest=False)
        distances.append(nearest.values.sqrt().cpu().numpy())
        indices.append(nearest.indices.cpu().numpy())
    return np.array(distances), np.array(indices)


def plain_search(x: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What one writes without a library: float64 throughout, the point itself left out."""
    distances, indices = [], []
    step = max(1, PEER_BLOCK_BYTES // (3 * 8 * len(x)))
    for start in range(0, len(x), step):
        nearest = torch.cdist(x[start : start + step], x).topk(k + 1, largest=False)
        distances.append(nearest.values[:, 1:])
        indices.append(nearest.indices[:, 1:])
    return torch.cat(distances).cpu().numpy(), torch.cat(indices).cpu().numpy()


def product_alone(x: torch.Tensor) -> None:
    """All inner products in float32, nothing read from them."""
    torch.backends.cuda.matmul.allow_tf32 = False
    step = max(1, PEER_BLOCK_BYTES // (4 * len(x)))
    block = torch.empty(min(step, len(x)), len(x), device=x.device)
    for start in range(0, len(x), step):
        rows = x[start : start + step]
        torch.mm(rows, x.T, out=block[: len(rows)])


def scales_row(X: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """The pass over all pairs that correlation dimension and the GRIDE curve share."""

    def all_scales() -> Any:
        cloud = PointCloud(X, device=options.device)
        graph_of = cloud.graph(20)
        started = time.perf_counter()
        return cloud.scales(), time.perf_counter() - started, graph_of

    all_scales()
    reset_peak(options.device)
    seconds, (scales, alone, graph) = best(all_scales, options.repeats, options.device)
    held = scales.orders <= 16
    require(np.array_equal(scales.lengths[:, held], graph.distances[:, scales.orders[held] - 1]), "scales differ from the graph")
    return {
        "case": f"pass over all pairs after the graph, N {len(X)}, D {options.width}",
        "device": options.device,
        "unit": "s",
        "ours": round(alone, 3),
        "with_graph": round(seconds, 3),
        "peak_gpu_mib": peak_mib(options.device),
    }


def best(work: Callable[[], Any], repeats: int, device: str) -> tuple[float, Any]:
    """The shortest of `repeats` calls in seconds, the device's queue emptied, and the last answer."""
    seconds = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        answer = work()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds), answer


def synchronize(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def reset_peak(device: str) -> None:
    """Count GPU memory from here."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: str) -> int | None:
    """The most GPU memory that tensors took since `reset_peak`."""
    return None if device == "cpu" else round(torch.cuda.max_memory_allocated(device) / 2**20)


def require(holds: bool, otherwise: str) -> None:
    """End the script when a check fails."""
    if not holds:
        sys.exit(f"WRONG: {otherwise}")


if __name__ == "__main__":
    main()
