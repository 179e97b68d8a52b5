"""The folder `adapter/` that a run leaves: weights, config, the tokenizer, and a README that says how to load them.

An adapter on a checkpoint, or with BitFit and full fine-tuning a model of its own. Whoever loads it needs transformers, and
PEFT for an adapter, nothing of ours. Knows a task and a learner; knows nothing of training.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gelora.errors import StoreError
from gelora.home import write_atomically
from gelora.runs.training.adapter_readme import readme
from gelora.runs.training.methods import Learner
from gelora.sources import hub_name
from gelora.tasks import Task

# As `gelora.tasks` puts an instruction to a model that has no chat template.
_PROMPT = "### Instruction:\nName three colors.\n\n### Response:\n"


def save_learner(task: Task, learner: Learner, folder: Path, metrics: Mapping[str, float]) -> Path:
    """Save what was learned, with tokenizer and README; `folder` appears whole or not at all. Returns `folder`.

    Args:
        task: what was learned. learner: its model, trained, and how to save it.
        folder: where to; an older one there is replaced.
        metrics: the run's last values; those that begin with `eval_` stand in the README.

    Raises:
        StoreError: the disk is full or the folder is not writable.
        ModelError: there is nothing to save yet (AdaLoRA before its first step).
    """
    unfinished, old = folder.with_name(f".{folder.name}.unfinished"), folder.with_name(f".{folder.name}.old")
    base, revision = base_of(task.entry)
    try:
        for leftover in (unfinished, old):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir(parents=True)
        learner.export(unfinished)
        task.tokenizer.save_pretrained(unfinished)
        if learner.is_adapter:
            _name_base(unfinished / "adapter_config.json", base, revision)
        text = readme(
            kind=task.kind,
            method=learner.method,
            base=base,
            revision=revision,
            bundled=task.entry.model_id if task.entry.origin == "bundled" else None,
            auto_class=task.auto_class,
            label_names=task.label_names,
            reloaded_keys=task.reloaded_keys,
            tokenizer=task.tokenizer,
            prompt=_PROMPT if task.kind == "instruction" else "Once upon a time",
            metrics=metrics,
        )
        write_atomically(unfinished / "README.md", text.encode())
        if folder.exists():
            folder.rename(old)
        unfinished.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"What was learned cannot be saved into {folder}: {reason}. Free some space.") from error
    return folder


def base_of(entry: Any) -> tuple[str, str | None]:
    """Name and revision under which anybody can load the base model: its hub id, or the local folder and None."""
    if entry.origin == "local":
        return str(Path(entry.path).resolve()), None
    return hub_name(entry.model_id), entry.revision


def _name_base(path: Path, base: str, revision: str | None) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"], config["revision"] = base, revision
    write_atomically(path, json.dumps(config, indent=2, sort_keys=True).encode())
