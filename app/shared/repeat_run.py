"""A run's settings put back into the form of a new run, to be changed and started again.

Uses the form's keys in the session; draws nothing.
"""

import dataclasses

import streamlit as st

from app import state
from gelora.ranks import STRATEGIES
from gelora.records import DataChoice, RunSpec, TrainingConfig

NOT_SETTINGS = ("method", "task", "reallocate_at")  # fields of a training that the form asks for in its own way


def fill(run_id: str, spec: RunSpec) -> None:
    """Fill the form, and the choices of the sidebar, with those of a run, to be changed and started again."""
    st.session_state.update({"model": spec.model} | state.fields_of_data(spec.data))
    for field in dataclasses.fields(TrainingConfig):
        if field.name not in NOT_SETTINGS:
            st.session_state[f"train_{field.name}"] = getattr(spec.training, field.name)
    st.session_state["train_reallocate_at"] = ", ".join(map(str, spec.training.reallocate_at))
    lists = {"train_seeds": str(spec.seed), "train_offsets": "", "train_estimators": []}
    lists |= dict.fromkeys(("train_text", "train_pair", "train_label"), "")  # the sidebar has them now
    st.session_state.update(lists | {"train_task": spec.training.task, "train_held_out": held_out_words(spec.data, spec.held_out)})
    plan, method = spec.plan, spec.training.method
    if spec.race is not None:
        race = spec.race
        st.session_state.update({
            "train_what": ["race"], "train_seeds": ", ".join(map(str, race.seeds)),
            "train_race_reference": race.plans[race.reference].strategy,
            "train_race_strategies": [name for name in STRATEGIES if any(plan.strategy == name for plan in race.plans.values())],
            "train_race_inits": list(dict.fromkeys(race.inits.get(name, spec.training.init_lora_weights) for name in race.plans)),
            "train_race_rates": ", ".join(f"{rate:g}" for rate in race.learning_rates),
            "train_race_steps": race.n_steps,
        })  # fmt: skip
        plan = None
    elif plan is not None and method == "lora" and plan.strategy == "uniform" and not plan.edits and len(set(plan.ranks.values())) == 1:
        uniform = {"train_what": ["uniform"], "train_uniform": str(max(plan.ranks.values())), "targets": plan.target_modules}
        st.session_state.update(uniform)
        plan = None
    else:
        st.session_state["train_what"] = ["plan" if method == "lora" else method]
    st.session_state["_again"] = (run_id, plan)
    st.session_state["_form_open"] = True


def held_out_words(data: DataChoice, held_out: DataChoice | None) -> str:
    """Held-out data as the form's field holds it: a file, or the split of the same dataset."""
    if held_out is None:
        return ""
    return held_out.split or "" if held_out.dataset == data.dataset else held_out.dataset
