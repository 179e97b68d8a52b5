"""The arguments of a LoraConfig that give every module of a plan exactly its rank and alpha, as plain values.

Pure: knows PEFT's way of reading names (a key means every module whose dotted name ends with it), but not PEFT.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from gelora.errors import ModelError
from gelora.records import RankPlan


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
    pairs = {names[m.name]: (plan.ranks[m.name], _whole_if_possible(plan.alphas[m.name])) for m in active}
    base_r, base_alpha = _most_common(pairs.values())
    # The patterns are regular expressions of which the first that matches counts, and saving sorts them. No name is the
    # end of another (checked), so that each module has one pattern at most and the order does not matter.
    parameters = [names[module.name] for module in active if module.n_experts > 1 or module.as_parameter]
    return {
        "r": base_r,
        "lora_alpha": base_alpha,
        "target_modules": [name for name in pairs if name not in parameters],
        **({"target_parameters": parameters} if parameters else {}),
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
    for name in names:
        clash = [other for other in names if matches(name, other) and other != name]
        if clash:
            raise ModelError(f"{name} is also the end of {clash[0]}; give the model, so that full names can be used.")
    return {name: name for name in names}


def _most_common(pairs: Iterable[tuple[int, float]]) -> tuple[int, float]:
    """The most common pair; of several, the smallest."""
    counts = Counter(pairs)
    return min(counts, key=lambda pair: (-counts[pair], pair))


def _whole_if_possible(alpha: float) -> float:
    """64.0 as 64: so people write it, and LoraConfig declares it so."""
    return int(alpha) if float(alpha).is_integer() else alpha
