"""Module scores: one number for each matrix, from model and data, by gradient, Fisher, EVA or weight spectrum.

Turns what the strategies measure into `ModuleScores`; model and losses are made ready in `prepared`, the variance of
inputs is in `eva`. Does not depend on ranks or budgets.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from gelora.errors import DataError, InputError, ModelError
from gelora.records import (
    DEVICES,
    SCORE_DEFINITIONS,
    SCORE_STRATEGIES,
    DataChoice,
    ModuleScores,
    Progress,
    TargetModule,
    check_choice,
    check_whole,
)
from gelora.sources import ModelEntry

if TYPE_CHECKING:
    import torch

    from gelora.ranks.scores.prepared import Ready

_T = TypeVar("_T")


def module_scores(
    strategy: str,
    model_id: str,
    data: DataChoice | None,
    modules: Sequence[TargetModule],
    *,
    n_rows: int = 64,
    batch_size: int = 8,
    max_length: int = 128,
    seed: int = 0,
    device: str = "cpu",
    r_max: int = 32,
    progress: Progress | None = None,
) -> ModuleScores:
    """The score of every module by one strategy; see `all_module_scores`, of which this is the case of one."""
    return all_module_scores(
        (strategy,),
        model_id,
        data,
        modules,
        n_rows=n_rows,
        batch_size=batch_size,
        max_length=max_length,
        seed=seed,
        device=device,
        r_max=r_max,
        progress=progress,
    )[strategy]


def all_module_scores(
    strategies: Iterable[str],
    model_id: str,
    data: DataChoice | None,
    modules: Sequence[TargetModule],
    *,
    n_rows: int = 64,
    batch_size: int = 8,
    max_length: int = 128,
    seed: int = 0,
    device: str = "cpu",
    r_max: int = 32,
    progress: Progress | None = None,
) -> dict[str, ModuleScores]:
    """The scores of the modules by each strategy, the model loaded and the rows drawn once for all.

    "gradient": GoRA's score: mean over a matrix's entries of |W * G|, G the gradient of the mean loss over all rows.
    The gradient is averaged before the absolute value, so that batch_size changes nothing but rounding; averaging |W *
    dL/dW| of batches instead, as AdaLoRA smooths its sensitivity, would score noise between batches.
    "fisher": the diagonal empirical Fisher information: mean over the entries of the squared gradient of single rows' log
    likelihood, averaged over the rows. "eva": the share of the variance of a matrix's inputs that lies along their first
    r_max principal directions, by PEFT's own incremental SVD; the shares one by one are the record's `components`.
    "weight-spectrum": the stable rank ||W||_F^2 / ||W||_2^2, of the weights alone. Experts that are one parameter get the
    mean over experts. Scores are divided by their sum.

    The loss is that of the data: labelled rows give the cross-entropy (or squared error) of a sequence classifier, whose
    head is drawn from `seed` where the checkpoint has none; rows without labels give a decoder's next-token loss. The
    model is in evaluation mode and float32; only the modules' weights have gradients; no global random state changes.

    Args:
        strategies: of SCORE_STRATEGIES, at least one.
        model_id: what `find_model` takes.
        data: the rows; None where "weight-spectrum" alone is asked for.
        modules: linear maps of this model, see `select_modules`; at least one.
        n_rows: rows to draw, at least 2; fewer where the data has fewer.
        batch_size: rows of a forward pass, at least 1; memory alone depends on it, but for "eva", whose decomposition goes
            batch by batch; "fisher" takes rows one by one.
        max_length: tokens at which a text is cut, at least 4; lowered to what the model's positions allow.
        seed: of the rows and of the head, at least 0.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        r_max: principal directions that "eva" finds for each module, at least 1; at most half of the module's inputs, and
            no more than its smaller side.
        progress: called with (stage, done, total); may raise `Cancelled`, after which nothing is left behind.

    Returns:
        The scores by strategy, in the order asked for.

    Raises:
        InputError: an argument is illegal, a strategy lacks its data, or the rows have no labels and the model is no decoder.
        DataError: the rows have one class only or too few tokens, a score is NaN or infinite, or all scores are 0.
        ModelError: the modules are not this model's, their weights are not in the checkpoint, or it does not fit the GPU.
        HubError, ChecksumError: model or data are out of reach, or damaged.

    Source: mean |W * G|: He et al. 2025, GoRA, arXiv 2502.12171; |w * dL/dw| of one batch is AdaLoRA's sensitivity, Zhang
    et al. 2023, arXiv 2303.10512, eq. 8. Fisher: Kirkpatrick et al. 2017, arXiv 1612.00796; empirical: Kunstner et al.
    2019, arXiv 1905.12558. EVA: Paischer et al. 2024, arXiv 2410.07170. Stable rank: Rudelson & Vershynin 2007, arXiv
    math/0503442.
    """
    chosen = tuple(dict.fromkeys(strategies))
    _check_arguments(chosen, data, modules, n_rows=n_rows, batch_size=batch_size, max_length=max_length, r_max=r_max, device=device)
    import torch

    from gelora.ranks.scores.prepared import prepare

    report = progress or (lambda stage, done, total: None)
    try:
        with torch.random.fork_rng(devices=[]):
            ready = prepare(chosen, model_id, data, modules, n_rows, max_length, seed, device, report)
            measure: dict[str, Callable[[], _Measured]] = {
                "gradient": lambda: _gradient(ready, batch_size, report),
                "fisher": lambda: _fisher(ready, report),
                "eva": lambda: _eva(ready, modules, batch_size, r_max, report),
                "weight-spectrum": lambda: _weight_spectrum(ready, report),
            }
            return {strategy: _record(strategy, ready.entry, measure[strategy]) for strategy in chosen}
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{model_id} with its gradients does not fit into the GPU's free memory; choose fewer modules, a smaller batch_size or "
            "max_length, or device 'cpu'."
        ) from error


@dataclass(frozen=True)
class _Measured:
    """What a strategy found, before the scores are divided by their sum."""

    raw: dict[str, float]
    n_rows: int
    detail: str
    components: dict[str, np.ndarray]


def _check_arguments(
    strategies: tuple[str, ...], data: DataChoice | None, modules: Sequence[TargetModule], *, device: str, **at_least: int
) -> None:
    if not strategies:
        raise InputError(f"No strategy was given; choose at least one of: {', '.join(SCORE_STRATEGIES)}.")
    for strategy in strategies:
        check_choice("strategy", strategy, SCORE_STRATEGIES)
    for name, low in (("n_rows", 2), ("batch_size", 1), ("max_length", 4), ("r_max", 1)):
        check_whole(name, at_least[name], low)
    check_choice("device", device, DEVICES)
    needing = [strategy for strategy in strategies if strategy != "weight-spectrum"]
    if needing and data is None:
        raise InputError(f"The strategy {needing[0]} needs data; give a DataChoice, or choose weight-spectrum, which needs none.")
    if not modules or len({module.name for module in modules}) != len(modules):
        raise InputError("The modules must be at least one, each once; choose them with select_modules.")
    stacked = [module.name for module in modules if module.n_experts > 1]
    if stacked and "eva" in strategies:
        raise InputError(
            f"{stacked[0]} holds several experts in one parameter, whose inputs eva cannot tell apart; leave experts out, or choose "
            "gradient, fisher or weight-spectrum."
        )


def _record(strategy: str, entry: ModelEntry, measure: "Callable[[], _Measured]") -> ModuleScores:
    start = time.perf_counter()
    found = measure()
    seconds = time.perf_counter() - start
    strange = [name for name, value in found.raw.items() if not math.isfinite(value)]
    if strange:
        raise DataError(
            f"The {strategy} score of {strange[0]} in {entry.model_id} is NaN or infinite; choose another checkpoint or other data."
        )
    total = math.fsum(found.raw.values())
    if not total > 0:
        raise DataError(f"Every {strategy} score of {entry.model_id} is 0, so they say nothing of its matrices; choose other data.")
    scores = {name: value / total for name, value in found.raw.items()}
    return ModuleScores(
        strategy,
        scores,
        found.components,
        entry.model_id,
        entry.revision,
        found.n_rows,
        found.detail,
        seconds,
        definition=SCORE_DEFINITIONS[strategy],
    )


def _gradient(ready: "Ready", batch_size: int, report: Progress) -> _Measured:
    objective = _needed(ready.objective)
    raw = objective.gradient_product(ready.weights, batch_size, report)
    detail = f"Mean |W * G| of each matrix, G its mean gradient over {objective.n_rows} rows; the loss is {objective.description}."
    return _Measured(raw, objective.n_rows, detail, {})


def _fisher(ready: "Ready", report: Progress) -> _Measured:
    objective = _needed(ready.objective)
    raw = objective.fisher(ready.weights, report)
    detail = f"Mean squared gradient of each matrix, averaged over {objective.n_rows} single rows; the loss is {objective.description}."
    return _Measured(raw, objective.n_rows, detail, {})


def _eva(ready: "Ready", modules: Sequence[TargetModule], batch_size: int, r_max: int, report: Progress) -> _Measured:
    from gelora.ranks.scores.eva import input_components

    texts = _needed(ready.texts)
    components = input_components(ready.base, modules, texts, batch_size, r_max, report)
    n_rows, n_tokens = len(texts.lengths), int(texts.lengths.sum())
    detail = (
        f"Share of the variance of each matrix's inputs along their first {r_max} principal directions at most, by PEFT's incremental "
        f"SVD over {n_tokens} tokens of {n_rows} rows."
    )
    return _Measured({name: math.fsum(ratios) for name, ratios in components.items()}, n_rows, detail, components)


def _weight_spectrum(ready: "Ready", report: Progress) -> _Measured:
    raw = {}
    for done, (name, weight) in enumerate(ready.weights.items()):
        report("Weight spectrum", done, len(ready.weights))
        raw[name] = stable_rank(weight)
    report("Weight spectrum", len(raw), len(raw))
    return _Measured(raw, 0, "Stable rank ||W||_F^2 / ||W||_2^2 of each matrix's weights; no data.", {})


def stable_rank(weight: "torch.Tensor") -> float:
    """||W||_F^2 / ||W||_2^2: from 1 to the rank of W, 0 for a matrix of zeros; for [n_experts, ...] the mean over them.

    Source: Rudelson & Vershynin 2007, arXiv math/0503442.
    """
    import torch

    ranks = []
    for matrix in weight.detach().reshape(-1, *weight.shape[-2:]):
        wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
        # The Gram matrix has the squared singular values. In float64 its largest eigenvalue is right to rounding, and it
        # comes several times faster than a decomposition of W itself.
        gram = wide @ wide.T
        if not torch.isfinite(gram).all():
            return math.nan
        largest = float(torch.linalg.eigvalsh(gram)[-1])
        ranks.append(float(gram.trace()) / largest if largest > 0 else 0.0)
    return math.fsum(ranks) / len(ranks)


def _needed(given: "_T | None") -> "_T":
    """`given`, which `prepare` made because a strategy needs it."""
    if given is None:
        raise InputError("This strategy needs data; give a DataChoice.")
    return given
