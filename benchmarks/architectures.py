"""Every type of model that transformers can build, from its default config: found, or refused with the reason.

Part of `python -m benchmarks.budgets --all`. A type that is found is also planned with mixed ranks on all of its linear
maps, and on its experts, and our parameter count is held against PEFT's own.
"""

import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gelora.errors import GeloraError, ModelError
from gelora.ranks import apply_plan
from gelora.records import ModelStructure
from gelora.sources import select_modules, structure_of, without_weights

SECONDS_FOR_A_TYPE = 60


class OverTime(Exception):
    """A model type takes longer than the study gives it."""


def study(only: list[str] | None = None) -> list[dict[str, Any]]:
    """One row for each model type of transformers' AutoModel mapping, and one that counts them.

    Args:
        only: these types alone.
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    rows = []
    for model_type in only or list(MODEL_MAPPING_NAMES):
        started = time.perf_counter()
        try:
            with _limited(SECONDS_FOR_A_TYPE):
                row = _row(model_type)
        except OverTime:
            row = {"outcome": f"skipped: more than {SECONDS_FOR_A_TYPE} s"}
        rows.append({"case": f"architecture {model_type}", **row})
        print(f"{model_type}: {row['outcome']} ({time.perf_counter() - started:.1f} s)", file=sys.stderr, flush=True)
    return [*rows, {"case": "architectures, counted", **dict(Counter(_group(row) for row in rows).most_common())}]


def _row(model_type: str) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        config = AutoConfig.for_model(model_type)
        model = without_weights(config)
    except (ModelError, AttributeError, ValueError, TypeError, ImportError) as error:
        return {"outcome": f"its default config builds no model: {_first_line(error)}"}
    try:
        structure = structure_of(model, model_type, "default config")
    except ModelError as error:
        return {"outcome": f"refused: {_first_line(error)}"}
    row: dict[str, Any] = {"outcome": "found", "blocks": structure.n_layers}
    row["kinds"] = dict(Counter(module.kind for module in structure.modules))
    for word in ("attention", "all-linear", "experts"):
        if word == "experts" and "expert" not in row["kinds"]:
            continue
        try:
            select_modules(structure, word)
        except GeloraError as error:
            row[word] = f"refused: {_first_line(error)}"
            continue
        row[word] = "found" if word == "attention" else _difference(config, structure, word)
    if str(row.get("attention")).startswith("refused"):
        row["outcome"] = "found, without linear attention projections"
    return row


def _difference(config: Any, structure: ModelStructure, word: str) -> Any:
    """Our count minus PEFT's, or what PEFT cannot do."""
    import torch

    from benchmarks.budgets import mixed_plan

    plan = mixed_plan(structure, word)
    try:
        with torch.device("meta"):
            return plan.n_adapter_params - apply_plan(without_weights(config), plan).get_nb_trainable_parameters()[0]
    except ModelError as error:
        return f"refused: {_first_line(error)}"
    except (ValueError, RuntimeError, AttributeError, TypeError, KeyError, NotImplementedError) as error:
        return f"PEFT fails: {type(error).__name__}: {_first_line(error)}"


def _group(row: dict[str, Any]) -> str:
    """The outcome without what differs from model to model."""
    outcome = re.sub(r"(\d+|\[.*?\])", "N", row["outcome"])
    for sentence in (
        "its default config builds no model",
        "is an encoder-decoder",
        "stages of different widths",
        "No list of",
        "separate lists",
    ):
        if sentence in outcome:
            return sentence
    return re.sub(r"[\w/.-]+ has N blocks but", "N blocks but", outcome)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:240]


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise OverTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
