"""`gelora race`: several strategies at one budget, trained side by side, and what of their differences is more than chance."""

import argparse
import json
import time
from typing import Any

from gelora.commands.options import names, numbers, strategy_names
from gelora.commands.plan_sources import PlanSources
from gelora.commands.planning import at_budget, common_budget
from gelora.commands.run_specs import held_out_choice
from gelora.errors import InputError
from gelora.records import RankPlan, RunSpec, TrainingConfig, check_choice
from gelora.terminal import TerminalProgress, print_table, say, write_json


def race(options: argparse.Namespace) -> int:
    """Plans of all strategies, one race a seed, the comparison."""
    strategies, rates, seeds = (
        _strategies(options),
        numbers("--learning-rates", options.learning_rates, float, "2e-4,5e-4"),
        numbers("--seeds", options.seeds, int, "0,1,2"),
    )
    if not rates or not seeds:
        raise InputError("Give numbers with commas: --learning-rates such as 2e-4,5e-4, --seeds such as 0,1,2.")
    sources = PlanSources(options)
    data, model = sources.data, sources.model_id
    held_out = held_out_choice(options.held_out, data) if options.held_out else None
    training = TrainingConfig(
        n_train=max(2, options.steps * options.batch_size), n_eval=options.held_out_rows, batch_size=options.batch_size,
        task=options.task, max_length=options.max_length, device=options.device,
    )  # fmt: skip
    budget = common_budget(options, sources)
    plans = {strategy: at_budget(options, sources, strategy, budget) for strategy in strategies}
    spec = RunSpec(model, data, plans[options.reference], training, seeds[0], held_out)
    from gelora.runs import race as run_race

    began, progress = time.perf_counter(), TerminalProgress()
    found = run_race(spec, plans, rates, seeds, options.steps, progress)
    progress.close()
    seconds = time.perf_counter() - began
    at = [i for i, arm in enumerate(found.arms) if arm.name == options.reference]
    means = found.losses().mean(axis=0)
    reference = min(at, key=lambda i: means[i])  # at its own best rate
    answer = {"model": model, "dataset": data.dataset, "budget": budget, "seconds": round(seconds, 1)} | found.as_json(reference)
    write_json(json.dumps(answer, indent=1), options.json)
    if options.json != "-":
        _print(answer, found.arms[reference].learning_rate, plans)
        say(f"{len(found.arms)} arms, {options.steps} steps, {seconds:.0f} s.", False)
    return 0


def _strategies(options: argparse.Namespace) -> list[str]:
    legal = strategy_names()
    chosen = list(legal) if options.strategies == "all" else list(dict.fromkeys(names(options.strategies)))
    for strategy in (*chosen, options.reference):
        check_choice("strategy", strategy, legal)
    if options.reference not in chosen:
        raise InputError(f"The reference {options.reference!r} does not race; name it among --strategies, or another --reference.")
    return chosen


def _print(answer: dict[str, Any], rate: float, plans: dict[str, RankPlan]) -> None:
    from gelora.ranks import same_ranks

    metric = answer["main_metric"]
    rows = []
    for arm in answer["arms"]:
        interval = "" if arm["ci_low"] is None else f"[{arm['ci_low']:+.4f}, {arm['ci_high']:+.4f}]"
        p = "reference" if arm["p_corrected"] is None else f"{arm['p_corrected']:.2g}"
        ranks = " ".join(map(str, arm["block_ranks"].values()))
        values = [f"{arm['eval_loss']:.4f}", f"{arm[metric]:.4g}", f"{arm['difference']:+.4f}", interval, p, ranks]
        rows.append([arm["arm"], f"{arm['learning_rate']:g}", *values])
    title = (
        f"{answer['model']} on {answer['dataset']} ({answer['task']}): {answer['budget']:,} adapter parameters, {answer['n_steps']} steps"
    )
    header = [
        "strategy",
        "rate",
        "held-out loss",
        metric.removeprefix("eval_"),
        "difference",
        "95% CI",
        "p (Holm)",
        "largest rank of each block",
    ]
    print_table(title, header, rows)
    print(f"Differences are of the held-out loss to {answer['reference']} at {rate:g}, paired by row and seed: below 0 is better.")
    significant = [arm["arm"] for arm in answer["arms"] if arm["p_corrected"] is not None and arm["p_corrected"] < 0.05]
    print(f"Significant at 5% after correction: {', '.join(significant) or 'none'}.")
    if len(answer["seeds"]) < 3:
        print("Fewer than three seeds: the interval is that of the rows, not of another beginning; give --seeds 0,1,2.")
    for same in same_ranks(plans):
        print(f"{', '.join(same[:-1])} and {same[-1]} have the same ranks here: their difference is none of the ranks'.")
