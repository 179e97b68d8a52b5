"""`gelora plan`: ranks by any strategy, at an offset or a budget; what they cost; LoraConfig, CSV and JSON of it."""

import argparse
import json
from pathlib import Path
from typing import Any

from gelora.commands.plan_sources import PlanSources, at_budget, common_budget, ranks_by_hand
from gelora.commands.target_choices import plan_across, target_choices
from gelora.csv_text import csv_text
from gelora.errors import GeloraError, InputError, StoreError
from gelora.home import local_path, reason_of
from gelora.records import RankPlan
from gelora.terminal import print_table, say, write_file, write_json


def plan(options: argparse.Namespace) -> int:
    """Ranks, budget, LoraConfig."""
    sources = PlanSources(options)
    if len(target_choices(options)) > 1:
        return plan_across(options, sources)
    if options.strategy == "all":
        return _all_strategies(options, sources)
    made = _edited(_one_plan(options, sources), ranks_by_hand(options))
    has_json = "-" in (options.json, options.budget_json)
    if options.lora_config:
        untried = _write_lora_config(made, Path(options.lora_config))
        say(f"Wrote {Path(options.lora_config) / 'adapter_config.json'}{f'. {untried}' if untried else ''}", has_json)
    if options.csv:
        write_file(_csv(made), options.csv)
        say(f"Wrote {options.csv}", has_json)
    if options.budget_json:
        write_json(json.dumps(_cost(made, options, sources), indent=1), options.budget_json, has_json)
    write_json(made.to_json(indent=1), options.json, has_json)
    if not has_json:
        _print_plan(made, _cost(made, options, sources))
        if made.profile_digest and made.estimator:
            from gelora.geometry import resolution_sentence
            from gelora.ranks import support_sentence

            scale = 1.0 if made.scale is None else made.scale
            is_rule = made.target_params is None
            support = support_sentence(sources.profile, made.estimator, made.rounding or "ceil", scale) if is_rule else None
            for said in (support, resolution_sentence(sources.profile, [made.estimator])):
                if said:
                    print(said)
    return 0


def _one_plan(options: argparse.Namespace, sources: PlanSources) -> RankPlan:
    from gelora.ranks import UNBOUNDED, allocate_ranks, budget_params, uniform_ranks
    from gelora.sources import select_modules

    targets = options.target_modules
    if options.strategy in UNBOUNDED and (options.floor, options.cap) != (1, None):
        raise InputError(f"--floor and --cap are for strategies that share a budget out; {options.strategy} has an offset in their place.")
    if options.adapter and options.strategy != "look-back":
        if options.match or (options.strategy, options.offset, options.scale, targets) != ("gelora", 1, 1.0, "attention"):
            raise InputError(
                "--adapter takes the ranks as they are; --strategy, --offset, --scale, --match and --target-modules make new ones."
            )
        from gelora.ranks import plan_from_adapter

        return plan_from_adapter(options.adapter, sources.structure)
    if not options.match and options.strategy == "gelora":
        return allocate_ranks(sources.profile, targets, options.offset, options.rounding, options.estimator, scale=options.scale)
    if not options.match and options.strategy == "uniform":
        return uniform_ranks(sources.structure, options.offset, targets)
    # Without a budget the others get what uniform ranks of the offset would cost.
    budget = budget_params(options.match or f"uniform:{options.offset}", select_modules(sources.structure, targets))
    return at_budget(options, sources, options.strategy, budget)


def _all_strategies(options: argparse.Namespace, sources: PlanSources) -> int:
    """One row a strategy, all at one budget: that of --match, or what the rule costs at the offset."""
    from gelora.ranks import STRATEGIES, same_ranks

    if options.set_rank or options.lora_config or options.csv or options.budget_json:
        raise InputError("--strategy all compares; --set-rank, --lora-config, --csv and --budget-json are for one strategy.")
    budget = common_budget(options, sources)
    rows: list[dict[str, Any]] = []
    plans: dict[str, RankPlan] = {}
    for strategy in STRATEGIES:
        row: dict[str, Any] = {"strategy": strategy, "target_params": budget}
        try:
            made = at_budget(options, sources, strategy, budget)
        except GeloraError as error:  # what one strategy lacks (labels, say) does not take the others away
            rows.append(row | {"n_adapter_params": None, "shortfall": None, "block_ranks": None, "plan": None, "reason": str(error)})
            continue
        plans[strategy] = made
        row |= {"n_adapter_params": made.n_adapter_params, "shortfall": made.shortfall, "block_ranks": made.block_ranks()}
        rows.append(row | {"plan": json.loads(made.to_json()), "reason": None})
    if all(row["plan"] is None for row in rows):
        raise InputError(str(rows[0]["reason"]))  # a budget that no strategy can meet
    write_json(json.dumps(rows, indent=1), options.json)
    if options.json != "-":
        table = [
            [row["strategy"], "", "", row["reason"]]
            if row["plan"] is None
            else [row["strategy"], f"{row['n_adapter_params']:,}", f"{row['shortfall']:,}", " ".join(map(str, row["block_ranks"].values()))]
            for row in rows
        ]
        title = f"{sources.structure.model_id}, {options.target_modules}: every strategy at {budget:,} parameters"
        print_table(title, ["strategy", "parameters", "unspent", "largest rank of each block"], table)
        for names in same_ranks(plans):
            print(f"{', '.join(names[:-1])} and {names[-1]} are the same ranks here: to compare them compares nothing.")
        print("At equal budget an even spread is hard to beat.")
    return 0


def _edited(made: RankPlan, by_hand: dict[str, int]) -> RankPlan:
    from gelora.ranks import edit_ranks

    ranks: dict[str, int] = {}
    for name, rank in by_hand.items():
        meant = [module.name for module in made.modules if name in (module.name, str(module.block))]
        if not meant:
            blocks = list(made.block_ranks())
            raise InputError(
                f"--set-rank {name}={rank}: the plan has no block and no module of that name; its blocks are {blocks[0]} to {blocks[-1]}, "
                f"its modules are called like {made.modules[0].name}."
            )
        ranks |= dict.fromkeys(meant, rank)
    return edit_ranks(made, ranks)


def _cost(made: RankPlan, options: argparse.Namespace, sources: PlanSources) -> dict[str, Any]:
    """Budget, memory of a training step, and the GPU that is there, as plain values."""
    from gelora.doctor import gpu_memory
    from gelora.ranks import memory_estimate, plan_budget
    from gelora.sources import head_size

    n_head = 0 if options.n_labels is None else head_size(sources.model_id, options.n_labels)
    cost: dict[str, Any] = {"budget": json.loads(plan_budget(made, n_head).to_json()), "memory": None, "no_memory": None, "gpu": None}
    try:
        memory = memory_estimate(
            made,
            sources.structure,
            batch_size=options.batch_size,
            length=options.max_length,
            dtype=options.dtype,
            n_head_params=n_head,
            task="classification" if options.n_labels is not None or not sources.structure.is_decoder else "causal-lm",
        )
    except InputError as error:  # a profile from before the shapes that it needs were kept still has its plan
        return cost | {"no_memory": str(error)}
    gpu = gpu_memory()
    return cost | {
        "memory": json.loads(memory.to_json()) | {"total_bytes": memory.total_bytes},
        "gpu": None if gpu is None else {"name": gpu.name, "free_bytes": gpu.free_bytes, "fits": memory.fits(gpu.free_bytes)},
    }


def _print_plan(made: RankPlan, cost: dict[str, Any]) -> None:
    from gelora.ranks import budget_by_block, equivalent_uniform_rank, parameter_note, plan_budget, uniform_comparison

    by_block, edited = budget_by_block(made), {module.block for module in made.modules if module.name in made.edits}
    rows = []
    for block, rank in made.block_ranks().items():
        notes = [
            note for note in (made.block_notes.get(block), "by hand" if block in edited else None, None if rank else "no adapter") if note
        ]
        rows.append([str(block), str(rank), f"{by_block.get(block, 0):,}", "; ".join(notes)])
    print_table(f"Ranks for {made.model_id} ({made.strategy}, {made.target_modules})", ["block", "rank", "parameters", "note"], rows)
    if 0 in made.block_notes:
        print(f"The adapter as a whole: {made.block_notes[0]}.")
    budget = plan_budget(made, cost["budget"]["n_head_params"])
    head = f" and {budget.n_head_params:,} of the head" if budget.n_head_params else ""
    print(f"{budget.n_adapter_params:,} adapter parameters{head}, {budget.share:.3%} of the model, {budget.adapter_bytes / 1e6:.2f} MB.")
    for part in made.also_trained:
        print(f"Beside these the adapter trains {part.words}.")
    if made.also_trained:
        print(f"In all PEFT trains {made.n_trained_params:,} parameters of it.")
    as_parameters = parameter_note(made)
    if as_parameters:
        print(as_parameters)
    if made.shortfall and made.shortfall < 0:
        print(f"{-made.shortfall:,} over the budget of {made.target_params:,}, by your own ranks.")
    elif made.shortfall and made.edits:
        print(f"{made.shortfall:,} of the budget of {made.target_params:,} stay unspent, with your own ranks.")
    elif made.shortfall:
        print(f"{made.shortfall:,} of the budget of {made.target_params:,} stay unspent: no unit of rank fits into them.")
    others = ", ".join(f"r={r} {b.n_adapter_params:,}" for r, b in uniform_comparison(made))
    print(f"Equivalent uniform rank r = {equivalent_uniform_rank(made):.2f}. The same modules with uniform LoRA: {others}")
    if cost["memory"] is None:
        print(f"Memory of a training step is not estimated: {cost['no_memory']}")
    else:
        _print_memory(cost["memory"])
    gpu = cost["gpu"]
    if gpu:
        print(f"It {'fits' if gpu['fits'] else 'does not fit'} the {gpu['name']}, {gpu['free_bytes'] / 1e9:.1f} GB free.")
    print("The rule is a heuristic for the rank of an update; an even spread of the same size is hard to beat.")


def _print_memory(memory: dict[str, Any]) -> None:
    parts = {"weights": "weights_bytes", "gradients": "gradient_bytes", "AdamW": "optimizer_bytes", "activations": "activation_bytes"}
    listed = ", ".join(f"{word} {memory[name] / 1e9:.2f}" for word, name in parts.items())
    step = f"batch {memory['batch_size']}, {memory['length']} tokens, {memory['dtype']}"
    print(f"Memory of a training step ({step}): about {memory['total_bytes'] / 1e9:.2f} GB ({listed}).")


def _csv(made: RankPlan) -> str:
    """One row a module."""
    header = ["block", "module", "kind", "in_features", "out_features", "n_experts", "rank", "alpha", "parameters", "rank_before_edit"]
    rows = []
    for m in made.modules:
        rank, alpha, before = made.ranks[m.name], made.alphas[m.name], made.edits.get(m.name)
        shape = (m.in_features, m.out_features, m.n_experts)
        rows.append([m.block, m.name, m.kind, *shape, rank, alpha, rank * m.n_params_per_rank, before])
    return csv_text(header, rows)


def _write_lora_config(made: RankPlan, folder: Path) -> str | None:
    """Write what PEFT makes exactly this plan of; returns why that was not tried, where it was not."""
    from gelora.ranks import export_lora_config
    from gelora.sources import hub_name

    folder = local_path(folder)
    if folder.is_file():
        raise InputError(f"{folder} is a file; --lora-config takes a folder, into which adapter_config.json is written.")
    config, untried = export_lora_config(made)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.base_model_name_or_path = hub_name(made.model_id)
        config.save_pretrained(str(folder))
    except OSError as error:
        raise StoreError(f"Cannot write into {folder}: {reason_of(error)}.") from error
    return untried
