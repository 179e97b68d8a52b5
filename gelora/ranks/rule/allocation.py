"""The GeLoRA rule: from a curve of intrinsic dimensions to a LoRA rank for every adapted matrix; and uniform ranks.

Pure arithmetic on records; does not depend on budgets, torch, PEFT or files.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gelora.errors import InputError
from gelora.geometry import rises
from gelora.records import BLOCK_HALVES, ROUNDINGS, IdProfile, ModelStructure, RankPlan, TargetModule, check_choice, check_whole
from gelora.sources import select_modules

# A rise that exceeds a whole number by less than this is that number. Dimensions are sums over thousands of float64
# logarithms, so their noise is near 1e-12; their statistical error is above 1e-2.
NOISE = 1e-6
SCALING = 32.0
"""alpha / r of the paper."""


def allocate_ranks(
    profile: IdProfile,
    target_modules: str | Sequence[str] = "attention",
    offset: int = 1,
    rounding: str = "ceil",
    estimator: str = "twonn",
    scaling: float = SCALING,
    scale: float = 1.0,
) -> RankPlan:
    """Ranks by the GeLoRA rule: r_i = max(d_i - d_{i-1}, 0) + offset for every adapted matrix of block i.

    d_i is the intrinsic dimension at the output of block i, d_0 that of the embedding output, and alpha = scaling * r,
    so that alpha / r is the same everywhere. The paper's Theorem 3.2 bounds the rank of a block from below by d_i, its
    Corollary 3.2.1 the number of parameters that block i needs by max(d_i - d_{i-1}, 0). That this rise is the rank that
    the update of each matrix needs is a heuristic, not a proof. The rounding is left open: `ceil` does not round a lower
    bound down.

    Of a profile that was measured at halves (`points`), each half of a block has its own rise and rank: that of the attention's
    maps is max(d at the middle - d at the block's input, 0) + offset, that of the MLP's from the middle to the block's output.
    The plan counts whole blocks all the same; its notes say the ranks of both halves.

    A block with an end whose dimension is undefined gets the offset alone, and one whose rank exceeds the smaller side
    of a matrix gets that; `block_notes` of the plan says so. With offset 0, modules of blocks without a rise get
    rank 0, which means no adapter.

    Args:
        profile: the curve, of n_layers + 1 points.
        target_modules: what `gelora.sources.select_modules` takes: attention, attention-qv, mlp, all-linear, names.
        offset: whole number, at least 0, added to every rise.
        rounding: `ceil` of the rise (an excess below 1e-6 over a whole number is noise and does not count), `round` of
            the rise (halves go up), or `round-each`: both dimensions rounded (halves go up), then their difference.
        estimator: one of the profile's estimators.
        scaling: alpha / r, positive; the paper uses 32.
        scale: factor on the dimensions before their difference is rounded, at least 0; 1 is the paper's rule.

    Raises:
        InputError: an argument is illegal, no module is meant by `target_modules`, or every rank comes out as 0.

    Source: GeLoRA, arXiv 2412.09250, Theorem 3.2, Corollary 3.2.1 and section 3.
    """
    offset = check_whole("offset", offset, 0)
    units = rise_units(profile, estimator, rounding, scale)
    modules = select_modules(profile.model, target_modules)
    return gelora_plan(
        profile,
        modules,
        {block: offset + (n or 0) for block, n in units.items()},
        notes=undefined_notes(profile, estimator),
        scaling=scaling,
        offset=offset,
        rounding=rounding,
        estimator=estimator,
        scale=float(scale),
        target_modules=as_text(target_modules),
    )


def rise_units(profile: IdProfile, estimator: str = "twonn", rounding: str = "ceil", scale: float = 1.0) -> dict[int, int | None]:
    """The whole units of rank that the rule adds above the offset, by block; None where the rise is undefined.

    Args: as in `allocate_ranks`.

    Raises:
        InputError: an argument is illegal, or the profile has not one layer more than its model has blocks.
    """
    check_choice("estimator", estimator, tuple(profile.estimates))
    check_rule(rounding, scale)
    if len(profile.layer_names) != profile.model.n_layers + 1:
        raise InputError(
            f"The profile has {len(profile.layer_names)} layers, its model {profile.model.n_layers} blocks; "
            f"expected {profile.model.n_layers + 1} layers. Measure it again."
        )
    curve = profile.dimensions(estimator)
    return {
        block: None if math.isnan(before) or math.isnan(after) else rounded_rise(before, after, rounding, scale)
        for block, (before, after) in enumerate(itertools.pairwise(curve), start=1)
    }


def rounded_rise(before: float, after: float, rounding: str, scale: float = 1.0) -> int:
    """max(scale * (after - before), 0) as whole units of rank; both dimensions are numbers."""
    before, after = scale * before, scale * after
    if rounding == "round-each":
        rise = math.floor(after + 0.5) - math.floor(before + 0.5)
    elif rounding == "round":
        rise = math.floor(after - before + 0.5)
    else:
        rise = math.ceil(after - before - NOISE)
    return max(rise, 0)


def check_rule(rounding: str, scale: float) -> None:
    """Raise InputError unless `rounding` is one of ROUNDINGS and `scale` a finite number of at least 0."""
    check_choice("rounding", rounding, ROUNDINGS)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not (math.isfinite(scale) and scale >= 0):
        raise InputError(f"scale (the factor on the rises) is {scale!r}; it must be a number of at least 0, and 1 is the paper's rule.")


def uniform_ranks(
    structure: ModelStructure, r: int, target_modules: str | Sequence[str] = "attention", scaling: float = SCALING
) -> RankPlan:
    """The same rank for every adapted matrix (or the smaller side of a matrix that is smaller than r): ordinary LoRA.

    Args:
        structure: the model.
        r: whole number, at least 1.
        target_modules: as in `allocate_ranks`.
        scaling: alpha / r, positive.

    Raises:
        InputError: an argument is illegal, or no module is meant by `target_modules`.
    """
    r = check_whole("r", r, 1)
    modules = select_modules(structure, target_modules)
    return build_plan(
        structure,
        modules,
        {module.block: r for module in modules},
        scaling,
        strategy="uniform",
        target_modules=as_text(target_modules),
    )


def gelora_plan(
    profile: IdProfile, modules: tuple[TargetModule, ...], wanted: Mapping[int, int], *, scaling: float, **identity: Any
) -> RankPlan:
    """A plan of the rule, `wanted` being the rank of every block; it carries the profile's digest."""
    return build_plan(profile.model, modules, wanted, scaling, strategy="gelora", profile_digest=profile.digest(), **identity)


def undefined_notes(profile: IdProfile, estimator: str) -> dict[int, str]:
    """Why a block gets the offset alone, by block, where an end of it has no dimension."""
    return {
        rise.block: f"{str(rise.note).rstrip('.')}, so the rule gives the offset alone"
        for rise in rises(profile, estimator)
        if rise.value is None
    }


def build_plan(
    structure: ModelStructure,
    modules: tuple[TargetModule, ...],
    wanted: Mapping[int, int] | Mapping[str, int],
    scaling: float,
    *,
    notes: Mapping[int, str] | None = None,
    strategy: str,
    target_modules: str,
    offset: int | None = None,
    rounding: str | None = None,
    estimator: str | None = None,
    profile_digest: str | None = None,
    **more: Any,
) -> RankPlan:
    """The plan that gives each module its wanted rank, by block number or by name, as far as the module is large enough."""
    if isinstance(scaling, bool) or not isinstance(scaling, int | float) or not (math.isfinite(scaling) and scaling > 0):
        raise InputError(f"scaling (alpha / r) is {scaling!r}; it must be a positive number.")
    asked: Mapping[Any, int] = wanted
    ranks_asked = {module.name: asked[module.name] if module.name in asked else asked[module.block] for module in modules}
    ranks = {module.name: min(ranks_asked[module.name], module.smaller_side) for module in modules}
    blocks = {module.block for module in modules}
    said = {block: note for block, note in (notes or {}).items() if block in blocks}
    for block in sorted(blocks):
        clipped = [module for module in modules if module.block == block and ranks[module.name] < ranks_asked[module.name]]
        if clipped:
            most = max(ranks_asked[module.name] for module in clipped)
            sides = ", ".join(str(side) for side in sorted({module.smaller_side for module in clipped}))
            names = ", ".join(module.name.rsplit(".", 1)[-1] for module in clipped)
            note = f"rank {most} is cut to {sides}, the smaller side of {names}"
            said[block] = f"{said[block]}; {note}" if block in said else note
    if structure.points == "halves":
        said = _by_block(modules, ranks, said)
        modules = tuple(module for module in structure.whole.modules if module.name in ranks)
    return RankPlan(
        modules=modules,
        ranks=ranks,
        alphas={name: float(scaling) * rank for name, rank in ranks.items()},
        strategy=strategy,
        offset=offset,
        rounding=rounding,
        estimator=estimator,
        target_modules=target_modules,
        model_id=structure.model_id,
        revision=structure.revision,
        n_model_params=structure.n_params,
        profile_digest=profile_digest,
        block_notes=dict(sorted(said.items())),
        **more,
    )


def _by_block(modules: tuple[TargetModule, ...], ranks: Mapping[str, int], said: Mapping[int, str]) -> dict[int, str]:
    """What is said of each half, as notes of whole blocks, each with the ranks of its halves."""
    notes: dict[int, list[str]] = {}
    for half in sorted({module.block for module in modules}):
        rank = max(ranks[module.name] for module in modules if module.block == half)
        words = f"{BLOCK_HALVES[1 - half % 2]} {rank}{f' ({said[half]})' if half in said else ''}"
        notes.setdefault((half + 1) // 2, []).append(words)
    return {block: f"by halves: {', '.join(words)}" for block, words in notes.items()}


def as_text(target_modules: str | Sequence[str]) -> str:
    """A choice of target modules as one text with commas."""
    return target_modules if isinstance(target_modules, str) else ",".join(target_modules)
