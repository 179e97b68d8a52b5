"""GeLoRA Lab: layer-wise intrinsic dimension of transformers, and the LoRA ranks that follow from it.

    sample  = gelora.load_sample("docstrings", n_samples=1000, seed=0)
    states  = gelora.extract_hidden_states("all-MiniLM-L6-v2", sample, pooling="mean")
    profile = gelora.estimate_profile(states, estimators=["twonn", "mle"])
    plan    = gelora.allocate_ranks(profile, target_modules="attention", offset=1, rounding="ceil")
    config  = plan.to_lora_config()

This face only forwards; each name is loaded from its wing when it is first used, so that the import stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gelora.lazy_modules import watch_imports

if TYPE_CHECKING:
    from gelora.geometry import estimate_profile as estimate_profile
    from gelora.opened_layer import open_layer as open_layer
    from gelora.ranks import allocate_ranks as allocate_ranks
    from gelora.sources import extract_hidden_states as extract_hidden_states, load_sample as load_sample

__version__ = "0.1.0"

watch_imports()  # before anything imports transformers

_WING_OF = {
    "load_sample": "gelora.sources",
    "extract_hidden_states": "gelora.sources",
    "estimate_profile": "gelora.geometry",
    "allocate_ranks": "gelora.ranks",
    "open_layer": "gelora.opened_layer",
}

__all__ = ["__version__", *_WING_OF]


def __getattr__(name: str) -> Any:
    if name in _WING_OF:
        return getattr(importlib.import_module(_WING_OF[name]), name)
    raise AttributeError(f"module 'gelora' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
