"""Re-allocation of ranks during a run: at which steps, what changes, and the plan in use that every checkpoint keeps.

Works on plans and checkpoints; how ranks follow from a curve and how adapters are resized is in `gelora.ranks`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gelora.errors import StoreError
from gelora.home import reason_of, write_atomically
from gelora.ranks import Resized, reallocated_plan, resize_adapters, support_sentence
from gelora.records import IdProfile, RankPlan

PLAN_FILE = "plan.json"


def reallocation_steps(shares: Sequence[float], total_steps: int) -> tuple[int, ...]:
    """The optimizer steps after which ranks are re-allocated: the nearest to each share of all, none of them the last."""
    nearest = {max(1, round(share * total_steps)) for share in shares}
    return tuple(sorted(step for step in nearest if step < total_steps))


def reallocate(
    model: Any, plan: RankPlan, profile: IdProfile, estimator: str, optimizer: Any, seed: int, step: int
) -> tuple[RankPlan, str]:
    """Ranks by the rule on the present curve, in the model and in the optimizer's state.

    Args:
        model: a PEFT model with the plan's adapters; changed in place, between two optimizer steps.
        plan: the ranks in use.
        profile: the curve now.
        estimator: one of the profile's.
        optimizer: the Trainer's.
        seed, step: of the run; new rows of A follow from them alone, so that a resumed run draws the same.

    Returns:
        The plan in use from now on (the same one when the rule gives the ranks that are there), and a sentence on it.

    Raises:
        InputError: the adapters cannot be resized.
    """
    new = reallocated_plan(plan, profile, estimator)
    if new.ranks == plan.ranks:
        return plan, "ranks were to be re-allocated; the rule gives those that are in use"
    resized = resize_adapters(model, new, _generator(seed, step), optimizer)
    scale = 1.0 if new.scale is None else new.scale
    support = support_sentence(profile, estimator, new.rounding or "ceil", scale)
    return new, f"ranks were re-allocated: {_changes(plan, new, resized)}{f'; {_in_a_sentence(support)}' if support else ''}"


def resize_to(model: Any, plan: RankPlan) -> None:
    """Give a model the ranks of a plan, for weights that a checkpoint then fills in; checks what it can be given.

    Raises:
        InputError: the adapters cannot be resized.
        ModelError: the plan is not of this model.
    """
    resize_adapters(model, plan, _generator(0, 0))


def save_plan(plan: RankPlan, checkpoint: Path) -> None:
    """Write the plan in use into a checkpoint's folder.

    Raises:
        StoreError: the disk is full or not writable.
    """
    write_atomically(checkpoint / PLAN_FILE, plan.to_json(indent=1).encode())


def plan_in_use(checkpoint: Path) -> RankPlan | None:
    """The plan that a checkpoint's adapters have; None where the checkpoint keeps none.

    Raises:
        StoreError: the file cannot be read.
        InputError: it is no plan.
    """
    try:
        text = (checkpoint / PLAN_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{checkpoint / PLAN_FILE} cannot be read: {reason_of(error)}.") from error
    return RankPlan.from_json(text)


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))


def _in_a_sentence(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


def _changes(before: RankPlan, after: RankPlan, resized: tuple[Resized, ...]) -> str:
    old, new = before.block_ranks(), after.block_ranks()
    blocks = ", ".join(f"block {block} {old[block]} to {new[block]}" for block in old if old[block] != new[block])
    text = f"{blocks or 'some matrices'}; {after.n_adapter_params:,} adapter parameters, before {before.n_adapter_params:,}"
    lost = max(item.dropped for item in resized)
    return f"{text}; cutting left out at most {lost:.1%} of an update's norm" if lost > 0 else text
