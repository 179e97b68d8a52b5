"""Threads may import transformers and torch for the first time at once: what one is handed of a module under way has every name.

transformers, and many packages in it, put another module in their own place in `sys.modules` while they load; Python hands
a thread that waits for such an import the module that was there before, which stays empty ("cannot import name
'AutoConfig'"). SciPy looks into `sys.modules` for torch by itself, and finds it half loaded ("partially initialized module
'torch' has no attribute 'Tensor'"). Here such a module waits for the thread that loads it, and then looks its names up in
the module that is in its place. Loads nothing; imports nothing of ours.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ROOT, _ALONE = "transformers", "torch"  # with all that is in it, and without


class _Finder(MetaPathFinder):
    """Finds these modules as Python would, and watches how they load."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != _ROOT and fullname != _ALONE:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            _watch(spec.loader)
        return spec


def _watch(loader: Any) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        name, loading = module.__name__, threading.get_ident()

        def when_loaded(attribute: str) -> Any:
            if threading.get_ident() != loading and sys.modules.get(name) is module:
                importlib.import_module(name)  # waits; returns at once where this thread's own import is waited for
            successor = sys.modules.get(name, module)
            if successor is module and module.__dict__.get("__getattr__") is when_loaded:
                if attribute in module.__dict__:
                    return module.__dict__[attribute]
                raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
            return getattr(successor, attribute)

        module.__dict__["__getattr__"] = when_loaded
        load(module)
        if sys.modules.get(name) is module and module.__dict__.get("__getattr__") is when_loaded:
            del module.__dict__["__getattr__"]

    loader.exec_module = exec_module


def watch_imports() -> None:
    """Watch how this process imports them from now on; a second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
