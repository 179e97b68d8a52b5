"""From a curve of intrinsic dimensions to a LoRA rank for every adapted matrix: the GeLoRA rule, and uniform ranks.

Pure arithmetic on records; knows nothing of torch, PEFT, files or pages.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

from gelora.errors import InputError
from gelora.geometry import rises
from gelora.records import ROUNDINGS, IdProfile, ModelStructure, RankPlan, TargetModule, check_choice
from gelora.sources import select_modules

# A rise that exceeds a whole number by less than this is that number. Dimensions are sums over thousands of float64
# logarithms, so their noise is near 1e-12; their statistical error is above 1e-2.
NOISE = 1e-6


def allocate_ranks(
    profile: IdProfile,
    target_modules: str | Sequence[str] = "attention",
    offset: int = 1,
    rounding: str = "ceil",
    estimator: str = "twonn",
    scaling: float = 32.0,
) -> RankPlan:
    """Ranks by the GeLoRA rule: r_i = max(d_i - d_{i-1}, 0) + offset for every adapted matrix of block i.

    d_i is the intrinsic dimension at the output of block i, d_0 that of the embedding output, and alpha = scaling * r,
    so that alpha / r is the same everywhere. The paper argues that the rise bounds the rank of the update from below;
    that is a heuristic, not a proof. It leaves the rounding open: `ceil` does not round a lower bound down.

    A block with an end whose dimension is undefined gets the offset alone, and one whose rank exceeds the smaller side
    of a matrix gets that; `block_notes` of the plan says so. With offset 0, modules of blocks without a rise get
    rank 0, which means no adapter.

    Args:
        profile: the curve, of n_layers + 1 points.
        target_modules: one of attention, attention-qv, mlp, all-linear, or a list of suffixes of module names.
        offset: whole number, at least 0, added to every rise.
        rounding: `ceil` of the rise (an excess below 1e-6 over a whole number is noise and does not count), `round` of
            the rise (halves go up), or `round-each`: both dimensions rounded (halves go up), then their difference.
        estimator: one of the profile's estimators.
        scaling: alpha / r, positive; the paper uses 32.

    Raises:
        InputError: an argument is illegal, no module is meant by `target_modules`, or every rank comes out as 0.

    Source: GeLoRA, arXiv 2412.09250, Theorem 3.2, Corollary 3.2.1 and section 3.
    """
    check_choice("estimator", estimator, tuple(profile.estimates))
    check_choice("rounding", rounding, ROUNDINGS)
    offset = _whole_number("offset", offset, 0)
    modules = select_modules(profile.model, target_modules)
    if len(profile.layer_names) != profile.model.n_layers + 1:
        raise InputError(
            f"The profile has {len(profile.layer_names)} layers, its model {profile.model.n_layers} blocks; "
            f"expected {profile.model.n_layers + 1} layers. Measure it again."
        )
    dimensions = profile.dimensions(estimator)
    wanted: dict[int, int] = {}
    notes: dict[int, str] = {}
    for rise in rises(profile, estimator):
        if rise.value is None:
            wanted[rise.block] = offset
            notes[rise.block] = f"{str(rise.note).rstrip('.')}, so the rule gives the offset alone"
        else:
            wanted[rise.block] = offset + _rounded_rise(dimensions[rise.block - 1], dimensions[rise.block], rounding)
    return _plan(
        profile.model,
        modules,
        wanted,
        scaling,
        notes=notes,
        strategy="gelora",
        offset=offset,
        rounding=rounding,
        estimator=estimator,
        target_modules=_as_text(target_modules),
        profile_digest=profile.digest(),
    )


def uniform_ranks(structure: ModelStructure, r: int, target_modules: str | Sequence[str] = "attention", scaling: float = 32.0) -> RankPlan:
    """The same rank for every adapted matrix (or the smaller side of a matrix that is smaller than r): ordinary LoRA.

    Args:
        structure: the model.
        r: whole number, at least 1.
        target_modules: as in `allocate_ranks`.
        scaling: alpha / r, positive.

    Raises:
        InputError: an argument is illegal, or no module is meant by `target_modules`.
    """
    r = _whole_number("r", r, 1)
    modules = select_modules(structure, target_modules)
    return _plan(
        structure,
        modules,
        {module.block: r for module in modules},
        scaling,
        notes={},
        strategy="uniform",
        offset=None,
        rounding=None,
        estimator=None,
        target_modules=_as_text(target_modules),
        profile_digest=None,
    )


def _rounded_rise(d_in: float, d_out: float, rounding: str) -> int:
    if rounding == "round-each":
        rise = math.floor(d_out + 0.5) - math.floor(d_in + 0.5)
    elif rounding == "round":
        rise = math.floor(d_out - d_in + 0.5)
    else:
        rise = math.ceil(d_out - d_in - NOISE)
    return max(rise, 0)


def _plan(
    structure: ModelStructure,
    modules: tuple[TargetModule, ...],
    wanted: dict[int, int],
    scaling: float,
    *,
    notes: dict[int, str],
    **identity: Any,
) -> RankPlan:
    """The plan that gives each module its block's wanted rank, as far as the module is large enough for it."""
    if isinstance(scaling, bool) or not isinstance(scaling, int | float) or not (math.isfinite(scaling) and scaling > 0):
        raise InputError(f"scaling (alpha / r) is {scaling!r}; it must be a positive number.")
    limits = {module.name: min(module.in_features, module.out_features) for module in modules}
    ranks = {module.name: min(wanted[module.block], limits[module.name]) for module in modules}
    notes = {block: note for block, note in notes.items() if any(module.block == block for module in modules)}
    for block in sorted({module.block for module in modules}):
        clipped = [module.name for module in modules if module.block == block and ranks[module.name] < wanted[block]]
        if clipped:
            sides = ", ".join(str(side) for side in sorted({limits[name] for name in clipped}))
            note = f"rank {wanted[block]} is cut to {sides}, the smaller side of {', '.join(_tail(name) for name in clipped)}"
            notes[block] = f"{notes[block]}; {note}" if block in notes else note
    return RankPlan(
        modules=modules,
        ranks=ranks,
        alphas={name: float(scaling) * rank for name, rank in ranks.items()},
        model_id=structure.model_id,
        revision=structure.revision,
        n_model_params=structure.n_params,
        block_notes=dict(sorted(notes.items())),
        **identity,
    )


def _whole_number(what: str, given: Any, low: int) -> int:
    legal = f"it must be a whole number of at least {low}"
    if isinstance(given, bool):
        raise InputError(f"{what} is {given}; {legal}.")
    try:
        number = operator.index(given)  # also takes numpy's integers, and no float
    except TypeError:
        raise InputError(f"{what} is {given!r}; {legal}.") from None
    if number < low:
        raise InputError(f"{what} is {number}; {legal}.")
    return number


def _as_text(target_modules: str | Sequence[str]) -> str:
    return target_modules if isinstance(target_modules, str) else ",".join(target_modules)


def _tail(name: str) -> str:
    return name.rsplit(".", 1)[-1]
