"""Numpy work on all cores: rows in parts, one thread a part, in pieces that a core's caches hold.

Does not depend on what is computed.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

CACHE_BYTES = 4 * 2**20  # a piece stays near the core, and is large enough that threads seldom wait for the interpreter
_WORTH_A_THREAD = 200_000  # operations; starting threads takes as long as some of these


def n_threads() -> int:
    """How many threads to use: OMP_NUM_THREADS where set, as numpy's products do, else the cores this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(asked))) if asked.isdigit() else cores


def in_threads(work: Callable[[slice], None], n: int, n_operations: int) -> None:
    """Call `work` for slices that cover range(n): numpy lets go of the interpreter, so they run at the same time."""
    workers = n_threads()
    if workers == 1 or n_operations < _WORTH_A_THREAD:
        return work(slice(0, n))
    step = -(-n // (4 * workers))  # more parts than threads, since a core can be busy with something else
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, [slice(start, min(start + step, n)) for start in range(0, n, step)]):
            pass  # takes up what a part raised


def cache_pieces(part: slice, width: int) -> Iterator[slice]:
    """Cut a slice of float64 rows into such pieces."""
    step = max(1, CACHE_BYTES // (8 * width))
    return (slice(start, min(start + step, part.stop)) for start in range(part.start, part.stop, step))
