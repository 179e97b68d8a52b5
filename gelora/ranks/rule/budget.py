"""What a plan costs: trainable parameters, file size, optimizer memory; and uniform plans of the same modules.

Pure arithmetic on records; does not depend on torch, PEFT or files.
"""

import math
from collections.abc import Sequence

from gelora.errors import InputError
from gelora.records import Budget, RankPlan, TargetModule, check_range, check_whole

BYTES_PER_PARAM = 4
"""PEFT keeps and saves adapters in float32."""
OPTIMIZER_BYTES_PER_PARAM = 8
"""AdamW keeps two float32 moments of each trainable parameter; gradients and the parameters themselves come on top."""


def plan_budget(plan: RankPlan, n_head_params: int = 0, bytes_per_param: int = BYTES_PER_PARAM) -> Budget:
    """The cost of `plan`: r * (in_features + out_features) parameters a module, the number that PEFT counts.

    Args:
        plan: the ranks.
        n_head_params: parameters of the head that is trained and saved with the adapter.
        bytes_per_param: size of a saved number; 4 for float32, which PEFT keeps adapters in, 2 for 16-bit files.

    Returns:
        Counts and bytes. `n_total_params` is the base model's; `adapter_bytes` is the weights of adapter and head as
        saved, without the file's header; `optimizer_bytes` is AdamW's two float32 moments, 8 bytes a trainable parameter.

    Raises:
        InputError: a count is negative, or the plan's model has no parameters.
    """
    check_whole("n_head_params", n_head_params, 0, None)
    check_range("bytes_per_param", bytes_per_param, 1)
    return _budget(plan.n_adapter_params, plan, n_head_params, bytes_per_param)


def budget_by_block(plan: RankPlan) -> dict[int, int]:
    """Adapter parameters of each block that has targeted modules, by block number, in order."""
    result: dict[int, int] = {}
    for module in sorted(plan.modules, key=lambda module: module.block):
        result[module.block] = result.get(module.block, 0) + plan.ranks[module.name] * module.n_params_per_rank
    return result


def budget_params(text: str, modules: Sequence[TargetModule]) -> int:
    """A budget in a person's words as a number of adapter parameters.

    Args:
        text: "uniform:R" (what rank R everywhere costs), "params:N" or "mb:X" (an adapter file of X million bytes in
            float32, as PEFT saves it).
        modules: the targeted modules, for "uniform".

    Raises:
        InputError: the text is none of these, or the number is not positive.
    """
    kind, _, amount = text.partition(":")
    try:
        number = float(amount.replace(",", "").replace("_", ""))
    except ValueError:
        number = math.nan
    whole = kind in ("uniform", "params")
    if kind not in ("uniform", "params", "mb") or not (math.isfinite(number) and number > 0) or (whole and not number.is_integer()):
        raise InputError(
            f"The budget {text!r} is none; give uniform:R (a whole rank everywhere), params:N (parameters) or mb:X (megabytes of the "
            "adapter file), such as uniform:2, params:36864 or mb:0.15."
        )
    if kind == "uniform":
        return _uniform_cost(modules, int(number))
    return int(number) if kind == "params" else int(number * 1e6 // BYTES_PER_PARAM)


def uniform_comparison(plan: RankPlan, rs: Sequence[int] = (1, 2, 4, 8)) -> list[tuple[int, Budget]]:
    """What uniform LoRA of each rank in `rs` costs on the plan's modules, those that the plan gave rank 0 included.

    A rank above the smaller side of a matrix counts as that side, as in `uniform_ranks`.

    Raises:
        InputError: a rank below 1.
    """
    for r in rs:
        check_whole("r", r, 1)
    return [(r, _budget(_uniform_cost(plan.modules, r), plan, 0, BYTES_PER_PARAM)) for r in rs]


def equivalent_uniform_rank(plan: RankPlan) -> float:
    """The rank, whole or not, that would cost as much as the plan if every module of it had that one rank.

    It counts as a module's smaller side where it is above that, unless the plan itself, an imported one, has such ranks.
    """
    target = plan.n_adapter_params
    full, slope = 0, sum(module.n_params_per_rank for module in plan.modules)
    if any(plan.ranks[module.name] > module.smaller_side for module in plan.modules):
        return target / slope
    # The cost of a uniform rank is piecewise linear: its slope falls where a module reaches its smaller side.
    for module in sorted(plan.modules, key=lambda module: module.smaller_side):
        if full + slope * module.smaller_side >= target:
            break
        full += module.n_params_per_rank * module.smaller_side
        slope -= module.n_params_per_rank
    return (target - full) / slope


def _budget(n_adapter_params: int, plan: RankPlan, n_head_params: int, bytes_per_param: int) -> Budget:
    check_range("The plan's n_model_params", plan.n_model_params, 1)
    n_trained = n_adapter_params + n_head_params
    return Budget(
        n_adapter_params=n_adapter_params,
        n_head_params=n_head_params,
        n_total_params=plan.n_model_params,
        adapter_bytes=n_trained * bytes_per_param,
        optimizer_bytes=n_trained * OPTIMIZER_BYTES_PER_PARAM,
    )


def _uniform_cost(modules: Sequence[TargetModule], r: int) -> int:
    return sum(min(r, module.smaller_side) * module.n_params_per_rank for module in modules)
