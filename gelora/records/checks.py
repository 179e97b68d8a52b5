"""Legal words, ranges and devices, and the callback of long work: what every record and function checks its input with."""

import re
from collections.abc import Callable

import numpy as np

from gelora.errors import InputError

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total) during long work; may raise `Cancelled` to end it."""

POINTS = ("blocks", "halves")
"""Where the residual stream is looked at: at the blocks' ends, or between attention and MLP too."""
POOLINGS = ("mean", "cls", "last", "tokens")
SEPARATOR_WORDS = ("comma", "tab", "semicolon", "pipe", "none")
SINKS = ("drop", "keep", "unit")
TASKS = ("classification", "regression", "unlabeled")
ROUNDINGS = ("ceil", "round", "round-each")
METHODS = ("lora", "adalora", "head", "bitfit", "full")
METHODS_WITH_PLAN = ("lora", "adalora")
TASK_KINDS = ("classification", "regression", "question-answering", "causal-lm", "instruction")
LORA_INITS = ("default", "gaussian", "orthogonal", "olora", "pissa")
INITS_OF_BASE = ("olora", "pissa")
"""Of LORA_INITS those in which B·A begins as a part of the base weights, which is taken out of them."""
DEVICES = ("auto", "cpu", "cuda")
MOST_SEED = 2**32 - 1  # what NumPy's legacy generator, which transformers seeds too, takes
MOST_WHOLE = 2**31 - 1  # of what is counted: rows, neighbors, steps
PRECISIONS = ("auto", "float32", "bfloat16")


def check_choice(what: str, given: str, legal: tuple[str, ...]) -> None:
    """Raise InputError unless `given` is one of `legal`."""
    if given not in legal:
        raise InputError(f"Unknown {what} {given!r}; choose one of: {', '.join(legal)}.")


def check_range(what: str, given: float, low: float, high: float | None = None) -> None:
    """Raise InputError unless low <= given (<= high); NaN is never legal."""
    if not (given >= low and (high is None or given <= high)):
        legal = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{what} is {given}; it must be {legal}.")


def check_whole(what: str, given: object, low: int, high: int | None = MOST_WHOLE) -> int:
    """`given` as an int; raises InputError unless it is a whole number (numpy's too, no bool) with low <= given <= high.

    high: None where any size is legal, as of a budget or a number of bytes; else what arrays and libraries can count.
    """
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or given < low:
        legal = f"of at least {low}" if high in (None, MOST_WHOLE) else f"from {low} to {high}"
    elif high is not None and given > high:
        legal = f"from {low} to {high}"
    else:
        return int(given)
    shown = given.item() if isinstance(given, np.generic) else given
    raise InputError(f"{what} is {shown!r:.100}; it must be a whole number {legal}.")


def check_name(what: str, given: str) -> None:
    """Raise InputError where the name of a model or dataset is a web address, which may hold a password and is kept in records."""
    if "://" in given:
        raise InputError(f"{what} {given!r} is a web address; give a hub id such as owner/name, or a local file or folder.")


def resolve_device(device: str) -> str:
    """The device as PyTorch names it: "cpu", "cuda" or "cuda:N" as they are, "auto" as "cuda" where there is a GPU, else "cpu".

    Raises:
        InputError: none of these, or a GPU that PyTorch does not see.
    """
    if not (isinstance(device, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", device)):
        raise InputError(f"Unknown device {device!r}; choose one of: {', '.join(DEVICES)}, cuda:N.")
    if device == "cpu":
        return device
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if n_gpus else "cpu"
    if not n_gpus:
        raise InputError(f"Device {device!r} was asked for, but PyTorch sees no GPU here; choose 'cpu' or 'auto'.")
    if int(device.partition(":")[2] or 0) >= n_gpus:
        raise InputError(f"Device {device!r} does not exist; PyTorch sees {n_gpus} {'GPU' if n_gpus == 1 else 'GPUs'}, counted from 0.")
    return device
