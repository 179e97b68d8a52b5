"""`gelora race`: several strategies at one budget, trained side by side as a run, and what of their differences is more than chance."""

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from gelora.commands.options import names, numbers, strategy_names
from gelora.commands.plan_sources import PlanSources, at_budget, common_budget
from gelora.commands.race_table import race_answer
from gelora.commands.run_specs import held_out_choice
from gelora.commands.running import exit_status, report, start_and_follow
from gelora.commands.target_choices import target_choices
from gelora.errors import InputError
from gelora.records import (
    RaceSpec,
    RankPlan,
    RunSpec,
    TrainingConfig,
    arm_name,
    check_choice,
    check_task_can_race,
    check_whole,
    race_run,
    with_inits,
)
from gelora.terminal import write_json

if TYPE_CHECKING:
    from gelora.commands.study_file import FurtherArm


def race(options: argparse.Namespace) -> int:
    """Plans of all strategies, the run that races them; its comparison unless it is detached."""
    from gelora.runs import race_result, start_run
    from gelora.sources import data_at_hand
    from gelora.tasks import propose

    spec = race_spec(options, {})
    if options.task == "auto" and data_at_hand(spec.data):
        check_task_can_race(propose(spec.data).kind)
    start = partial(start_run, spec, options.runs_at_once, names(options.report_to), options.repeat)
    is_quiet = options.json == "-" or (options.detach and options.json is not None)
    infos = start_and_follow(options, [start], "Started", spec, is_quiet)
    if infos is None:
        return 0
    result = race_result(infos[0].id)
    if result is not None:
        write_json(json.dumps(race_answer(infos[0], result), indent=1), options.json)
    if options.json != "-" or result is None:
        report(infos, is_quiet)
    return exit_status(infos)


def race_spec(
    options: argparse.Namespace,
    further: "Mapping[str, FurtherArm]",
    changed: Callable[[RankPlan], Mapping[str, RankPlan]] | None = None,
) -> RunSpec:
    """The run that the options ask for; what its plans need (a profile, scores) is measured where it is not there.

    further: arms beside the strategies, by name. changed: makes arms of the reference's plan; the reference then races
    against these alone.

    Raises:
        InputError: an option is not legal.
    """
    strategies = _strategies(options)
    rates = numbers("--learning-rates", options.learning_rates, float, "2e-4,5e-4")
    seeds = numbers("--seeds", options.seeds, int, "0,1,2")
    if not rates or not seeds:
        raise InputError("Give numbers with commas: --learning-rates such as 2e-4,5e-4, --seeds such as 0,1,2.")
    check_whole("--steps", options.steps, 1)
    training = TrainingConfig(
        n_train=max(2, options.steps * options.batch_size), n_eval=options.held_out_rows, batch_size=options.batch_size,
        task=options.task, max_length=options.max_length, device=options.device, eval_every=options.eval_every,
    )  # fmt: skip
    sources = PlanSources(options)
    data, model = sources.data, sources.model_id
    held_out = held_out_choice(options.held_out, data) if options.held_out else None
    choices = target_choices(options)
    if changed is not None:
        strategies, choices = [options.reference], choices[:1]
    budget = common_budget(choices[0], sources)
    plans = {
        _arm(strategy, of_choice, choices): at_budget(of_choice, sources, strategy, budget)
        for of_choice in choices
        for strategy in strategies
    }
    reference = _arm(options.reference, choices[0], choices)
    if changed is not None:
        plans |= changed(plans[reference])
    beginnings = _inits(options)
    plans, inits = with_inits(plans, beginnings)
    for name, arm in further.items():
        plan = at_budget(arm.options, PlanSources(arm.options), arm.strategy, round(arm.times * budget))
        of_arm, begun = with_inits({name: plan}, _inits(arm.options)[:1])
        plans, inits = plans | of_arm, inits | begun
    reference = arm_name(reference, beginnings[0], beginnings)
    asked = RaceSpec(plans, tuple(rates), tuple(seeds), options.steps, reference, inits)
    return race_run(RunSpec(model, data, plans[reference], training, seeds[0], held_out), asked)


def _arm(strategy: str, of_choice: argparse.Namespace, choices: list[argparse.Namespace]) -> str:
    """An arm's name: the strategy's, with its target modules where these race too."""
    return strategy if len(choices) == 1 else f"{strategy} {of_choice.target_modules}"


def _inits(options: argparse.Namespace) -> list[str]:
    return list(dict.fromkeys(names(options.inits)))


def _strategies(options: argparse.Namespace) -> list[str]:
    legal = strategy_names()
    chosen = list(dict.fromkeys(names(options.strategies)))
    if options.strategies == "all":
        chosen = [name for name in legal if name != "look-back" or options.adapter]
    for strategy in (*chosen, options.reference):
        check_choice("strategy", strategy, legal)
    if options.reference not in chosen:
        raise InputError(f"The reference {options.reference!r} does not race; name it among --strategies, or another --reference.")
    return chosen
