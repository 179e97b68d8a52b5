"""`gelora runs`: the table of all runs, one run in full, their values as CSV, their logs; runs deleted."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gelora.commands.race_table import print_race, race_answer
from gelora.csv_text import csv_text
from gelora.errors import InputError
from gelora.records import check_whole
from gelora.terminal import print_table, write_file

if TYPE_CHECKING:
    from gelora.runs import RunInfo

_FIELDS = (
    "id", "status", "reason", "model", "dataset", "method", "strategy", "task", "started_at", "ended_at", "attempts", "device",
    "queue_place", "step", "total_steps", "seconds_left", "main_metric", "n_adapter_params", "n_head_params", "can_resume",
)  # fmt: skip


def run_json(info: "RunInfo") -> dict[str, Any]:
    """A run as the command line gives it to a machine."""
    known = vars(info.state) | {name: getattr(info, name) for name in ("id", "model", "dataset", "method", "strategy", "can_resume")}
    found = {name: known[name] for name in _FIELDS}
    said = {"name": info.notes.name, "notes": info.notes.text, "tags": list(info.notes.tags)}
    seed = info.spec.seed if info.spec else None
    return found | {"seed": seed, "metrics": info.state.metrics, "folder": str(info.folder)} | said


def runs(options: argparse.Namespace) -> int:
    """List the runs, show some, or delete some."""
    from gelora.runs import delete_run, list_runs, run_info

    if options.delete:
        if not options.id:
            raise InputError("--delete needs the ids of the runs to delete; `gelora runs` lists them.")
        for info in [run_info(run_id) for run_id in options.id]:
            delete_run(info.id)
            if not options.json:
                print(f"Deleted {info.id}.")
        if options.json:
            print(json.dumps({"deleted": options.id}))
        return 0
    if options.export_arm:
        return _export_arm(options)
    _take_notes(options)
    found = [run_info(run_id) for run_id in options.id] if options.id else list_runs()
    if options.csv:
        _write(_history_csv(found) if options.id else _table_csv(found), options.csv)
        return 0
    if options.log is not None:
        _print_logs(found if options.id else [info for info in found if info.is_live], options.log)
    elif options.json:
        answers = [_in_full(info) if options.id else run_json(info) for info in found]
        print(json.dumps(answers[0] if len(options.id) == 1 else answers))
    elif options.id:
        for info in found:
            print_run(info)
    elif not found:
        print("No runs yet. Start one: gelora train --rank 2")
    else:
        _print_table(found)
    return 0


def _take_notes(options: argparse.Namespace) -> None:
    """Name, notes and tags of the given runs, those of them that the options have."""
    given = {"name": options.name, "text": options.notes}
    if all(value is None for value in (*given.values(), options.tags)):
        return
    from gelora.runs import run_info, set_notes

    if not options.id:
        raise InputError("--name, --notes and --tags need the id of a run: gelora runs ID --name NAME.")
    for info in [run_info(run_id) for run_id in options.id]:
        notes = dataclasses.replace(info.notes, **{name: value for name, value in given.items() if value is not None})
        set_notes(info.id, notes if options.tags is None else notes.with_tags(options.tags))


def _export_arm(options: argparse.Namespace) -> int:
    """One arm of a race as a PEFT adapter."""
    from gelora.runs import export_arm

    arm, folder = options.export_arm
    if len(options.id) != 1:
        raise InputError("--export-arm takes one run: gelora runs ID --export-arm ARM DIR.")
    written = export_arm(options.id[0], arm, folder, options.seed)
    if options.json:
        print(json.dumps({"id": options.id[0], "arm": arm, "folder": str(written)}))
    else:
        print(f"Wrote {written}: it loads with PEFT alone; its README says how.")
    return 0


def _in_full(info: "RunInfo") -> dict[str, Any]:
    from gelora.runs import examples, geometry, history, provenance, race_result

    result = race_result(info.id)
    return (
        run_json(info)
        | ({"race": race_answer(info, result)} if result is not None and info.spec is not None else {})
        | {
            "history": history(info.id),
            "geometry": [asdict(found) for found in geometry(info.id)],
            "examples": examples(info.id),
            "provenance": provenance(info.id),
        }
    )


def _print_table(found: "Sequence[RunInfo]") -> None:
    rows, is_named = [], any(info.notes.name for info in found)
    for info in found:
        status = f"queued ({info.state.queue_place})" if info.state.queue_place and info.state.status == "queued" else info.state.status
        seed = str(info.spec.seed) if info.spec else "?"
        step = f"{info.state.step}/{info.state.total_steps or '?'}"
        name = [info.notes.name] if is_named else []
        rows.append([info.id, *name, status, info.model, info.dataset, info.strategy or info.method, seed, step, _main_value(info)])
    print_table("Runs", ["id", *(["name"] if is_named else []), "status", "model", "data", "strategy", "seed", "step", "metric"], rows)


def _main_value(info: "RunInfo") -> str:
    for name in (info.state.main_metric, "eval_loss", "loss"):
        if name in info.state.metrics:
            return f"{name} {info.state.metrics[name]:.4f}"
    return ""


def print_run(info: "RunInfo") -> None:
    """A run for a person: its state, last values, and its folder."""
    from gelora.runs import provenance, race_result

    rows = [[name, f"{value:.6g}"] for name, value in sorted(info.state.metrics.items())]
    state = info.state.status + (f" ({info.state.reason})" if info.state.reason else "")
    result = race_result(info.id)
    if result is not None and info.spec is not None:
        print(f"{info.id}: {state}")
        print_race(info, result)
    else:
        print_table(f"{info.id}: {state}", ["metric", "last value"], rows)
    if any(info.notes.words):
        print(". ".join(filter(None, (info.notes.name, info.notes.text, ", ".join(info.notes.tags)))))
    seed = f", seed {info.spec.seed}" if info.spec else ""
    print(f"{info.model} on {info.dataset}, {info.strategy or info.method}{seed}, step {info.state.step}/{info.state.total_steps or '?'}")
    if info.state.queue_place is not None and info.state.status == "queued":
        print(f"Place {info.state.queue_place} among the runs that wait.")
    if command := provenance(info.id).get("command"):
        print(f"Repeat it: {command}")
    if info.can_resume:
        print(f"Resume it: gelora resume {info.id}")
    print(f"Files: {info.folder}")


def _print_logs(found: "Sequence[RunInfo]", n_lines: int) -> None:
    from gelora.runs import log_tail

    check_whole("--log", n_lines, 1)
    if not found:
        print("No run is under way; name one: gelora runs ID --log")
    for info in found:
        if len(found) > 1:
            print(f"== {info.id}: {info.state.status}")
        print(log_tail(info.id, n_lines))


def _table_csv(found: "Sequence[RunInfo]") -> str:
    names = sorted({name for info in found for name in info.state.metrics})
    header = [*_FIELDS, "seed", "folder", "name", "notes", *names]
    rows = []
    for info in found:
        values = run_json(info)
        rows.append([*(values[name] for name in header[: len(_FIELDS) + 4]), *(info.state.metrics.get(name) for name in names)])
    return csv_text(header, rows)


def _history_csv(found: "Sequence[RunInfo]") -> str:
    from gelora.runs import history

    rows = [[info.id, name, step, value] for info in found for name, series in history(info.id).items() for step, value in series]
    return csv_text(["id", "metric", "step", "value"], rows)


def _write(text: str, target: str) -> None:
    if target == "-":
        print(text, end="")
    else:
        write_file(text, target)
        print(f"Wrote {target}")
