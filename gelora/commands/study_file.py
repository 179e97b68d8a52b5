"""A study's file: races over tasks and budgets, written in TOML with the options of `gelora race`.

name = "which block"                  # of the study
budgets = ["uniform:1", "uniform:2"]  # as --match

[race]                                # options of gelora race for all races
strategies = ["gelora", "uniform", "fisher"]
steps = 400
seeds = [0, 1, 2]

[tasks.sst2]                          # options of one task's races
dataset = "sst2.jsonl"

[arms."gelora, MLE"]                  # a strategy once more, with options of its ranks changed
strategy = "gelora"
estimator = "mle"

[arms."twice the rank"]
strategy = "uniform"
times = 2.0                           # of the budget

[blocks]                              # races that ask what rank is worth in a block
changes = ["alone", "twice"]          # or "without"
groups = 6                            # of blocks; without it six for "alone", else every block
"""

import argparse
import copy
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gelora.commands.block_worth import check_changes
from gelora.commands.options import names, strategy_names
from gelora.errors import InputError
from gelora.records import check_choice, check_range
from gelora.terminal import read_text

_OF_A_STUDY = ("name", "budgets", "race", "tasks", "arms", "blocks")
_OF_A_CALL = ("json", "detach", "command", "repeat", "verb", "file", "report_to", "runs_at_once")
_OF_RANKS = (
    "estimator", "rounding", "scale", "target_modules", "random_seed", "n_samples", "seed", "keep_repeats", "pooling", "sinks",
    "sink_ratio", "max_length", "n_neighbors", "cap", "floor", "points", "inits",
)  # fmt: skip


@dataclass(frozen=True)
class FurtherArm:
    """A strategy once more: under which options its ranks are made, and at how many times the budget."""

    strategy: str
    options: argparse.Namespace
    times: float


@dataclass(frozen=True)
class StudyRace:
    """One race of a study: the options of `gelora race`, and the arms beside its strategies; where there is a `change`, the
    reference against itself changed in one of so many groups of blocks.
    """

    task: str
    budget: str
    options: argparse.Namespace
    arms: dict[str, FurtherArm]
    change: str = ""
    n_groups: int | None = None

    @property
    def words(self) -> str:
        """What is raced at which budget."""
        return f"{self.budget}, blocks {self.change}" if self.change else self.budget


@dataclass(frozen=True)
class StudyFile:
    """A study as its file asks for it."""

    name: str
    reference: str
    races: tuple[StudyRace, ...]


def read_study_file(path: str, options: argparse.Namespace) -> StudyFile:
    """The races that a file asks for; what it leaves open is as in `options`.

    Raises:
        InputError: it cannot be read, or holds an unknown name or a value of the wrong kind.
    """
    try:
        given = tomllib.loads(read_text(path, "study"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}.") from error
    _check_names(path, given, _OF_A_STUDY, "the study")
    name, budgets, tasks = given.get("name", Path(path).stem), given.get("budgets"), _table(path, given, "tasks")
    if not isinstance(name, str) or not isinstance(budgets, list) or not budgets or not tasks:
        raise InputError(f'{path} needs budgets = ["uniform:2", ...] and a table [tasks.NAME] for every task, with its dataset.')
    common = _with(path, "race", options, _table(path, given, "race"))
    changes, n_groups = _changes(path, _table(path, given, "blocks"))
    races = []
    for task in tasks:
        of_task = _with(path, f"tasks.{task}", common, _table(path, tasks, task))
        for budget in budgets:
            of_race = copy.copy(of_task)
            of_race.match = str(budget)
            races.append(StudyRace(task, str(budget), of_race, _further(path, _table(path, given, "arms"), of_race)))
            races += [StudyRace(task, str(budget), of_race, {}, change, n_groups) for change in changes]
    legal = strategy_names()
    for race in races:
        chosen = legal if race.options.strategies == "all" else names(race.options.strategies)
        for strategy in (*chosen, race.options.reference, *(arm.strategy for arm in race.arms.values())):
            check_choice("strategy", strategy, legal)
        if doubled := set(race.arms) & set(chosen):
            raise InputError(f"{path}: the arm {min(doubled)!r} has the name of a strategy; give it another.")
    return StudyFile(name, common.reference, tuple(races))


def _changes(path: str, table: Mapping[str, Any]) -> tuple[list[str], int | None]:
    _check_names(path, table, ("changes", "groups"), "blocks")
    changes, n_groups = table.get("changes", []), table.get("groups")
    if not isinstance(changes, list) or (bool(table) and not changes):
        raise InputError(f'{path}, [blocks]: give changes = ["alone", "twice", "without"] or some of them.')
    check_changes(changes, n_groups)
    return list(dict.fromkeys(changes)), n_groups


def _further(path: str, arms: Mapping[str, Any], options: argparse.Namespace) -> dict[str, FurtherArm]:
    found = {}
    for name in arms:
        table = dict(_table(path, arms, name))
        strategy, times = table.pop("strategy", None), table.pop("times", 1.0)
        if not isinstance(strategy, str) or not isinstance(times, int | float) or isinstance(times, bool):
            raise InputError(f'{path}, [arms.{name}]: give strategy = "...", and times as a number where it has another budget.')
        check_range("times", times, 0.01, 100)
        _check_names(path, table, [key.replace("_", "-") for key in _OF_RANKS], f"arms.{name}")
        found[name] = FurtherArm(strategy, _with(path, f"arms.{name}", options, table), float(times))
    return found


def _with(path: str, where: str, options: argparse.Namespace, table: Mapping[str, Any]) -> argparse.Namespace:
    changed = copy.copy(options)
    _check_names(path, table, sorted(name.replace("_", "-") for name in vars(options) if name not in _OF_A_CALL), where)
    for key, value in table.items():
        attribute = key.replace("-", "_")
        setattr(changed, attribute, _value(path, f"[{where}]: {key}", value, getattr(options, attribute)))
    return changed


def _value(path: str, what: str, value: Any, usual: Any) -> Any:
    """A value of a file as the command line would have given it: lists as words with commas, numbers as the option's kind."""
    if isinstance(usual, bool):
        if not isinstance(value, bool):
            raise InputError(f"{path}, {what} is {value!r}; give true or false.")
        return value
    if isinstance(usual, int | float):
        kind = int if isinstance(usual, int) else float
        if isinstance(value, bool) or not isinstance(value, int | kind):
            raise InputError(f"{path}, {what} is {value!r}; give a {'whole number' if kind is int else 'number'}.")
        return kind(value)
    if isinstance(value, dict):
        raise InputError(f"{path}, {what} is a table; give a text, a number or a list.")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(path: str, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = given.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{path}: {name} is {table!r}; write it as a table, [{name}].")
    return table


def _check_names(path: str, table: Mapping[str, Any], legal: Any, where: str) -> None:
    for name in table:
        if name not in legal:
            raise InputError(f"{path}: {where} knows no {name!r}; it knows {', '.join(legal)}.")
