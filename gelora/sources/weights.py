"""The weights of one block's linear maps, read from the checkpoint."""

from typing import Any

import numpy as np

from gelora.errors import InputError
from gelora.records import Progress
from gelora.sources.catalog import find_model
from gelora.sources.loading import load_base_model
from gelora.sources.structure import model_structure


def block_weights(model: str, block: int, progress: Progress | None = None) -> dict[str, np.ndarray]:
    """The matrices of a block by name, float32; experts that share one parameter are left out.

    Args:
        model: what `find_model` takes; it is loaded whole.
        block: from 1 to the number of blocks.
        progress: called as progress(stage, done, 1); may raise `Cancelled`.

    Raises:
        InputError: there is no such block.
        ModelError, HubError: the model cannot be had or has no shape that is known.
    """
    structure = model_structure(model)
    if not 1 <= block <= structure.n_layers:
        raise InputError(f"{model} has blocks 1 to {structure.n_layers}; block {block} was asked for.")
    report = progress or (lambda stage, done, total: None)
    report("Reading the model", 0, 1)
    parameters: dict[str, Any] = dict(load_base_model(find_model(model)).named_parameters(remove_duplicate=False))
    report("Reading the model", 1, 1)
    names = [module.name for module in structure.modules if module.block == block and module.n_experts == 1]
    return {name: parameters[f"{name}.weight"].detach().numpy() for name in names if f"{name}.weight" in parameters}
