"""The record of a race: which plans train side by side, at which rates, with which seeds, for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gelora.errors import InputError
from gelora.record_json import ADDED, Record
from gelora.records.checks import LORA_INITS, MOST_SEED, check_choice, check_range, check_whole
from gelora.records.plans import RankPlan

FEW_SEEDS = "Fewer than three seeds: the interval is that of the rows, not of another beginning."
"""What a difference of a race with one or two seeds is worth, in a sentence."""

RACING_TASKS = ("classification", "regression", "causal-lm", "instruction")


def check_task_can_race(task: str) -> None:
    """Raise InputError for a kind of task whose arms cannot share a pass through the model."""
    if task not in RACING_TASKS:
        raise InputError(f"Arms of a race share {', '.join(RACING_TASKS)}; {task} is trained one run at a time (gelora train).")


def arm_name(plan: str, init: str, inits: Sequence[str]) -> str:
    """The name of a plan's arm that begins by `init`: the plan's alone where there is one beginning."""
    return plan if len(inits) == 1 else f"{plan} {init}"


def with_inits(plans: Mapping[str, RankPlan], inits: Sequence[str]) -> tuple[dict[str, RankPlan], dict[str, str]]:
    """Every plan with every beginning (of `LORA_INITS`), by `arm_name`; and the beginnings as `RaceSpec` has them.

    Raises:
        InputError: there is no beginning, or one that there is not.
    """
    if not inits:
        raise InputError("A race needs a beginning of its adapters: default, say.")
    for init in inits:
        check_choice("init_lora_weights", init, LORA_INITS)
    arms = {arm_name(plan, init, inits): (plans[plan], init) for plan in plans for init in inits}
    return {name: plan for name, (plan, _) in arms.items()}, {name: init for name, (_, init) in arms.items() if init != "default"}


@dataclass(frozen=True, slots=True, eq=False)
class RaceSpec(Record):
    """What of a race is not a lone run's: every plan trains at every learning rate, all on the same batches, once a seed.

    plans: by name (a strategy's, say), all of one model. learning_rates: peaks. seeds: of the rows drawn and their order,
    the head and the adapters' beginning. n_steps: optimizer steps of each seed. reference: the plan that the others are
    held against. inits: by a plan's name how its adapters begin, one of `LORA_INITS`; the others begin as the training says.
    """

    plans: dict[str, RankPlan]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    n_steps: int
    reference: str
    inits: dict[str, str] = field(default_factory=dict, metadata=ADDED)

    def __post_init__(self) -> None:
        check_whole("n_steps", self.n_steps, 1)
        for rate in self.learning_rates:
            check_range("learning_rate", rate, 1e-8, 1.0)
        if len(self.arms) < 2 or not self.seeds:
            raise InputError("A race needs two arms or more (strategies or learning rates) and a seed.")
        for seed in self.seeds:
            check_whole("The seed", seed, 0, MOST_SEED)
        for what, given in (("learning rates", self.learning_rates), ("seeds", self.seeds)):
            if len(set(given)) < len(given):
                raise InputError(f"The {what} of a race are {', '.join(f'{value:g}' for value in given)}; give each once.")
        check_choice("reference", self.reference, tuple(self.plans))
        for name, init in self.inits.items():
            check_choice("plan of a beginning", name, tuple(self.plans))
            check_choice("init_lora_weights", init, LORA_INITS)
        (first, plan), *others = self.plans.items()
        for name, other in others:
            if other.model_id != plan.model_id:
                raise InputError(
                    f"The ranks of {first} are for {plan.model_id}, those of {name} for {other.model_id}; arms of a race share one model."
                )

    @property
    def arms(self) -> tuple[tuple[str, float], ...]:
        """Name of the plan and learning rate of each arm, in the order of every array of a race."""
        return tuple((name, rate) for name in self.plans for rate in self.learning_rates)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each arm in a word: `uniform`, or `uniform 0.0005` where there are several rates."""
        return tuple(name if len(self.learning_rates) == 1 else f"{name} {rate:g}" for name, rate in self.arms)
