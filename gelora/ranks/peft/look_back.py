"""What a trained adapter used, as scores of a model's matrices: the strategy look-back.

Reads the adapter's files and a structure; does not depend on weights of the model, on budgets or on ranks.
"""

import time
from pathlib import Path

import numpy as np

from gelora.errors import InputError, ModelError
from gelora.ranks.peft.adapter_factors import read_factors
from gelora.ranks.peft.adapter_files import read_adapter
from gelora.ranks.peft.update_spectrum import spectrum_of
from gelora.records import SCORE_DEFINITIONS, ModelStructure, ModuleScores


def look_back_scores(adapter: str | Path, structure: ModelStructure) -> ModuleScores:
    """The shares of an adapter's squared singular values: of each matrix (`scores`), and value by value (`components`).

    A strategy that gives the next unit of rank to the largest share per parameter has the ranks of `compress_adapter` at the
    same budget. Train the adapter uniform at a rank well above the one that is wanted, on the same task: a matrix cannot be
    found to use more directions than it had.

    Args:
        adapter: the folder of a trained LoRA adapter with its weights, as `read_factors` takes it.
        structure: the model that it is for.

    Raises:
        InputError: there is no trained adapter with weights, or its B·A is not what training added.
        ModelError: it is for another model.
    """
    from gelora.ranks.peft.adapter_models import modules_by_name

    began, read = time.perf_counter(), read_factors(adapter)
    if read.config.changes_base_weights:
        raise InputError(f"{read.folder}: {read.notes[0]} Give an adapter trained from PEFT's default beginning.")
    spectra = {factors.module: spectrum_of(factors.a, factors.b, factors.scaling) for factors in read.modules}
    full_names, _, _ = modules_by_name(read_adapter(read.folder), spectra, structure, ())
    modules = {module.name: module for module in structure.modules}
    found = {name: spectra[full] for name, full in full_names.items()}
    wrong = [n for n, s in found.items() if (s.in_features, s.out_features) != (modules[n].in_features, modules[n].out_features)]
    if wrong:
        raise ModelError(f"The adapter {read.folder} has other shapes than {structure.model_id}, such as {wrong[0]}; choose its own model.")
    total = sum(s.norm**2 for s in found.values())
    if not total:
        raise InputError(f"The adapter {read.folder} is untrained: every B·A is zero. Give one that has been trained.")
    return ModuleScores(
        strategy="look-back",
        scores={name: s.norm**2 / total for name, s in found.items()},
        components={name: np.maximum(s.singular_values**2 / total, 0.0) for name, s in found.items()},
        model_id=structure.model_id,
        revision=structure.revision,
        n_rows=0,
        detail=f"squared singular values of B·A in {len(found)} modules of rank up to {max(s.r for s in found.values())}",
        seconds=time.perf_counter() - began,
        definition=SCORE_DEFINITIONS["look-back"],
    )
