"""The same from a shell: the command line of what a page shows, word for word.

Pure but for the choices, which it reads from `app.state`.
"""

import dataclasses
import shlex

import streamlit as st

from app import state
from gelora.records import DataChoice, IdProfile, RankPlan, RunSpec, TrainingConfig


def train_command(spec: RunSpec) -> str:
    """`gelora train` for a run."""
    words = ["gelora", "train", *_model_and_data(spec.model, spec.data)]
    if spec.plan is None:
        words.append("--head-only")
    elif spec.plan.strategy == "uniform" and not spec.plan.edits and spec.plan.target_params is None:
        words += ["--rank", str(max(spec.plan.ranks.values())), "--target-modules", spec.plan.target_modules]
    else:
        words += ["--plan", "rank_plan.json"]  # the download on Ranks
    default = TrainingConfig(method=spec.training.method)
    changed = [f.name for f in dataclasses.fields(default) if getattr(spec.training, f.name) != getattr(default, f.name)]
    words += [word for name in changed for word in ("--set", f"{name}={getattr(spec.training, name)}")]
    return shlex.join([*words, *(["--seed", str(spec.seed)] if spec.seed else [])])


def plan_command(plan: RankPlan, rule: RankPlan, profile: IdProfile | None) -> str:
    """`gelora plan` for the plan on the page; `rule` is the rule's, whose cost is the budget of another strategy."""
    wanted, chosen = state.measurement(), st.session_state
    words = ["gelora", "plan", *_model_and_data(wanted.model, wanted.data)]
    if profile is not None:
        sample = {"--n-samples": wanted.n_samples, "--seed": wanted.seed, "--pooling": wanted.pooling, "--max-length": wanted.max_length}
        words += [word for option, value in sample.items() for word in (option, str(value))]
        words += [] if wanted.distinct else ["--keep-repeats"]
    words += ["--strategy", plan.strategy, "--target-modules", plan.target_modules]
    if plan.strategy != rule.strategy:
        words += ["--match", f"params:{rule.n_adapter_params}"]
    elif chosen["match"]:
        words += ["--match", chosen["match"]]
    else:
        words += ["--offset", str(chosen["offset"])]
    if plan.strategy == "gelora":
        words += ["--estimator", str(plan.estimator), "--rounding", str(plan.rounding)]
        words += ["--scale", str(plan.scale)] if plan.scale != 1.0 else []
    for name in plan.edits:
        words += ["--set-rank", f"{name}={plan.ranks[name]}"]
    return shlex.join([*words, "--json", "rank_plan.json", "--lora-config", "adapter"])


def _model_and_data(model: str, data: DataChoice) -> list[str]:
    words = ["--model", model, "--dataset", data.dataset]
    options = {"config": "--config", "split": "--split", "text_column": "--text-column", "pair_column": "--pair-column"}
    for field, option in {**options, "label_column": "--label-column"}.items():
        if getattr(data, field) is not None:
            words += [option, getattr(data, field)]
    return words
