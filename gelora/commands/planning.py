"""`gelora plan`: ranks, budget and LoraConfig from a profile."""

import argparse
from pathlib import Path
from typing import Any

from gelora.errors import StoreError
from gelora.records import IdProfile
from gelora.terminal import print_table, read_text, write_json


def plan(options: argparse.Namespace) -> int:
    """Profile -> ranks, budget, LoraConfig."""
    from gelora.ranks import allocate_ranks, budget_by_block, plan_budget, uniform_comparison, uniform_ranks

    profile = IdProfile.from_json(read_text(options.profile, "profile"))
    targets: Any = options.target_modules if "," not in options.target_modules else options.target_modules.split(",")
    if options.strategy == "uniform":
        plan = uniform_ranks(profile.model, options.offset, targets)
    else:
        plan = allocate_ranks(profile, targets, options.offset, options.rounding, options.estimator)
    if options.lora_config:
        folder = Path(options.lora_config)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            plan.to_lora_config().save_pretrained(str(folder))  # type: ignore[attr-defined]
        except OSError as error:
            raise StoreError(f"Cannot write into {folder}: {error.strerror or error}.") from error
    write_json(plan.to_json(indent=1), options.json)
    if options.json != "-":
        budget, by_block = plan_budget(plan), budget_by_block(plan)
        rows = [[str(b), str(r), f"{by_block.get(b, 0):,}", plan.block_notes.get(b, "")] for b, r in plan.block_ranks().items()]
        print_table(f"Ranks for {plan.model_id} ({plan.strategy}, {plan.target_modules})", ["block", "rank", "parameters", "note"], rows)
        print(f"{budget.n_adapter_params:,} adapter parameters, {budget.share:.3%} of the model, {budget.adapter_bytes / 1e6:.2f} MB.")
        print("The same modules with uniform LoRA: " + ", ".join(f"r={r} {b.n_adapter_params:,}" for r, b in uniform_comparison(plan)))
        print("The rule is a heuristic for the rank of the update; an even spread of the same size is hard to beat.")
    return 0
