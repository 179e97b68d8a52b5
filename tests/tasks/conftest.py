"""Small data files of every kind, and specs of tasks on tiny models."""

import json
import random
from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny_model

from gelora.records import DataChoice, RunSpec, TrainingConfig

GOOD = ("good", "great", "fine", "lovely", "clever")
BAD = ("bad", "poor", "dull", "loud", "slow")
THINGS = ("film", "story", "service", "train", "garden", "answer", "battery", "place", "talk", "rain")


def sentences(n: int, seed: int = 0) -> list[tuple[str, int]]:
    """Distinct sentences of several lengths, half of them about something good (1), half about something bad (0)."""
    rng = random.Random(seed)
    found: dict[str, int] = {}
    while len(found) < n:
        label = len(found) % 2
        words = [rng.choice(THINGS) for _ in range(rng.randint(1, 6))]
        found[f"the {' and the '.join(words)} was {rng.choice(GOOD if label else BAD)}"] = label
    return list(found.items())


@pytest.fixture(autouse=True)
def generator_as_it_was():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def write_rows(tmp_path):
    """write_rows(rows, name="data") -> path of a .jsonl file."""

    def write(rows: list[dict], name: str = "data") -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture
def labelled_rows() -> list[dict]:
    return [{"text": text, "label": label} for text, label in sentences(64)]


@pytest.fixture
def labelled_file(write_rows, labelled_rows) -> str:
    return write_rows(labelled_rows, "labelled")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """tiny(architecture) -> folder of a tiny model, made once."""
    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = save_tiny_model(architecture, tmp_path_factory.mktemp("tiny") / architecture)
        return made[architecture]

    return folder


@pytest.fixture
def make_spec(tiny):
    """make_spec(dataset, model="bert", held_out=None, seed=0, columns={}, **training) -> RunSpec of a task."""

    def make(dataset, model="bert", held_out=None, seed=0, columns=None, **training) -> RunSpec:
        options = {"method": "head", "n_train": 48, "n_eval": 16, "device": "cpu"} | training
        folder = str(tiny(model) if isinstance(model, str) else model)
        other = DataChoice(held_out) if isinstance(held_out, str) else held_out
        return RunSpec(folder, DataChoice(dataset, **(columns or {})), None, TrainingConfig(**options), seed, other)

    return make


@pytest.fixture
def logits_of():
    """logits_of(task) -> what evaluation keeps of all held-out rows, joined as a Trainer joins it."""
    import numpy as np

    def kept(task, batch_size: int = 7):
        parts = []
        task.model.eval()
        with torch.no_grad():
            for i in range(0, len(task.held_out), batch_size):
                batch = task.collate(task.held_out[i : i + batch_size])
                outputs = tuple(task.model(**batch, return_dict=False)[1:])
                outputs = outputs[0] if len(outputs) == 1 else outputs
                parts.append(task.reduce(outputs, batch.get("labels")).numpy())
        width = max(part.shape[1] for part in parts)
        pads = [[(0, 0), (0, width - part.shape[1]), *[(0, 0)] * (part.ndim - 2)] for part in parts]
        return np.concatenate([np.pad(part, pad, constant_values=-100) for part, pad in zip(parts, pads, strict=True)])

    return kept
