"""The ranks wing: what the shape asks for. A curve of dimensions -> a rank for every matrix -> its cost -> PEFT.

Knows nothing of how a dimension is measured or how a run is trained. What needs PEFT and torch is loaded when it is
first used, so that this face stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gelora.ranks.agreement import RankAgreement, rank_agreement
from gelora.ranks.allocation import allocate_ranks, uniform_ranks
from gelora.ranks.budget import budget_by_block, equivalent_uniform_rank, plan_budget, uniform_comparison
from gelora.ranks.lora_form import lora_arguments

if TYPE_CHECKING:
    from gelora.ranks.lora import (
        apply_plan as apply_plan,
        count_parameters as count_parameters,
        modules_to_save as modules_to_save,
        to_lora_config as to_lora_config,
        train_head_alone as train_head_alone,
    )

_NEED_PEFT = ("apply_plan", "count_parameters", "modules_to_save", "to_lora_config", "train_head_alone")

__all__ = [
    "RankAgreement",
    "allocate_ranks",
    "budget_by_block",
    "equivalent_uniform_rank",
    "lora_arguments",
    "plan_budget",
    "rank_agreement",
    "uniform_comparison",
    "uniform_ranks",
    *_NEED_PEFT,
]


def __getattr__(name: str) -> Any:
    if name in _NEED_PEFT:
        return getattr(importlib.import_module("gelora.ranks.lora"), name)
    raise AttributeError(f"module 'gelora.ranks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
