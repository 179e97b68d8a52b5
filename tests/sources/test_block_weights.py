"""The weights of a block are those of the checkpoint, and of that block alone."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from gelora.errors import InputError
from gelora.sources import block_weights, model_structure


def test_they_are_those_of_the_file(tiny):
    found = block_weights(tiny[0], 2)
    modules = [module.name for module in model_structure(tiny[0]).modules if module.block == 2]
    assert list(found) == modules and modules
    file = load_file(f"{tiny[0]}/model.safetensors")
    for name, weight in found.items():
        (kept,) = [array for key, array in file.items() if key.endswith(f"{name}.weight")]
        np.testing.assert_array_equal(weight, kept)


def test_a_block_that_is_not_there_is_one_sentence(tiny):
    with pytest.raises(InputError, match="blocks 1 to 3; block 4"):
        block_weights(tiny[0], 4)
