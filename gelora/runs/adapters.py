"""The folder `adapter/` that a run leaves: PEFT's files, the tokenizer, and a README that says how to load them.

Whoever loads it needs PEFT and transformers, nothing of ours. Knows a built task; knows nothing of training.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from gelora.errors import StoreError
from gelora.home import write_atomically
from gelora.runs.tasks import Task

# Where the bundled models are published, for those who load an adapter on a machine that does not have the bundle.
_PUBLISHED = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}


def save_adapter(task: Task, folder: Path, metrics: dict[str, float]) -> Path:
    """Save adapter, head, tokenizer and README; `folder` appears whole or not at all. Returns `folder`.

    Raises:
        StoreError: the disk is full or the folder is not writable.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        # The embeddings are not trained; left to itself, PEFT asks the hub whether they have changed their size.
        task.model.save_pretrained(unfinished, save_embedding_layers=False)
        task.tokenizer.save_pretrained(unfinished)
        _name_the_base(task, unfinished / "adapter_config.json")
        write_atomically(unfinished / "README.md", _readme(task, metrics).encode())
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except OSError as error:
        raise StoreError(f"The adapter cannot be saved into {folder}: {error.strerror or error}. Free some space.") from error
    return folder


def base_of(entry: Any) -> tuple[str, str | None]:
    """Name and revision under which anybody can load the base model: its hub id, or the local folder and None."""
    if entry.origin == "local":
        return str(Path(entry.path).resolve()), None
    return _PUBLISHED.get(entry.model_id, entry.model_id), entry.revision


def _name_the_base(task: Task, path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"], config["revision"] = base_of(task.entry)
    write_atomically(path, json.dumps(config, indent=2, sort_keys=True).encode())


def _readme(task: Task, metrics: dict[str, float]) -> str:
    base, revision = base_of(task.entry)
    options = [repr(base)]
    options += [f"revision={revision!r}"] if revision else []
    options += [f"num_labels={task.n_labels}", 'dtype="float32"']
    options += ["ignore_mismatched_sizes=True"] if task.reloaded_keys else []
    labels = ", ".join(f"{i} = {name}" for i, name in enumerate(task.label_names)) if task.label_names else "one real number (regression)"
    results = "\n".join(f"- {name}: {value:.6g}" for name, value in sorted(metrics.items()) if name.startswith("eval_"))
    arguments = ",\n    ".join(options)
    return f"""---
base_model: {json.dumps(base)}
library_name: peft
tags: [lora, text-classification]
---

# LoRA adapter for {base}

Labels: {labels}.
The adapter holds the trained head too. pad_token_id is {task.tokenizer.pad_token_id}.

```python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

adapter = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(adapter)
base = AutoModelForSequenceClassification.from_pretrained(
    {arguments},
)
base.config.pad_token_id = tokenizer.pad_token_id
model = PeftModel.from_pretrained(base, adapter).eval()
inputs = tokenizer(["A text.", "Another, longer text."], return_tensors="pt", padding=True)
print(model(**inputs).logits)
```

On the held-out rows of the run:

{results or "- it was stopped before its first evaluation"}
"""
