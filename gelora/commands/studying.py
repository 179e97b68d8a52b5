"""`gelora study`: races over tasks, models and budgets, and one table of what they found.

Every race is a run: one that has finished is read, one that was interrupted goes on from its checkpoint, so that the same
call again goes on with the study.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from gelora.commands.block_worth import predictor_table
from gelora.commands.options import names, strategy_names
from gelora.commands.race_table import race_answer
from gelora.commands.racing import race_spec
from gelora.commands.running import update_printer
from gelora.commands.study_file import StudyRace, read_study_file
from gelora.errors import GeloraError, RunError
from gelora.records import BlockTable, NotRun, RunSpec, Study, StudyRow
from gelora.terminal import print_table, say, write_json

if TYPE_CHECKING:
    from gelora.runs import RunInfo


def study(options: argparse.Namespace) -> int:
    """All races of a study's file, one after the other; its table. Returns 1 where a race is missing."""
    from gelora.runs import check_study_name, write_study

    asked = read_study_file(options.file, options)
    check_study_name(asked.name)
    rows: list[StudyRow] = []
    missing: list[NotRun] = []
    made_with: dict[str, str] = {}
    reference, tables = asked.reference, _Predictors()
    for number, race in enumerate(asked.races, start=1):
        print(f"Race {number} of {len(asked.races)}: {race.task} at {race.words}", file=sys.stderr, flush=True)
        try:
            info = _raced(_spec(race))
            spec = info.spec
            assert spec is not None
            reference = spec.race.reference if spec.race is not None else reference
            rows += _rows(race, info)
            made_with |= _made_with(info)
            tables.add(race)
        except GeloraError as error:  # what one task lacks does not take the others away
            missing.append(NotRun(race.task, race.words, str(error)))
            print(error, file=sys.stderr, flush=True)
        later = [NotRun(other.task, other.words, "not yet run") for other in asked.races[number:]]
        found = Study(asked.name, reference, tuple(rows), (*missing, *later), made_with, tables.found)
        path = write_study(found)
    write_json(found.to_json(indent=1), options.json)
    if options.json != "-":
        _print(found)
        say(f"Kept as {path}", False)
    return 1 if missing else 0


class _Predictors:
    """What of each block might tell what rank is worth there, once for every task whose blocks are raced."""

    def __init__(self) -> None:
        self._tables: dict[str, BlockTable] = {}

    def add(self, race: StudyRace) -> None:
        """Measure the task's, where its blocks are raced."""
        if race.change and race.task not in self._tables:
            strategies = strategy_names() if race.options.strategies == "all" else names(race.options.strategies)
            self._tables[race.task] = predictor_table(race.task, race.options, strategies)

    @property
    def found(self) -> tuple[BlockTable, ...]:
        """In the order of tasks."""
        return tuple(self._tables.values())


def _spec(race: StudyRace) -> RunSpec:
    if not race.change:
        return race_spec(race.options, race.arms)
    from gelora.ranks import changed_plans

    return race_spec(race.options, {}, lambda plan: {one.name: one.plan for one in changed_plans(plan, race.change, race.n_groups)})


def _raced(spec: RunSpec) -> "RunInfo":
    """The finished run that is this race: found, followed, resumed or started.

    Raises:
        RunError: it ended without a result.
    """
    from gelora.runs import equal_runs, resume_run, start_run, stop_run, wait_for

    same = equal_runs(spec)
    info = next((info for info in same if info.state.status == "finished"), same[0] if same else None)
    if info is not None and info.state.status == "finished":
        return info
    run_id = start_run(spec) if info is None else info.id if info.is_live else resume_run(info.id)
    try:
        ended = wait_for(run_id, on_update=update_printer())
    except KeyboardInterrupt:
        print("\nStopping; the race saves a checkpoint first ...", file=sys.stderr)
        stop_run(run_id)
        raise
    if ended.state.status != "finished":
        raise RunError(f"The race {run_id} is {ended.state.status}: {ended.state.reason or 'no reason is known'}")
    return ended


def _rows(race: StudyRace, info: "RunInfo") -> list[StudyRow]:
    from gelora.ranks import changed_plans
    from gelora.runs import race_result

    result = race_result(info.id)
    if result is None or info.spec is None or info.spec.race is None:
        raise RunError(f"The race {info.id} has finished and left no result; delete it and call again.")
    answer, losses = race_answer(info, result), result.losses()
    reference = result.arm_of(info.spec.race.reference)
    changed = changed_plans(result.arms[reference].plan, race.change, race.n_groups) if race.change else []
    blocks = {one.name: one.blocks for one in changed}
    best = {arm.name: result.arm_of(arm.name) for arm in result.arms}
    return [
        StudyRow(
            task=race.task,
            model=race.options.model or answer["model"],  # as the file names them: a study is shown to others
            dataset=race.options.dataset or answer["dataset"],
            budget=race.budget,
            budget_params=answer["budget"],
            arm=arm["arm"],
            learning_rate=arm["learning_rate"],
            n_adapter_params=arm["n_adapter_params"],
            block_ranks=tuple(arm["block_ranks"].values()),
            eval_loss=arm["eval_loss"],
            main_metric=answer["main_metric"],
            metric=arm[answer["main_metric"]],
            losses=tuple(float(value) if value == value else None for value in losses[:, i]),
            difference=None if i == reference else arm["difference"],
            ci_low=arm["ci_low"],
            ci_high=arm["ci_high"],
            p_corrected=arm["p_corrected"],
            is_reference=i == reference,
            is_best_rate=best[arm["arm"]] == i,
            n_steps=answer["n_steps"],
            n_held_out=len(result.counted[0]),
            run=info.id,
            change=race.change,
            blocks=blocks.get(arm["arm"], ()),
        )
        for i, arm in enumerate(answer["arms"])
    ]


def _made_with(info: "RunInfo") -> dict[str, str]:
    from gelora.runs import provenance

    known = provenance(info.id)
    versions = {str(name): str(version) for name, version in known.get("packages", {}).items() if version}
    return versions | {name: str(known[name]) for name in ("python", "device_name", "platform") if known.get(name)}


def _print(found: Study) -> None:
    title = f"{found.name}: held-out loss, each arm at its best rate; difference to {found.reference} [95% interval]"
    for change in dict.fromkeys(row.change for row in found.rows):
        rows = [row for row in found.rows if row.change == change]
        columns = list(dict.fromkeys((row.task, row.budget) for row in rows))
        cells = {(row.arm, row.task, row.budget): row for row in rows if row.is_best_rate}
        table = [[arm, *(_cell(cells.get((arm, *column))) for column in columns)] for arm in dict.fromkeys(row.arm for row in rows)]
        print_table(f"{title}, blocks {change}" if change else title, ["arm", *(f"{task} {budget}" for task, budget in columns)], table)
    print("* after the difference: p < 0.05 by Holm's correction within a race. Below 0 is better.")
    for missing in found.not_run:
        print(f"Not run: {missing.task} at {missing.budget}: {missing.reason}")


def _cell(row: StudyRow | None) -> str:
    if row is None:
        return ""
    if row.eval_loss is None:
        return "diverged"
    if row.difference is None:
        return f"{row.eval_loss:.4f}"
    star = "*" if row.p_corrected is not None and row.p_corrected < 0.05 else ""
    return f"{row.difference:+.4f}{star} [{row.ci_low:+.4f}, {row.ci_high:+.4f}]"
