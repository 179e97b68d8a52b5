"""`gelora train`, `gelora resume`, `gelora stop`: runs started, followed and ended."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gelora.commands.listing import print_run, run_json
from gelora.commands.run_specs import run_specs
from gelora.errors import GeloraError, InputError

_EXIT = {"finished": 0, "stopped": 130}


def train(options: argparse.Namespace) -> int:
    """Start one run, or one a seed; follow them unless they are detached."""
    from gelora.runs import start_run

    return _start(options, [partial(start_run, spec, options.runs_at_once) for spec in run_specs(options)], "Started")


def resume(options: argparse.Namespace) -> int:
    """Let a run go on; follow it unless it is detached."""
    from gelora.runs import resume_run

    return _start(options, [partial(resume_run, options.id, options.runs_at_once)], "Resumed")


def _start(options: argparse.Namespace, starts: Sequence[Callable[[], str]], word: str) -> int:
    """Start runs; unless detached, follow each to its end. Ctrl-C stops them all and lets each save a checkpoint."""
    ids: list[str] = []
    try:
        for start in starts:
            ids.append(start())
            if not options.json:
                hint = f"Follow it: gelora runs {ids[-1]}    Stop it: gelora stop {ids[-1]}"
                if options.detach:
                    print(f"{word} {ids[-1]}\n{hint}")
                else:
                    print(f"{word} {ids[-1]} (Ctrl-C stops it and saves a checkpoint)", file=sys.stderr)
        if options.detach:
            if options.json:
                _print_json([{"id": run_id} for run_id in ids])
            return 0
        infos = [_follow(run_id, options) for run_id in ids]
    except KeyboardInterrupt:
        infos = _stop_all(ids)
    except GeloraError:
        if ids:
            print(f"Going on nevertheless: {', '.join(ids)}. Stop them: gelora stop ID", file=sys.stderr)
        raise
    if options.json:
        _print_json([run_json(info) for info in infos])
    else:
        for info in infos:
            print_run(info)
    return max((_EXIT.get(info.status, 1) for info in infos), key=(0, 130, 1).index, default=130)


def _follow(run_id: str, options: argparse.Namespace) -> Any:
    from gelora.runs import wait_for

    return wait_for(run_id, on_update=None if options.json else _print_update())


def _stop_all(ids: Sequence[str], grace_seconds: float = 30.0) -> list[Any]:
    """Stop runs, the last of the queue first, so that none begins meanwhile."""
    from gelora.runs import stop_run

    print("\nStopping; each run saves a checkpoint first ...", file=sys.stderr)
    return [stop_run(run_id, grace_seconds) for run_id in reversed(ids)][::-1]


def _print_json(answers: list[dict[str, Any]]) -> None:
    print(json.dumps(answers[0] if len(answers) == 1 else answers))


def _print_update() -> Callable[[Any], None]:
    last: list[Any] = [None]

    def show(info: Any) -> None:
        now = (info.status, info.queue_place, info.step)
        if now == last[0]:
            return
        last[0] = now
        if info.status == "queued":
            print(f"queued, place {info.queue_place}" if info.queue_place else "queued", file=sys.stderr)
            return
        metrics = "  ".join(f"{k} {v:.4g}" for k, v in sorted(info.metrics.items()) if k in ("loss", info.main_metric))
        left = "" if info.seconds_left is None else f"  {info.seconds_left:.0f} s left"
        print(f"{info.status} step {info.step}/{info.total_steps or '?'}  {metrics}{left}", file=sys.stderr)

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
            print("No run is going.")
    else:
        before = run_info(options.id)
        if not before.is_live:
            raise InputError(f"{before.id} is already {before.status}; there is nothing to stop.")
        infos = [stop_run(options.id, grace_seconds=options.grace_seconds)]
        if options.json:
            print(json.dumps(run_json(infos[0])))
    if not options.json:
        for info in infos:
            print(f"{info.id} is {info.status}{f': {info.reason}' if info.reason else ''}. Files: {info.folder}")
    return 0
