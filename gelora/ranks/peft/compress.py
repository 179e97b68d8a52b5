"""A trained adapter in fewer parameters: every update B·A cut to its largest singular values by one threshold over all modules.

Written as a plain LoRA adapter with a rank for each module. Never forms a dense product; does not depend on a model.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gelora.errors import InputError, StoreError
from gelora.home import is_taken, local_path
from gelora.ranks.peft.adapter_config import CONFIG_FILE
from gelora.ranks.peft.adapter_factors import AdapterFactors, Factors, read_factors
from gelora.ranks.peft.adapter_files import WEIGHT_FILES, config_fields
from gelora.ranks.peft.lora_names import one_inside_another, rank_arguments, whole_if_possible
from gelora.ranks.rule.budget import budget_params
from gelora.records import TargetModule, check_range

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "tokenizer.model", "spiece.model", "chat_template.jinja",
)  # fmt: skip


@dataclass(frozen=True)
class CompressedModule:
    """r, kept: rank before and after, 0 where the module leaves the adapter; norm: Frobenius norm of the update; dropped: that of
    what was cut off, the root of the sum of squares of the dropped singular values."""

    module: str
    r: int
    kept: int
    norm: float
    dropped: float

    @property
    def relative(self) -> float:
        """dropped / norm; 0.0 of an update that is zero."""
        return self.dropped / self.norm if self.norm > 0 else 0.0


@dataclass(frozen=True)
class Compression:
    """What a compression kept and dropped; parameters are those of A and B, without heads."""

    modules: tuple[CompressedModule, ...]
    n_params_before: int
    n_params: int

    @property
    def norm(self) -> float:
        """Frobenius norm of all updates together."""
        return math.hypot(*(module.norm for module in self.modules))

    @property
    def dropped(self) -> float:
        """Frobenius norm of the whole change."""
        return math.hypot(*(module.dropped for module in self.modules))

    @property
    def relative(self) -> float:
        """dropped / norm; 0.0 of an untrained adapter."""
        return self.dropped / self.norm if self.norm > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Totals, and one object a module."""
        rows = [dataclasses.asdict(module) | {"relative": module.relative} for module in self.modules]
        totals = {name: getattr(self, name) for name in ("n_params_before", "n_params", "norm", "dropped", "relative")}
        return totals | {"modules": rows}


def compress_adapter(adapter: str | Path, out: str | Path, *, energy: float | None = None, budget: str | None = None) -> Compression:
    """Cut an adapter to its largest singular values and write what is left as a plain LoRA adapter.

    Of every scaled B·A the singular value decomposition is taken through the QR decompositions of both factors. With
    `energy`, the largest values of all modules together are kept until they hold that share of the sum of squares: of all
    adapters with as many units of rank, none is nearer in Frobenius norm. With `budget`, values are kept in the order of
    their square per parameter (in + out of their module) as long as they fit. The rest of the file (heads, biases) stays
    as it is; alpha / r of every module is what it was, except that rsLoRA and AdaLoRA become plain LoRA of the same factor.

    Args:
        adapter: the folder of a LoRA, rsLoRA or AdaLoRA adapter.
        out: a folder that is not there yet, or empty.
        energy: above 0, at most 1. budget: "uniform:R" (what rank R on the adapter's modules costs), "params:N" or "mb:X".
            One of both.

    Returns:
        ranks and norms, of the written adapter exactly but for rounding to float32.

    Raises:
        InputError: not one of energy and budget is given, a budget keeps nothing, `out` is taken, or the adapter is one whose
            function is not its B·A alone (DoRA, PiSSA, OLoRA and others that change the base weights, experts).
        StoreError: `out` cannot be written.
    """
    if (energy is None) == (budget is None):
        raise InputError("Give either the energy to keep (such as 0.95) or a budget (such as uniform:2).")
    folder = local_path(out)
    if is_taken(folder):
        raise InputError(f"{folder} is there already and not empty; name a new folder.")
    read = read_factors(adapter)
    raw = _checked(read)
    parts = [_decomposed(factors) for factors in read.modules]
    values = [abs(factors.scaling) * found[1] for factors, found in zip(read.modules, parts, strict=True)]
    costs = [factors.n_params_per_rank for factors in read.modules]
    least = 1 if read.config.bias != "none" or read.config.lora_bias else 0  # a module that leaves would take its bias along
    n_params = None if budget is None else budget_params(budget, [_as_target(factors) for factors in read.modules])
    kept = kept_ranks(values, costs, energy=energy, n_params=n_params, least=least)
    cut = tuple(
        CompressedModule(f.module, len(f.a), r, float(np.linalg.norm(of_module)), float(np.linalg.norm(of_module[r:])))
        for f, of_module, r in zip(read.modules, values, kept, strict=True)
    )
    before = sum(len(factors.a) * cost for factors, cost in zip(read.modules, costs, strict=True))
    result = Compression(cut, before, int(np.dot(kept, costs)))
    _write(read, raw, parts, kept, folder)
    return result


def kept_ranks(
    values: Sequence[np.ndarray], costs: Sequence[int], *, energy: float | None = None, n_params: int | None = None, least: int = 0
) -> list[int]:
    """How many of its singular values each module keeps, by one threshold over those of all.

    Args:
        values: of each module, [r], descending. costs: parameters of one unit of rank of each.
        energy: share of the sum of squares that is kept at least, above 0, at most 1; or
        n_params: parameters at most, in which values are kept by their square per parameter. least: units that every module keeps.

    Raises:
        InputError: energy out of range, or nothing can be kept.
    """
    squares = np.concatenate([of_module**2 for of_module in values])
    owner = np.repeat(np.arange(len(values)), [len(of_module) for of_module in values])
    forced = np.concatenate([np.arange(len(of_module)) < least for of_module in values])
    if not squares.any():
        raise InputError("The adapter is untrained: every B·A is zero, and nothing of it can be kept.")
    if energy is not None:
        check_range("energy", energy, 1e-9, 1.0)
        order = np.argsort(-squares, kind="stable")
        n = int(np.searchsorted(np.cumsum(squares[order]), energy * squares.sum() * (1 - 1e-12))) + 1
        chosen = forced.copy()
        chosen[order[:n]] = True
    else:
        cost, chosen, left = np.asarray(costs)[owner], forced, (n_params or 0) - int(np.sum(np.asarray(costs)[owner[forced]]))
        for unit in np.argsort(-squares / cost, kind="stable"):
            if squares[unit] > 0 and not chosen[unit] and cost[unit] <= left:  # what is left shrinks: of one module a first part is kept
                chosen[unit], left = True, left - int(cost[unit])
    kept = np.bincount(owner[chosen], minlength=len(values)).tolist()
    if not any(kept) or (n_params is not None and n_params < np.dot(kept, costs)):
        raise InputError(
            f"A budget of {n_params:,} parameters keeps nothing of this adapter; one unit of rank costs {min(costs):,}"
            f"{f', and each of its {len(costs)} modules keeps one' if least else ''}."
        )
    return [int(n) for n in kept]


def _checked(read: AdapterFactors) -> dict[str, Any]:
    """The config's fields as they are, of an adapter whose change of the model is its B·A alone."""
    raw, config = config_fields(read.folder / CONFIG_FILE), read.config
    reasons = {
        "DoRA, whose change of a weight is not B·A alone": config.use_dora,
        f"trained from changed base weights (init_lora_weights {config.init_lora_weights!r})": config.changes_base_weights,
        "of parameters (target_parameters)": bool(config.target_parameters),
        "with replicated layers": bool(raw.get("layer_replication")),
    }
    for reason, is_so in reasons.items():
        if is_so:
            raise InputError(f"{read.folder} is {reason}; compress a plain LoRA adapter, such as PEFT converts it to.")
    clash = one_inside_another(factors.module for factors in read.modules)
    if clash:
        raise InputError(f"To PEFT {clash[0]} in {read.folder} means {clash[1]} too, so that they cannot have ranks of their own.")
    return raw


def _decomposed(factors: Factors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U [out, k], singular values [k], V^T [k, in] of B A, k = min(r, in, out)."""
    left, small_left = np.linalg.qr(factors.b.astype(np.float64))
    right, small_right = np.linalg.qr(factors.a.T.astype(np.float64))
    u, values, vt = np.linalg.svd(small_left @ small_right.T, full_matrices=False)
    return left @ u, values, vt @ right.T


def _as_target(factors: Factors) -> TargetModule:
    return TargetModule(factors.module, 1, "other", factors.a.shape[1], len(factors.b))


def _write(read: AdapterFactors, raw: dict[str, Any], parts: Sequence[tuple[np.ndarray, ...]], kept: Sequence[int], folder: Path) -> None:
    """The folder appears whole or not at all."""
    import torch
    from safetensors.torch import save_file

    tensors = {key: tensor.contiguous() for key, tensor in read.others.items() if not key.endswith("ranknum")}
    for factors, (u, values, vt), r in zip(read.modules, parts, kept, strict=True):
        root, names = (
            np.sqrt(values[:r]),
            ("lora_embedding_A", "lora_embedding_B") if factors.is_embedding else ("lora_A.weight", "lora_B.weight"),
        )
        for name, matrix in zip(names, (root[:, None] * vt[:r], u[:, :r] * root), strict=True):
            if r:
                tensors[f"base_model.model.{factors.module}.{name}"] = torch.from_numpy(np.ascontiguousarray(matrix, np.float32))
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        save_file(tensors, unfinished / WEIGHT_FILES[0], metadata={"format": "pt"})
        text = json.dumps(_config(read, raw, kept), indent=2, sort_keys=True)
        (unfinished / CONFIG_FILE).write_text(text, encoding="utf-8")
        for name in _TOKENIZER_FILES:
            if (read.folder / name).is_file():
                shutil.copy(read.folder / name, unfinished / name)
        if folder.is_dir():
            folder.rmdir()
        unfinished.rename(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise StoreError(f"The adapter cannot be written into {folder}: {error.strerror or error}.") from error


def _config(read: AdapterFactors, raw: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The adapter's own config with the ranks that are left; alphas keep the factor on B·A."""
    from peft import LoraConfig

    known = {field.name for field in dataclasses.fields(LoraConfig)}
    ranks = {
        factors.module: (r, whole_if_possible(round(factors.scaling * r, 12))) for factors, r in zip(read.modules, kept, strict=True) if r
    }
    fields = {name: value for name, value in raw.items() if not read.config.is_adalora or name in known}
    fields |= rank_arguments(ranks) | {"peft_type": "LORA", "use_rslora": False, "init_lora_weights": True, "inference_mode": True}
    if len(ranks) < len(kept) or read.config.is_adalora:
        fields |= {"target_modules": list(ranks), "exclude_modules": None, "layers_to_transform": None, "layers_pattern": None}
    return fields
