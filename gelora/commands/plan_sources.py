"""What `gelora plan` works from: a profile read or measured, a structure, module scores; each only when it is needed."""

import argparse
from functools import cached_property

from gelora.commands.adapters import adapter_folder
from gelora.commands.options import data_choice, drawn_sample, measurement_spec
from gelora.errors import InputError
from gelora.records import DataChoice, IdProfile, ModelStructure, ModuleScores, RankPlan, resolve_device
from gelora.terminal import TerminalProgress, read_text


class PlanSources:
    """The inputs of one call, found when first asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    @cached_property
    def given_profile(self) -> IdProfile | None:
        """The profile of --profile, of the model of --model if both are given.

        Raises:
            InputError: it cannot be read, or is of another model.
        """
        if not self._options.profile:
            return None
        text = read_text(self._options.profile, "profile")
        try:
            profile = IdProfile.from_json(text)
        except InputError as error:
            raise InputError(
                f"{self._options.profile} is no usable profile: {error} Make it with: gelora measure --json {self._options.profile}"
            ) from error
        if self._options.model is not None:
            from gelora.ranks import check_same_model
            from gelora.sources import model_structure

            structure = model_structure(self._options.model)
            check_same_model("The profile", profile.model.model_id, profile.model.whole.modules == structure.modules, structure)
        return profile

    @cached_property
    def profile(self) -> IdProfile:
        """The given profile, or else the one of these choices: kept from an earlier measurement, or measured now."""
        if self.given_profile is not None:
            return self.given_profile
        from gelora.measurements import Quantity, measured

        options, progress = self._options, TerminalProgress()
        wanted = measurement_spec(options, self.model_id, self.data)
        quantity = Quantity("estimators", (options.estimator,))
        device = resolve_device(options.device)
        profile, _ = measured(wanted, drawn_sample(wanted, progress), [quantity], again=options.again, device=device, progress=progress)
        progress.close()
        return profile

    @cached_property
    def structure(self) -> ModelStructure:
        """The model's structure: the profile's, or from the config alone."""
        if self.given_profile is not None:
            return self.given_profile.model.whole
        from gelora.sources import model_structure

        return model_structure(self.model_id)

    @property
    def model_id(self) -> str:
        """The model of --model, of the profile, or the bundled one."""
        from gelora.sources import BUNDLED_MODEL

        if self._options.model is not None:
            return str(self._options.model)
        return BUNDLED_MODEL if self.given_profile is None else self.given_profile.model.model_id

    @property
    def data(self) -> DataChoice:
        """The data of --dataset, of the profile, or the bundled one."""
        from gelora.sources import BUNDLED_DATASET

        if self._options.dataset is not None:
            return data_choice(self._options)
        if self.given_profile is not None:
            return self.given_profile.sample_source.choice
        self._options.dataset = BUNDLED_DATASET
        return data_choice(self._options)

    def scores(self, strategy: str, target_modules: str) -> ModuleScores | None:
        """The scores of the targeted matrices: measured now, read from --adapter for look-back, None where there is no need of any.

        Raises:
            GeloraError: model, data or adapter do not allow it.
        """
        from gelora.ranks import STRATEGIES, look_back_scores, module_scores

        needs = STRATEGIES[strategy].needs
        if needs == "adapter":
            if not self._options.adapter:
                raise InputError(f"{strategy} needs an adapter trained at a high rank: --adapter, its folder or a run's id.")
            return look_back_scores(adapter_folder(self._options.adapter), self.structure)
        if needs != "scores":
            return None
        from gelora.sources import select_modules

        progress = TerminalProgress()
        scores = module_scores(
            strategy,
            self.model_id,
            None if strategy == "weight-spectrum" else self.data,
            select_modules(self.structure, target_modules),
            max_length=self._options.max_length,
            device=resolve_device(self._options.device),
            progress=progress,
        )
        progress.close()
        return scores


def common_budget(options: argparse.Namespace, sources: PlanSources) -> int:
    """The parameters that all strategies get: those of --match, or what the rule costs at the offset."""
    from gelora.ranks import allocate_ranks, budget_params
    from gelora.sources import select_modules

    if options.match:
        return budget_params(options.match, select_modules(sources.structure, options.target_modules))
    targets = options.target_modules
    rule = allocate_ranks(sources.profile, targets, options.offset, options.rounding, options.estimator, scale=options.scale)
    return rule.n_adapter_params


def at_budget(options: argparse.Namespace, sources: PlanSources, strategy: str, budget: int) -> RankPlan:
    """A strategy's plan at a budget; what it needs (profile, scores) is measured where it is not there."""
    from gelora.ranks import STRATEGIES, plan_at_budget

    needs = STRATEGIES[strategy].needs
    return plan_at_budget(
        strategy,
        budget,
        sources.structure,
        options.target_modules,
        profile=sources.profile if needs == "profile" else None,
        scores=sources.scores(strategy, options.target_modules),
        estimator=options.estimator,
        rounding=options.rounding,
        scale=options.scale,
        seed=options.random_seed,
        floor=options.floor,
        cap=options.cap,
    )


def ranks_by_hand(options: argparse.Namespace) -> dict[str, int]:
    """--set-rank NAME=R, as often as it is given: a block number or a module's name, and its rank.

    Raises:
        InputError: one is not of that form.
    """
    ranks = {}
    for item in options.set_rank:
        name, _, rank = item.rpartition("=")
        if not name or not rank.isdecimal():
            raise InputError(f"--set-rank {item!r} is not NAME=R, a block number or a module's name and a whole rank, such as 3=4.")
        ranks[name] = int(rank)
    return ranks
