"""The part of the form that asks for a race: which strategies at one budget, at which rates, held against which.

Draws with Streamlit; the plans are `app.shared.planning`'s.
"""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.finetune.intention import steps_by_epochs
from app.finetune.task import TaskChoice
from app.shared import planning
from gelora.errors import InputError
from gelora.ranks import STRATEGIES
from gelora.records import LORA_INITS, RaceSpec, RunSpec, arm_name, check_task_can_race, race_run, with_inits

DEFAULTS: dict[str, Any] = {
    "train_race_strategies": ["gelora", "uniform", "random"], "train_race_reference": "uniform", "train_race_rates": "",
    "train_race_steps": 0, "train_race_inits": ["default"],
}  # fmt: skip
_KEEP: dict[str, Any] = {"persist_state": "session"}


@dataclass(frozen=True)
class RaceChoice:
    """What is asked of a race beside the settings of every run; rates: as written, empty for the form's own; n_steps: 0 for the
    form's epochs.
    """

    strategies: tuple[str, ...]
    reference: str
    rates: str
    n_steps: int
    inits: tuple[str, ...] = ("default",)


def draw() -> RaceChoice:
    """The fields."""
    with st.container(horizontal=True):
        strategies = st.multiselect(
            "Strategies that race", list(STRATEGIES), key="train_race_strategies", format_func=lambda name: STRATEGIES[name].label,
            help="Each at the cost of the rule's ranks (the offset or budget on Ranks), on the same batches, side by side.", **_KEEP,
        )  # fmt: skip
        if st.session_state["train_race_reference"] not in strategies and strategies:
            st.session_state["train_race_reference"] = "uniform" if "uniform" in strategies else strategies[0]
        reference = st.selectbox(
            "Held against", strategies, key="train_race_reference", format_func=lambda name: STRATEGIES[name].label, width=200, **_KEEP
        )
        rates = st.text_input(
            "Learning rates", key="train_race_rates", placeholder="the one above", width=200,
            help="Every strategy runs at each: 2e-4, 5e-4. At one rate a comparison of ranks compares rates.", **_KEEP,
        )  # fmt: skip
        steps = st.number_input(
            "Steps", 0, 10_000_000, key="train_race_steps", width=140, help="Optimizer steps of every arm; 0: by the epochs above.", **_KEEP
        )
        inits = st.multiselect(
            "Initial adapters", LORA_INITS, key="train_race_inits", width=260,
            help="How A and B begin: every strategy runs with each. PiSSA and OLoRA begin as a part of the base weights.", **_KEEP,
        )  # fmt: skip
    return RaceChoice(tuple(strategies), str(reference), rates, int(steps), tuple(inits))


def spec_of(choice: RaceChoice, base: RunSpec, seeds: list[int], task: TaskChoice) -> RunSpec:
    """The run that is this race; base: model, data and settings, as of a run by LoRA, whose plan is not looked at.

    Raises:
        GeloraError: fewer than two arms, a task that cannot race, or a strategy without its profile or scores.
    """
    check_task_can_race(task.learned)
    if len(choice.strategies) < 2:
        raise InputError("A race needs two strategies or more; choose them under Strategies that race.")
    plans, inits = with_inits(planning.plans_at_one_budget(choice.strategies), choice.inits)
    reference = arm_name(choice.reference, choice.inits[0], choice.inits)
    n_steps = choice.n_steps or steps_by_epochs(base.training, task)
    rates = _numbers(choice.rates) or (base.training.learning_rate,)
    training = dataclasses.replace(base.training, init_lora_weights="default")  # every arm has its own
    return race_run(
        dataclasses.replace(base, race=None, training=training), RaceSpec(plans, rates, tuple(seeds), n_steps, reference, inits)
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(part) for part in re.split(r"[,;\s]+", text.strip()) if part))
    except ValueError as error:
        raise InputError(f"Learning rates: {text!r} are no numbers; write 2e-4, 5e-4.") from error
