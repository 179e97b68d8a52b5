"""The Hugging Face hub and its caches on disk: is a repository cached, is it reachable, and why not, in one sentence each.

Asks at most `HUB_SECONDS` before it says that there is no network. Does not depend on what a model or a dataset is.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gelora.errors import HubError
from gelora.home import local_path, reason_of

HUB_SECONDS = 5.0

_Answer = TypeVar("_Answer")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_INSTEAD = {
    "model": "pick the bundled model all-MiniLM-L6-v2 or a local folder",
    "dataset": "pick the bundled data docstrings or a local file",
}


def looks_like_id(name: str) -> bool:
    """Whether the hub could have a repository of this name: `name` or `owner/name`, at most 96 characters."""
    return bool(_ID.fullmatch(name)) and ".." not in name and "--" not in name and len(name) <= 96


def hub_cache() -> Path:
    """Where downloads of the hub lie. Read from the environment now; huggingface_hub reads it once, at its import."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return local_path(given) if given else _hf_home() / "hub"


def datasets_cache() -> Path:
    """Where the `datasets` library keeps what it has prepared."""
    given = os.environ.get("HF_DATASETS_CACHE")
    return local_path(given) if given else _hf_home() / "datasets"


def is_offline() -> bool:
    """Whether the person has switched the network off for the hub, now or when its library was loaded."""
    from huggingface_hub import constants

    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return bool(constants.HF_HUB_OFFLINE) or any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public hub."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)


def cached_snapshot(repo_id: str, kind: str, patterns: list[str]) -> Path | None:
    """The folder of a downloaded repository, or None; without the network. One known to be incomplete is None too."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(repo_id, repo_type=kind, cache_dir=hub_cache(), allow_patterns=patterns, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None  # the callers then ask the hub, and say what it answers
    return Path(folder)


def is_reachable() -> bool:
    """Whether the hub answers anything within `HUB_SECONDS`; False in offline mode, without asking."""
    if is_offline():
        return False
    import httpx

    try:
        _within(HUB_SECONDS, lambda: httpx.head(endpoint(), timeout=0.8 * HUB_SECONDS))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
        return False
    return True


def ask_hub(repo_id: str, kind: str, with_sizes: bool = False) -> Any:
    """What the hub says of a repository (`huggingface_hub`'s ModelInfo or DatasetInfo), within `HUB_SECONDS`, no retries.

    Args:
        repo_id: `name` or `owner/name`.
        kind: "model" or "dataset".
        with_sizes: the size of every file too.

    Raises:
        HubError: no network, no such repository, or no access.
    """
    if is_offline():
        raise HubError(
            f"The {kind} {repo_id!r} is not on this machine, and offline mode is on (HF_HUB_OFFLINE or the like). "
            f"Switch it off to download, check the id, or {_INSTEAD[kind]}."
        )
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    with hub_errors(repo_id, kind):
        return _within(HUB_SECONDS, lambda: api.repo_info(repo_id, repo_type=kind, timeout=0.8 * HUB_SECONDS, files_metadata=with_sizes))


def download(repo_id: str, kind: str, patterns: list[str]) -> Path:
    """Fetch the files of a repository's top folder that match `patterns`; returns their folder, named by the revision.

    Raises:
        HubError: as `ask_hub`, or the network or the disk ended underway.
    """
    from huggingface_hub import snapshot_download

    with hub_errors(repo_id, kind):
        return Path(
            snapshot_download(
                repo_id, repo_type=kind, cache_dir=hub_cache(), endpoint=endpoint(), allow_patterns=patterns, ignore_patterns=["*/*"]
            )
        )


@contextmanager
def hub_errors(repo_id: str, kind: str) -> Iterator[None]:
    """Turn every failure of the hub's libraries into a HubError that says what to do."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is no hub id; one looks like owner/name. Check it, or {_INSTEAD[kind]}.") from error
    except GatedRepoError as error:
        raise HubError(
            f"The {kind} {repo_id!r} is gated: ask for access at {page}, then log in with `hf auth login`; or {_INSTEAD[kind]}."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 404):  # the hub tells a person without access 401, whether the repository exists or not
            message = f"The hub has no {kind} {repo_id!r} that you may see. If it is private, log in with `hf auth login`."
            message += f" Check the id, or {_INSTEAD[kind]}."
        elif status == 403:
            message = f"The hub refuses access to the {kind} {repo_id!r} ({status}). Log in with `hf auth login`, or {_INSTEAD[kind]}."
        else:
            message = f"The hub answered {status} for the {kind} {repo_id!r}. Try again later, or {_INSTEAD[kind]}."
        raise HubError(message) from error
    except (httpx.HTTPError, TimeoutError, ConnectionError) as error:
        raise HubError(
            f"The {kind} {repo_id!r} is not on this machine, and {endpoint()} cannot be reached ({type(error).__name__}). "
            f"Connect to the network, check the id, or {_INSTEAD[kind]}."
        ) from error
    except json.JSONDecodeError as error:
        raise HubError(
            f"{endpoint()} did not answer as the hub does for the {kind} {repo_id!r}; a login page of the network may stand "
            f"before it. Open it in a browser, or {_INSTEAD[kind]}."
        ) from error
    except OSError as error:
        if error.errno:
            raise HubError(f"The {kind} {repo_id!r} could not be kept on this machine: {reason_of(error)}.") from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise HubError(f"The {kind} {repo_id!r} could not be fetched ({reason}). Check the network and the disk, and try again.") from error


def _within(seconds: float, call: Callable[[], _Answer]) -> _Answer:
    """The answer of `call`, or TimeoutError: looking up a name can block far longer than any timeout of the request."""
    outcome: list[_Answer | BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            outcome.append(error)

    thread = threading.Thread(target=run, name="ask-hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer in {seconds:g} seconds")
    answer = outcome[0]
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _hf_home() -> Path:
    given = os.environ.get("HF_HOME")
    if given:
        return local_path(given)
    return local_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
