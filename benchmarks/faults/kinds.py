"""The kinds of faults by name; each is in a file of its own and loaded when it is asked for."""

import importlib

from benchmarks.faults.attempt import Kind

MODULES = {
    "kills": "kills",
    "dashboard-kills": "kills",
    "pickles": "pickles",
    "commands": "command_inputs",
    "records": "record_inputs",
    "data": "data_inputs",
    "adapters": "adapter_inputs",
    "arrays": "array_inputs",
    "queries": "query_inputs",
    "disks": "disks",
    "fresh-homes": "fresh_homes",
    "many-runs": "many_runs",
    "sessions": "sessions",
}


def kind_named(name: str) -> Kind:
    """The kind of this name."""
    module = importlib.import_module(f"benchmarks.faults.{MODULES[name]}")
    return next(kind for kind in module.KINDS if kind.name == name)
