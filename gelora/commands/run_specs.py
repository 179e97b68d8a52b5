"""What `gelora train` is asked to do: options, presets and spec files -> the runs, one a seed."""

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import Any

from gelora.commands.options import data_choice, names, numbers
from gelora.errors import InputError
from gelora.records import METHODS, METHODS_WITH_PLAN, DataChoice, RankPlan, RunSpec, TrainingConfig, check_choice
from gelora.terminal import read_text

_COLUMNS = (
    "config",
    "split",
    "text_column",
    "pair_column",
    "label_column",
    "label_task",
    "encoding",
    "header",
    "separator",
    "skip_bad_rows",
)
_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def training_fields() -> list[str]:
    """The settings that `--set` takes."""
    return [field.name for field in dataclasses.fields(TrainingConfig)]


def run_specs(options: argparse.Namespace) -> list[RunSpec]:
    """The runs that are asked for: one, or one for each of --seeds.

    Raises:
        InputError: an option is not legal, or two of them contradict each other.
    """
    base = _spec_file(options.spec) if options.spec else None
    if base is not None and base.race is not None:
        return [_race_as_it_is(base, options)]
    model = options.model or (base.model if base else _bundled_model())
    data, held_out, training = _data(options, base)
    settings = dict(_setting(item) for item in options.set)
    settings |= {name: getattr(options, name) for name in ("epochs", "device") if getattr(options, name) is not None}
    settings["method"] = _method(options, settings.get("method", training.method))
    training = dataclasses.replace(training, **settings)
    plan = _plan(options, training.method, model, base)
    return [RunSpec(model, data, plan, training, seed, held_out) for seed in _seeds(options, base)]


def _spec_file(path: str) -> RunSpec:
    try:
        return RunSpec.from_json(read_text(path, "run spec"))
    except InputError as error:
        raise InputError(f"--spec {path}: {error} A run's own is spec.json in its folder.") from error


def _race_as_it_is(base: RunSpec, options: argparse.Namespace) -> RunSpec:
    changes = ("model", "dataset", "preset", "held_out", "plan", "rank", "method", "seed", "seeds", "epochs", "device", "set", "head_only")
    given = [f"--{name.replace('_', '-')}" for name in changes if getattr(options, name) not in (None, [], False)]
    if given:
        raise InputError(f"{options.spec} is a race and is repeated as it is: leave out {', '.join(given)}, or start another: gelora race.")
    return base


def _data(options: argparse.Namespace, base: RunSpec | None) -> tuple[DataChoice, DataChoice | None, TrainingConfig]:
    training = base.training if base else TrainingConfig()
    held_out = base.held_out if base else None
    if options.preset:
        if base is not None:
            raise InputError("--preset and --spec both say what to learn; give one of them.")
        from gelora.tasks import apply_preset

        data, held_out, training = apply_preset(options.preset, options.dataset)
        chosen = _chosen(options)
        data = dataclasses.replace(data, **chosen)
    elif base is not None and options.dataset is None:
        chosen = _chosen(options)
        data = dataclasses.replace(base.data, **chosen)
    else:
        held_out = None  # rows of other data than those that are asked for now
        data = dataclasses.replace(data_choice(options), dataset=options.dataset or _bundled_dataset())
    if options.held_out:
        held_out = held_out_choice(options.held_out, data)
    return data, held_out, training


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The options about the data beside its name."""
    asked = data_choice(options)
    return {name: value for name in _COLUMNS if (value := getattr(asked, name)) is not None and value != getattr(DataChoice(""), name)}


def held_out_choice(given: str, data: DataChoice) -> DataChoice:
    """A file with the same columns, or a split of the same hub dataset."""
    from gelora.sources import names_a_file

    if names_a_file(given) or Path(given).suffix:
        return dataclasses.replace(data, dataset=given, config=None, split=None)
    return dataclasses.replace(data, split=given)


def _method(options: argparse.Namespace, method: str) -> str:
    if options.head_only:
        if options.method not in (None, "head"):
            raise InputError(f"--head-only and --method {options.method} contradict each other; give one of them.")
        return "head"
    method = options.method or method
    check_choice("method", method, METHODS)
    return method


def _plan(options: argparse.Namespace, method: str, model: str, base: RunSpec | None) -> RankPlan | None:
    if method not in METHODS_WITH_PLAN:
        if options.plan or options.rank is not None:
            raise InputError(f"Method {method!r} has no ranks; leave out --plan and --rank.")
        return None
    if options.plan:
        return RankPlan.from_json(read_text(options.plan, "plan"))
    if options.rank is not None:
        from gelora.ranks import uniform_ranks
        from gelora.sources import model_structure

        return uniform_ranks(model_structure(model), options.rank, options.target_modules)
    if base is not None and base.plan is not None:
        return base.plan
    without = ", ".join(name for name in METHODS if name not in METHODS_WITH_PLAN)
    raise InputError(f"Say what to train: --plan FILE or --rank R, or a --method without ranks ({without}).")


def _seeds(options: argparse.Namespace, base: RunSpec | None) -> list[int]:
    if options.seeds is None:
        return [options.seed if options.seed is not None else base.seed if base else 0]
    if options.seed is not None:
        raise InputError("--seed and --seeds both say the seed; give one of them.")
    found = numbers("--seeds", options.seeds, int, "0,1,2")
    if not found:
        raise InputError("--seeds is empty; give whole numbers with commas, such as 0,1,2.")
    return found


def _setting(item: str) -> tuple[str, Any]:
    key, separator, value = item.partition("=")
    kinds = typing.get_type_hints(TrainingConfig)
    if not separator or key not in training_fields():
        raise InputError(f"--set {item!r} is not KEY=VALUE with one of these keys: {', '.join(training_fields())}.")
    kind = kinds[key]
    try:
        if kind is bool:
            return key, _TRUTHS[value.strip().lower()]
        if typing.get_origin(kind) is tuple:
            return key, tuple(typing.get_args(kind)[0](word) for word in names(value))
        return key, kind(value)
    except (KeyError, ValueError) as error:
        legal = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a list of numbers with commas")
        raise InputError(f"--set {key}: {value!r} is not {legal}.") from error


def _bundled_model() -> str:
    from gelora.sources import BUNDLED_MODEL

    return BUNDLED_MODEL


def _bundled_dataset() -> str:
    from gelora.sources import BUNDLED_DATASET

    return BUNDLED_DATASET
