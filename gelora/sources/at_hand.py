"""What is on this machine already: models, datasets and hidden states that need no network and no work.

Looks at folders only; downloads nothing, loads no library and never asks the hub, except in `hub_facts`, whose work that is.
"""

from dataclasses import dataclass
from pathlib import Path

from gelora.errors import DataError, ModelError
from gelora.home import local_path
from gelora.records import SINK_RATIO, DataChoice, Sample, resolved_sinks
from gelora.sources import docstrings, hub, state_cache
from gelora.sources.catalog import BUNDLED_DATASET, BUNDLED_MODEL, ModelEntry, bundled_models, find_model, size_of, weight_files


@dataclass(frozen=True)
class HubFacts:
    """What the hub says of a repository: bytes of its weights or files, and the licence by its short name; None = it does not say."""

    size_bytes: int | None
    licence: str | None


def model_at_hand(model_id: str) -> ModelEntry | None:
    """The model if its config and weights are on this machine, else None; its files are not verified.

    The revision of a local folder is "" (its digest would need all of its bytes).
    """
    if model_id in (BUNDLED_MODEL, f"sentence-transformers/{BUNDLED_MODEL}"):
        entry = bundled_models()[0]
        return entry if entry.size_bytes else None
    path = local_path(model_id)
    if model_id and (path / "config.json").is_file():
        files = _weights(path)
        return ModelEntry(model_id, path.name, "local", path, "", size_of(files), None) if files else None
    folder = _snapshot(model_id) if hub.looks_like_id(model_id) else None
    files = _weights(folder) if folder is not None else []
    return ModelEntry(model_id, model_id, "hub", folder, folder.name, size_of(files), None) if folder is not None and files else None


def data_at_hand(choice: DataChoice) -> bool:
    """Whether the dataset can be read without the network and without the first scan of the bundled sentences."""
    if choice.dataset == BUNDLED_DATASET:
        try:
            return docstrings.is_kept()
        except DataError:
            return False
    if local_path(choice.dataset).is_file():
        return True
    return hub.looks_like_id(choice.dataset) and (hub.datasets_cache() / choice.dataset.replace("/", "___")).is_dir()


def models_fetched() -> tuple[str, ...]:
    """Ids of the hub's models whose weights are in this machine's cache, by name."""
    names = [folder.name.removeprefix("models--").replace("--", "/") for folder in hub.hub_cache().glob("models--*")]
    return tuple(sorted(name for name in names if model_at_hand(name) is not None))


def states_kept(
    model_id: str, sample: Sample, *, pooling: str, max_length: int, sinks: str | None = None, sink_ratio: float = SINK_RATIO
) -> int | None:
    """Bytes of the float32 hidden states that `extract_hidden_states` has kept for this choice, or None.

    Raises:
        GeloraError: the model is not to be had, or is damaged.
    """
    entry = find_model(model_id)
    key = state_cache.cache_key(
        entry.model_id,
        entry.revision,
        sample,
        pooling=pooling,
        max_length=max_length,
        dtype="float32",
        final_norm=False,
        sinks=resolved_sinks(sinks, sink_ratio, pooling),
        sink_ratio=sink_ratio,
    )
    return state_cache.kept_bytes(key)


def hub_facts(repo_id: str, kind: str) -> HubFacts:
    """Size and licence of a repository, as the hub says within seconds; kind: "model" or "dataset".

    Raises:
        HubError: no network, no such repository, or no access.
    """
    info = hub.ask_hub(repo_id, kind, with_sizes=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if kind == "dataset" or "/" not in file.rfilename}
    if kind == "model":
        endings = next((e for e in (".safetensors", ".bin") if any(name.endswith(e) for name in sizes)), "")
        sizes = {name: size for name, size in sizes.items() if name.endswith(endings)}
    licences = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    return HubFacts(sum(sizes.values()) or None, ", ".join(licences) or None)


def _weights(folder: Path) -> list[Path]:
    try:
        return weight_files(folder) if (folder / "config.json").is_file() else []
    except ModelError:  # a damaged index: what loads the model says so
        return []


def _snapshot(model_id: str) -> Path | None:
    folder = hub.hub_cache() / f"models--{model_id.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = folder / "snapshots" / revision
    return snapshot if revision and snapshot.is_dir() else None
