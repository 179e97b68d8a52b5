"""Two ways to measure all pairs of rows, in blocks, on CPU (numpy) or GPU (torch): a fast matrix product that only
nominates nearest candidates, and differences in float64 that settle distances.

Knows nothing of duplicates, metrics or graphs; gives no promise that the candidates are the true neighbors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from gelora.errors import InputError

_CACHE_BYTES = 4 * 2**20  # differences are summed in pieces that stay in a CPU's cache; 4x faster than large ones


class Pairwise(Protocol):
    """What both engines offer, over the float64 rows [n, width] they were made from."""

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows that look nearest to each of `rows`, itself excluded, by a matrix product in `precision`.

        Returns:
            int64 [r, n_candidates] unordered; float64 [r], the largest |x_j|^2 - 2 x_i x_j among them (no other row's
            is smaller); float64 [r], the norm |x_i|. All of centred rows, cast to `precision`.
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


class NumpyPairwise:
    """The engine for the CPU; needs no torch."""

    def __init__(self, values: np.ndarray, block_bytes: int) -> None:
        self._values = values
        self._block_bytes = block_bytes

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centred = (self._values - self._values.mean(axis=0)).astype(precision)
        squares = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
        offsets = squares.astype(precision)
        found = np.empty((len(rows), n_candidates), dtype=np.int64)
        edge = np.empty(len(rows), dtype=np.float64)
        step = max(1, self._block_bytes // (len(centred) * (centred.itemsize + 8)))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            block = (-2 * centred[some]) @ centred.T
            block += offsets
            block[np.arange(len(some)), some] = np.inf
            picked = np.argpartition(block, n_candidates - 1, axis=1)[:, :n_candidates]
            found[start : start + step] = picked
            edge[start : start + step] = np.take_along_axis(block, picked, axis=1).max(axis=1)
        return found, edge, np.sqrt(squares[rows])

    def squared_distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        result = np.empty(columns.shape, dtype=np.float64)
        piece = min(self._block_bytes, _CACHE_BYTES) // (self._values.shape[1] * 8)
        for some, across in _pieces(columns.shape, piece):
            difference = self._values[columns[some, across]]
            difference -= self._values[rows[some], None]
            result[some, across] = np.einsum("ijk,ijk->ij", difference, difference)
        return result

    def read_rows(
        self, rows: np.ndarray, precision: Any, orders: np.ndarray, squared_radii: np.ndarray, probes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centred = (self._values - self._values.mean(axis=0)).astype(precision)
        squares = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
        offsets = squares.astype(precision)
        at_orders = np.empty((len(rows), len(orders)))
        n_nearer = np.empty((len(rows), len(squared_radii)), dtype=np.int64)
        at_probes = np.empty(probes.shape)
        step = max(1, self._block_bytes // (len(centred) * centred.itemsize))
        for start in range(0, len(rows), step):
            some, here = rows[start : start + step], slice(start, start + step)
            block = (-2 * centred[some]) @ centred.T
            block += offsets
            own = squares[some, None]
            at_probes[here] = np.take_along_axis(block, probes[here], axis=1) + own
            block[np.arange(len(some)), some] = np.inf
            at_orders[here], n_nearer[here] = read_sorted(block, orders, squared_radii - own)
            at_orders[here] += own
        return at_orders, n_nearer, at_probes


def read_sorted(block: np.ndarray, orders: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row of `block` in place: its values of each order (1 is the least), how many lie below its bounds [r, q]."""
    block.sort(axis=1)
    bounds = bounds.astype(block.dtype)
    n_below = np.array([np.searchsorted(row, bound) for row, bound in zip(block, bounds, strict=True)], dtype=np.int64)
    return block[:, orders - 1].astype(np.float64), n_below.reshape(bounds.shape)


class TorchPairwise:
    """The engine for a CUDA device; results come back as numpy arrays."""

    def __init__(self, values: np.ndarray, block_bytes: int, device: str) -> None:
        import torch

        if not torch.cuda.is_available():
            raise InputError(f"Device {device!r} was asked for, but torch sees no CUDA device here; use device 'cpu'.")
        if int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
            raise InputError(f"Device {device!r} does not exist; there are {torch.cuda.device_count()} CUDA devices, counted from 0.")
        self._values = torch.from_numpy(values).to(device)
        self._block_bytes = block_bytes

    def candidates(self, rows: np.ndarray, precision: Any, n_candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import torch

        centred = (self._values - self._values.mean(dim=0)).to(torch.float32 if precision == np.float32 else torch.float64)
        squares = torch.cat([chunk.double().square().sum(dim=1) for chunk in centred.split(4096)])
        offsets = squares.to(centred.dtype)
        wanted = torch.from_numpy(rows).to(self._values.device)
        found, edge = [], []
        step = max(1, self._block_bytes // (len(centred) * centred.element_size() * 3))
        with _full_float32():
            for some in wanted.split(step):
                block = torch.addmm(offsets, centred[some], centred.T, alpha=-2)
                block[torch.arange(len(some), device=some.device), some] = torch.inf
                nearest = block.topk(n_candidates, dim=1, largest=False, sorted=False)
                found.append(nearest.indices)
                edge.append(nearest.values.amax(dim=1).double())
        return torch.cat(found).cpu().numpy(), torch.cat(edge).cpu().numpy(), squares[wanted].sqrt().cpu().numpy()

    def squared_distances(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        import torch

        device = self._values.device
        own, others = torch.from_numpy(rows).to(device), torch.from_numpy(np.array(columns)).to(device)
        result = torch.empty(columns.shape, dtype=torch.float64, device=device)
        piece = self._block_bytes // (self._values.shape[1] * 16)
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
        centred = (self._values - self._values.mean(dim=0)).to(torch.float32 if precision == np.float32 else torch.float64)
        squares = torch.cat([chunk.double().square().sum(dim=1) for chunk in centred.split(4096)])
        offsets = squares.to(centred.dtype)
        wanted, columns, radii = (torch.from_numpy(np.array(a)).to(device) for a in (rows, orders - 1, squared_radii))
        answers: list[list[Any]] = [[], [], []]
        step = max(1, self._block_bytes // (len(centred) * centred.element_size() * 4))
        with _full_float32():
            for start in range(0, len(rows), step):
                some = wanted[start : start + step]
                block = torch.addmm(offsets, centred[some], centred.T, alpha=-2)
                own = squares[some, None]
                answers[2].append(block.gather(1, torch.from_numpy(probes[start : start + step]).to(device)).double() + own)
                block[torch.arange(len(some), device=device), some] = torch.inf
                ascending = block.sort(dim=1).values
                answers[0].append(ascending[:, columns].double() + own)
                answers[1].append(torch.searchsorted(ascending, (radii - own).to(block.dtype)))
        at_orders, n_nearer, at_probes = (torch.cat(parts).cpu().numpy() for parts in answers)
        return at_orders, n_nearer, at_probes


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
