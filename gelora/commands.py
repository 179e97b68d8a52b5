"""What each command does: one library call, its answer as a table for a person or JSON for a machine.

Knows nothing of how anything is computed, and nothing of how options are spelled.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from gelora.errors import InputError, StoreError
from gelora.records import METHODS, DataChoice, IdProfile, RankPlan, RunSpec, TrainingConfig, check_choice
from gelora.terminal import TerminalProgress, print_table, read_text, write_json


def _data_choice(options: argparse.Namespace) -> DataChoice:
    return DataChoice(options.dataset, options.config, options.split, options.text_column, options.pair_column, options.label_column)


def training_fields() -> list[str]:
    """The settings that `--set` takes."""
    return [field.name for field in dataclasses.fields(TrainingConfig)]


# measure, plan


def measure(options: argparse.Namespace) -> int:
    """Model and data -> the dimension of every layer."""
    from gelora.geometry import ESTIMATORS, estimate_profile, rises
    from gelora.sources import extract_hidden_states, load_sample

    estimators = [name.strip() for name in options.estimators.split(",") if name.strip()]
    if not estimators:
        raise InputError(f"--estimators is empty; choose some of: {', '.join(ESTIMATORS)}.")
    for name in estimators:
        check_choice("estimator", name, tuple(ESTIMATORS))  # before the work that it would be too late after
    progress = TerminalProgress()
    choice = _data_choice(options)
    sample = load_sample(choice, options.n_samples, options.seed, distinct=not options.keep_repeats, progress=progress)
    states = extract_hidden_states(
        options.model,
        sample,
        pooling=options.pooling,
        max_length=options.max_length,
        device=options.device,
        dtype=options.dtype,
        progress=progress,
    )
    profile = estimate_profile(
        states, estimators, n_neighbors=options.n_neighbors, device=_resolved_device(options.device), progress=progress
    )
    progress.close()
    write_json(profile.to_json(indent=1), options.json)
    if options.json != "-":
        print_table(
            f"Intrinsic dimension of {profile.model.model_id} on {choice.dataset} "
            f"({len(sample)} texts, pooling {profile.pooling}; [95% interval])",
            ["layer", *estimators],
            [[name, *(_estimate_cell(profile.estimates[e][i]) for e in estimators)] for i, name in enumerate(profile.layer_names)],
        )
        undefined = sorted({e.note for e in profile.estimates[estimators[0]] if e.dimension is None and e.note})
        up = [r for r in rises(profile, estimators[0]) if r.value is not None and r.ci_low is not None and r.ci_low > 0]
        for note in undefined:
            print(f"Undefined: {note}")
        print(
            "Blocks whose rise exceeds its interval: " + ", ".join(f"{r.block} (+{r.value:.2f})" for r in up)
            if up
            else "No rise exceeds its interval: ranks above the offset are rounding or noise."
        )
    return 0


def _resolved_device(device: str) -> str:
    """`auto` as the device that is there: cuda when torch sees one, else cpu."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _estimate_cell(estimate: Any) -> str:
    if estimate.dimension is None:
        return "undefined"
    return f"{estimate.dimension:.2f} [{estimate.ci_low:.2f}, {estimate.ci_high:.2f}]"


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


# train, runs, stop


def train(options: argparse.Namespace) -> int:
    """Start a run; follow it unless it is detached."""
    from gelora.runs import run_info, start_run, stop_run, wait_for

    run_id = start_run(_run_spec(options))
    if options.detach:
        print(
            json.dumps({"id": run_id})
            if options.json
            else f"Started {run_id}\nFollow it: gelora runs {run_id}    Stop it: gelora stop {run_id}"
        )
        return 0
    try:
        if not options.json:
            print(f"Started {run_id} (Ctrl-C stops it and saves a checkpoint)", file=sys.stderr)
        info = wait_for(run_id, on_update=None if options.json else _print_update())
    except KeyboardInterrupt:
        print("\nStopping; the run saves a checkpoint first ...", file=sys.stderr)
        stop_run(run_id)
        info = run_info(run_id)
    if options.json:
        print(json.dumps(_run_json(info)))
    else:
        _print_run(info)
    return {"finished": 0, "stopped": 130}.get(info.status, 1)


def _run_spec(options: argparse.Namespace) -> RunSpec:
    from gelora.ranks import uniform_ranks
    from gelora.sources import model_structure

    settings = dict(_setting(item) for item in options.set)
    for name in ("epochs", "device"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    if options.head_only:
        plan = None
        settings["method"] = "head"
    elif options.plan:
        plan = RankPlan.from_json(read_text(options.plan, "plan"))
    elif options.rank is not None:
        plan = uniform_ranks(model_structure(options.model), options.rank, options.target_modules)
    else:
        raise InputError(f"Say what to train: --plan FILE, --rank R or --head-only (methods: {', '.join(METHODS)}).")
    return RunSpec(options.model, _data_choice(options), plan, TrainingConfig(**settings), options.seed)


def _setting(item: str) -> tuple[str, Any]:
    key, separator, value = item.partition("=")
    kinds = {field.name: field.type for field in dataclasses.fields(TrainingConfig)}
    if not separator or key not in kinds:
        raise InputError(f"--set {item!r} is not KEY=VALUE with one of these keys: {', '.join(kinds)}.")
    kind: Any = kinds[key]
    try:
        return key, kind(value)
    except ValueError as error:
        raise InputError(f"--set {key}: {value!r} is not {'a whole number' if kind is int else 'a number'}.") from error


def _print_update() -> Any:
    last: list[int] = [-1]

    def show(info: Any) -> None:
        if info.step != last[0]:
            last[0] = info.step
            metrics = "  ".join(f"{k} {v:.4g}" for k, v in sorted(info.metrics.items()) if k in ("loss", info.main_metric))
            left = "" if info.seconds_left is None else f"  {info.seconds_left:.0f} s left"
            print(f"{info.status} step {info.step}/{info.total_steps or '?'}  {metrics}{left}", file=sys.stderr)

    return show


def _run_json(info: Any) -> dict[str, Any]:
    names = ("id", "status", "reason", "model", "dataset", "method", "started_at", "ended_at", "step", "total_steps", "metrics")
    return {name: getattr(info, name) for name in names} | {"folder": str(info.folder)}


def runs(options: argparse.Namespace) -> int:
    """List the runs, or show one."""
    from gelora.runs import history, list_runs, run_info

    if options.id is None:
        found = list_runs()
        if options.json:
            print(json.dumps([_run_json(info) for info in found]))
        elif not found:
            print("No runs yet. Start one: gelora train --rank 2")
        else:
            rows = [
                [i.id, i.status, i.model, i.dataset, i.strategy or i.method, f"{i.step}/{i.total_steps or '?'}", _main_metric(i)]
                for i in found
            ]
            print_table("Runs", ["id", "status", "model", "data", "strategy", "step", "metric"], rows)
        return 0
    info = run_info(options.id)
    if options.json:
        print(json.dumps(_run_json(info) | {"history": history(info.id)}))
    else:
        _print_run(info)
    return 0


def _main_metric(info: Any) -> str:
    for name in (info.main_metric, "eval_loss", "loss"):
        if name in info.metrics:
            return f"{name} {info.metrics[name]:.4f}"
    return ""


def _print_run(info: Any) -> None:
    rows = [[name, f"{value:.6g}"] for name, value in sorted(info.metrics.items())]
    state = info.status + (f" ({info.reason})" if info.reason else "")
    print_table(f"{info.id}: {state}", ["metric", "last value"], rows)
    print(f"{info.model} on {info.dataset}, {info.strategy or info.method}, step {info.step}/{info.total_steps or '?'}")
    print(f"Files: {info.folder}")


def stop(options: argparse.Namespace) -> int:
    """Stop a run."""
    from gelora.runs import run_info, stop_run

    before = run_info(options.id)
    if not before.is_live:
        raise InputError(f"{before.id} is already {before.status}; there is nothing to stop.")
    stop_run(options.id, grace_seconds=options.grace_seconds)
    info = run_info(options.id)
    print(
        json.dumps(_run_json(info))
        if options.json
        else f"{info.id} is {info.status}{f': {info.reason}' if info.reason else ''}. Files: {info.folder}"
    )
    return 0


# doctor


def doctor(options: argparse.Namespace) -> int:
    """Say what is on this machine."""
    from gelora.doctor import examine

    findings = examine()
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        print_table("This machine", ["", "what", "finding"], [["ok" if f.ok else "!!", f.what, f.finding] for f in findings])
    return 0 if all(f.ok for f in findings) else 1
