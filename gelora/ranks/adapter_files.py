"""What the files of a LoRA adapter say, checked: its config, and the shapes of its weights.

Knows PEFT's file names and fields; knows no model, and reads shapes without the numbers behind them.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gelora.errors import InputError

CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")

# A parameter of a LoRA layer: "base_model.model.layers.0.q_proj.lora_A.weight"; in a checkpoint that PEFT did not write
# itself the adapter's name stands before the last part.
_LORA_PARAMETER = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>lora_(?:embedding_)?[AB])(?:\.(?!weight$|bias$)[^.]+)?(?:\.(?P<leaf>weight|bias))?"
)
_LORA_EXTRA = re.compile(r"\.lora_(E|magnitude_vector|ranknum)(\.|$)|\.ranknum(\.|$)")
_NOT_CARRIED = ("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config", "monteclora_config")


@dataclass(frozen=True)
class LoraShape:
    """The shapes of one module's lora_A [r, in_features] and lora_B [out_features, r]."""

    r: int
    in_features: int
    out_features: int


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of PEFT's config that decide which modules get which rank and alpha, by PEFT's names and defaults.

    `pruned_ranks` holds, for an AdaLoRA adapter that has pruned, {full module name: rank left}. `options` says in words
    what else is set that a plan of ranks and alphas does not carry.
    """

    peft_type: str
    r: int
    lora_alpha: float
    use_rslora: bool
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    target_modules: str | list[str] | None
    exclude_modules: str | list[str] | None
    modules_to_save: list[str]
    layers_to_transform: int | list[int] | None
    layers_pattern: str | list[str] | None
    target_parameters: list[str]
    pruned_ranks: dict[str, int]
    base_model: str | None
    base_class: str | None
    options: tuple[str, ...]


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as it lies on disk or came from an upload; `config` or `layers` is None where that file is not there.

    `layers` has the full names of modules, without PEFT's "base_model.model."; `whole_modules` those saved whole.
    """

    name: str
    config: AdapterConfig | None
    layers: dict[str, LoraShape] | None
    whole_modules: tuple[str, ...] = ()


def read_adapter(adapter: "str | Path | Mapping[str, Any]") -> AdapterFiles:
    """Config and weight shapes of an adapter.

    Args:
        adapter: a folder, an adapter_config.json (read alone), a file of weights (with the config beside it, if there is
            one), or a config's fields.

    Raises:
        InputError: it is not there, cannot be read, or is no LoRA adapter.
    """
    if isinstance(adapter, Mapping):
        return AdapterFiles("The adapter", _config(adapter, "the adapter's config"), None)
    path = Path(adapter).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError:  # too long for a name: the text of a config, say
        is_folder = is_file = False
    if is_folder:
        return _read_folder(path)
    if is_file:
        if path.suffix == ".json":
            return AdapterFiles(f"The adapter {path}", _read_config(path), None)
        if path.suffix in (".safetensors", ".bin"):
            beside = path.parent / CONFIG_FILE
            return _read_weights(path, _read_config(beside) if beside.is_file() else None)
        raise InputError(f"{path} is no file of an adapter; give its folder, its {CONFIG_FILE}, or its {' or '.join(WEIGHT_FILES)}.")
    raise InputError(
        f"There is no file or folder {_short(str(adapter))}. Give an adapter's folder or its {CONFIG_FILE}; "
        "one on the hub has to be downloaded first (hf download OWNER/NAME --local-dir FOLDER)."
    )


def _read_folder(folder: Path) -> AdapterFiles:
    config = _read_config(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else None
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _read_weights(folder / name, config)
    if config is None:
        inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
        hint = f"its folders {', '.join(inside)} hold adapters, give one of them" if inside else "give the folder of a PEFT adapter"
        raise InputError(f"{folder} has no {CONFIG_FILE} and no {' or '.join(WEIGHT_FILES)}; {hint}.")
    return AdapterFiles(f"The adapter {folder}", config, None)


def _read_config(path: Path) -> AdapterConfig:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); expected the {CONFIG_FILE} that PEFT writes.") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path} holds a JSON {type(raw).__name__}; expected the object that PEFT writes into {CONFIG_FILE}.")
    return _config(raw, str(path))


def _config(raw: Mapping[str, Any], where: str) -> AdapterConfig:
    from peft import AdaLoraConfig, LoraConfig

    kind = raw.get("peft_type")
    if kind is None:
        raise InputError(f"In {where} there is no peft_type, so it is no PEFT config; give the {CONFIG_FILE} of a LoRA adapter.")
    if kind not in ("LORA", "ADALORA"):
        raise InputError(f"In {where} peft_type is {getattr(kind, 'value', kind)}, which is no LoRA; legal are LORA and ADALORA.")
    is_adalora = kind == "ADALORA"
    defaults = {field.name: field.default for field in dataclasses.fields(AdaLoraConfig if is_adalora else LoraConfig)}

    def field(name: str, is_legal: Callable[[Any], bool], legal: str, empty: Any = None) -> Any:
        given = raw.get(name, empty if defaults.get(name) is dataclasses.MISSING else defaults.get(name, empty))
        given = empty if given is None else sorted(given) if isinstance(given, set) else given
        if not is_legal(given):
            raise InputError(f"In {where} {name} is {_short(given)}; it must be {legal}.")
        return given

    if raw.get("layer_replication"):
        raise InputError(f"In {where} layer_replication makes a model of other blocks, for which there is no plan; give another adapter.")
    names = "a list of names, one text, or null"
    masks = field("rank_pattern", _is_dict_of(_is_mask), "an object of lists of true and false", {}) if is_adalora else {}
    mapping, base = raw.get("auto_mapping"), raw.get("base_model_name_or_path")
    config = AdapterConfig(
        peft_type=str(getattr(kind, "value", kind)),
        r=field("init_r" if is_adalora else "r", _is_int, "a whole number"),
        lora_alpha=field("lora_alpha", _is_number, "a number"),
        use_rslora=field("use_rslora", lambda x: isinstance(x, bool), "true or false", False) and not is_adalora,
        rank_pattern={} if is_adalora else field("rank_pattern", _is_dict_of(_is_int), "an object of whole numbers", {}),
        alpha_pattern={} if is_adalora else field("alpha_pattern", _is_dict_of(_is_number), "an object of numbers", {}),
        target_modules=field("target_modules", _is_names, names),
        exclude_modules=field("exclude_modules", _is_names, names),
        modules_to_save=field("modules_to_save", _is_list_of_text, "a list of names or null", []),
        layers_to_transform=field("layers_to_transform", _is_layers, "a whole number, a list of them, or null"),
        layers_pattern=field("layers_pattern", _is_names, names),
        target_parameters=field("target_parameters", _is_list_of_text, "a list of names or null", []),
        pruned_ranks=_pruned(masks),
        base_model=base if isinstance(base, str) and base else None,
        base_class=mapping.get("base_model_class") if isinstance(mapping, dict) else None,
        options=tuple(_options(raw, is_adalora)),
    )
    if isinstance(config.target_modules, str) and (config.layers_to_transform is not None or config.layers_pattern is not None):
        raise InputError(f"In {where} target_modules is one text, with which PEFT allows no layers_to_transform or layers_pattern.")
    _check_expressions(config, where)
    return config


def _check_expressions(config: AdapterConfig, where: str) -> None:
    """PEFT reads these texts as regular expressions, inside ones of its own."""
    texts = [text for text in (config.target_modules, config.exclude_modules) if isinstance(text, str)]
    parts = [*config.rank_pattern, *config.alpha_pattern, *config.modules_to_save]
    parts += [config.layers_pattern] if isinstance(config.layers_pattern, str) else config.layers_pattern or []
    for text, whole in [*((text, text) for text in texts), *((part, f"(.*\\.)?({part})$") for part in parts)]:
        try:
            re.compile(whole)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"In {where} {_short(text)} is no regular expression ({error}), as which PEFT reads it; correct it."
            ) from error


def _options(raw: Mapping[str, Any], is_adalora: bool) -> list[str]:
    said = []
    if is_adalora:
        kept = "the ranks are those that its pruning left" if raw.get("rank_pattern") else "it has not pruned yet: the ranks are its init_r"
        said.append(f"an AdaLoRA adapter: {kept}, and a third factor of r numbers in each module is not counted here")
    if raw.get("use_rslora") and not is_adalora:
        said.append("rsLoRA scales by alpha / sqrt(r): the alphas here are those that give the same factor as alpha / r")
    if raw.get("use_dora"):
        said.append("DoRA: each adapted module also has a magnitude vector, which is not counted here")
    if raw.get("lora_bias") or raw.get("bias", "none") not in ("none", None):
        said.append("biases are trained too, which are not counted here")
    if raw.get("trainable_token_indices"):
        said.append("the embeddings of single tokens are trained too, which are not counted here")
    said += [f"{name} is set, which a plan does not carry" for name in _NOT_CARRIED if raw.get(name)]
    return said


def _pruned(masks: Mapping[str, list[bool]]) -> dict[str, int]:
    """AdaLoRA's {name of a lora_E: which of its rows are left} as {module name: rank}."""
    return {re.sub(r"\.lora_E(\..*)?$", "", name): sum(mask) for name, mask in masks.items()}


def _read_weights(path: Path, config: AdapterConfig | None) -> AdapterFiles:
    shapes = _safetensors_shapes(path) if path.suffix == ".safetensors" else _pickled_shapes(path)
    factors: dict[str, dict[str, tuple[int, ...]]] = {}
    whole: dict[str, None] = {}
    for key, shape in shapes.items():
        found = _LORA_PARAMETER.fullmatch(key)
        if found and found["leaf"] != "bias":
            factors.setdefault(found["module"], {})[found["part"][-1]] = shape
        elif not found and not _LORA_EXTRA.search(key):
            whole[key.removeprefix("base_model.model.").rpartition(".")[0]] = None
    if not factors and not (config and whole):
        raise InputError(f"{path} holds no lora_A and lora_B, so it is no LoRA adapter; give the {WEIGHT_FILES[0]} that PEFT writes.")
    layers = {module: _lora_shape(path, module, parts) for module, parts in factors.items()}
    return AdapterFiles(f"The adapter {path}", config, layers, tuple(whole))


def _lora_shape(path: Path, module: str, parts: dict[str, tuple[int, ...]]) -> LoraShape:
    a, b = parts.get("A", ()), parts.get("B", ())
    if len(a) < 2 or len(b) < 2 or a[0] != b[1]:
        raise InputError(
            f"{path} is damaged: of {module}, lora_A has the shape {list(a)} and lora_B {list(b)}; expected [r, in] and [out, r]. "
            "Save or download the adapter again."
        )
    return LoraShape(a[0], a[1], b[0])


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}); save or download the adapter again.") from error


def _pickled_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    import torch

    try:
        # Anybody's pickle could run anything; with weights_only it can only make tensors.
        loaded = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # damaged or hostile bytes end in any error of the unpickler (KeyError, EOFError, …)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{path} is no readable file of tensors ({reason:.200}); save or download the adapter again.") from error
    if not isinstance(loaded, dict) or not all(isinstance(key, str) and isinstance(x, torch.Tensor) for key, x in loaded.items()):
        raise InputError(f"{path} holds something else than named tensors; give the {WEIGHT_FILES[1]} that PEFT writes.")
    return {key: tuple(tensor.shape) for key, tensor in loaded.items()}


def _is_int(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _is_dict_of(is_legal: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, dict) and all(isinstance(key, str) and is_legal(value) for key, value in given.items())


def _is_mask(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(entry, bool) for entry in given)


def _is_list_of_text(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(entry, str) for entry in given)


def _is_names(given: Any) -> bool:
    return given is None or isinstance(given, str) or _is_list_of_text(given)


def _is_layers(given: Any) -> bool:
    return given is None or _is_int(given) or (isinstance(given, list) and all(_is_int(entry) for entry in given))


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 80 else text[:77] + "..."
