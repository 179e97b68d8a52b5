"""The singular values of a LoRA update: of random factors, or of every module of a trained adapter's folder.

Does not depend on a model: the adapter's files say all.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gelora.errors import InputError
from gelora.ranks.peft.adapter_factors import AdapterFactors, read_factors
from gelora.ranks.peft.noise_spectrum import directions_above_noise
from gelora.records import check_range, check_whole

RANK_TOLERANCE = 1e-6
"""A singular value counts towards the rank when it is above this share of the largest (the factors are kept in float32)."""


@dataclass(frozen=True)
class UpdateSpectrum:
    """One module's update scaling * B A.

    r: rows of A, which the rank cannot exceed; scaling: alpha / r, or alpha / sqrt(r) under rsLoRA; singular_values:
    float64 [min(r, in_features, out_features)], descending.
    """

    module: str
    r: int
    in_features: int
    out_features: int
    scaling: float
    singular_values: np.ndarray

    @property
    def rank(self) -> int:
        """How many of the values are above RANK_TOLERANCE times the largest; 0 for an untrained adapter."""
        return int(np.sum(self.singular_values > RANK_TOLERANCE * self.singular_values[0]))

    @property
    def effective_rank(self) -> float:
        """Exp of the entropy of the values' shares of their sum (Roy & Vetterli, EUSIPCO 2007); 0.0 for an untrained adapter."""
        positive = self.singular_values[self.singular_values > 0]
        shares = positive / positive.sum()
        return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0

    @property
    def norm(self) -> float:
        """Frobenius norm of the update."""
        return float(np.linalg.norm(self.singular_values))

    @property
    def stable_rank(self) -> float:
        """Sum of the squared values over the largest of them (Rudelson & Vershynin 2007); 0.0 for an untrained adapter."""
        largest = float(self.singular_values[0])
        return (self.norm / largest) ** 2 if largest > 0 else 0.0

    @property
    def n_above_noise(self) -> int:
        """Directions above what noise at these shapes would give (`directions_above_noise`), 0 to r - 1."""
        return directions_above_noise(self.singular_values, self.in_features, self.out_features)

    def energy_rank(self, share: float = 0.99) -> int:
        """The fewest values that hold a share (0 to 1) of the sum of squares; 0 for an untrained adapter."""
        energy = np.cumsum(self.singular_values**2)
        return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1 if energy[-1] > 0 else 0


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
    return UpdateSpectrum(module, len(a), a.shape[1], len(b), float(scaling), values)


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


def adapter_spectra(adapter: str | Path | AdapterFactors) -> tuple[UpdateSpectrum, ...]:
    """The spectrum of every adapted module of a LoRA or AdaLoRA adapter, in the order of their names, blocks by number.

    Of DoRA these are the spectra of B·A, before the magnitudes scale the changed weight.

    Args:
        adapter: the folder with adapter_config.json and adapter_model.safetensors (or .bin), as PEFT and the runs here save it, or
            what `read_factors` made of it.

    Raises:
        InputError: as `read_factors`.
    """
    read = adapter if isinstance(adapter, AdapterFactors) else read_factors(adapter)
    return tuple(spectrum_of(m.a, m.b, m.scaling, m.module) for m in read.modules)
