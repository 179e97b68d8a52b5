"""The adapter_config.json of a LoRA adapter, validated: PEFT's fields and defaults.

Does not depend on files or a model.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gelora.errors import InputError
from gelora.ranks.peft.expressions import Expressions, short

CONFIG_FILE = "adapter_config.json"

_OWN_BEGINNINGS = ("default", "gaussian", "eva", "orthogonal")
"""Ways of starting an adapter, by PEFT's names, that leave the base weights as they are."""
_NOT_CARRIED = ("use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config", "monteclora_config")


@dataclass(frozen=True)
class AdapterConfig:
    """The fields of PEFT's config that decide what it trains, by PEFT's names and defaults.

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
    task_type: str | None
    use_dora: bool
    bias: str
    lora_bias: bool
    ensure_weight_tying: bool
    lora_dropout: float
    init_lora_weights: bool | str | None
    trainable_token_indices: list[int] | dict[str, list[int]] | None
    options: tuple[str, ...]

    @property
    def is_adalora(self) -> bool:
        """Whether the adapter is AdaLoRA's, which has its own rule for factors and counts."""
        return self.peft_type == "ADALORA"

    @property
    def is_all_linear(self) -> bool:
        """Whether target_modules is PEFT's word for every linear map."""
        return isinstance(self.target_modules, str) and self.target_modules.lower() == "all-linear"

    @property
    def changes_base_weights(self) -> bool:
        """Whether it began by taking its factors out of the base weights, so that B·A is not what training added (PiSSA, OLoRA, ...)."""
        return isinstance(self.init_lora_weights, str) and self.init_lora_weights not in _OWN_BEGINNINGS

    def effective_alpha(self, r: int, alpha: float) -> float:
        """The alpha for which alpha / r is the factor on B·A that the adapter's own class uses.

        Args:
            r: the module's rank.
            alpha: its lora_alpha by the config; AdaLoRA has one for all modules.
        """
        if self.is_adalora:  # alpha / init_r, whatever is left of the rank; without an alpha, 1
            return self.lora_alpha / self.r * r if self.lora_alpha > 0 else float(r)
        return float(alpha) * (r**0.5 if self.use_rslora else 1.0)


def config_of(raw: Mapping[str, Any], where: str) -> AdapterConfig:
    """The fields of an adapter_config.json.

    Args:
        raw: the JSON object.
        where: names the file in sentences.

    Raises:
        InputError: it is no LoRA's, a field is none that PEFT could read, or the fields contradict each other.
    """
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
            raise InputError(f"In {where} {name} is {short(given)}; it must be {legal}.")
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
        use_rslora=field("use_rslora", _is_bool, "true or false", False) and not is_adalora,
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
        base_class=str(mapping["base_model_class"]) if isinstance(mapping, dict) and mapping.get("base_model_class") else None,
        task_type=field("task_type", _is_task, "one of PEFT's task types or null"),
        use_dora=field("use_dora", _is_bool, "true or false", False) and not is_adalora,
        bias=field("bias", lambda given: given in ("none", "all", "lora_only"), "none, all or lora_only", "none"),
        lora_bias=field("lora_bias", _is_bool, "true or false", False) and not is_adalora,
        ensure_weight_tying=field("ensure_weight_tying", _is_bool, "true or false", False),
        lora_dropout=field("lora_dropout", _is_number, "a number", 0.0),
        init_lora_weights=field(
            "init_lora_weights", lambda given: given is None or isinstance(given, bool | str), "true, false or a text", True
        ),
        trainable_token_indices=field("trainable_token_indices", _is_tokens, "a list of numbers, an object of such lists, or null"),
        options=tuple(_options(raw, is_adalora)),
    )
    if isinstance(config.target_modules, str) and (config.layers_to_transform is not None or config.layers_pattern is not None):
        raise InputError(f"In {where} target_modules is one text, with which PEFT allows no layers_to_transform or layers_pattern.")
    if config.layers_pattern and config.layers_to_transform is None:
        raise InputError(f"In {where} layers_pattern stands without layers_to_transform, which PEFT refuses; add the layers' numbers.")
    if config.target_modules == [] and not config.target_parameters:
        raise InputError(f"In {where} target_modules is an empty list, so that PEFT adapts nothing; write the names of modules into it.")
    _check_expressions(config, where)
    return config


def _check_expressions(config: AdapterConfig, where: str) -> None:
    """PEFT reads these texts as regular expressions, inside ones of its own."""
    expressions = Expressions(where)
    for name in ("target_modules", "exclude_modules", "layers_pattern"):
        given = getattr(config, name)
        if isinstance(given, str) and not (name == "target_modules" and config.is_all_linear):
            expressions.check(name, given)
    for name in ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_pattern"):
        given = getattr(config, name)
        for text in given if isinstance(given, dict | list) else ():
            expressions.check(name, text)


def _options(raw: Mapping[str, Any], is_adalora: bool) -> list[str]:
    said = []
    if is_adalora:
        kept = "the ranks are those that its pruning left" if raw.get("rank_pattern") else "it has not pruned yet: the ranks are its init_r"
        said.append(f"an AdaLoRA adapter: {kept}")
    if raw.get("use_rslora") and not is_adalora:
        said.append("rsLoRA scales by alpha / sqrt(r): the alphas here are those that give the same factor as alpha / r")
    said += [f"{name} is set, which a plan does not carry" for name in _NOT_CARRIED if raw.get(name)]
    return said


def _pruned(masks: Mapping[str, list[bool]]) -> dict[str, int]:
    """AdaLoRA's {name of a lora_E: which of its rows are left} as {module name: rank}."""
    return {re.sub(r"\.lora_E(\..*)?$", "", name): sum(mask) for name, mask in masks.items()}


_MOST = 1e300  # what floats can still be multiplied by


def _is_bool(given: Any) -> bool:
    return isinstance(given, bool)


def _is_task(given: Any) -> bool:
    from peft import TaskType

    return given is None or given in [kind.value for kind in TaskType]


def _is_tokens(given: Any) -> bool:
    lists = list(given.values()) if isinstance(given, dict) else [given]
    return given is None or all(isinstance(numbers, list) and all(map(_is_int, numbers)) for numbers in lists)


def _is_int(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < _MOST


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
