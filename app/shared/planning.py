"""The plan that follows from what a person has chosen: the rule or another strategy, at an offset or a budget, edits on top.

Asks the library for plans; draws nothing.
"""

from collections.abc import Sequence

import streamlit as st

from app import state
from app.shared import measuring, module_scores
from app.shared.cache import structure
from app.shared.module_scores import ScoresSpec
from gelora.errors import GeloraError, InputError
from gelora.measurements import IdentityCache
from gelora.ranks import (
    STRATEGIES,
    allocate_ranks,
    budget_params,
    edit_ranks,
    estimator_shares,
    match_budget,
    plan_at_budget,
    rise_shares,
    rise_units,
    uniform_ranks,
)
from gelora.records import IdProfile, ModelStructure, ModuleScores, RankPlan
from gelora.sources import select_modules


def structure_of(profile: IdProfile | None) -> ModelStructure:
    """The structure of the profile's model; without a profile that of the chosen one, from its configuration.

    Raises:
        GeloraError: the chosen model cannot be found or has no shape that can be adapted.
    """
    return structure(state.measurement().model) if profile is None else profile.model


def rule_plan(profile: IdProfile | None, estimator: str | None = None) -> RankPlan:
    """The rule's plan at the chosen offset or budget; without a profile a uniform rank, the offset's or the budget's.

    Raises:
        InputError: the choices give no plan (a budget too small, offset 0 and no rise).
    """
    chosen = st.session_state
    targets, match = chosen["targets"], chosen["match"]
    if profile is None:
        model = structure_of(None)
        if match:
            return plan_at_budget("uniform", budget_params(match, select_modules(model, targets)), model, targets)
        return uniform_ranks(model, chosen["offset"], targets)
    estimator = estimator or focus(profile)
    key = (targets, match, chosen["offset"], chosen["rounding"], chosen["scale"], estimator)
    return _RULE_PLANS.get(profile, key, lambda: _rule_plan(profile, *key))


_RULE_PLANS: IdentityCache[RankPlan] = IdentityCache(256)


def _rule_plan(profile: IdProfile, targets: str, match: str, offset: int, rounding: str, scale: float, estimator: str) -> RankPlan:
    if match:
        budget = budget_params(match, select_modules(profile.model, targets))
        return match_budget(profile, budget, targets, rounding, estimator, scale=scale)
    return allocate_ranks(profile, targets, offset, rounding, estimator, scale=scale)


def with_edits(plan: RankPlan) -> RankPlan:
    """`plan` with the edits by hand that concern its modules, each cut to what its matrix holds."""
    ranks: dict[str, int] = {}
    for name, rank in st.session_state["edits"].items():
        for module in plan.modules:
            if name in (module.name, str(module.block)):
                ranks[module.name] = min(rank, module.smaller_side)
    return edit_ranks(plan, ranks)


def chosen_plan(profile: IdProfile | None) -> RankPlan:
    """The plan that is to be used: of the chosen strategy at the rule's cost, with the edits by hand.

    Raises:
        InputError: the choices give no plan, or the strategy's scores are not measured.
    """
    rule = rule_plan(profile)
    strategy = st.session_state["strategy"]
    is_rules = strategy == rule.strategy or (profile is None and strategy == "gelora")  # which without a profile is a uniform rank
    return with_edits(rule if is_rules else strategy_plan(strategy, rule, profile))


def strategy_plan(strategy: str, rule: RankPlan, profile: IdProfile | None) -> RankPlan:
    """Another strategy's plan at the cost of the rule's.

    Raises:
        InputError: it needs what is not measured, or cannot meet the budget.
    """
    needs, label, scores = STRATEGIES[strategy].needs, STRATEGIES[strategy].label, None
    if needs == "scores":
        scores = scores_of(strategy, rule.target_modules)
        if scores is None:
            raise InputError(f"{label} needs scores of the matrices; measure them under Strategies.")
    if needs == "adapter":
        scores = module_scores.look_back_of(st.session_state["beside"])
        if scores is None:
            raise InputError(
                f"{label} needs a trained adapter with its weights; import one, or that of a finished run, at the end of the page."
            )
    return plan_at_budget(
        strategy,
        rule.n_adapter_params,
        structure_of(profile),
        rule.target_modules,
        profile=profile,
        scores=scores,
        estimator=rule.estimator or "twonn",
        rounding=rule.rounding or "ceil",
        scale=1.0 if rule.scale is None else rule.scale,
        floor=st.session_state["floor"],
        cap=st.session_state["cap"] or None,
    )


def all_strategies(rule: RankPlan, profile: IdProfile | None) -> tuple[dict[str, RankPlan], dict[str, str]]:
    """Every strategy's plan at the cost of the rule's, and for those that have none the reason."""
    plans, reasons = {}, {}
    for strategy in STRATEGIES:
        try:
            plans[strategy] = rule if strategy == rule.strategy else strategy_plan(strategy, rule, profile)
        except GeloraError as error:
            reasons[strategy] = str(error)
    return plans, reasons


def plans_at_one_budget(strategies: Sequence[str]) -> dict[str, RankPlan]:
    """The plans of these strategies at the cost of the rule's, by strategy.

    Raises:
        GeloraError: a strategy lacks its profile or its scores, or the choices give no plan.
    """
    profile = measuring.current_profile()
    rule = rule_plan(profile)
    return {name: rule if name == rule.strategy else strategy_plan(name, rule, profile) for name in strategies}


def scores_spec(targets: str) -> ScoresSpec:
    """What scores of the matrices would be measured with, for the present choices."""
    wanted = state.measurement()
    return ScoresSpec(wanted.model, wanted.data, targets, wanted.max_length)


def scores_of(strategy: str, targets: str) -> ModuleScores | None:
    """The scores of the chosen model's matrices by one strategy, if they are measured."""
    return module_scores.scores_of(scores_spec(targets), strategy)


def units_and_shares(profile: IdProfile | None, estimator: str) -> tuple[dict[int, int | None], dict[int, tuple[float, ...]], int]:
    """What the rule adds above the offset by block, the share that supports each such unit, and of how many (0: nobody was asked)."""
    if profile is None:
        return {}, {}, 0
    rounding, scale = st.session_state["rounding"], st.session_state["scale"]
    units = rise_units(profile, estimator, rounding, scale)
    if st.session_state["doubt"] == "estimators":
        return units, estimator_shares(profile, None, rounding, scale), len(profile.estimates)
    shares = rise_shares(profile, estimator, rounding, scale)
    n_halves = len(profile.subsamples.get(estimator, ()))
    return units, shares, n_halves or int(any(shares.values()))  # without halves an estimator's own interval gives shares too


def plans_by_estimator(profile: IdProfile) -> tuple[dict[str, RankPlan], str | None]:
    """The rule's plan by every estimator, and a sentence where one gives none (offset 0 and no rise, say)."""
    plans, reason = {}, None
    for estimator in profile.estimates:
        try:
            plans[estimator] = rule_plan(profile, estimator)
        except InputError as error:
            reason = f"{measuring.labels([estimator])}: {error}"
    return plans, reason


def focus(profile: IdProfile) -> str:
    """The estimator looked at; the first measured one while it is not measured yet."""
    chosen = st.session_state["estimator"]
    return chosen if chosen in profile.estimates else next(iter(profile.estimates))


def training_plan() -> RankPlan:
    """The ranks that a run is to use, as they stand on Ranks.

    Raises:
        GeloraError: they need a curve that is not measured, or the choices give no plan.
    """
    return chosen_plan(None if st.session_state["plan_only"] and measuring.current_profile() is None else _measured())


def uniform_plan(r: int) -> RankPlan:
    """Rank r on every targeted matrix of the chosen model.

    Raises:
        GeloraError: the model cannot be found, or r is below 1.
    """
    return uniform_ranks(structure_of(None), r, st.session_state["targets"])


def plans_to_compare(offsets: Sequence[int], estimators: Sequence[str]) -> dict[str, RankPlan]:
    """The rule's plan at each offset by each estimator; an empty list stands for the chosen one. Edits by hand are left out.

    Raises:
        GeloraError: nothing is measured, or an offset gives no plan.
    """
    profile = _measured()
    chosen = st.session_state
    plans = {}
    for estimator in estimators or [focus(profile)]:
        for offset in offsets or [chosen["offset"]]:
            name = f"{measuring.labels([estimator])}, offset {offset}"
            plans[name] = allocate_ranks(profile, chosen["targets"], offset, chosen["rounding"], estimator, scale=chosen["scale"])
    return plans


def _measured() -> IdProfile:
    profile = measuring.current_profile()
    if profile is None:
        raise InputError("These ranks need a measured curve of the chosen model and data: press Measure first, or train a uniform rank.")
    return profile
