"""The cache of extracted hidden states under GELORA_HOME: keys, whole files or none, a bounded size.

Does not depend on how states are computed.
"""

import hashlib
import io
import json
import logging
import os
import time
import zipfile
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from gelora.errors import GeloraError, StoreError
from gelora.home import cache_dir, made, write_atomically
from gelora.records import HiddenStates, ModelStructure, Sample, SinkReport

CACHE_BYTES = 2_000_000_000
_FORMAT = 3  # raise it when the same key would now give other numbers
_ABANDONED_SECONDS = 3600.0

_log = logging.getLogger(__name__)


def cache_key(
    model_id: str,
    revision: str,
    sample: Sample,
    *,
    pooling: str,
    max_length: int,
    dtype: str,
    final_norm: bool,
    sinks: str,
    sink_ratio: float,
    points: str = "blocks",
) -> str:
    """SHA-256 of everything that the states depend on; where and in what batches they are computed does not matter."""
    texts = hashlib.sha256()
    for column in (sample.texts, sample.text_pairs or ()):
        texts.update(json.dumps(column).encode())
    parts: dict[str, Any] = {
        "format": _FORMAT,
        "model_id": model_id,
        "revision": revision,
        "texts": texts.hexdigest(),
        "pooling": pooling,
        "max_length": max_length,
        "dtype": dtype,
        "final_norm": final_norm,
        "sinks": [sinks, float(sink_ratio)],
        "versions": [_own_version(), version("torch"), version("transformers")],
    }
    if points != "blocks":
        parts["points"] = points
    if pooling == "tokens":
        parts["draw"] = [sample.source.seed, sample.source.n_samples]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _own_version() -> str:
    """Of this package; from a folder that was not installed there is none to be told."""
    try:
        return version("gelora-lab")
    except PackageNotFoundError:
        return "not installed"


def read_states(key: str, sample: Sample) -> HiddenStates | None:
    """The states kept under `key`, or None when there are none; a damaged file counts as none."""
    try:
        path = _folder() / f"{key}.npz"
        with np.load(path, allow_pickle=False) as archive:
            values, tokens = archive["values"], archive["tokens"]
            about = json.loads(archive["about"].tobytes())
        values.flags.writeable = False  # the record then keeps this array instead of a copy
        states = HiddenStates(
            values=values,
            layer_names=tuple(about["layer_names"]),
            pooling=about["pooling"],
            max_length=about["max_length"],
            dtype=about["dtype"],
            final_norm=about["final_norm"],
            model=ModelStructure.from_json(about["model"]),
            sample_source=sample.source,
            sinks=SinkReport.from_json(about["sinks"]),
            tokens=tokens,
            without_padding=about["without_padding"],
        )
        os.utime(path)  # the oldest by last use go first
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error, GeloraError) as error:
        _log.warning("The hidden states kept as %s cannot be read (%s); they are computed again.", key, error)
        return None
    return states


def kept_bytes(key: str) -> int | None:
    """The size of the file kept under `key`, or None when there is none."""
    try:
        return (_folder() / f"{key}.npz").stat().st_size
    except FileNotFoundError:
        return None


def keep_states(key: str, states: HiddenStates) -> str | None:
    """Keep `states` under `key` and drop the least recently used files beyond `CACHE_BYTES`.

    Returns:
        None, or why they were not kept, for the person: the states themselves are good all the same.
    """
    if states.values.nbytes > CACHE_BYTES:
        return f"they take {states.values.nbytes / 1e9:.1f} GB, and the cache holds {CACHE_BYTES / 1e9:.1f} GB"
    about = {
        "layer_names": states.layer_names,
        "pooling": states.pooling,
        "max_length": states.max_length,
        "dtype": states.dtype,
        "final_norm": states.final_norm,
        "model": states.model.to_json(),
        "without_padding": states.without_padding,
        "sinks": None if states.sinks is None else states.sinks.to_json(),
    }
    content = io.BytesIO()
    np.savez(content, values=states.values, tokens=states.tokens, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
    try:
        folder = made(_folder())
        write_atomically(folder / f"{key}.npz", content.getvalue())
        _prune(folder, f"{key}.npz")
    except (StoreError, OSError) as error:
        return str(error)
    return None


def _folder() -> Path:
    return cache_dir("hidden_states")


def _prune(folder: Path, newest: str) -> None:
    kept = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # another process was faster
        if path.name.startswith("."):
            if time.time() - status.st_mtime > _ABANDONED_SECONDS:  # left by a process that was killed while it wrote
                path.unlink(missing_ok=True)
        elif path.name != newest:
            kept.append((status.st_mtime, status.st_size, path))
    total = (folder / newest).stat().st_size
    for _, size, path in sorted(kept, key=lambda item: item[0], reverse=True):
        total += size
        if total > CACHE_BYTES:
            path.unlink(missing_ok=True)
