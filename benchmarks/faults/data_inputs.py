"""Data files as people and machines break them: every way to read one gives a result or a sentence."""

import csv
import importlib.util
import io
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults import odd
from benchmarks.faults.attempt import Kind, Try

_NAMES = ("text", "label", "sentence1", "sentence2", "question", "context", "answers", "messages", "id", "a b", "é", "", "0", "text")
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".parquet")


def attempt(found: Try) -> None:
    """One made file, whole or damaged, read as a preview, as a sample and as a proposal of a task.

    Raises:
        Fault: an answer is neither a result nor a sentence.
    """
    from gelora.errors import InputError
    from gelora.records import DataChoice
    from gelora.sources import load_sample, preview_dataset
    from gelora.tasks import propose

    odd.limit_memory()
    rng = found.rng
    suffix = rng.choice(_SUFFIXES if importlib.util.find_spec("pyarrow") else _SUFFIXES[:-1])
    content = _content(rng, suffix)
    damage = rng.random() < 0.7
    if damage:
        content = odd.bytes_changed(rng, content)
    if rng.random() < 0.15:
        content, suffix = odd.packed(rng, content), suffix + ".gz"
    if rng.random() < 0.1:
        suffix = rng.choice(_SUFFIXES)
    file = found.folder / f"rows{suffix}"
    file.write_bytes(content)
    found.case = f"{suffix}, {'damaged' if damage else 'odd'}"
    try:
        choice = DataChoice(str(file), **_options(rng))
    except InputError:
        found.facts["answers"] = {"choice": "a sentence"}
        return
    readers: dict[str, Any] = {"preview": lambda: preview_dataset(choice).to_json(), "propose": partial(propose, choice)}
    readers["sample"] = lambda: load_sample(choice, rng.choice((2, 10, 1000)), seed=1).to_json()
    found.facts["answers"] = {name: odd.answered(act) for name, act in readers.items()}


def _options(rng: random.Random) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in ("text_column", "pair_column", "label_column"):
        if rng.random() < 0.2:
            options[name] = rng.choice((*_NAMES, *odd.TEXTS))
    for name, legal in (
        ("separator", ("comma", "tab", "semicolon", "pipe", "none", "x")), ("header", (True, False)), ("skip_bad_rows", (True,)),
        ("encoding", ("utf-8", "utf-16", "cp1252", "latin-1", "ascii", "idna", "rot13", "zlib", "nonsense", "\0")),
        ("label_task", ("classification", "regression", "x")), ("config", odd.TEXTS), ("split", odd.TEXTS),
    ):  # fmt: skip
        if rng.random() < 0.12:
            options[name] = rng.choice(legal)
    return options


def _content(rng: random.Random, suffix: str) -> bytes:
    """A file of its format, with odd names and cells."""
    names = rng.sample(_NAMES, rng.randint(1, 4))
    rows = [{name: _cell(rng, name, i) for name in names} for i in range(rng.choice((0, 1, 2, 12, 40)))]
    if suffix in (".csv", ".tsv"):
        text = io.StringIO()
        quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        writer = csv.writer(text, delimiter="\t" if suffix == ".tsv" else rng.choice(",,;|"), quoting=quoting)
        writer.writerow(names)
        writer.writerows([str(row[name]) for name in names][: rng.choice((9, 9, 9, 1))] for row in rows)
        return text.getvalue().encode("utf-8", "surrogatepass")
    if suffix == ".parquet":
        return _parquet(rows)
    if suffix == ".txt":
        return "\n".join(str(row[names[0]]) for row in rows).encode("utf-8", "surrogatepass")
    if suffix == ".jsonl":
        return "\n".join(json.dumps(row) for row in rows).encode()
    return json.dumps(
        rng.choice((rows, {"data": rows}, {"train": rows, "test": rows}, {name: [row[name] for row in rows] for name in names}))
    ).encode()


def _cell(rng: random.Random, name: str, i: int) -> Any:
    if rng.random() < 0.1:
        return odd.value(rng)
    if name == "label":
        return rng.choice((i % 2, float(i), "good", "01", None, True)) if rng.random() < 0.2 else i % 2
    if name == "messages":
        return [{"role": "user", "content": f"question {i}"}, {"role": rng.choice(("assistant", "x")), "content": "answer"}]
    if name == "answers":
        return {"text": ["film"], "answer_start": [4]}
    return f"the film number {i} was good"


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    try:
        table = pyarrow.Table.from_pylist(rows)
    except (pyarrow.ArrowException, OverflowError, UnicodeError, TypeError):  # cells that no column holds beside each other
        table = pyarrow.Table.from_pylist([{name: ascii(cell) for name, cell in row.items()} for row in rows])
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def prepare(material: Path) -> None:
    """Nothing is shared; what reads files is loaded."""


KINDS = (Kind("data", prepare, attempt, odd.LIMIT_SECONDS),)
