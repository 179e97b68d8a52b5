"""Small learnable data files, and specs of runs that take seconds on tiny models."""

import json
import random
from pathlib import Path

import pytest
from tiny_models import save_tiny_model

from gelora.records import DataChoice, RunSpec, TrainingConfig

GOOD = ("good", "great", "fine", "lovely", "clever")
BAD = ("bad", "poor", "dull", "loud", "slow")
THINGS = ("film", "story", "service", "train", "garden", "answer", "battery", "place", "talk", "rain")


def write_rows(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sentences(n: int, seed: int = 0) -> list[tuple[str, int]]:
    """Distinct sentences of several lengths, half of them about something good (1), half about something bad (0)."""
    rng = random.Random(seed)
    found = {}
    while len(found) < n:
        label = len(found) % 2
        words = [rng.choice(THINGS) for _ in range(rng.randint(1, 6))]
        found[f"the {' and the '.join(words)} was {rng.choice(GOOD if label else BAD)}"] = label
    return list(found.items())


@pytest.fixture
def labelled_file(tmp_path) -> str:
    return write_rows(tmp_path / "labelled.jsonl", [{"text": t, "label": y} for t, y in sentences(64)])


@pytest.fixture
def scored_file(tmp_path) -> str:
    return write_rows(tmp_path / "scored.jsonl", [{"text": t, "label": len(t) / 20 + y} for t, y in sentences(64)])


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    return save_tiny_model("bert", tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture
def make_spec(labelled_file, tiny_bert):
    """make_spec(model=..., dataset=..., method=..., seed=..., **training) -> RunSpec with uniform rank 2."""

    def make(model: Path | None = None, dataset: str | None = None, method: str = "lora", seed: int = 0, **training: object) -> RunSpec:
        from gelora.ranks import uniform_ranks
        from gelora.sources import model_structure

        folder = str(model or tiny_bert)
        plan = uniform_ranks(model_structure(folder), 2) if method == "lora" else None
        options = {"n_train": 48, "n_eval": 16, "epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "device": "cpu"} | training
        return RunSpec(folder, DataChoice(dataset or labelled_file), plan, TrainingConfig(method=method, **options), seed)

    return make
