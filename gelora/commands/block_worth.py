"""What a study measures block by block: races of plans changed in some blocks, and what of each block might tell the outcome."""

import argparse
import math
from collections.abc import Sequence

from gelora.commands.options import drawn_sample, measurement_spec
from gelora.commands.plan_sources import PlanSources
from gelora.records import BlockTable, check_choice, check_whole, resolve_device
from gelora.terminal import TerminalProgress


def check_changes(changes: Sequence[str], n_groups: int | None) -> None:
    """Raise InputError for a change that there is not, or a number of groups that is none."""
    from gelora.ranks import CHANGES

    for change in changes:
        check_choice("change", change, CHANGES)
    if n_groups is not None:
        check_whole("groups", n_groups, 1)


def predictor_table(task: str, options: argparse.Namespace, strategies: Sequence[str]) -> BlockTable:
    """Rises, levels, similarity of consecutive layers, and the scores of those strategies that have scores, by block.

    Raises:
        GeloraError: model or data do not allow a measurement.
    """
    from gelora.block_predictors import block_predictors
    from gelora.measurements import measured_similarity
    from gelora.ranks import STRATEGIES

    sources, progress = PlanSources(options), TerminalProgress()
    wanted = measurement_spec(options, sources.model_id, sources.data)
    similarity, _ = measured_similarity(
        wanted, sample=drawn_sample(wanted, progress), device=resolve_device(options.device), progress=progress
    )
    progress.close()
    scored = [name for name in strategies if name in STRATEGIES and STRATEGIES[name].needs == "scores"]
    scores = [found for name in scored if (found := sources.scores(name, options.target_modules)) is not None]
    table = block_predictors(sources.profile, similarity, scores)
    values = {name: tuple(None if math.isnan(value) else float(value) for value in column) for name, column in table.items()}
    return BlockTable(task, sources.model_id, values)
