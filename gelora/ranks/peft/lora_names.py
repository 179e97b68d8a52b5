"""Where the modules of a plan are in a model: full names, each there exactly once and of the planned shape.

Knows modules and parameters, with or without a head around the base model; nothing of PEFT's configs or adapters.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from gelora.errors import ModelError
from gelora.ranks.peft.lora_form import matches
from gelora.records import RankPlan
from gelora.sources import expert_shape


def names_in_model(plan: RankPlan, model: nn.Module) -> dict[str, str]:
    """{name in the plan: full name in the model} of the modules, and of the parameters that hold all experts of a block.

    Raises:
        ModelError: one is missing, there more than once, or of another shape.
    """
    modules = dict(model.named_modules())
    stacked = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim == 3}
    prefix = base_prefix(model)
    names: dict[str, str] = {}
    missing, ambiguous, misshapen = [], [], []
    for target in plan.modules:
        there: dict[str, Any] = stacked if target.n_experts > 1 else modules
        under_base = f"{prefix}.{target.name}" if prefix else target.name
        found = [under_base] if under_base in there else matching(target.name, there)
        if not found:
            missing.append(target.name)
        elif len(found) > 1 or len(matching(found[0], there)) > 1:
            ambiguous.append(target.name)
        else:
            names[target.name] = found[0]
            shape = _expert_shape(found[0], modules, stacked) if target.n_experts > 1 else _shape(modules[found[0]])
            planned = (target.in_features, target.out_features, target.n_experts)
            if shape != planned:
                sides = "(in, out)" if shape[2] == planned[2] == 1 else "(in, out, experts)"
                given, meant = (tuple(x[: sides.count(",") + 1]) for x in (shape, planned))
                misshapen.append(f"{target.name} {sides} = {given}, planned {meant}")
    for problem, affected in (("lacks", missing), ("has more than once", ambiguous), ("has in another shape", misshapen)):
        if affected:
            raise ModelError(
                f"The plan was made for {plan.model_id}; this {type(model).__name__} {problem}: {listed(affected)}. "
                "Use the plan's own model, or make a plan for this one."
            )
    return names


def base_prefix(model: nn.Module) -> str:
    """Name of the base model inside `model`; empty when `model` is the base model."""
    prefix = getattr(model, "base_model_prefix", "")
    return prefix if prefix and isinstance(getattr(model, prefix, None), nn.Module) else ""


def matching(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that PEFT would take for `name`."""
    return [key for key in keys if matches(name, key)]


def is_conv1d(module: nn.Module) -> bool:
    """Whether the module is GPT-2's linear map, whose weight is stored as [in_features, out_features]."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def listed(names: Sequence[Any], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _shape(module: nn.Module) -> tuple[int, int, int]:
    if is_conv1d(module):
        n_in, n_out = module.get_parameter("weight").shape
        return n_in, n_out, 1
    return int(getattr(module, "in_features", 0)), int(getattr(module, "out_features", 0)), 1


def _expert_shape(name: str, modules: dict[str, nn.Module], stacked: dict[str, nn.Parameter]) -> tuple[int, int, int]:
    return (*expert_shape(modules[name.rpartition(".")[0]], stacked[name]), int(stacked[name].shape[0]))
