"""The same from a shell: the command line of what a page shows, word for word.

Pure but for the choices, which it reads from `app.state`.
"""

import dataclasses
import shlex
from collections.abc import Sequence

import streamlit as st

from app import state
from gelora.ranks import UNBOUNDED
from gelora.records import SINK_RATIO, DataChoice, IdProfile, RankPlan, RunSpec, TrainingConfig


def train_command(spec: RunSpec, seeds: Sequence[int] = ()) -> str:
    """`gelora train` for a run, or for the same run with several seeds."""
    words = ["gelora", "train", *_model_and_data(spec.model, spec.data)]
    plan, method = spec.plan, spec.training.method
    if plan is not None and is_plain_uniform(plan):
        words += ["--rank", str(max(plan.ranks.values())), "--target-modules", plan.target_modules]
    elif plan is not None:
        words += ["--plan", "rank_plan.json"]  # the download on Ranks
    if method == "head":
        words.append("--head-only")
    elif method != "lora":
        words += ["--method", method]
    if spec.held_out is not None:
        words += ["--held-out", spec.held_out.dataset if spec.held_out.dataset != spec.data.dataset else str(spec.held_out.split)]
    default = TrainingConfig(method=method)
    changed = [f.name for f in dataclasses.fields(default) if getattr(spec.training, f.name) != getattr(default, f.name)]
    words += [word for name in changed for word in ("--set", f"{name}={_value(getattr(spec.training, name))}")]
    if len(seeds) > 1:
        words += ["--seeds", ",".join(map(str, seeds))]
    elif spec.seed:
        words += ["--seed", str(spec.seed)]
    return shlex.join(words)


def train_commands(specs: Sequence[RunSpec]) -> list[str]:
    """`gelora train` for several runs: one command for those that differ in their seed alone."""
    seeds: dict[str, list[int]] = {}
    for spec in specs:
        seeds.setdefault(dataclasses.replace(spec, seed=0).digest(), []).append(spec.seed)
    first = {dataclasses.replace(spec, seed=0).digest(): spec for spec in reversed(specs)}
    return [train_command(first[key], found) for key, found in seeds.items()]


def is_plain_uniform(plan: RankPlan) -> bool:
    """Whether `--rank` alone says the plan."""
    same = len(set(plan.ranks.values())) == 1
    return plan.strategy == "uniform" and not plan.edits and plan.target_params is None and same


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def plan_command(plan: RankPlan, rule: RankPlan, profile: IdProfile | None) -> str:
    """`gelora plan` for the plan on the page; `rule` is the rule's, whose cost is the budget of another strategy."""
    wanted, chosen = state.measurement(), st.session_state
    words = ["gelora", "plan", *_model_and_data(wanted.model, wanted.data)]
    if profile is not None:
        sample = {"--n-samples": wanted.n_samples, "--seed": wanted.seed, "--pooling": wanted.pooling, "--max-length": wanted.max_length}
        words += [word for option, value in sample.items() for word in (option, str(value))]
        words += [] if wanted.sinks is None else ["--sinks", wanted.sinks]
        words += [] if wanted.sink_ratio == SINK_RATIO else ["--sink-ratio", f"{wanted.sink_ratio:g}"]
        words += [] if wanted.distinct else ["--keep-repeats"]
    words += ["--strategy", plan.strategy, "--target-modules", plan.target_modules]
    if plan.strategy != rule.strategy:
        words += ["--match", f"params:{rule.n_adapter_params}"]
    elif chosen["match"]:
        words += ["--match", chosen["match"]]
    else:
        words += ["--offset", str(chosen["offset"])]
    if plan.strategy not in UNBOUNDED:
        words += ["--floor", str(chosen["floor"])] if chosen["floor"] != 1 else []
        words += ["--cap", str(chosen["cap"])] if chosen["cap"] else []
    if plan.strategy == "look-back":
        words += ["--adapter", "ADAPTER_FOLDER"]
    if plan.strategy == "gelora":
        words += ["--estimator", str(plan.estimator), "--rounding", str(plan.rounding)]
        words += ["--scale", str(plan.scale)] if plan.scale != 1.0 else []
    for name in plan.edits:
        words += ["--set-rank", f"{name}={plan.ranks[name]}"]
    return shlex.join([*words, "--json", "rank_plan.json", "--lora-config", "adapter"])


def _model_and_data(model: str, data: DataChoice) -> list[str]:
    words = ["--model", model, "--dataset", data.dataset]
    options = {"config": "--config", "split": "--split", "text_column": "--text-column", "pair_column": "--pair-column"}
    options |= {"label_column": "--label-column", "label_task": "--label-task", "encoding": "--encoding", "separator": "--separator"}
    for field, option in options.items():
        if getattr(data, field) is not None:
            words += [option, getattr(data, field)]
    if data.header is not None:
        words += ["--header", "yes" if data.header else "no"]
    return words + ["--skip-bad-rows"] * data.skip_bad_rows
