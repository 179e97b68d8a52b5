"""A race as the command line shows it: a table with the differences to the reference, or plain values for a machine."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gelora.records import FEW_SEEDS
from gelora.terminal import print_table

if TYPE_CHECKING:
    from gelora.runs import RaceResult, RunInfo

_HEADER = ["arm", "rate", "held-out loss", "metric", "difference", "95% CI", "p (Holm)", "largest rank of each block"]


def race_answer(info: "RunInfo", result: "RaceResult") -> dict[str, Any]:
    """What a finished race found, as plain values; the reference at the best of its learning rates."""
    assert info.spec is not None and info.spec.race is not None and info.spec.plan is not None
    began, ended = (datetime.fromisoformat(at) if at else None for at in (info.state.started_at, info.state.ended_at))
    plan = info.spec.plan
    about = {
        "id": info.id,
        "model": info.model,
        "dataset": info.dataset,
        "budget": plan.n_adapter_params if plan.target_params is None else plan.target_params,
        "seconds": (ended - began).total_seconds() if began and ended else None,
    }
    return about | result.as_json(result.arm_of(info.spec.race.reference))


def print_race(info: "RunInfo", result: "RaceResult") -> None:
    """The table of a finished race, and what of it is more than chance."""
    from gelora.ranks import same_ranks

    assert info.spec is not None and info.spec.race is not None
    answer, race = race_answer(info, result), info.spec.race
    metric = answer["main_metric"]
    rows = []
    for arm in answer["arms"]:
        interval = "" if arm["ci_low"] is None else f"[{arm['ci_low']:+.4f}, {arm['ci_high']:+.4f}]"
        p = "" if arm["p_corrected"] is None else f"{arm['p_corrected']:.2g}"
        values = [_number(arm["eval_loss"], ".4f"), _number(arm[metric], ".4g"), _number(arm["difference"], "+.4f"), interval, p]
        rows.append([arm["arm"], f"{arm['learning_rate']:g}", *values, " ".join(map(str, arm["block_ranks"].values()))])
    reference = result.arm_of(race.reference)
    rows[reference][6] = "reference"
    title = (
        f"{answer['model']} on {answer['dataset']} ({answer['task']}): {answer['budget']:,} adapter parameters, {answer['n_steps']} steps"
    )
    print_table(title, [metric.removeprefix("eval_") if word == "metric" else word for word in _HEADER], rows)
    rate = result.arms[reference].learning_rate
    print(f"Differences are of the held-out loss to {race.reference} at {rate:g}, paired by row and seed: below 0 is better.")
    found = zip(race.labels, result.differences(reference), strict=True)
    significant = [f"{label} ({difference.word})" for label, difference in found if difference.is_significant]
    print(f"Significant at 5% after correction: {', '.join(significant) or 'none'}.")
    if len(race.seeds) < 3:
        print(f"{FEW_SEEDS} Give --seeds 0,1,2.")
    for same in same_ranks(race.plans):
        print(f"{', '.join(same[:-1])} and {same[-1]} have the same ranks here: their difference is none of the ranks'.")


def _number(value: float | None, form: str) -> str:
    return "diverged" if value is None else format(value, form)
