"""A dry run of an adapter's config: PEFT applies it to the model without weights, and its parameters are counted.

PEFT gets literal names only; what the config's expressions mean is found out before, under a time limit. Does not depend
on files or plans.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.lora import LoraLayer, LoraModel
from peft.tuners.tuners_utils import NoMatchingPeftModuleError
from torch import nn
from transformers import PreTrainedModel

from gelora.errors import ModelError
from gelora.ranks.peft.adapter_config import AdapterConfig
from gelora.ranks.peft.expressions import Expressions, endings
from gelora.ranks.peft.lora_checks import ADAPTER, HEADS_BY_TASK, adapted_name

_NO_NAME = "(?!)"  # an expression that nothing fits


@dataclass(frozen=True)
class MadeLayer:
    """A module, or a parameter of experts, that PEFT adapts: its rank and lora_alpha, its parameters in lora_A and lora_B,
    and those beside them (magnitude vector, bias, AdaLoRA's third factor)."""

    r: int
    alpha: float
    n_params: int
    n_more: int


@dataclass(frozen=True)
class Trial:
    """What PEFT trains of a model: layers by full name, {module trained whole: parameters}, and counts of the rest."""

    layers: dict[str, MadeLayer]
    whole: dict[str, int]
    n_token_params: int
    n_bias_params: int

    @property
    def n_params(self) -> int:
        """All trainable parameters: the first number of PEFT's `get_nb_trainable_parameters()`."""
        inside = sum(layer.n_params + layer.n_more for layer in self.layers.values())
        return inside + sum(self.whole.values()) + self.n_token_params + self.n_bias_params


class Reading:
    """What the names and expressions of a config mean among the names of one model.

    Of n_meant names, patterns and exclusions n_met mean something; n_targets of the targets do, `absent` are the others.
    """

    def __init__(self, config: AdapterConfig, targets: str | Sequence[str] | None, model: nn.Module, expressions: Expressions) -> None:
        self.config, self.model, self._targets, self._expressions = config, model, targets, expressions
        self._modules = [name for name, _ in model.named_modules() if name]
        parameters = [name for name, _ in model.named_parameters()]
        self._names = list(dict.fromkeys([*self._modules, *parameters, *_names_before(model, parameters)]))
        self._endings = {end for name in self._names for end in endings(name)}
        as_parameters = parameters if config.target_parameters or _renamed(model) else []
        self._adaptable = list(dict.fromkeys([*(name.rpartition(".")[0] for name in parameters), *as_parameters]))
        self._saved = [*config.modules_to_save, *HEADS_BY_TASK.get(config.task_type or "", ())]
        self.excluded = {name for name in self._names if self._is_excluded(name)}
        self._by_text = self._fitting_text()
        self._ranks = expressions.first_fitting("rank_pattern", config.rank_pattern, self._adaptable)
        self._alphas = expressions.first_fitting("alpha_pattern", config.alpha_pattern, self._adaptable)
        entries = [*(targets if isinstance(targets, list | tuple) else ()), *config.target_parameters]
        self.absent = [entry for entry in entries if entry not in self._endings]
        self.n_targets = len(self._by_text) if self._by_text is not None else len(entries) - len(self.absent) if entries else 1
        exclusions = config.exclude_modules if isinstance(config.exclude_modules, list) else []
        n_patterns = len({*self._ranks.values(), *self._alphas.values()})
        n_excluded = sum(entry in self._endings for entry in exclusions)
        self.n_met = len(entries) - len(self.absent) + n_excluded + n_patterns + bool(self._by_text)
        self.n_meant = len(entries) + len(exclusions) + len({*config.rank_pattern, *config.alpha_pattern}) + (self._by_text is not None)

    def unmet(self, trial: Trial) -> list[str]:
        """The keys of rank_pattern and alpha_pattern that mean nothing of what was made."""
        made = {*trial.layers, *(f"{name}.weight" for name in trial.layers)}
        fields = (("rank_pattern", self.config.rank_pattern), ("alpha_pattern", self.config.alpha_pattern))
        idle = {key: field for field, keys in fields for key in keys}
        return sorted(key for key, field in idle.items() if not any(self._expressions.fits(field, key, name) for name in made))

    def try_out(self) -> Trial:
        """Apply the config to the model, in place; no layers where exclusions leave none.

        Raises:
            ModelError: PEFT refuses it; the sentence has PEFT's own reason.
        """
        # For a model with a head PEFT has classes that wrap it once more; the bare tuner makes the others of any module.
        is_headed = self.config.task_type in HEADS_BY_TASK and isinstance(self.model, PreTrainedModel)
        make: Any = AdaLoraModel if self.config.is_adalora else LoraModel
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # what PEFT would say to a person it will say when the adapter is used
            try:
                config = self._literal_config()
                tuner = get_peft_model(self.model, config).base_model if is_headed else make(self.model, config, ADAPTER)
            except NoMatchingPeftModuleError:
                return Trial({}, {}, 0, 0)
            except (ValueError, RuntimeError, OverflowError, TypeError) as error:
                reason = " ".join(str(error).split())[:300]
                raise ModelError(f"PEFT cannot make this adapter on {type(self.model).__name__} ({reason}); correct its config.") from error
        return _counted(tuner.model)

    def _literal_config(self) -> Any:
        """The config with every expression replaced by the names that it means."""
        config = self.config
        options: dict[str, Any] = {
            "target_modules": self._literal_targets(),
            "exclude_modules": _any_of(self.excluded) if self.excluded else None,
            "modules_to_save": [name for name in self._saved if re.fullmatch(r"[\w.-]+", name)] or None,  # others end no module's name
            "layers_to_transform": config.layers_to_transform,
            "trainable_token_indices": config.trainable_token_indices,
            "task_type": config.task_type,
            "bias": config.bias,
            "init_lora_weights": False,
        }
        if isinstance(options["target_modules"], str) or config.layers_pattern:
            options["layers_to_transform"] = None  # resolved into names
        if config.is_adalora:
            # How long it would train is asked for, and changes no count.
            return AdaLoraConfig(init_r=config.r, target_r=config.r, lora_alpha=config.lora_alpha, total_step=1, **options)
        return LoraConfig(
            r=config.r,
            lora_alpha=config.lora_alpha,
            use_rslora=config.use_rslora,
            use_dora=config.use_dora,
            lora_bias=config.lora_bias,
            ensure_weight_tying=config.ensure_weight_tying,
            target_parameters=config.target_parameters or None,
            rank_pattern=_by_names(config.rank_pattern, self._ranks),
            alpha_pattern=_by_names(config.alpha_pattern, self._alphas),
            **options,
        )

    def _literal_targets(self) -> str | list[str] | None:
        if self._by_text is not None:
            return _any_of(self._by_text)
        if self._targets is None or isinstance(self._targets, str):
            return self._targets
        if self.config.target_modules is None and _renamed(self.model):
            return None  # of these models PEFT does not take its usual modules
        numbers = self.config.layers_to_transform
        if not self.config.layers_pattern or numbers is None or numbers == []:
            return list(self._targets)
        # PEFT reads layers_pattern as an expression: the modules of these layers are named instead. Names that it takes
        # for those of experts mean the experts of all layers to it, and stay.
        experts = [entry for entry in self._targets if entry.rpartition(".")[2] in _renamed(self.model)]
        wanted = {numbers} if isinstance(numbers, int) else set(numbers)
        named = [name for name in self._modules if name in self._targets]
        ending = [name for name in self._modules if name not in named and self._layer_of(name) in wanted]
        targets = set(self._targets)
        return [*experts, *named, *(name for name in ending if not targets.isdisjoint(endings(name)))]

    def _layer_of(self, name: str) -> int | None:
        given = self.config.layers_pattern or []
        numbers = (self._expressions.layer_number(text, name) for text in ([given] if isinstance(given, str) else given))
        return next((number for number in numbers if number is not None), None)

    def _is_excluded(self, name: str) -> bool:
        given = self.config.exclude_modules
        if isinstance(given, str) and self._expressions.fits("exclude_modules", given, name):
            return True
        if isinstance(given, list) and any(end in given for end in endings(name)):
            return True
        return any(self._expressions.fits("modules_to_save", text, name) for text in self._saved)

    def _fitting_text(self) -> list[str] | None:
        """The names that target_modules fits where it is an expression, else None."""
        text = self._targets
        if not isinstance(text, str) or self.config.is_all_linear:
            return None
        return [name for name in self._names if self._expressions.fits("target_modules", text, name)]


def _names_before(model: nn.Module, parameters: Iterable[str]) -> list[str]:
    """Names that modules of experts had in transformers 4; PEFT still reads an expression against them."""
    renamed = _renamed(model)
    holders = [(name.rpartition(".")[0], name.rpartition(".")[2]) for name in parameters]
    return [f"{holder}.{old}" for holder, leaf in holders for old, new in renamed.items() if new == leaf]


def _renamed(model: nn.Module) -> dict[str, str]:
    """{name in transformers 4: name of the parameter of all experts}, where PEFT translates for this type of model."""
    try:
        from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN, _MOE_TARGET_MODULE_MAPPING
    except ImportError:
        return {}  # a PEFT older than the translation
    kind = _MODEL_TO_CONVERSION_PATTERN.get(str(getattr(getattr(model, "config", None), "model_type", "")))
    return dict(_MOE_TARGET_MODULE_MAPPING.get(kind, {}))


def _any_of(names: Iterable[str]) -> str:
    """An expression that fits exactly these names."""
    return "|".join(map(re.escape, names)) or _NO_NAME


def _by_names(values: dict[str, Any], fitting: dict[str, str]) -> dict[str, Any]:
    """A pattern's values under expressions that fit exactly the names for which it is the first to fit."""
    meant: dict[str, list[str]] = {key: [] for key in values}
    for name, key in fitting.items():
        meant[key].append(name)
    return {f"^(?:{_any_of(names)})": values[key] for key, names in meant.items() if names}


def _counted(model: nn.Module) -> Trial:
    factors: Counter[str] = Counter()
    more: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    n_token, n_bias = 0, 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        holder, is_lora, part = name.partition(".lora_")
        if is_lora:
            is_factor = part.startswith(("A.", "B.", "embedding_A.", "embedding_B.")) and not part.endswith(".bias")
            (factors if is_factor else more)[holder] += parameter.numel()
        elif ".modules_to_save." in name:
            whole[name.partition(".modules_to_save.")[0]] += parameter.numel()
        elif ".token_adapter." in name:
            n_token += parameter.numel()
        else:
            n_bias += parameter.numel()
    layers = {
        adapted_name(name, layer): MadeLayer(layer.r[ADAPTER], float(layer.lora_alpha[ADAPTER]), factors[name], more[name])
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    }
    return Trial(layers, dict(whole), n_token, n_bias)
