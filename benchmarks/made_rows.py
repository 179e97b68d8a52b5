"""Labelled sentences made by a rule, for benchmarks of how runs are started and queued."""

import json
from pathlib import Path


def write_rows(path: Path, n: int) -> Path:
    """A JSON Lines file of n rows with `text` and `label`; returns its path."""
    texts = (f"the film number {i} was {'good' if i % 2 else 'bad'}" for i in range(n))
    path.write_text("".join(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(texts)))
    return path
