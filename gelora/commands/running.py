"""`gelora train`, `gelora runs`, `gelora stop`: runs started, listed and ended."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from gelora.commands.options import data_choice
from gelora.errors import InputError
from gelora.records import METHODS, RankPlan, RunSpec, TrainingConfig
from gelora.terminal import print_table, read_text


def training_fields() -> list[str]:
    """The settings that `--set` takes."""
    return [field.name for field in dataclasses.fields(TrainingConfig)]


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
    return RunSpec(options.model, data_choice(options), plan, TrainingConfig(**settings), options.seed)


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
