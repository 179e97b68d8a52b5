"""The Jacobian of one transformer block of a real model at a few points, probed at random.

Of a model on texts. Which map it is: one position's state on entering the block -> the same position's state on leaving
it, while the states of all other positions of the text stay as they are.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gelora.errors import DataError, ModelError
from gelora.records import Progress, Sample, check_whole, resolve_device
from gelora.sources.half_blocks import without_key_value_cache
from gelora.sources.structure import base_model_of, find_blocks
from gelora.sources.tokenized import tokenize

if TYPE_CHECKING:
    import torch
    from torch import nn

RANK_TOLERANCE = 1e-4
"""A singular value counts when it is above this share of the largest one seen at the point; the pass is in float32."""
_ROWS = 64  # copies of the text in one pass


@dataclass(frozen=True)
class BlockJacobian:
    """What the probes saw of a block's Jacobian J [hidden_size, hidden_size] at every point.

    singular_values: float64 [n_points, n_probes], descending; each is a lower bound of J's own singular value of that
    place, and equal to it when n_probes is hidden_size; ranks: int64 [n_points], how many of them are above
    RANK_TOLERANCE times the largest: a lower bound of J's rank, at most n_probes; update_values, update_ranks: the same
    of J - I, the derivative of what the block adds; texts, positions, tokens: where the points are; norms: float64
    [n_points], norm of the point's state on entering the block over the median norm there of all `n_tokens` tokens of these
    texts: far above 1 at an attention sink.
    """

    block: int
    n_probes: int
    hidden_size: int
    singular_values: np.ndarray
    ranks: np.ndarray
    update_values: np.ndarray
    update_ranks: np.ndarray
    texts: tuple[str, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    norms: np.ndarray
    n_tokens: int
    seconds: float


def probe_block(
    model: str,
    sample: Sample,
    block: int,
    *,
    n_points: int = 4,
    n_probes: int = 64,
    max_length: int = 32,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> BlockJacobian:
    """Leading singular values of a block's Jacobian at one position of each of a few texts.

    With a random Gaussian S [hidden_size, n_probes], Y = J^T S by reverse mode, Q an orthonormal basis of Y, and
    B = J Q by forward mode; the singular values of B are at most those of J, and close to its leading ones (Halko,
    Martinsson & Tropp, SIAM Review 53 (2011), algorithm 4.1 on J^T). Those of B - Q are at most those of J - I.

    Args:
        model: a bundled name, a local folder or a hub id; see `find_model`.
        sample: texts; n_points of them are drawn, seeded, and in each one position, the first and last left out where
            there are more than two.
        block: from 1 to the number of blocks.
        n_points: from 1 to the number of texts.
        n_probes: from 1; lowered to hidden_size, with which the Jacobian is seen whole.
        max_length: tokens at which a text is cut, at least 4.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        progress: called with ("Reading the model", 0, n) and ("Probing", passes done, n); may raise `Cancelled`.

    Raises:
        HubError, ChecksumError: the model cannot be had.
        InputError: an argument out of its range.
        ModelError: the model is no stack of transformer blocks, or its block cannot be derived.
        DataError: a derivative is NaN or infinite.
    """
    from gelora.sources.catalog import find_model
    from gelora.sources.loading import load_base_model, load_tokenizer

    report = progress or (lambda stage, done, total: None)
    report("Reading the model", 0, 0)
    entry = find_model(model)
    network = load_base_model(entry, device=resolve_device(device))
    return probe_loaded_block(
        network, load_tokenizer(entry), sample, block,
        n_points=n_points, n_probes=n_probes, max_length=max_length, seed=seed, progress=report,
    )  # fmt: skip


def probe_loaded_block(
    network: "nn.Module",
    tokenizer: Any,
    sample: Sample,
    block: int,
    *,
    n_points: int,
    n_probes: int,
    max_length: int,
    seed: int,
    progress: Progress,
) -> BlockJacobian:
    """The same as `probe_block` for a model and tokenizer in memory."""
    import torch

    base = base_model_of(network).eval()
    blocks = find_blocks(base)[1]
    check_whole("block", block, 1, len(blocks))
    check_whole("n_points", n_points, 1, len(sample))
    check_whole("n_probes", n_probes, 1)
    check_whole("max_length", max_length, 4)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(sample), n_points, replace=False))
    texts = tokenize(tokenizer, sample, max_length, "mean")
    device = str(next(base.parameters()).device)
    began = time.perf_counter()
    seen: list[np.ndarray] = []
    updates: list[np.ndarray] = []
    positions: list[int] = []
    tokens: list[str] = []
    norms: list[np.ndarray] = []
    for index in chosen:
        length = int(texts.lengths[index])
        position = int(rng.integers(1, length - 1)) if length > 2 else int(rng.integers(length))
        inputs = texts.batch(np.array([index] * 3), device)
        done = len(seen)

        def step(n_done: int, n_all: int, done: int = done) -> None:
            progress("Probing", done * n_all + n_done, n_points * n_all)

        at_point = _Point(base, blocks[block - 1], inputs, position)
        probes = torch.from_numpy(rng.standard_normal((min(n_probes, at_point.width), at_point.width)).astype(np.float32)).to(device)
        full, update = _leading_values(at_point, probes, step)
        seen.append(full)
        updates.append(update)
        positions.append(position)
        norms.append(at_point.norms)
        tokens.append(str(tokenizer.convert_ids_to_tokens(int(inputs["input_ids"][0, position]))))
    values, update_values = np.array(seen), np.array(updates)
    median = float(np.median(np.concatenate(norms)))
    return BlockJacobian(
        block=block,
        n_probes=values.shape[1],
        hidden_size=at_point.width,
        singular_values=values,
        ranks=_ranks(values),
        update_values=update_values,
        update_ranks=_ranks(update_values),
        texts=tuple(sample.texts[i] for i in chosen),
        positions=tuple(positions),
        tokens=tuple(tokens),
        norms=np.array([of_text[position] for of_text, position in zip(norms, positions, strict=True)]) / (median or np.nan),
        n_tokens=sum(map(len, norms)),
        seconds=time.perf_counter() - began,
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.sum(values > RANK_TOLERANCE * values[:, :1], axis=1)


class _Entered(Exception):
    """Ends a forward pass at the block that it has reached."""


class _Point:
    """A block with everything that it is called with for one text, as a map of one position's state; `_ROWS` at a time."""

    def __init__(self, base: "nn.Module", block: "nn.Module", inputs: "dict[str, torch.Tensor]", position: int) -> None:
        self._block, self._position = block, position
        # What a block's call has for each text grows from two like texts to three; what all texts share does not.
        (args, kwargs), (more_args, more_kwargs) = (
            _call_of(base, block, {name: column[:n] for name, column in inputs.items()}) for n in (2, 3)
        )
        self._args = tuple(map(_copies, args, more_args))
        self._kwargs = {name: _copies(value, more_kwargs[name]) for name, value in kwargs.items()}
        states: Any = self._args[0] if self._args else self._kwargs.get("hidden_states")
        if getattr(states, "ndim", 0) != 3 or len(states) != _ROWS:
            raise ModelError(
                f"A block of {type(base).__name__} takes states of shape {list(getattr(states, 'shape', ()))}, expected "
                "(texts, tokens, hidden_size); this model's blocks cannot be probed."
            )
        self._states = states.detach()
        self.norms = self._states[0].double().norm(dim=-1).cpu().numpy()  # of all tokens, float64 [n_tokens]
        self.state, self.width = self._states[:, position].clone(), int(states.shape[2])  # [_ROWS, width], all rows alike

    def __call__(self, state: "torch.Tensor") -> "torch.Tensor":
        """[_ROWS, hidden_size] -> [_ROWS, hidden_size], every row by itself."""
        import torch

        here = torch.zeros(self._states.shape[1], dtype=torch.bool, device=state.device)
        here[self._position] = True
        states = torch.where(here[None, :, None], state[:, None, :], self._states)
        args = (states, *self._args[1:]) if self._args else ()
        kwargs = self._kwargs if self._args else {**self._kwargs, "hidden_states": states}
        output = self._block(*args, **kwargs)
        result: torch.Tensor = (output[0] if isinstance(output, tuple) else output)[:, self._position]
        return result


def _copies(two: Any, three: Any) -> Any:
    """An argument of a pass of two like texts, for `_ROWS` of them: repeated where it grows with a third, else as it is.

    It may have several rows a text, one after another (BLOOM's linear biases: one a head), or one number (X-MOD's language).
    """
    import torch

    if isinstance(two, tuple):
        return tuple(map(_copies, two, three))
    if not isinstance(two, torch.Tensor) or two.ndim == 0 or len(two) == len(three):
        return two
    of_one = two[: len(three) - len(two)]
    return of_one.expand(_ROWS, *of_one.shape).reshape(_ROWS * len(of_one), *of_one.shape[1:])


def _call_of(base: "nn.Module", block: "nn.Module", inputs: "dict[str, torch.Tensor]") -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which the block is called in a pass of the model, which ends there."""
    import torch

    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append((args, kwargs))
        raise _Entered

    hook = block.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad(), without_key_value_cache(base):
            base(**inputs)
    except _Entered:
        return found[0]
    finally:
        hook.remove()
    raise ModelError(f"{type(base).__name__} does not run this block in a forward pass, so it cannot be probed.")


def _leading_values(point: _Point, probes: "torch.Tensor", step: Callable[[int, int], None]) -> tuple[np.ndarray, np.ndarray]:
    """Descending lower bounds of the singular values of J, and of J - I, at a point: float64 [n_probes] each."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    n_all = 2 * -(-len(probes) // _ROWS)

    def in_passes(rows: "torch.Tensor", product: Callable[["torch.Tensor"], "torch.Tensor"], done: int) -> "torch.Tensor":
        parts = []
        for start in range(0, len(rows), _ROWS):
            step(done + start // _ROWS, n_all)
            part = rows[start : start + _ROWS]
            padded = torch.cat([part, part.new_zeros(_ROWS - len(part), point.width)])
            parts.append(product(padded)[: len(part)])
        return torch.cat(parts)

    try:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no forward-mode derivative
            spanned = in_passes(probes, lambda rows: _transposed(point, rows), 0).double()
            basis = torch.linalg.qr(spanned.T)[0].T
            images = in_passes(basis.float(), lambda rows: _forward(point, rows), n_all // 2).double()
        found = [torch.linalg.svdvals(product).cpu().numpy() for product in (images, images - basis)]
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
        raise ModelError(f"PyTorch cannot derive this block ({reason}); choose another model.") from error
    step(n_all, n_all)
    if not all(np.isfinite(values).all() for values in found):
        raise DataError("The block's derivative is NaN or infinite at this point; choose another model or other texts.")
    return found[0], found[1]


def _transposed(point: _Point, rows: "torch.Tensor") -> "torch.Tensor":
    """J^T u for every row u, by reverse mode."""
    import torch

    state = point.state.clone().requires_grad_(True)
    return torch.autograd.grad(point(state), state, rows)[0]


def _forward(point: _Point, rows: "torch.Tensor") -> "torch.Tensor":
    """J v for every row v: forward mode, or, where an operation has none (BLOOM's own GELU), the derivative of J^T u by u."""
    import torch

    try:
        return torch.func.jvp(point, (point.state,), (rows,))[1].detach()
    except RuntimeError:  # of functorch; NotImplementedError is one too
        state = point.state.clone().requires_grad_(True)
        u = torch.zeros_like(state, requires_grad=True)
        (product,) = torch.autograd.grad(point(state), state, u, create_graph=True)
        return torch.autograd.grad(product, u, rows)[0]
