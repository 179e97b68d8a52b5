"""Kills with signal 9 at random moments of a run's life: nothing is lost, readers say what is true, and weights end bit-equal.

A run, whoever started it, or both are killed during start, queue, loading, training, a checkpoint, a re-allocation, the end,
or a resume; whoever deletes a run, during the deletion. Then the readers of pages and command line (`list_runs`, `run_info`)
must say within 10 s what is true, no process may be left, the queue must go on by itself, and what was killed must go on in
its own record and end with the weights, losses and scores of a run that nothing happened to.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults import small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.deletions import attempt_deletion
from benchmarks.faults.small_runs import EVAL_EVERY, METHODS, REALLOCATED, end_of, info_of, spec_named, uninterrupted, until
from benchmarks.faults.starters import Foreground, Server, Starter, ThisProcess

LIMIT_SECONDS = 10.0  # until the readers say what is true
_TRY_SECONDS = 600.0
_QUICK = 0.002
MOMENTS = ("starting", "queue", "loading", "training", "checkpoint", "reallocation", "ending", "resume")
VICTIMS = ("run", "foreground", "starter", "both")
# The run alone twice, since a try that needs no other process is short, and the three moments at which files change once more.
CASES = [(victim, moment) for moment in MOMENTS for victim in (*VICTIMS, "run")]
CASES += [("run", moment) for moment in ("checkpoint", "reallocation", "resume")] + [("deletion", "deletion")] * 4
DASHBOARD_CASES = [(victim, moment) for moment in MOMENTS if moment != "resume" for victim in ("dashboard", "dashboard and run")]


def attempt(found: Try) -> None:
    """One kill of a run, of its starter, of both, or of whoever deletes a run."""
    victim, moment = CASES[found.number % len(CASES)]
    if victim == "deletion":
        attempt_deletion(found)
    else:
        kill_and_go_on(found, victim, moment)


def attempt_with_dashboard(found: Try) -> None:
    """One kill of a Streamlit server that started runs, alone or together with the run."""
    kill_and_go_on(found, *DASHBOARD_CASES[found.number % len(DASHBOARD_CASES)])


def kill_and_go_on(found: Try, victim: str, moment: str, methods: Sequence[str] = tuple(METHODS)) -> None:
    """Start, kill at a moment, and see everything end as if nothing had happened.

    Args:
        found: the try.
        victim: `run`, `foreground`, `starter`, `both`, `dashboard` or `dashboard and run`.
        moment: of MOMENTS.
        methods: of METHODS, one of which the run has.

    Raises:
        Fault: the readers were wrong for longer than the limit, a process was left, a run was lost or got stuck, or ended otherwise.
    """
    small_runs.ready()
    name = f"{'reallocated' if moment == 'reallocation' else found.rng.choice(methods)}-0"
    found.case = f"{victim}, {moment}"
    starter = _starter(victim, found.rng)
    found.facts |= {"run": name, "starter": starter.name}
    known: dict[str, str] = {}
    try:
        if moment == "queue":  # the run then waits for this one
            known |= dict.fromkeys(_started(ThisProcess(), "lora-1", found.material), "lora-1")
        if moment == "resume":
            known |= dict.fromkeys(_started(ThisProcess(), name, found.material), name)
            _interrupt(found, *known)
        starter.start([*known] if moment == "resume" else [spec_named(found.material, name)])
        doomed = _wait_for_the_moment(found, moment, set(known), victim)
        if doomed is not None:
            known.setdefault(doomed, name)
        killed_at, is_hit = _kill_all(found, victim, starter, doomed)
        known |= {run_id: name for run_id in _on_disk() if run_id not in known}
        for run_id in known:
            _look(found, run_id, killed_at, is_doomed=run_id == doomed and is_hit)
    finally:
        starter.end()
    for run_id, started_as in known.items():
        go_on(found, run_id, uninterrupted(found.material, started_as))


def _starter(victim: str, rng: random.Random) -> Starter:
    if victim == "run":
        return ThisProcess()
    if victim.startswith("dashboard"):
        return Server()
    return {"foreground": Foreground, "starter": Starter, "both": rng.choice((Foreground, Starter))}[victim]()


def _started(starter: Starter, name: str, material: Path) -> list[str]:
    starter.start([spec_named(material, name)])
    return _on_disk()


def _on_disk() -> list[str]:
    """The runs whose folders are there, whatever the readers say."""
    folder = Path(os.environ["GELORA_HOME"]) / "runs"
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _interrupt(found: Try, run_id: str) -> None:
    """Kill a run in its training, so that there is something to resume."""
    _at_step(run_id, found.rng.randint(EVAL_EVERY, 5 * EVAL_EVERY))
    _kill(info_of(run_id).state.pid)
    until(lambda: info_of(run_id).state.status == "failed", "the truth about the first kill", LIMIT_SECONDS)


def _wait_for_the_moment(found: Try, moment: str, known: set[str], victim: str) -> str | None:
    """Wait; returns the run that the moment is of, None where it has no folder yet."""
    rng = found.rng
    if moment == "starting" and victim != "run":
        runs = found.folder / "runs"
        until(lambda: runs.is_dir() and any(runs.iterdir()), "a folder of a run", pause=_QUICK)
        time.sleep(rng.choice((0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.5))))
        return next(iter(_on_disk()), None)
    if moment == "resume":
        (run_id,) = known
        until(lambda: info_of(run_id).state.attempts == 2 or info_of(run_id).state.status == "queued", "the resume", pause=_QUICK)
        time.sleep(rng.choice((rng.uniform(0, 0.1), rng.uniform(0, 3))))
        return run_id
    until(lambda: set(_on_disk()) - known, "the run")
    (run_id,) = set(_on_disk()) - known
    folder = found.folder / "runs" / run_id
    if moment == "starting":
        time.sleep(rng.uniform(0, 0.3))
    elif moment == "queue":
        until(lambda: info_of(run_id).state.queue_place is not None, "a place in the queue")
        time.sleep(rng.uniform(0, 0.5))
        if victim == "run" and rng.random() < 0.3:
            (run_id,) = known  # the one that others wait for
    elif moment == "loading":
        until(lambda: info_of(run_id).state.stage.startswith("loading"), "loading")
        time.sleep(rng.uniform(0, 1))
    elif moment == "training":
        _at_step(run_id, rng.randint(0, 6 * EVAL_EVERY))
        time.sleep(rng.uniform(0, 0.05))
    elif moment == "checkpoint":
        made = folder / "checkpoints" / f"checkpoint-{rng.randint(1, 7) * EVAL_EVERY}"
        until(lambda: made.is_dir() or not info_of(run_id).is_live, "a checkpoint", pause=_QUICK)
        time.sleep(rng.choice((0.0, rng.uniform(0, 0.03))))
    elif moment == "reallocation":
        total = until_total(run_id)
        _at_step(run_id, round(rng.choice(REALLOCATED) * total) - rng.randint(0, 1))
        time.sleep(rng.uniform(0, 0.1))
    else:
        until(lambda: "saving the adapter" in _log(folder) or not info_of(run_id).is_live, "the end", pause=_QUICK)
        time.sleep(rng.uniform(0, 0.05))
    return run_id


def until_total(run_id: str) -> int:
    """The number of steps of a run, once it is known."""
    until(lambda: info_of(run_id).state.total_steps is not None, "the number of steps")
    return int(info_of(run_id).state.total_steps)


def _at_step(run_id: str, step: int) -> None:
    log = info_of(run_id).folder
    until(lambda: f"step {step}/" in _log(log) or not info_of(run_id).is_live, f"step {step}", pause=_QUICK)


def _log(folder: Path) -> str:
    log = folder / "log.txt"
    return log.read_text() if log.is_file() else ""


def _kill_all(found: Try, victim: str, starter: Starter, doomed: str | None) -> tuple[float, bool]:
    """Kill the run, the starter, or both in a random order; returns when, and whether there was a run's process to kill.

    A starter that is killed between starting the run's process and noting its pid leaves a run that goes on.
    """
    targets: list[Callable[[], None]] = []
    pid = info_of(doomed).state.pid if victim in ("run", "both", "dashboard and run") and doomed is not None else None
    if pid is not None:
        targets.append(lambda: _kill(pid))
    if victim != "run":
        targets.append(lambda: _kill(starter.process.pid if starter.process else None))
    found.rng.shuffle(targets)
    if doomed is not None:
        state = info_of(doomed).state
        found.facts["killed_at"] = f"{state.status}, {state.stage}, step {state.step}"
    for kill in targets:
        kill()
    killed_at = time.monotonic()
    runs = found.folder / "runs"
    unsealed = [path for path in runs.glob("*/checkpoints/checkpoint-*") if not (path / "complete.json").is_file()]
    found.facts |= {"unsealed_checkpoints": len(unsealed), "unfinished_folders": len(list(runs.glob(".new-*")))}
    return killed_at, pid is not None


def _kill(pid: int | None) -> None:
    if pid is None:
        return  # nothing has been started yet that could be killed
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _look(found: Try, run_id: str, killed_at: float, is_doomed: bool) -> None:
    """Wait until the readers say of a run what has become of it.

    Raises:
        Fault: it is not listed, or they are wrong for longer than the limit.
    """
    from gelora.runs import list_runs
    from gelora.runs.process import processes

    def is_true() -> bool:
        listed = {info.id: info for info in list_runs()}
        require(run_id in listed, "lost", f"{run_id} is not listed")
        state = listed[run_id].state
        if state.status != info_of(run_id).state.status:
            return False
        if state.status == "failed":
            return bool(state.reason) and not processes.of_run(run_id)
        if state.status == "finished":
            return _log(listed[run_id].folder).rstrip().endswith("] finished")
        return not is_doomed and (bool(processes.of_run(run_id)) or not listed[run_id].is_live)

    seen = until(is_true, f"the truth about {run_id}", LIMIT_SECONDS) - killed_at
    state = info_of(run_id).state
    said = f"{state.status}: {state.reason}" if state.reason else state.status
    require(
        state.status != "failed" or state.reason.startswith(("killed", "lost")), "wrong", f"{run_id} was killed, and is said to be {said}"
    )
    found.facts["seconds_until_true"] = round(max(seen, found.facts.get("seconds_until_true", 0.0)), 2)
    if is_doomed:
        found.facts["said"] = said


def go_on(found: Try, run_id: str, uninterrupted_end: dict[str, Any], with_traceback: bool = False) -> None:
    """See a run to its end, resumed where it failed, and hold the end against the uninterrupted one.

    Raises:
        Fault: it does not finish, a process is left, the log has a traceback, or the end is another one.
    """
    from gelora.runs import resume_run
    from gelora.runs.process import processes

    until(lambda: not info_of(run_id).is_live, f"the end of {run_id}")
    if info_of(run_id).state.status == "failed":
        resume_run(run_id)
        until(lambda: not info_of(run_id).is_live, f"the end of {run_id}")
    info = info_of(run_id)
    log = _log(info.folder)
    require(with_traceback or "Traceback" not in log, "traceback", f"the log of {run_id}: {log[-500:]}")
    require(info.state.status == "finished", "wrong", f"{run_id} is {info.state.status}: {info.state.reason}; {log[-500:]}")
    require(info.state.step == info.state.total_steps, "wrong", f"{run_id} is finished at step {info.state.step}")
    ended = end_of(run_id)
    differing = [name for name, digest in uninterrupted_end.items() if ended[name] != digest]
    require(not differing, "lost", f"{run_id} ends with other {' and '.join(differing)} than uninterrupted; {_resumes(log)}")
    until(lambda: not processes.of_run(run_id), f"the end of the processes of {run_id}", LIMIT_SECONDS)
    found.facts["attempts"] = max(info.state.attempts, found.facts.get("attempts", 1))


def _resumes(log: str) -> str:
    return "; ".join(line.partition("resumed ")[2] for line in log.splitlines() if "] resumed " in line) or "it was never resumed"


KINDS = (
    Kind("kills", small_runs.make, attempt, _TRY_SECONDS),
    Kind("dashboard-kills", small_runs.make, attempt_with_dashboard, _TRY_SECONDS),
)
