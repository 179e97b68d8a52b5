"""An experiment: runs that differ only in what is compared, and a summary of their results.

Pure: records in, records out; starts nothing and reads no file.
"""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gelora.errors import InputError
from gelora.records import METHODS, METHODS_WITH_PLAN, RankPlan, RunSpec, TrainingConfig, check_choice
from gelora.runs.records.state import RunInfo

METHOD_WORDS = {"lora": "LoRA", "adalora": "AdaLoRA", "head": "head only", "bitfit": "BitFit", "full": "full fine-tuning", "race": "race"}
_LORA_ONLY = ("use_dora", "init_lora_weights", "reallocate_at")
_DEFAULT = TrainingConfig()


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seed alone.

    label: what sets the group apart from the others; values: the metric of each run, in the order of `run_ids`;
    n_params: trained parameters beside the head; mean and spread of the values, spread being the sample standard
    deviation, None for a single run.
    """

    label: str
    run_ids: tuple[str, ...]
    values: tuple[float, ...]
    n_params: int
    method: str
    strategy: str | None

    @property
    def mean(self) -> float:
        """Mean of the metric over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation of the metric over the seeds; None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def variants(
    base: RunSpec, *, seeds: Sequence[int], plans: Mapping[str, RankPlan] | None = None, methods: Sequence[str] = ("lora",)
) -> list[RunSpec]:
    """The runs of one experiment: every method that has a plan with every plan, the others once, and all with every seed.

    They share data, data order and every setting; what only LoRA has is left out of the other methods. Runs of one seed
    come after each other, so that a first comparison is complete before the second seed begins; the same run asked for twice
    is given once.

    Args:
        base: model, data and settings; its own plan, method and seed are not used.
        seeds: one run each, at least one.
        plans: by name, for lora and adalora.
        methods: of METHODS, at least one.

    Raises:
        InputError: no seed, no method, an unknown one, or a method that needs a plan where there is none.
    """
    if not seeds or not methods:
        raise InputError(f"An experiment needs at least one seed and one method ({', '.join(METHODS)}).")
    for method in methods:
        check_choice("method", method, METHODS)
        if method in METHODS_WITH_PLAN and not plans:
            raise InputError(f"{METHOD_WORDS[method]} needs a rank plan; choose ranks first.")
    found: dict[str, RunSpec] = {}
    for seed in seeds:
        for method in methods:
            training = _of_method(base.training, method)
            for plan in (plans or {}).values() if method in METHODS_WITH_PLAN else (None,):
                spec = dataclasses.replace(base, plan=plan, training=training, seed=seed)
                found.setdefault(spec.digest(), spec)
    return list(found.values())


def _of_method(training: TrainingConfig, method: str) -> TrainingConfig:
    if method == "lora":
        return dataclasses.replace(training, method=method)
    return dataclasses.replace(training, method=method, **{name: getattr(_DEFAULT, name) for name in _LORA_ONLY})


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Everything that defines a run under plain names, for tables and comparisons."""
    settings: dict[str, Any] = {"model": spec.model}
    settings |= {f"data {name}" if name != "dataset" else "data": value for name, value in dataclasses.asdict(spec.data).items()}
    settings["held-out data"] = spec.held_out.dataset if spec.held_out else None
    settings |= dataclasses.asdict(spec.training)
    plan = spec.plan
    settings |= {
        "strategy": plan.strategy if plan else None,
        "offset": plan.offset if plan else None,
        "estimator": plan.estimator if plan else None,
        "rounding": plan.rounding if plan else None,
        "target modules": plan.target_modules if plan else None,
        "ranks by block": " ".join(map(str, plan.block_ranks().values())) if plan else None,
        "adapter parameters": plan.n_adapter_params if plan else None,
    }
    if spec.race is not None:
        of_race = {"arms": ", ".join(spec.race.labels), "steps": spec.race.n_steps, "reference": spec.race.reference}
        return settings | of_race | {"seed": ", ".join(map(str, spec.race.seeds))}
    return settings | {"seed": spec.seed}


def differences(specs: Mapping[str, RunSpec]) -> dict[str, dict[str, Any]]:
    """{setting: {run id: value}} for the settings in which the runs differ, in the order of `settings_of`."""
    all_settings = {run_id: settings_of(spec) for run_id, spec in specs.items()}
    names = dict.fromkeys(name for settings in all_settings.values() for name in settings)
    table = {name: {run_id: settings.get(name) for run_id, settings in all_settings.items()} for name in names}
    return {name: values for name, values in table.items() if len(set(map(str, values.values()))) > 1}


def summarise(runs: Iterable[RunInfo], metric: str) -> list[RunGroup]:
    """The finished runs that have the metric, races left out, grouped by everything but the seed, the cheapest group first."""
    groups: dict[str, list[RunInfo]] = {}
    for run in runs:
        if run.spec is None or run.spec.race is not None:
            continue
        if run.state.status == "finished" and math.isfinite(run.state.metrics.get(metric, math.nan)):
            groups.setdefault(dataclasses.replace(run.spec, seed=0).digest(), []).append(run)
    labels = _labels({key: members[0].spec for key, members in groups.items() if members[0].spec is not None})
    found = [
        RunGroup(
            label=labels[key],
            run_ids=tuple(run.id for run in members),
            values=tuple(run.state.metrics[metric] for run in members),
            n_params=members[0].state.n_adapter_params or 0,
            method=members[0].method,
            strategy=members[0].strategy,
        )
        for key, members in groups.items()
    ]
    return sorted(found, key=lambda group: (group.n_params, group.label))


def describe_method(spec: RunSpec) -> str:
    """The method and its ranks in a few words: "rule, offset 1", "uniform r = 4", "race of 2: gelora, uniform"."""
    plan = spec.plan
    if spec.race is not None:
        return f"race of {len(spec.race.arms)}: {', '.join(spec.race.plans)}"
    if plan is None:
        return METHOD_WORDS[spec.training.method]
    if plan.strategy == "uniform" and len(set(plan.ranks.values())) == 1:
        words = f"uniform r = {max(plan.ranks.values())}"
    elif plan.strategy == "gelora":
        words = f"rule, offset {plan.offset}" + (f", {plan.estimator}" if plan.estimator not in (None, "twonn") else "")
    else:
        words = plan.strategy
    words += ", by hand" if plan.edits else ""
    if spec.training.method == "adalora":
        return f"AdaLoRA at {plan.n_adapter_params:,} parameters"
    return words + (", DoRA" if spec.training.use_dora else "")


def _labels(specs: Mapping[str, RunSpec]) -> dict[str, str]:
    """What sets each apart: method and ranks, and the settings that differ beside them where that is not enough."""
    words = {key: describe_method(spec) for key, spec in specs.items()}
    said = {"method", "strategy", "offset", "estimator", "ranks by block", "adapter parameters", "seed", *_LORA_ONLY[:1]}
    table = differences(specs)
    differing = [name for name, values in table.items() if name not in said and len({str(v) for v in values.values() if v is not None}) > 1]
    labels = {key: ", ".join([text, *(f"{name} {table[name][key]}" for name in differing if table[name][key] is not None)])
              for key, text in words.items()}  # fmt: skip
    shared = {label for label, n in Counter(labels.values()).items() if n > 1}  # random ranks of two seeds, scores of two samples
    ranks = table.get("ranks by block", {})
    return {key: f"{label}, ranks {ranks[key]}" if label in shared and ranks.get(key) else label for key, label in labels.items()}


def pareto_front(groups: Sequence[RunGroup], higher_is_better: bool = True) -> list[RunGroup]:
    """The groups that no other beats: none is as cheap and better, or cheaper and as good. The cheapest first.

    Groups with equal parameters and an equal mean do not beat each other: both are in the front.
    """
    sign = 1 if higher_is_better else -1

    def beats(other: RunGroup, group: RunGroup) -> bool:
        gains = (group.n_params - other.n_params, sign * (other.mean - group.mean))
        return min(gains) >= 0 and max(gains) > 0

    return sorted((g for g in groups if not any(beats(other, g) for other in groups)), key=lambda g: (g.n_params, sign * g.mean, g.label))


def is_significant(first: RunGroup, second: RunGroup) -> bool | None:
    """Whether the 95% interval of the difference of two means over seeds excludes 0; None where a group has one run alone.

    Source: Welch, Biometrika 34 (1947): variances of their own, the degrees of freedom that follow.
    """
    if first.spread is None or second.spread is None:
        return None
    from scipy.special import stdtrit

    difference = abs(first.mean - second.mean)
    parts = [group.spread**2 / len(group.values) for group in (first, second) if group.spread is not None]
    variance = sum(parts)
    if variance == 0:
        return difference > 0
    freedom = variance**2 / sum(part**2 / (len(g.values) - 1) for part, g in zip(parts, (first, second), strict=True))
    return bool(difference > stdtrit(freedom, 0.975) * math.sqrt(variance))
