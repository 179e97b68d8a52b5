"""What the check for padding costs, and what it is for: `python -m benchmarks.padding_check`.

Cost: seconds of the check against those of one extraction of 200 texts by the bundled model, medians of turns on one CPU thread.
Use: how far states of a text in a padded batch lie from those of the text alone, relative, median over tokens of the last block,
for random models with four blocks of the published base shapes (width 768) on one text of 16 tokens with as much padding.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from benchmarks import record
from gelora.sources import find_model, load_base_model, load_sample, load_tokenizer, model_structure, tokenize
from gelora.sources.hidden_states import states_of
from gelora.sources.padding import depends_on_padding

N_TEXTS, TURNS = 200, 5
SHAPES = ("bert", "fnet", "nystromformer", "convbert")


def main() -> None:
    """Measure both."""
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine would be what is timed
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    options = parser.parse_args()
    record.write("padding_check", [cost(), *(change(shape) for shape in SHAPES)], options.json)


def cost() -> dict[str, Any]:
    """Seconds of the check beside those of the extraction that it precedes."""
    name = "all-MiniLM-L6-v2"
    entry = find_model(name)
    model, tokenizer, structure = load_base_model(entry), load_tokenizer(entry), model_structure(name)
    sample = load_sample("docstrings", N_TEXTS, seed=0)
    texts = tokenize(tokenizer, sample, 128, "mean")
    options: dict[str, Any] = {"pooling": "mean", "max_length": 128, "batch_size": 64, "dtype": "float32", "final_norm": False}
    whole: list[float] = []
    check: list[float] = []
    for _ in range(TURNS):
        check.append(_seconds(lambda: depends_on_padding(model, texts, structure.hidden_size)))
        whole.append(_seconds(lambda: states_of(model, tokenizer, sample, structure, progress=lambda *_: None, **options)))
    ours, all_of_it = float(np.median(check)), float(np.median(whole))
    return {
        "case": f"check on {name}, against an extraction of {N_TEXTS} texts, seconds",
        "ours": round(ours, 4),
        "peer": round(all_of_it, 3),
        "peer_name": "the extraction",
        "ratio": round(ours / all_of_it, 4),
        "unit": "s",
    }


def change(shape: str) -> dict[str, Any]:
    """How far padding moves the states of a random model."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(shape, num_hidden_layers=4)
    model = AutoModel.from_config(config).eval()
    ids = torch.randint(1000, config.vocab_size, (1, 16))
    padded = torch.cat([ids, torch.full_like(ids, config.pad_token_id or 0)], dim=1)
    mask = torch.cat([torch.ones_like(ids), torch.zeros_like(ids)], dim=1)
    with torch.inference_mode():
        alone = model(input_ids=ids, attention_mask=mask[:, :16]).last_hidden_state
        beside = model(input_ids=padded, attention_mask=mask).last_hidden_state[:, :16]
    moved = float(((beside - alone).norm(dim=-1) / alone.norm(dim=-1)).median())
    return {"case": f"{shape}, random weights: change of the last states by padding, relative", "ours": float(f"{moved:.2g}"), "unit": "1"}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
