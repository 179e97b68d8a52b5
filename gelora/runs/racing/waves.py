"""How many arms of a race train at one time: as many as the device's memory holds, by the estimate for a training step.

Does not depend on how arms are trained.
"""

import dataclasses
from collections.abc import Callable

from gelora.errors import InputError
from gelora.ranks import memory_estimate
from gelora.records import INITS_OF_BASE, RankPlan, RunSpec
from gelora.sources import model_structure

_MARGIN = 0.1  # as MemoryEstimate.fits


def free_bytes(device: str) -> int:
    """Memory that is free on a device: `cpu` or a GPU's name."""
    if device == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def arms_bytes(spec: RunSpec, n_arms: int, length: int, dtype: str, n_head_params: int, is_language: bool) -> int:
    """Memory of a step of `n_arms` arms, each as large as the largest ranks of any: the base once, all else once an arm.

    Args:
        spec: of the race.
        length: tokens of its longest row.
        dtype: of the frozen weights and the activations.
        n_head_params: trained whole beside one adapter.
        is_language: whether every token has logits.

    Raises:
        InputError: the spec is no race, or the model's shapes are not known well enough.
    """
    if spec.race is None:
        raise InputError("This spec is no race; make one with race_run.")
    largest = _largest(tuple(spec.race.plans.values()))
    one = memory_estimate(
        largest, model_structure(spec.model), batch_size=spec.training.batch_size * n_arms, length=length, dtype=dtype,
        n_head_params=n_head_params, task="causal-lm" if is_language else "classification",
    )  # fmt: skip
    copies = 2 if any(init in INITS_OF_BASE for init in (*spec.race.inits.values(), spec.training.init_lora_weights)) else 1
    of_an_arm = one.gradient_bytes + one.optimizer_bytes + 4 * copies * largest.n_adapter_params
    return one.total_bytes + (n_arms - 1) * of_an_arm


def waves(n_arms: int, bytes_of: Callable[[int], int], free: int) -> tuple[int, ...]:
    """The number of arms in each wave: as few waves as memory allows, of nearly equal size; single arms where not even one fits.

    Args:
        n_arms: in all. bytes_of: memory that so many arms take at one time. free: bytes.
    """
    most = next((n for n in range(n_arms, 0, -1) if bytes_of(n) * (1 + _MARGIN) <= free), 1)
    n_waves = -(-n_arms // most)
    return tuple(n_arms // n_waves + (i < n_arms % n_waves) for i in range(n_waves))


def _largest(plans: tuple[RankPlan, ...]) -> RankPlan:
    """A plan of the first one's kind with the largest rank that any gives to each module."""
    modules = {module.name: module for plan in plans for module in plan.modules}
    ranks = {name: max(plan.ranks.get(name, 0) for plan in plans) for name in modules}
    alphas = {name: max(plan.alphas.get(name, 0.0) for plan in plans) for name in modules}
    return dataclasses.replace(
        plans[0], modules=tuple(modules.values()), ranks=ranks, alphas=alphas, strategy="imported", edits={}, also_trained=()
    )
