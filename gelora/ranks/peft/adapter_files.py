"""The files of a LoRA adapter, validated: its config, and the shapes of its weights.

By PEFT's file names and keys; reads shapes without the numbers behind them. Does not depend on a model.
"""

import json
import math
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gelora.errors import InputError
from gelora.home import local_path, reason_of
from gelora.ranks.peft.adapter_config import CONFIG_FILE, AdapterConfig, config_of
from gelora.ranks.peft.expressions import short
from gelora.sources import decoded, kind_of, unpacked

if TYPE_CHECKING:
    import torch

_ANOTHER = "save or download the adapter again."
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")

# A parameter of a LoRA layer: "base_model.model.layers.0.q_proj.lora_A.weight"; in a checkpoint that PEFT did not write
# itself the adapter's name stands before the last part.
_LORA_PARAMETER = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?:embedding_)?(?P<part>[ABE])(?:\.(?!weight$|bias$)[^.]+)?(?:\.(?P<leaf>weight|bias))?"
)
_LORA_EXTRA = re.compile(r"\.lora_(magnitude_vector|ranknum)(\.|$)|\.ranknum(\.|$)|\.(base_layer|token_adapter)\.")


@dataclass(frozen=True)
class LoraShape:
    """The shapes of one module's lora_A [r, in_features] and lora_B [out_features, r]; of a convolution they have more axes."""

    r: int
    in_features: int
    out_features: int
    n_params: int


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as it lies on disk or came from an upload; `config` or `layers` is None where that file is not there.

    `layers` has the full names of modules, without PEFT's "base_model.model."; `whole` those saved whole, with their size.
    """

    name: str
    config: AdapterConfig | None
    layers: dict[str, LoraShape] | None
    whole: Mapping[str, int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The adapter in the middle of a sentence."""
        return self.name[:1].lower() + self.name[1:]


def read_adapter(adapter: "str | Path | Mapping[str, Any]") -> AdapterFiles:
    """Config and weight shapes of an adapter.

    Args:
        adapter: a folder, an adapter_config.json (read alone), a file of weights (with the config beside it, if there is
            one), or a config's fields.

    Raises:
        InputError: it is not there, cannot be read, or is no LoRA adapter.
    """
    if isinstance(adapter, Mapping):
        return AdapterFiles("The adapter", config_of(adapter, "the adapter's config"), None)
    path = local_path(adapter)
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        if path.suffix in (".json", ".gz"):
            return AdapterFiles(f"The adapter {path}", read_config(path), None)
        if path.suffix in (".safetensors", ".bin"):
            beside = path.parent / CONFIG_FILE
            return _read_weights(path, read_config(beside) if beside.is_file() else None)
        raise InputError(f"{path} is no file of an adapter; give its folder, its {CONFIG_FILE}, or its {' or '.join(WEIGHT_FILES)}.")
    raise InputError(
        f"There is no file or folder {short(str(adapter))}. Give an adapter's folder or its {CONFIG_FILE}; "
        "one on the hub has to be downloaded first (hf download OWNER/NAME --local-dir FOLDER)."
    )


def _read_folder(folder: Path) -> AdapterFiles:
    named = next((folder / name for name in (CONFIG_FILE, f"{CONFIG_FILE}.gz") if (folder / name).is_file()), None)
    config = None if named is None else read_config(named)
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _read_weights(folder / name, config)
    if config is None:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
        hint = f"its folders {', '.join(inside)} hold adapters, give one of them" if inside else "give the folder of a PEFT adapter"
        raise InputError(f"{folder} has no {CONFIG_FILE} and no {' or '.join(WEIGHT_FILES)}; {hint}.")
    return AdapterFiles(f"The adapter {folder}", config, None)


def read_config(path: Path) -> AdapterConfig:
    """The config in an adapter_config.json, also packed with gzip.

    Raises:
        InputError: it cannot be read, or is no LoRA's.
    """
    return config_of(config_fields(path), str(path))


def config_fields(path: Path) -> dict[str, Any]:
    """The fields of an adapter_config.json as they are, also packed with gzip.

    Raises:
        InputError: it cannot be read, or holds no JSON object.
    """
    return _object(str(path), _content(path))


def _object(name: str, content: bytes) -> dict[str, Any]:
    """The JSON object in a file's bytes, with or without a byte order mark, also where they are packed with gzip."""
    content = unpacked(name, content)
    what = kind_of(content)
    if what is not None:
        raise InputError(f"{name} is {what}. Give the {CONFIG_FILE} that PEFT writes.")
    try:
        raw = json.loads(decoded(name, content, None)[0])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({error}); expected the {CONFIG_FILE} that PEFT writes.") from error
    if not isinstance(raw, dict):
        raise InputError(f"{name} holds a JSON {type(raw).__name__}; expected the object that PEFT writes into {CONFIG_FILE}.")
    return raw


def _content(path: Path, size: int = -1) -> bytes:
    """The first bytes of a file, or all."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}.") from error


def _read_weights(path: Path, config: AdapterConfig | None) -> AdapterFiles:
    head = _content(path, 1000)
    what = "packed with gzip; unpack it first" if head.startswith(b"\x1f\x8b") else kind_of(head)
    if what is not None and not (path.suffix == ".bin" and head.startswith(b"PK")):  # a pickle of torch is a ZIP archive
        raise InputError(f"{path} is {what}. Give the {' or '.join(WEIGHT_FILES)} that PEFT writes.")
    shapes = _safetensors_shapes(path) if path.suffix == ".safetensors" else _pickled_shapes(path)
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    whole: dict[str, int] = {}
    for key, shape in shapes.items():
        factor = factor_of(key)
        if factor is not None:
            factors.setdefault(factor[0], {})[factor[1]] = shape
        elif not _LORA_PARAMETER.fullmatch(key) and not _LORA_EXTRA.search(key):
            holder = key.removeprefix("base_model.model.").rpartition(".")[0]
            whole[holder] = whole.get(holder, 0) + math.prod(shape)
    if not factors and not (config and whole):
        raise InputError(f"{path} holds no lora_A and lora_B, so it is no LoRA adapter; give the {WEIGHT_FILES[0]} that PEFT writes.")
    layers = {module: _lora_shape(path, module, parts) for module, parts in factors.items()}
    return AdapterFiles(f"The adapter {path}", config, layers, whole)


def factor_of(key: str) -> tuple[str, str] | None:
    """(full name of the adapted module, A, B or E) of a factor's name in the weights, E being AdaLoRA's; None for other weights."""
    found = _LORA_PARAMETER.fullmatch(key)
    return (found["module"], found["part"]) if found and found["leaf"] != "bias" else None


def _lora_shape(path: Path, module: str, parts: dict[str, tuple[int, ...]]) -> LoraShape:
    a, b = parts.get("A", ()), parts.get("B", ())
    if len(a) < 2 or len(b) < 2 or a[0] != b[1]:
        raise InputError(
            f"{path} is damaged: of {module}, lora_A has the shape {list(a)} and lora_B {list(b)}; expected [r, in] and [out, r]. "
            "Save or download the adapter again."
        )
    return LoraShape(a[0], a[1], b[0], math.prod(a) + math.prod(b))


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}); save or download the adapter again.") from error


def _pickled_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in _pickled(path, "meta").items()}


def read_tensors(folder: Path) -> "dict[str, torch.Tensor]":
    """All weights of an adapter's folder, on the CPU, by the names in its file.

    Raises:
        InputError: there is no file of weights, or it cannot be read.
    """
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), folder / WEIGHT_FILES[0])
    if path.suffix == ".bin":
        return _pickled(path, "cpu")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); {_ANOTHER}") from error


def _pickled(path: Path, device: str) -> "dict[str, torch.Tensor]":
    import torch

    try:
        # Anybody's pickle could run anything; with weights_only it can only make tensors.
        loaded = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:  # torch advises to load it nevertheless
        raise InputError(f"{path} is damaged or holds something else than tensors, and is not loaded; {_ANOTHER}") from error
    except Exception as error:  # damaged or hostile bytes end in any error of the unpickler (KeyError, EOFError, …)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is no readable file of tensors ({reason:.200}); {_ANOTHER}") from error
    if not isinstance(loaded, dict) or not all(isinstance(key, str) and isinstance(x, torch.Tensor) for key, x in loaded.items()):
        raise InputError(f"{path} holds something else than named tensors; give the {WEIGHT_FILES[1]} that PEFT writes.")
    return loaded
