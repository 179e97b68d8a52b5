"""A fixed sample of held-out rows, and the dimensions of its hidden states in the model as it is in training.

Does not depend on when it is measured or on what follows. Leaves every generator of random numbers
and every module's mode as it found them, so that a run with a probe trains to the very weights of one without.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch

from gelora.geometry import estimate_profile
from gelora.records import IdProfile, ModelStructure, RunSpec, SampleSource
from gelora.sources import states_of_rows
from gelora.tasks import Row, Task

N_NEIGHBORS = 20
N_HALVES = 20
POOLING = "mean"


class ProbeSample:
    """The rows of a probe: the first `probe_size` held-out rows in an order that follows from the seed.

    A row is left out when a text of it, a side of a pair or a context among them, stood in an earlier one: near copies
    would rule the estimate. Where that leaves too few to measure, only copies of whole rows are left out. Hidden states
    are pooled as `gelora.sources` does it by default, the mean over all tokens but padding.
    """

    def __init__(self, task: Task, spec: RunSpec, structure: ModelStructure) -> None:
        """
        Args:
            task: its held-out rows and tokenizer are used.
            spec: probe_size, probe_estimator and the seed.
            structure: of the base model, without adapters.
        """
        order = np.random.default_rng(spec.seed).permutation(len(task.held_out))
        rows = [task.held_out[i] for i in order]
        self.rows = _distinct(rows, _framing(task.tokenizer))[: spec.training.probe_size]
        if len(self.rows) <= N_NEIGHBORS + 1:
            self.rows = _distinct(rows, frozenset())[: spec.training.probe_size]
        self._spec = spec
        self._structure = structure
        self._tokenizer = task.tokenizer
        self._without_padding = task.without_padding
        self._source = SampleSource(
            choice=spec.held_out or spec.data,
            revision=str(task.entry.revision),
            seed=spec.seed,
            n_samples=len(self.rows),
            distinct=True,
            texts_digest=task.texts_digest,
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of what is measured: the embeddings' output, and every block's."""
        return ("embeddings", *(f"block {number}" for number in range(1, self._structure.n_layers + 1)))

    def profile(self, model: torch.nn.Module, bf16: bool) -> IdProfile:
        """The intrinsic dimension of every layer of the model as it is, by the spec's estimator, with intervals from half-samples.

        Args:
            model: with its adapters, on any device.
            bf16: run in bfloat16 autocast, as training and evaluation do.

        Raises:
            DataError: too few rows, or states that are NaN or infinite. (A layer that has no dimension says so in its note.)
            ModelError: the model is no stack of blocks, or one row is too much for the GPU.
        """
        return self._profile(model, self.rows, bf16)

    def warm_up(self, model: torch.nn.Module, bf16: bool) -> None:
        """Load what measuring and training both need once (libraries, a GPU's kernels), so that it counts as neither's time.

        Raises: as `profile`.
        """
        self._profile(model, self.rows[: N_NEIGHBORS + 2], bf16)

    def _profile(self, model: torch.nn.Module, rows: Sequence[Row], bf16: bool) -> IdProfile:
        device = next(model.parameters()).device
        training = self._spec.training
        with _random_states_kept(device), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            states = states_of_rows(
                model,
                rows,
                self._structure,
                self._source,
                pad_token_id=self._tokenizer.pad_token_id or 0,
                pad_token_type_id=self._tokenizer.pad_token_type_id,
                without_padding=self._without_padding,
                pooling=POOLING,
                batch_size=max(128 if device.type == "cuda" else 32, training.batch_size),
                max_length=training.max_length,
                dtype="bfloat16" if bf16 else "float32",
            )
            return estimate_profile(
                states, [training.probe_estimator], n_neighbors=N_NEIGHBORS, n_subsamples=N_HALVES, seed=self._spec.seed
            )


def _distinct(rows: Iterable[Row], framing: frozenset[int]) -> list[Row]:
    """Rows that share no text, what is between two tokens of the framing, with an earlier one of them."""
    seen: set[tuple[int, ...]] = set()
    result = []
    for row in rows:
        texts = _texts(row["input_ids"], framing)
        if not texts & seen:
            result.append(row)
            seen |= texts
    return result


def _texts(token_ids: Sequence[int], framing: frozenset[int]) -> set[tuple[int, ...]]:
    return {tuple(text) for is_framing, text in groupby(token_ids, key=framing.__contains__) if not is_framing}


def _framing(tokenizer: Any) -> frozenset[int]:
    """The tokens before, between and after texts."""
    ids = (getattr(tokenizer, f"{role}_token_id", None) for role in ("cls", "sep", "bos", "eos", "pad"))
    return frozenset(i for i in ids if i is not None)


@contextmanager
def _random_states_kept(device: torch.device) -> Iterator[None]:
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
