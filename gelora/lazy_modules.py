"""Two threads may import transformers for the first time at once: what one of them is handed then still has every name.

transformers, and many packages in it, put another module in their own place in `sys.modules` while they load. Python
hands a thread that waits for such an import the module that was there before, which stays empty ("cannot import name
'AutoConfig'"). Here that one looks its names up in the module that took its place. Loads nothing; imports nothing of ours.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_ROOT = "transformers"


class _Finder(MetaPathFinder):
    """Finds modules of transformers as Python would, and watches how they load."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != _ROOT:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is not None and spec.loader is not None:
            _watch(spec.loader)
        return spec


def _watch(loader: Any) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        name = module.__name__

        def of_successor(attribute: str) -> Any:
            successor = sys.modules.get(name, module)
            if successor is module:
                raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
            return getattr(successor, attribute)

        module.__dict__["__getattr__"] = of_successor
        load(module)
        if sys.modules.get(name) is module and module.__dict__.get("__getattr__") is of_successor:
            del module.__dict__["__getattr__"]

    loader.exec_module = exec_module


def watch_imports() -> None:
    """Watch how this process imports transformers from now on; a second call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
