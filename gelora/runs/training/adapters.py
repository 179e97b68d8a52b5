"""The folder `adapter/` that a run leaves: weights, config, the tokenizer, and a README with the code that loads them.

An adapter on a checkpoint, or with BitFit and full fine-tuning a model of its own. Loading it needs transformers, and PEFT
for an adapter, not this package. Does not depend on the training loop.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gelora.errors import StoreError
from gelora.home import reason_of, write_atomically
from gelora.runs.training.methods import Learner
from gelora.sources import hub_name
from gelora.tasks import Task

# As `gelora.tasks` puts an instruction to a model that has no chat template.
_PROMPT = "### Instruction:\nName three colors.\n\n### Response:\n"
_TITLES = {
    "lora": "LoRA adapter for {base}",
    "adalora": "LoRA adapter, ranks found by AdaLoRA, for {base}",
    "head": "Trained head for {base}",
    "bitfit": "{base} with trained biases (BitFit)",
    "full": "{base}, fine-tuned",
}
_TAGS = {
    "classification": "text-classification",
    "regression": "text-classification",
    "question-answering": "question-answering",
    "causal-lm": "text-generation",
    "instruction": "text-generation",
}
_LOAD_ADAPTER = """from peft import PeftModel
from transformers import {auto_class}, AutoTokenizer

adapter = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(adapter)
base = {auto_class}.from_pretrained(
    {options},
)
base.config.pad_token_id = tokenizer.pad_token_id
model = PeftModel.from_pretrained(base, adapter).eval()
"""
_LOAD_MODEL = """from transformers import {auto_class}, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto_class}.from_pretrained(folder, dtype="float32").eval()
"""
_OFFLINE = """
Offline, where GeLoRA Lab is installed: put the folder that this prints in place of `{base!r}`.

```
python -c "from gelora.sources import find_model; print(find_model('{bundled}').path)"
```
"""
_CLASSIFY = """inputs = tokenizer(["A text.", "Another, longer text."], return_tensors="pt", padding=True)
print(model(**inputs).logits)
"""
_ANSWER = """question, context = "Who wrote it?", "It was written by Ada Lovelace in 1843."
inputs = tokenizer(question, context, return_tensors="pt", truncation="only_second")
output = model(**inputs)
start, end = int(output.start_logits.argmax()), int(output.end_logits.argmax())
print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))  # the first token alone: no answer
"""
_GENERATE = """inputs = tokenizer({prompt!r}, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=40, do_sample=False, pad_token_id=tokenizer.pad_token_id)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
_CHAT = """messages = [{"role": "user", "content": "Name three colors."}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens=40, do_sample=False, pad_token_id=tokenizer.pad_token_id)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""


def save_learner(task: Task, learner: Learner, folder: Path, metrics: Mapping[str, float]) -> Path:
    """Save what was learned, with tokenizer and README; `folder` appears whole or not at all. Returns `folder`.

    Args:
        task: what was learned. learner: its model, trained, and how to save it.
        folder: where to; an older one there is replaced.
        metrics: the run's last values; those that begin with `eval_` are listed in the README.

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
        write_atomically(unfinished / "README.md", _readme(task, learner, base, revision, metrics).encode())
        if folder.exists():
            folder.rename(old)
        unfinished.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        reason = reason_of(error) if isinstance(error, OSError) else error
        raise StoreError(f"What was learned cannot be saved into {folder}: {reason}.") from error
    return folder


def base_of(entry: Any) -> tuple[str, str | None]:
    """Name and revision under which the base model loads anywhere: its hub id, or the local folder and None."""
    if entry.origin == "local":
        return str(Path(entry.path).resolve()), None
    return hub_name(entry.model_id), entry.revision


def _name_base(path: Path, base: str, revision: str | None) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"], config["revision"] = base, revision
    write_atomically(path, json.dumps(config, indent=2, sort_keys=True).encode())


def _readme(task: Task, learner: Learner, base: str, revision: str | None, metrics: Mapping[str, float]) -> str:
    """As Markdown: what the folder is, how it is loaded and used, and the run's metrics that begin with `eval_`."""
    kind, method, tokenizer, is_adapter = task.kind, learner.method, task.tokenizer, learner.is_adapter
    bundled = task.entry.model_id if task.entry.origin == "bundled" else None
    options = [repr(base), *([f"revision={revision!r}"] if revision else [])]
    if kind in ("classification", "regression"):
        options.append(f"num_labels={len(task.label_names) if task.label_names else 1}")
    options += ['dtype="float32"', *(["ignore_mismatched_sizes=True"] if task.reloaded_keys else [])]
    code = (_LOAD_ADAPTER if is_adapter else _LOAD_MODEL).format(auto_class=task.auto_class, options=",\n    ".join(options))
    results = "\n".join(f"- {name}: {value:.6g}" for name, value in sorted(metrics.items()) if name.startswith("eval_"))
    library, tags = ("peft", f"{'lora, ' if method != 'head' else ''}{_TAGS[kind]}") if is_adapter else ("transformers", _TAGS[kind])
    about = ["The adapter holds the trained head too."] if is_adapter and kind not in ("causal-lm", "instruction") else []
    if not is_adapter:
        about.append("This folder holds the whole model.")
    about.append(f"pad_token_id is {tokenizer.pad_token_id}.")
    return f"""---
base_model: {json.dumps(base)}
library_name: {library}
tags: [{tags}]
---

# {_TITLES[method].format(base=base)}

{_outputs(kind, task.label_names)}
{" ".join(about)}

```python
{code}{_use(kind, tokenizer)}```
{_OFFLINE.format(base=base, bundled=bundled) if is_adapter and bundled else ""}
On the held-out rows of the run:

{results or "- it was stopped before its first evaluation"}
"""


def _outputs(kind: str, label_names: Sequence[str] | None) -> str:
    if kind == "classification":
        labels = ", ".join(f"{i} = {name}" for i, name in enumerate(label_names or ()))
        return f"Labels: {labels}. For pairs of texts, give the tokenizer two lists."
    return {
        "regression": "Labels: one real number (regression). For pairs of texts, give the tokenizer two lists.",
        "question-answering": "It marks the first and the last token of the answer in the context.",
        "causal-lm": "It continues a text.",
        "instruction": "It answers an instruction; the prompt must have the format of training, as below.",
    }[kind]


def _use(kind: str, tokenizer: Any) -> str:
    if kind in ("classification", "regression"):
        return _CLASSIFY
    if kind == "question-answering":
        return _ANSWER
    if kind == "instruction" and getattr(tokenizer, "chat_template", None):
        return _CHAT
    return _GENERATE.format(prompt=_PROMPT if kind == "instruction" else "Once upon a time")
