"""Two ways to measure all pairs of rows, in blocks, on CPU (numpy) or GPU (torch): a fast matrix product that only
nominates nearest candidates, and differences in float64 that settle distances.

Does not depend on duplicates, metrics or graphs; gives no promise that the candidates are the true neighbors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from gelora.geometry.threads import CACHE_BYTES, cache_pieces, in_threads

BLOCK_BYTES = 128 * 2**20  # all pairs of 5,792 points in float32
_CUDA_BLOCK_BYTES = 2**30  # keeps a GPU busy at 100,000 points; less where little memory is free
_GROUP = 16  # columns


class Pairwise(Protocol):
    """What both engines offer, over the float64 rows [n, width] they were made from."""

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows that look nearest to each of `rows`, itself excluded, by a matrix product in `precision`.

        Returns:
            int64 [r, n_candidates], what looks nearest first; float64 [r, n_candidates], |x_j|^2 - 2 x_i x_j of each (no
            other row's is smaller than the last); float64 [r], the norm |x_i|. All of centred rows, cast to `precision`.
        """

    def squared_distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """float64 [r, c]: squared Euclidean distance of rows[i] to each of columns[i], summed from float64 differences."""

    def read_rows(
        self, rows: np.ndarray, precision: Any, orders: np.ndarray, squared_radii: np.ndarray, probes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the distances of `rows` to all others say, by a matrix product in `precision`, with its rounding errors.

        Args:
            orders: int64 [n_orders], from 1 to n - 1; squared_radii: float64 [n_radii]; probes: int64 [r, p] columns.

        Returns:
            float64 [r, n_orders], squared distance to the neighbor of each order; int64 [r, n_radii], other rows nearer
            than each radius; float64 [r, p], squared distance to probes[i].
        """

    def count_nearer(self, targets: np.ndarray, members: np.ndarray) -> np.ndarray:
        """How many members of each set are nearer to row i than row targets[set, i] is, row i itself excluded.

        By a matrix product in float64, with its rounding errors.

        Args:
            targets: int64 [n_sets, n], -1 where nothing is asked; members: bool [n_sets, n].

        Returns:
            int64 [n_sets, n], 0 where nothing is asked.
        """


class NumpyPairwise:
    """The engine for the CPU, on as many threads as numpy's own products; needs no torch."""

    def __init__(self, values: np.ndarray, block_bytes: int | None = None) -> None:
        self._values = values
        self._block_bytes = block_bytes or BLOCK_BYTES
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = np.empty((len(rows), n_candidates), dtype=np.int64)
        nominal = np.empty((len(rows), n_candidates))

        def pick(block: np.ndarray, here: slice, _: np.ndarray) -> None:
            found[here], nominal[here] = smallest(block, n_candidates)

        return found, nominal, np.sqrt(self._products(rows, precision, pick)[rows])

    def squared_distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        result = np.empty(columns.shape, dtype=np.float64)
        width = self._values.shape[1]
        piece = max(1, min(self._block_bytes, CACHE_BYTES) // (width * 8))

        def measure(part: slice) -> None:
            buffer = np.empty((min(piece, columns[part].size), width))
            for some, across in _pieces(columns[part].shape, piece):
                others = columns[part][some, across]
                difference = buffer[: others.size]
                np.take(self._values, others.ravel(), axis=0, out=difference, mode="clip")  # "raise" would copy once more
                cube = difference.reshape(*others.shape, width)
                np.subtract(cube, self._values[rows[part][some], None], out=cube)
                result[part][some, across] = np.vecdot(cube, cube)

        in_threads(measure, len(rows), columns.size * width)
        return result

    def read_rows(
        self, rows: np.ndarray, precision: Any, orders: np.ndarray, squared_radii: np.ndarray, probes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at_orders = np.empty((len(rows), len(orders)))
        n_nearer = np.empty((len(rows), len(squared_radii)), dtype=np.int64)
        at_probes = np.empty(probes.shape)

        def read(block: np.ndarray, here: slice, squares: np.ndarray) -> None:
            own = squares[rows[here], None]
            at_probes[here] = np.take_along_axis(block, probes[here], axis=1) + own
            at_orders[here], n_nearer[here] = read_sorted(block, orders, squared_radii - own)
            at_orders[here] += own

        self._products(rows, precision, read)
        return at_orders, n_nearer, at_probes

    def count_nearer(self, targets: np.ndarray, members: np.ndarray) -> np.ndarray:
        counts = np.zeros(targets.shape, dtype=np.int64)

        def count(block: np.ndarray, here: slice, _: np.ndarray) -> None:
            for asked, among, found in zip(targets[:, here], members, counts[:, here], strict=True):
                own = np.flatnonzero(asked >= 0)
                nearer = block[own] < block[own, asked[own]][:, None]
                found[own] = np.count_nonzero(nearer & among, axis=1)

        self._products(np.arange(len(self._values)), np.float64, count)
        return counts

    def _products(self, rows: np.ndarray, precision: Any, read: Callable[[np.ndarray, slice, np.ndarray], None]) -> np.ndarray:
        """Give `read` the values |x_j|^2 - 2 x_i x_j (itself: infinity) of some of `rows`, their place, and all |x_j|^2.

        The product runs on numpy's threads; what follows goes in small pieces to ours. A float32 product of all rows
        that is one block is kept for the next call. `read` leaves its block as it is. Returns |x_j|^2.
        """
        n, itemsize = len(self._values), np.dtype(precision).itemsize
        step = min(len(rows), max(1, self._block_bytes // (n * itemsize)))
        piece = max(1, min(self._block_bytes, CACHE_BYTES) // (n * itemsize))
        keeps = len(rows) == step == n and precision == np.float32
        kept = self._kept if keeps else None
        centred, squares = (None, kept[1]) if kept else self._centred(precision)
        offsets = squares.astype(precision)
        buffer = kept[0] if kept else np.empty((step, n), dtype=precision)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            block = buffer[: len(some)]
            if centred is not None:
                np.matmul(-2 * centred[some], centred.T, out=block)

            def finish(part: slice, block: np.ndarray = block, start: int = start) -> None:
                for first in range(part.start, part.stop, piece):
                    here = slice(first, min(first + piece, part.stop))
                    there = slice(start + here.start, start + here.stop)
                    if centred is not None:
                        block[here] += offsets
                        block[np.arange(here.start, here.stop), rows[there]] = np.inf
                    read(block[here], there, squares)

            in_threads(finish, len(some), block.size)
        self._kept = (buffer, squares) if keeps else self._kept
        return squares

    def _centred(self, precision: Any) -> tuple[np.ndarray, np.ndarray]:
        """All rows minus their mean in `precision`, and the squared norms of these, float64."""
        centred, squares = np.empty(self._values.shape, dtype=precision), np.empty(len(self._values))
        mean = self._values.mean(axis=0)

        def fill(part: slice) -> None:
            for here in cache_pieces(part, self._values.shape[1]):
                centred[here] = self._values[here] - mean
                exact = centred[here].astype(np.float64)
                squares[here] = np.vecdot(exact, exact)

        in_threads(fill, len(centred), centred.size)
        return centred, squares


def smallest(block: np.ndarray, n_smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and values of the `n_smallest` values of each row, ascending.

    The minima of groups of columns hold at least as many values up to their n-th smallest as there are asked for, so
    that one bounds the answer; few values lie below it, and only these are sorted.
    """
    n_rows, n_columns = block.shape
    depth = max(1, min(_GROUP, n_columns // (4 * n_smallest)))
    tops = block[:, : n_columns // depth * depth].reshape(n_rows, depth, -1).min(axis=1) if depth > 1 else block
    bound = np.partition(tops, n_smallest - 1, axis=1)[:, n_smallest - 1, None]
    hits = np.flatnonzero(block <= bound)
    row, column = np.divmod(hits, n_columns)
    counts = np.bincount(row, minlength=n_rows)
    place = np.arange(len(hits)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.zeros((n_rows, counts.max()), dtype=np.int64)
    values = np.full(columns.shape, np.inf, dtype=block.dtype)
    columns[row, place], values[row, place] = column, block.ravel()[hits]
    order = np.argsort(values, axis=1)[:, :n_smallest]
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def read_sorted(block: np.ndarray, orders: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of each order (1 is the least) in each row of `block`, and how many lie below the row's bounds [r, q]."""
    block = np.sort(block, axis=1)
    bounds = bounds.astype(block.dtype)
    n_below = np.array([row.searchsorted(bound) for row, bound in zip(block, bounds, strict=True)], dtype=np.int64)
    return block[:, orders - 1].astype(np.float64), n_below.reshape(bounds.shape)


class TorchPairwise:
    """The engine for a CUDA device; results come back as numpy arrays."""

    def __init__(self, values: np.ndarray, block_bytes: int | None, device: str) -> None:
        import torch

        self._values = torch.from_numpy(values).to(device)
        self._block_bytes = block_bytes or max(BLOCK_BYTES, min(_CUDA_BLOCK_BYTES, torch.cuda.mem_get_info(device)[0] // 8))

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import torch

        found: list[Any] = []
        nominal: list[Any] = []

        def pick(block: Any, here: slice, _: Any) -> None:
            nearest = block.topk(n_candidates, dim=1, largest=False)
            found.append(nearest.indices)
            nominal.append(nearest.values.double())

        squares = self._products(rows, precision, pick, copies=3)
        wanted = torch.from_numpy(rows).to(self._values.device)
        return torch.cat(found).cpu().numpy(), torch.cat(nominal).cpu().numpy(), squares[wanted].sqrt().cpu().numpy()

    def squared_distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        import torch

        device = self._values.device
        own, others = torch.from_numpy(rows).to(device), torch.from_numpy(np.array(columns)).to(device)
        result = torch.empty(columns.shape, dtype=torch.float64, device=device)
        piece = max(1, self._block_bytes // (self._values.shape[1] * 16))
        for some, across in _pieces(columns.shape, piece):
            difference = self._values[others[some, across]]
            difference -= self._values[own[some], None]
            result[some, across] = difference.square_().sum(dim=2)
        return result.cpu().numpy()

    def read_rows(
        self, rows: np.ndarray, precision: Any, orders: np.ndarray, squared_radii: np.ndarray, probes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import torch

        device = self._values.device
        wanted, at, radii = (torch.from_numpy(np.array(a)).to(device) for a in (rows, orders - 1, squared_radii))
        answers: tuple[list[Any], ...] = ([], [], [])

        def read(block: Any, here: slice, squares: Any) -> None:
            own = squares[wanted[here], None]
            answers[2].append(block.gather(1, torch.from_numpy(probes[here]).to(device)).double() + own)
            ascending = block.sort(dim=1).values
            answers[0].append(ascending[:, at].double() + own)
            answers[1].append(torch.searchsorted(ascending, (radii - own).to(block.dtype)))

        self._products(rows, precision, read, copies=6)
        at_orders, n_nearer, at_probes = (torch.cat(parts).cpu().numpy() for parts in answers)
        return at_orders, n_nearer, at_probes

    def count_nearer(self, targets: np.ndarray, members: np.ndarray) -> np.ndarray:
        import torch

        device = self._values.device
        asked, among = torch.from_numpy(np.array(targets)).to(device), torch.from_numpy(np.array(members)).to(device)
        counts = torch.zeros_like(asked)

        def count(block: Any, here: slice, _: Any) -> None:
            for i in range(len(asked)):
                own = asked[i, here]
                nearer = (block < block.gather(1, own.clamp(min=0)[:, None])) & among[i]
                counts[i, here] = nearer.sum(dim=1) * (own >= 0)

        self._products(np.arange(len(self._values)), np.float64, count, copies=2)
        return counts.cpu().numpy()

    def _products(self, rows: np.ndarray, precision: Any, read: Callable[[Any, slice, Any], None], copies: int) -> Any:
        """As NumpyPairwise's; `copies` is how many blocks' worth of memory `read` and the product take together."""
        import torch

        device, n = self._values.device, len(self._values)
        mean = self._values.mean(dim=0)
        centred = torch.empty_like(self._values, dtype=torch.float32 if precision == np.float32 else torch.float64)
        squares = torch.empty(n, dtype=torch.float64, device=device)
        for start in range(0, n, 4096):
            here = slice(start, start + 4096)
            centred[here] = self._values[here] - mean
            squares[here] = centred[here].double().square().sum(dim=1)
        offsets = squares.to(centred.dtype)
        wanted = torch.from_numpy(rows).to(device)
        step = max(1, self._block_bytes // (n * centred.element_size() * copies))
        with _full_float32():
            for start in range(0, len(rows), step):
                some = wanted[start : start + step]
                block = torch.addmm(offsets, centred[some], centred.T, alpha=-2)
                block[torch.arange(len(some), device=device), some] = torch.inf
                read(block, slice(start, start + len(some)), squares)
        return squares


def _pieces(shape: tuple[int, ...], n_pairs: int) -> Iterator[tuple[slice, slice]]:
    """Cut [rows, columns] into rectangles of at most about `n_pairs` pairs: whole rows, or parts of one row."""
    n_rows, n_columns = shape
    rows, columns = max(1, n_pairs // max(1, n_columns)), max(1, min(n_columns, n_pairs))
    for i in range(0, n_rows, rows):
        for j in range(0, n_columns, columns):
            yield slice(i, i + rows), slice(j, j + columns)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Keep CUDA products in true float32 (TF32 loses the neighbor), and leave the caller's setting as it was."""
    import torch

    settings = torch.backends.cuda.matmul
    name, full = ("fp32_precision", "ieee") if hasattr(settings, "fp32_precision") else ("allow_tf32", False)
    before = getattr(settings, name)
    setattr(settings, name, full)
    try:
        yield
    finally:
        setattr(settings, name, before)
