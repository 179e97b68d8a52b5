"""The singular values of a LoRA update: of random factors, or of every module of a trained adapter's folder.

Does not depend on a model: the adapter's files say all.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gelora.errors import InputError
from gelora.home import local_path
from gelora.ranks.peft.adapter_config import CONFIG_FILE
from gelora.ranks.peft.adapter_files import WEIGHT_FILES, factor_of, read_config
from gelora.ranks.peft.expressions import Expressions
from gelora.records import check_range, check_whole

RANK_TOLERANCE = 1e-6
"""A singular value counts towards the rank when it is above this share of the largest (the factors are kept in float32)."""


@dataclass(frozen=True)
class UpdateSpectrum:
    """One module's update scaling * B A.

    r: rows of A, which the rank cannot exceed; scaling: alpha / r, or alpha / sqrt(r) under rsLoRA; singular_values:
    float64 [min(r, in_features, out_features)], descending; rank: how many of them are above RANK_TOLERANCE times the largest, 0 for an
    untrained adapter; effective_rank: exp of the entropy of the values' shares of their sum (Roy & Vetterli, EUSIPCO
    2007), 0.0 for an untrained one.
    """

    module: str
    r: int
    in_features: int
    out_features: int
    scaling: float
    singular_values: np.ndarray
    rank: int
    effective_rank: float


def spectrum_of(a: np.ndarray, b: np.ndarray, scaling: float, module: str = "") -> UpdateSpectrum:
    """The spectrum of scaling * B A without forming the product: with B = Q R and A^T = P S its values are those of R S^T.

    Args:
        a: lora_A [r, in_features]. b: lora_B [out_features, r].

    Raises:
        InputError: the shapes do not fit.
    """
    if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
        raise InputError(f"lora_A has the shape {list(a.shape)} and lora_B {list(b.shape)}; expected [r, in] and [out, r].")
    left: np.ndarray = np.asarray(np.linalg.qr(b.astype(np.float64), mode="r"))
    right: np.ndarray = np.asarray(np.linalg.qr(a.T.astype(np.float64), mode="r"))
    values = abs(scaling) * np.linalg.svd(left @ right.T, compute_uv=False)
    shares = values / values.sum() if values.sum() > 0 else np.zeros(0)
    shares = shares[shares > 0]
    return UpdateSpectrum(
        module=module,
        r=len(a),
        in_features=a.shape[1],
        out_features=len(b),
        scaling=float(scaling),
        singular_values=values,
        rank=int(np.sum(values > RANK_TOLERANCE * values[0])) if values[0] > 0 else 0,
        effective_rank=float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0,
    )


def random_factors(r: int, in_features: int, out_features: int, seed: int = 0, b_share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A [r, in] and B [out, r] at random: A as PEFT begins, uniform in -+ 1 / sqrt(in_features), B of the same kind times
    b_share. PEFT's own B begins at 0, and so does the update (b_share = 0).

    Raises:
        InputError: r outside 1 to min(in_features, out_features), or b_share negative.
    """
    check_whole("r", r, 1, min(in_features, out_features))
    check_range("b_share", b_share, 0.0)
    rng = np.random.default_rng([13, seed])
    a = rng.uniform(-1, 1, (r, in_features)) / math.sqrt(in_features)
    return a, b_share * rng.uniform(-1, 1, (out_features, r)) / math.sqrt(r)


def adapter_spectra(folder: str | Path) -> tuple[UpdateSpectrum, ...]:
    """The spectrum of every adapted module of a LoRA or AdaLoRA adapter, in the order of their names, blocks by number.

    Args:
        folder: with adapter_config.json and adapter_model.safetensors, as PEFT and the runs here save it.

    Raises:
        InputError: a file is missing or unreadable, is no LoRA adapter, or lacks one of a module's two factors.
    """
    folder = local_path(folder)
    config, factors = read_config(folder / CONFIG_FILE), _factors(folder / WEIGHT_FILES[0])
    patterns = Expressions(f"the adapter {folder}").first_fitting("alpha_pattern", config.alpha_pattern, factors)
    spectra = []
    for module in sorted(factors, key=_by_number):
        parts = factors[module]
        if "A" not in parts or "B" not in parts:
            raise InputError(f"{folder} has only one factor of {module}; save or download the adapter again.")
        a = parts["A"] * parts["E"].reshape(-1, 1) if "E" in parts else parts["A"]  # AdaLoRA's singular values between B and A
        alpha = config.alpha_pattern[patterns[module]] if module in patterns else config.lora_alpha
        spectra.append(spectrum_of(a, parts["B"], config.effective_alpha(len(a), alpha) / len(a), module))
    return tuple(spectra)


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _factors(path: Path) -> dict[str, dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, dict[str, np.ndarray]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - it is no dict
                factor = factor_of(key)
                if factor is not None:
                    found.setdefault(factor[0], {})[factor[1]] = file.get_tensor(key).astype(np.float64)
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a number format that numpy does not have (bfloat16)
        raise InputError(f"{path} cannot be read ({error}); give an adapter whose weights are float32 safetensors.") from error
    if not found:
        raise InputError(f"{path} holds no lora_A and lora_B; give the folder of a LoRA adapter.")
    return found
