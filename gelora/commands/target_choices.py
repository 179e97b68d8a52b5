"""Which matrices, compared: `--target-modules attention/mlp/all-linear` as several choices at one parameter count."""

import argparse
import json
from typing import Any

from gelora.commands.plan_sources import PlanSources, at_budget, common_budget
from gelora.errors import InputError
from gelora.terminal import print_table, write_json


def target_choices(options: argparse.Namespace) -> list[argparse.Namespace]:
    """The options once for each choice of target modules; choices are parted by "/", since a comma joins.

    Raises:
        InputError: a choice is empty or given twice.
    """
    choices = [choice.strip() for choice in options.target_modules.split("/")]
    if not all(choices) or len(set(choices)) < len(choices):
        raise InputError(
            f"--target-modules {options.target_modules!r} has an empty choice or one twice; give such as attention/mlp/all-linear."
        )
    return [argparse.Namespace(**vars(options) | {"target_modules": choice}) for choice in choices]


def plan_across(options: argparse.Namespace, sources: PlanSources) -> int:
    """One row a choice, all at the budget of the first."""
    if options.strategy == "all" or options.set_rank or options.lora_config or options.csv or options.budget_json:
        raise InputError(
            "Several choices of target modules compare one strategy; --strategy all, --set-rank, --lora-config, --csv and --budget-json "
            "take one choice."
        )
    choices = target_choices(options)
    budget = common_budget(choices[0], sources)
    rows: list[dict[str, Any]] = []
    for of_choice in choices:
        made = at_budget(of_choice, sources, options.strategy, budget)
        row = {"target_modules": of_choice.target_modules, "target_params": budget, "n_adapter_params": made.n_adapter_params}
        rows.append(row | {"shortfall": made.shortfall, "block_ranks": made.block_ranks(), "plan": json.loads(made.to_json())})
    write_json(json.dumps(rows, indent=1), options.json)
    if options.json != "-":
        table = [
            [
                row["target_modules"],
                f"{row['n_adapter_params']:,}",
                f"{row['shortfall']:,}",
                " ".join(map(str, row["block_ranks"].values())),
            ]
            for row in rows
        ]
        title = f"{sources.structure.model_id}, {options.strategy}: every choice of matrices at {budget:,} parameters"
        print_table(title, ["target modules", "parameters", "unspent", "largest rank of each block"], table)
        print("Which matrices are adapted mattered more than which block gets the rank: race them (gelora race) at several rates.")
    return 0
