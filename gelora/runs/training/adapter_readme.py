"""The README in the folder that a run leaves: what it is, the lines of Python that load and use it, how good it was.

Whoever follows it needs transformers, and PEFT for an adapter, nothing of ours. Knows tasks and methods by name; writes no file.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

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


def readme(
    *,
    kind: str,
    method: str,
    base: str,
    revision: str | None,
    bundled: str | None,
    auto_class: str,
    label_names: Sequence[str] | None,
    reloaded_keys: bool,
    tokenizer: Any,
    prompt: str,
    metrics: Mapping[str, float],
) -> str:
    """The README as Markdown.

    Args:
        kind: one of `gelora.records.TASK_KINDS`. method: one of `gelora.records.METHODS`.
        base, revision: what the adapter belongs on, as `from_pretrained` takes it.
        bundled: the base's name here where it comes with GeLoRA Lab, else None.
        auto_class: transformers' class that loads the model.
        label_names: of classes. reloaded_keys: whether the checkpoint has a head of another size.
        tokenizer: the run's. prompt: text that a language model goes on from in the example.
        metrics: of the run; those that begin with `eval_` are listed.
    """
    is_adapter = method not in ("bitfit", "full")
    options = [repr(base), *([f"revision={revision!r}"] if revision else [])]
    if kind in ("classification", "regression"):
        options.append(f"num_labels={len(label_names) if label_names else 1}")
    options += ['dtype="float32"', *(["ignore_mismatched_sizes=True"] if reloaded_keys else [])]
    code = (_LOAD_ADAPTER if is_adapter else _LOAD_MODEL).format(auto_class=auto_class, options=",\n    ".join(options))
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

{_outputs(kind, label_names)}
{" ".join(about)}

```python
{code}{_use(kind, tokenizer, prompt)}```
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
        "causal-lm": "It goes on from a text.",
        "instruction": "It answers an instruction; the prompt has to look as in training, which is as below.",
    }[kind]


def _use(kind: str, tokenizer: Any, prompt: str) -> str:
    if kind in ("classification", "regression"):
        return _CLASSIFY
    if kind == "question-answering":
        return _ANSWER
    if kind == "instruction" and getattr(tokenizer, "chat_template", None):
        return _CHAT
    return _GENERATE.format(prompt=prompt)
