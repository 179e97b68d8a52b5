"""The two factors of every adapted module of an adapter's folder, with the factor on their product, and its other weights.

Anybody's LoRA, rsLoRA, AdaLoRA; safetensors or .bin. Does not depend on a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gelora.errors import InputError
from gelora.home import local_path
from gelora.ranks.peft.adapter_config import CONFIG_FILE, AdapterConfig
from gelora.ranks.peft.adapter_files import WEIGHT_FILES, factor_of, read_config, read_tensors
from gelora.ranks.peft.expressions import Expressions
from gelora.ranks.peft.lora_names import matches

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Factors:
    """One module's update scaling * B A.

    module: full name, without PEFT's "base_model.model."; a: float32 [r, in_features], AdaLoRA's singular values folded in;
    b: float32 [out_features, r]; scaling: alpha / r, or what the adapter's own class has in its place; is_embedding: whether
    PEFT names the factors of this module as those of an embedding.
    """

    module: str
    a: np.ndarray
    b: np.ndarray
    scaling: float
    is_embedding: bool = False

    @property
    def n_params_per_rank(self) -> int:
        """Parameters of one row of A and one column of B."""
        return self.a.shape[1] + len(self.b)


@dataclass(frozen=True)
class AdapterFactors:
    """An adapter's folder as factors.

    modules: in the order of their names, blocks by number; others: weights that are no factor (heads saved whole, biases,
    magnitudes of DoRA), by their names in the file.
    """

    folder: Path
    config: AdapterConfig
    modules: tuple[Factors, ...]
    others: "Mapping[str, torch.Tensor]"

    @property
    def notes(self) -> list[str]:
        """What B·A alone does not say of this adapter, in sentences."""
        config, said = self.config, []
        if config.use_dora:
            said.append("DoRA: the magnitudes scale the changed weight as a whole, so that B·A is only a part of the change.")
        if config.changes_base_weights:
            start = config.init_lora_weights
            said.append(f"init_lora_weights {start!r}: B·A began with a part of the base weights, so that its values hold these too.")
        if self.others:
            said.append(f"Beside B·A the file holds {len(self.others)} other weights (heads, biases), which are not looked at.")
        return said


def read_factors(adapter: str | Path) -> AdapterFactors:
    """All factors of an adapter.

    Args:
        adapter: a folder with adapter_config.json and adapter_model.safetensors (or .bin), as PEFT saves it, or the path of its
            file of weights.

    Raises:
        InputError: a file is missing or unreadable, is no LoRA adapter, lacks one of a module's two factors, or adapts
            experts or convolutions, whose updates are no single product.
    """
    folder = local_path(adapter)
    folder = folder.parent if folder.is_file() else folder
    config, tensors = read_config(folder / CONFIG_FILE), read_tensors(folder)
    found: dict[str, dict[str, torch.Tensor]] = {}
    others, embeddings = {}, set()
    for key, tensor in tensors.items():
        factor = factor_of(key)
        if factor is None:
            others[key] = tensor
            continue
        found.setdefault(factor[0], {})[factor[1]] = tensor
        if ".lora_embedding_" in key:
            embeddings.add(factor[0])
    if not found:
        raise InputError(f"{folder} holds no lora_A and lora_B; give the folder of a LoRA adapter ({' or '.join(WEIGHT_FILES)}).")
    patterns = Expressions(f"the adapter {folder}").first_fitting("alpha_pattern", config.alpha_pattern, found)
    modules = []
    for module in sorted(found, key=_by_number):
        a, b = _factors(folder, config, module, found[module])
        alpha = config.alpha_pattern[patterns[module]] if module in patterns else config.lora_alpha
        modules.append(Factors(module, a, b, config.effective_alpha(len(a), alpha) / len(a), module in embeddings))
    return AdapterFactors(folder, config, tuple(modules), others)


def _factors(folder: Path, config: AdapterConfig, module: str, parts: "Mapping[str, torch.Tensor]") -> tuple[np.ndarray, np.ndarray]:
    if "A" not in parts or "B" not in parts:
        raise InputError(f"{folder} has only one factor of {module}; save or download the adapter again.")
    if _holds_experts(config, module) or parts["A"].ndim != 2 or parts["B"].ndim != 2:
        what = "experts, each with an update of its own" if _holds_experts(config, module) else "a convolution, no single product B·A"
        raise InputError(f"{module} in {folder} is of {what}; give an adapter of linear maps or embeddings alone.")
    a, b = (parts[part].float().numpy() for part in "AB")
    if len(a) != b.shape[1] or not len(a):
        raise InputError(
            f"{folder} is damaged: of {module}, lora_A has the shape {list(a.shape)} and lora_B {list(b.shape)}; expected [r, in] and "
            "[out, r]. Save or download the adapter again."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"{module} in {folder} has weights that are not finite: its training diverged. Give another adapter.")
    return (a * parts["E"].float().numpy().reshape(-1, 1) if "E" in parts else a), b


def _holds_experts(config: AdapterConfig, module: str) -> bool:
    """Whether the factors are those of a parameter that holds experts; a module's own weight may be named as a parameter too."""
    own = module.replace(".base_layer", "")
    holders = [entry.rpartition(".")[0] for entry in config.target_parameters if not entry.endswith(".weight")]
    return any(matches(holder, own) for holder in holders)


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
