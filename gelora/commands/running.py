"""`gelora train`, `gelora resume`, `gelora stop`: runs started, followed and ended."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gelora.commands.listing import print_run, run_json
from gelora.commands.options import names
from gelora.commands.run_specs import run_specs
from gelora.errors import GeloraError, InputError
from gelora.records import RunSpec

if TYPE_CHECKING:
    from gelora.runs import RunInfo

_EXIT = {"finished": 0, "stopped": 130}


def train(options: argparse.Namespace) -> int:
    """Start one run, or one a seed; follow them unless they are detached."""
    from gelora.runs import start_run

    specs = run_specs(options)
    starts = [partial(start_run, spec, options.runs_at_once, names(options.report_to), options.repeat) for spec in specs]
    return _follow_and_report(options, starts, "Started", specs[0])


def resume(options: argparse.Namespace) -> int:
    """Resume a run; follow it unless it is detached."""
    from gelora.runs import resume_run

    starts = [partial(resume_run, options.id, options.runs_at_once, names(options.report_to))]
    return _follow_and_report(options, starts, "Resumed")


def _follow_and_report(options: argparse.Namespace, starts: Sequence[Callable[[], str]], word: str, spec: RunSpec | None = None) -> int:
    infos = start_and_follow(options, starts, word, spec, options.json)
    if infos is None:
        return 0
    report(infos, options.json)
    return exit_status(infos)


def start_and_follow(
    options: argparse.Namespace, starts: Sequence[Callable[[], str]], word: str, spec: RunSpec | None, is_quiet: bool
) -> "list[RunInfo] | None":
    """Say of `spec` what it learns, start the runs; unless detached, follow each to its end. Ctrl-C stops them all, with a checkpoint.

    Returns the runs as they ended, None where they are detached. is_quiet: ids as JSON instead of words.
    """
    from gelora.runs import list_runs

    ids: list[str] = []
    ahead = sum(info.is_live for info in list_runs())
    if spec is not None and not is_quiet:
        print(_task_sentence(spec), file=sys.stdout if options.detach else sys.stderr, flush=True)
    try:
        for start in starts:
            ids.append(start())
            if not is_quiet:
                _print_start(ids[-1], options, word, ahead + len(ids) - 1)
        if options.detach and not is_quiet:
            print(f"Follow: gelora runs {' '.join(ids)}\nStop: gelora stop {ids[0] if len(ids) == 1 else 'ID'}")
        if options.detach:
            if is_quiet:
                _print_json([{"id": run_id} for run_id in ids])
            return None
        return [_follow(run_id, is_quiet) for run_id in ids]
    except KeyboardInterrupt:
        return _stop_all(ids)
    except GeloraError:
        if ids:
            print(f"Going on nevertheless: {', '.join(ids)}. Stop them: gelora stop ID", file=sys.stderr)
        raise


def report(infos: "Sequence[RunInfo]", is_json: bool) -> None:
    """Runs that were followed, as they ended: for a person, or as JSON."""
    if is_json:
        _print_json([run_json(info) for info in infos])
        return
    for info in infos:
        print_run(info)


def exit_status(infos: "Sequence[RunInfo]") -> int:
    """Of a command that followed these runs: 0 all finished, 130 one was stopped, 1 one failed."""
    return max((_EXIT.get(info.state.status, 1) for info in infos), key=(0, 130, 1).index, default=130)


def _print_start(run_id: str, options: argparse.Namespace, word: str, ahead: int) -> None:
    """One line: id, seed, whether it has begun; `ahead` counts the live runs that were started before."""
    from gelora.runs import run_info

    info = run_info(run_id)
    seed = f"seed {info.spec.seed}" if info.spec else "seed unknown"
    if not options.detach:
        print(f"{word} {run_id} ({seed}; Ctrl-C stops it and saves a checkpoint)", file=sys.stderr)
        return
    waits = info.state.status == "queued" and (info.state.queue_place is not None or ahead >= options.runs_at_once)
    behind = f"place {info.state.queue_place}" if info.state.queue_place else f"{ahead} run{'s' if ahead != 1 else ''} before it"
    print(f"{run_id}  {seed}  {f'queued, {behind}' if waits else word.lower()}", flush=True)


def _task_sentence(spec: RunSpec) -> str:
    """What a run learns from which columns, why, and what else the columns allow; without waiting for the network."""
    from gelora.sources import data_at_hand
    from gelora.tasks import propose

    asked = spec.training.task
    try:
        if not data_at_hand(spec.data):
            return f"Task: {'settled when the run has its data' if asked == 'auto' else asked}. Set it: --set task=NAME"
        found = propose(spec.data, None if asked == "auto" else asked)
    except GeloraError as error:  # the run ends with the same words; that it was started stays true
        return f"Task: not settled. {error}"
    roles = {"text": found.text_column, "pair": found.pair_column, "label": found.label_column}
    columns = ", ".join(f"{role} {name!r}" for role, name in roles.items() if name)
    others = " or ".join(f"--set task={name}" for name in found.alternatives if name != "causal-lm")  # which few models can learn
    return f"Task: {found.kind}, from {columns}. {' '.join(found.reasons)}" + (f" To change it: {others}" if others else "")


def _follow(run_id: str, is_quiet: bool) -> "RunInfo":
    from gelora.runs import wait_for

    return wait_for(run_id, on_update=None if is_quiet else update_printer())


def _stop_all(ids: Sequence[str], grace_seconds: float = 30.0) -> "list[RunInfo]":
    """Stop runs, the last of the queue first, so that none begins meanwhile."""
    from gelora.runs import stop_run

    print("\nStopping; each run saves a checkpoint first ...", file=sys.stderr)
    return [stop_run(run_id, grace_seconds) for run_id in reversed(ids)][::-1]


def _print_json(answers: list[dict[str, Any]]) -> None:
    print(json.dumps(answers[0] if len(answers) == 1 else answers))


def update_printer() -> "Callable[[RunInfo], None]":
    """What tells a person of every change of a run that is waited for."""
    last: list[Any] = [None]

    def show(info: "RunInfo") -> None:
        now = (info.state.status, info.state.queue_place, info.state.step)
        if now == last[0]:
            return
        last[0] = now
        if info.state.status == "queued":
            print(f"queued, place {info.state.queue_place}" if info.state.queue_place else "queued", file=sys.stderr)
            return
        metrics = "  ".join(f"{k} {v:.4g}" for k, v in sorted(info.state.metrics.items()) if k in ("loss", info.state.main_metric))
        left = "" if info.state.seconds_left is None else f"  {info.state.seconds_left:.0f} s left"
        print(f"{info.state.status} step {info.state.step}/{info.state.total_steps or '?'}  {metrics}{left}", file=sys.stderr)

    return show


def stop(options: argparse.Namespace) -> int:
    """Stop a run, or all."""
    from gelora.runs import list_runs, run_info, stop_run

    if options.id == "all":
        live = [info.id for info in reversed(list_runs()) if info.is_live]
        infos = _stop_all(live, options.grace_seconds)
        if options.json:
            print(json.dumps([run_json(info) for info in infos]))
        elif not infos:
            print("No run is under way.")
    else:
        before = run_info(options.id)
        if not before.is_live:
            raise InputError(f"{before.id} is already {before.state.status}; there is nothing to stop.")
        infos = [stop_run(options.id, grace_seconds=options.grace_seconds)]
        if options.json:
            print(json.dumps(run_json(infos[0])))
    if not options.json:
        for info in infos:
            print(f"{info.id} is {info.state.status}{f': {info.state.reason}' if info.state.reason else ''}. Files: {info.folder}")
    return 0
