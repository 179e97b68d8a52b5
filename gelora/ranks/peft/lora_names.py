"""How PEFT speaks of the modules of a plan: the arguments of a LoraConfig, and their full names in a model.

To PEFT a name means every module whose dotted name ends with it, so that each is checked to be there exactly once, in the
planned shape. Does not depend on PEFT; torch is loaded when a model is given.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gelora.errors import ModelError
from gelora.records import RankPlan
from gelora.sources import expert_shape

if TYPE_CHECKING:
    from torch import nn


def lora_arguments(plan: RankPlan, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """r, lora_alpha, target_modules, rank_pattern and alpha_pattern for a plan; target_parameters where it adapts experts.

    `r` and `lora_alpha` are the plan's most common pair; the patterns name the modules that differ, so that a uniform
    plan reads like a hand-written config. Modules of rank 0 are left out. Parameters that hold all experts of a block are
    no modules: PEFT has them in `target_parameters`, and reads the patterns by their names all the same. So have modules whose
    name PEFT would take for that of experts (`TargetModule.as_parameter`): their weight is named there.

    Args:
        plan: the ranks.
        names: {name in the plan: name in the model}; None for the plan's own, which are relative to the base model.

    Raises:
        ModelError: without `names`, one name of the plan is the end of another, so that PEFT could not tell them apart.
    """
    names = dict(_names_in_plan(plan) if names is None else names)
    active = [module for module in plan.modules if plan.ranks[module.name] > 0]
    names |= {module.name: f"{names[module.name]}.weight" for module in active if module.as_parameter}
    pairs = {names[m.name]: (plan.ranks[m.name], whole_if_possible(plan.alphas[m.name])) for m in active}
    parameters = [names[module.name] for module in active if module.n_experts > 1 or module.as_parameter]
    arguments = rank_arguments(pairs)
    return {
        "r": arguments.pop("r"),
        "lora_alpha": arguments.pop("lora_alpha"),
        "target_modules": [name for name in pairs if name not in parameters],
        **({"target_parameters": parameters} if parameters else {}),
        **arguments,
    }


def rank_arguments(pairs: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """r, lora_alpha, rank_pattern and alpha_pattern of {full name: (rank, alpha)}, of which no name is the end of another.

    The patterns are regular expressions of which the first that matches counts, and saving sorts them; each module has one at
    most, so that the order does not matter.
    """
    base_r, base_alpha = _most_common(pairs.values())
    return {
        "r": base_r,
        "lora_alpha": base_alpha,
        "rank_pattern": {re.escape(name): r for name, (r, _) in pairs.items() if r != base_r},
        "alpha_pattern": {re.escape(name): alpha for name, (_, alpha) in pairs.items() if alpha != base_alpha},
    }


def parameter_note(plan: RankPlan) -> str | None:
    """A sentence on modules that a LoRA config has to name as parameters, since PEFT takes their names for those of experts."""
    named = [module.name for module in plan.modules if module.as_parameter and plan.ranks[module.name] > 0]
    if not named:
        return None
    leaves = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in named))
    return (
        f"PEFT takes {leaves} of this model for experts by name: the LoRA config has the weights of {len(named)} modules in "
        "target_parameters, which PEFT trains without dropout and without DoRA."
    )


def matches(name: str, key: str) -> bool:
    """PEFT's rule for a name in `target_modules` and in a pattern: equal to the key, or its end from a dot on."""
    return key == name or key.endswith(f".{name}")


def _names_in_plan(plan: RankPlan) -> dict[str, str]:
    """Relative names as they are; checked that none is the end of another one, which PEFT could not tell apart."""
    names = [module.name for module in plan.modules]
    clash = one_inside_another(names)
    if clash:
        raise ModelError(f"{clash[0]} is also the end of {clash[1]}; give the model, so that full names can be used.")
    return {name: name for name in names}


def one_inside_another(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names of which PEFT would take one for the other: (the end, the whole name); None where there are none."""
    known = set(names)
    endings = ((name[i + 1 :], name) for name in known for i, sign in enumerate(name) if sign == ".")
    return next(((end, name) for end, name in endings if end in known), None)


def _most_common(pairs: Iterable[tuple[int, float]]) -> tuple[int, float]:
    """The most common pair; of several, the smallest."""
    counts = Counter(pairs)
    return min(counts, key=lambda pair: (-counts[pair], pair))


def whole_if_possible(alpha: float) -> float:
    """64.0 as 64: so people write it, and LoraConfig declares it so."""
    return int(alpha) if float(alpha).is_integer() else alpha


def names_in_model(plan: RankPlan, model: "nn.Module") -> dict[str, str]:
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


def base_prefix(model: "nn.Module") -> str:
    """Name of the base model inside `model`; empty when `model` is the base model."""
    from torch import nn

    prefix = getattr(model, "base_model_prefix", "")
    return prefix if prefix and isinstance(getattr(model, prefix, None), nn.Module) else ""


def matching(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that PEFT would take for `name`."""
    return [key for key in keys if matches(name, key)]


def is_conv1d(module: "nn.Module") -> bool:
    """Whether the module is GPT-2's linear map, whose weight is stored as [in_features, out_features]."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def listed(names: Sequence[Any], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _shape(module: "nn.Module") -> tuple[int, int, int]:
    if is_conv1d(module):
        n_in, n_out = module.get_parameter("weight").shape
        return n_in, n_out, 1
    return int(getattr(module, "in_features", 0)), int(getattr(module, "out_features", 0)), 1


def _expert_shape(name: str, modules: "dict[str, nn.Module]", stacked: "dict[str, nn.Parameter]") -> tuple[int, int, int]:
    return (*expert_shape(modules[name.rpartition(".")[0]], stacked[name]), int(stacked[name].shape[0]))
