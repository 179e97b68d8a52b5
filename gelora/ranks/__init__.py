"""The ranks wing: what the shape asks for. A curve of dimensions -> a rank for every matrix -> its cost -> PEFT.

Does not depend on how a dimension is measured or how a run is trained. What needs PEFT and torch is loaded when it is
first used, so that this face stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gelora.ranks.peft.adapter_factors import AdapterFactors, Factors, read_factors
from gelora.ranks.peft.compress import CompressedModule, Compression, compress_adapter
from gelora.ranks.peft.lora_names import lora_arguments, parameter_note
from gelora.ranks.peft.noise_spectrum import directions_above_noise, noise_edge
from gelora.ranks.peft.update_spectrum import UpdateSpectrum, adapter_spectra, random_factors, spectrum_of
from gelora.ranks.rule.agreement import RankAgreement, rank_agreement, same_ranks
from gelora.ranks.rule.allocation import allocate_ranks, rise_units, uniform_ranks
from gelora.ranks.rule.budget import (
    BYTES_PER_PARAM,
    OPTIMIZER_BYTES_PER_PARAM,
    budget_by_block,
    budget_params,
    equivalent_uniform_rank,
    plan_budget,
    uniform_comparison,
)
from gelora.ranks.rule.changed import CHANGES, ChangedPlan, changed_plans
from gelora.ranks.rule.edits import edit_ranks
from gelora.ranks.rule.matching import match_budget
from gelora.ranks.rule.memory import memory_estimate
from gelora.ranks.rule.reallocation import check_reallocatable, plan_with_ranks, reallocated_plan, rule_ranks
from gelora.ranks.rule.small_models import FisherSpectrum, RankNeed, softmax_fisher, update_of_each_rank
from gelora.ranks.rule.stability import SUPPORTED, estimator_shares, rise_shares, support_sentence, supported_units
from gelora.ranks.rule.strategies import STRATEGIES, UNBOUNDED, Strategy, check_same_model, plan_at_budget

if TYPE_CHECKING:
    from gelora.ranks.peft.adalora import (
        allocate as allocate,
        allocator_state as allocator_state,
        apply_adalora as apply_adalora,
        found_plan as found_plan,
        restore_allocator as restore_allocator,
        save_found_lora as save_found_lora,
        share_orthogonality as share_orthogonality,
        to_adalora_config as to_adalora_config,
    )
    from gelora.ranks.peft.adapter_import import plan_from_adapter as plan_from_adapter
    from gelora.ranks.peft.initial_adapter import InitialAdapter as InitialAdapter
    from gelora.ranks.peft.look_back import look_back_scores as look_back_scores
    from gelora.ranks.peft.lora import (
        apply_plan as apply_plan,
        dora_params as dora_params,
        export_lora_config as export_lora_config,
        to_lora_config as to_lora_config,
    )
    from gelora.ranks.peft.resize import Resized as Resized, resize_adapters as resize_adapters
    from gelora.ranks.peft.trained_parts import (
        count_parameters as count_parameters,
        head_modules as head_modules,
        language_head as language_head,
        modules_to_save as modules_to_save,
        train_biases as train_biases,
        train_everything as train_everything,
        train_head_alone as train_head_alone,
    )
    from gelora.ranks.scores.module_scores import all_module_scores as all_module_scores, module_scores as module_scores

# What needs torch or PEFT, and where it is.
_LATE = {
    name: where
    for where, names in {
        "peft.adalora": (
            "allocate",
            "allocator_state",
            "apply_adalora",
            "found_plan",
            "restore_allocator",
            "save_found_lora",
            "share_orthogonality",
            "to_adalora_config",
        ),
        "peft.adapter_import": ("plan_from_adapter",),
        "peft.initial_adapter": ("InitialAdapter",),
        "peft.look_back": ("look_back_scores",),
        "peft.lora": ("apply_plan", "dora_params", "export_lora_config", "to_lora_config"),
        "peft.resize": ("Resized", "resize_adapters"),
        "peft.trained_parts": (
            "count_parameters",
            "head_modules",
            "language_head",
            "modules_to_save",
            "train_biases",
            "train_everything",
            "train_head_alone",
        ),
        "scores.module_scores": ("all_module_scores", "module_scores"),
    }.items()
    for name in names
}

__all__ = [
    "SUPPORTED",
    "BYTES_PER_PARAM",
    "OPTIMIZER_BYTES_PER_PARAM",
    "STRATEGIES",
    "UNBOUNDED",
    "AdapterFactors",
    "CompressedModule",
    "Compression",
    "Factors",
    "FisherSpectrum",
    "RankAgreement",
    "RankNeed",
    "Strategy",
    "UpdateSpectrum",
    "adapter_spectra",
    "allocate_ranks",
    "budget_by_block",
    "budget_params",
    "check_reallocatable",
    "check_same_model",
    "compress_adapter",
    "directions_above_noise",
    "edit_ranks",
    "CHANGES",
    "ChangedPlan",
    "changed_plans",
    "equivalent_uniform_rank",
    "estimator_shares",
    "lora_arguments",
    "match_budget",
    "memory_estimate",
    "noise_edge",
    "parameter_note",
    "plan_at_budget",
    "plan_budget",
    "plan_with_ranks",
    "random_factors",
    "rank_agreement",
    "read_factors",
    "same_ranks",
    "reallocated_plan",
    "rise_shares",
    "support_sentence",
    "supported_units",
    "rise_units",
    "rule_ranks",
    "softmax_fisher",
    "spectrum_of",
    "uniform_comparison",
    "uniform_ranks",
    "update_of_each_rank",
    *_LATE,
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"gelora.ranks.{_LATE[name]}"), name)
    raise AttributeError(f"module 'gelora.ranks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
