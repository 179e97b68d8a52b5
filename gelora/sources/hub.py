"""The Hugging Face hub as a place that may be out of reach: cached first, a quick question, then the download.

Knows ids, caches and the ways in which the hub says no; knows nothing of what a model or dataset means.
"""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gelora.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION_SECONDS = 5.0
_CONFIG_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"]
_NEVER = ["onnx/*", "openvino/*", "original/*", "coreml/*", "*.gguf", "*.onnx"]


def cached_model(model_id: str) -> Path | None:
    """The folder of a model in the hub cache of this machine, or None; never touches the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model_id, local_files_only=True, cache_dir=_cache_folder()))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    return folder if (folder / "config.json").is_file() else None


def fetch_model(model_id: str, weights: bool) -> Path:
    """Download a model's configuration and tokenizer, and its weights when asked, into the hub cache.

    Raises:
        HubError: the id is unknown, access is refused, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    info = _ask("model", model_id)
    names = [sibling.rfilename for sibling in info.siblings or []]
    patterns = list(_CONFIG_FILES)
    if weights:
        patterns.append("*.safetensors" if any(name.endswith(".safetensors") for name in names) else "*.bin")
    with _sentences("model", model_id):
        return Path(snapshot_download(model_id, allow_patterns=patterns, ignore_patterns=_NEVER, cache_dir=_cache_folder()))


def dataset_revision(dataset_id: str) -> str:
    """The commit that the hub has for a dataset.

    Raises:
        HubError: the id is unknown, access is refused, or the hub cannot be reached.
    """
    return str(_ask("dataset", dataset_id).sha)


def is_offline() -> bool:
    """Whether the person has set HF_HUB_OFFLINE (or the datasets or transformers form of it)."""
    return any(os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _ask(kind: str, hub_id: str) -> Any:
    """What the hub says of an id, within seconds and without retries."""
    if is_offline():
        raise HubError(f"The {kind} {hub_id!r} is not on this machine and HF_HUB_OFFLINE is set. {_way_out(kind)}")
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    with _sentences(kind, hub_id):
        question = api.model_info if kind == "model" else api.dataset_info
        return question(hub_id, timeout=QUESTION_SECONDS)


@contextmanager
def _sentences(kind: str, hub_id: str) -> "Iterator[None]":
    """Turn the hub's many errors into one sentence."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{hub_id!r} is neither a file or folder here nor a hub id such as FacebookAI/roberta-base.") from error
    except GatedRepoError as error:
        raise HubError(f"The {kind} {hub_id!r} asks for permission: accept its terms on its hub page, then `hf auth login`.") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"The hub has no {kind} {hub_id!r}, or it is private. Check the spelling, or `hf auth login`.") from error
    except OfflineModeIsEnabled as error:
        raise HubError(f"The {kind} {hub_id!r} is not on this machine and HF_HUB_OFFLINE is set. {_way_out(kind)}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise HubError(f"The hub answered {status} for the {kind} {hub_id!r}. Try again later. {_way_out(kind)}") from error
    except (httpx.HTTPError, OSError) as error:
        raise HubError(f"The {kind} {hub_id!r} is not on this machine and the hub cannot be reached. {_way_out(kind)}") from error


def _way_out(kind: str) -> str:
    bundled, local = {
        "model": ("all-MiniLM-L6-v2", "the path of a local model folder"),
        "dataset": ("docstrings", "the path of a .jsonl, .csv or .parquet file"),
    }[kind]
    return f"Connect to the internet, or choose the bundled {bundled!r} or {local}."


def _cache_folder() -> str:
    """The hub cache, from the environment as it is now (the library reads it only when it is imported)."""
    from huggingface_hub import constants

    if os.environ.get("HF_HUB_CACHE"):
        return os.environ["HF_HUB_CACHE"]
    if os.environ.get("HF_HOME"):
        return str(Path(os.environ["HF_HOME"]) / "hub")
    return str(constants.HF_HUB_CACHE)
